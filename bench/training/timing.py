"""How fast a configuration is, with no other run of the bench: seconds, kernels and floating-point operations.

B batch, L length, D input width.
"""

import gc
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from bench.config.contracts import Task
from bench.config.settings import RunConfig
from bench.training.contention import Repeats, collect
from bench.training.micro_batches import accumulate
from bench.training.module import SequenceModule, Tensors

WARM_UP_SECONDS, MEASURE_SECONDS = 0.05, 0.25
MAX_REPEATS = 30  # of a batch
MIN_SINGLE_REPEATS, MAX_SINGLE_REPEATS = 20, 200  # of one sequence or one step: a 95th percentile needs some


def speed(module: SequenceModule, batch: Tensors, config: RunConfig) -> dict[str, float]:
    """Time training steps, batch inference, inference on one sequence, and streaming of a configuration.

    A training step is forward, backward, clipping and optimiser on one batch of training length in memory, or in
    micro-batches if it does not fit and `config.on_out_of_memory` permits that; inference is forward only. `latency` is
    inference on a single sequence. `streaming` is the last step of a training sequence from the state after the steps
    before it, for modules that can stream. Each is warmed up, then repeated for about a quarter of a second with the
    device synchronised. Returned are medians and 95th percentiles in milliseconds, the spread (interquartile range over
    the median), and whether other processes disturbed the measurement (1) or not (0).

    For each of `config.batch_sizes`, inference on so many sequences of the batch is timed too.
    """
    x, length, y = (part.to(config.device) for part in batch[:3])
    mask = None if batch[3] is None else batch[3].to(config.device)
    size = len(x)
    module = module.to(config.device)
    configured = module.configure_optimizers()
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured

    def loss_of(part: Tensors) -> Tensor:
        with _precision(config):
            return module.loss(part)

    def gradients(count: int) -> None:
        accumulate((x, length, y, mask), count, loss_of, Tensor.backward)

    def train_step() -> None:
        module.micro_batches.fit(gradients, size, optimizer.zero_grad)
        torch.nn.utils.clip_grad_norm_(module.parameters(), config.train.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()

    def infer() -> None:
        with torch.inference_mode(), _precision(config):
            module(x, length)

    result: dict[str, float] = {"batch_size": size}
    for name, act in (("train", train_step), ("inference", infer)):
        module.train(name == "train")
        repeats = repeat(act, config.device, MAX_REPEATS)
        median = float(np.median(repeats.seconds))
        result |= {f"{name}_step_milliseconds": 1e3 * median, f"{name}_sequences_per_second": size / median}
        result |= _quality(name, repeats)
    single = {"latency": _one_sequence(module, x, length, config)}
    if module.can_stream:
        single["streaming"] = _one_step(module, x, length, config)
    for name, act in single.items():
        repeats = repeat(act, config.device, MAX_SINGLE_REPEATS, MIN_SINGLE_REPEATS)
        result |= {f"{name}_p{q}_milliseconds": 1e3 * float(np.percentile(repeats.seconds, q)) for q in (50, 95)}
        result |= _quality(name, repeats)
    for number in config.batch_sizes:
        part = _batch_of(number, x, length)
        repeats = repeat(_answer(module, *part, config), config.device, MAX_REPEATS)
        name = f"inference_b{number}"
        result[f"{name}_milliseconds"] = 1e3 * float(np.median(repeats.seconds))
        result |= _quality(name, repeats)
    return result


def _quality(name: str, repeats: Repeats) -> dict[str, float]:
    """Return what says how far a measurement can be believed."""
    low, median, high = np.quantile(repeats.seconds, (0.25, 0.5, 0.75))
    return {
        f"{name}_spread": float((high - low) / median),
        f"{name}_repeats": len(repeats.seconds),
        f"{name}_disturbed": float(repeats.is_disturbed),
    }


def latency(module: nn.Module, batch: Tensors, config: RunConfig) -> tuple[float, bool]:
    """Return the median milliseconds of inference on one sequence, and whether other processes disturbed it."""
    was_training = module.training
    module.to(config.device).eval()
    x, length = batch[0].to(config.device), batch[1].to(config.device)
    repeats = repeat(_one_sequence(module, x, length, config), config.device, MAX_SINGLE_REPEATS)
    module.train(was_training)
    return 1e3 * float(np.median(repeats.seconds)), repeats.is_disturbed


def _one_sequence(module: nn.Module, x: Tensor, length: Tensor, config: RunConfig) -> Callable[[], None]:
    longest = int(length.argmax())
    steps = int(length[longest])
    return _answer(module, x[longest : longest + 1, :steps].contiguous(), length[longest : longest + 1], config)


def _batch_of(number: int, x: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Return `number` sequences of a batch, from the first on and repeated if the batch has fewer."""
    rows = torch.arange(number, device=x.device) % len(x)
    return x[rows].contiguous(), length[rows]


def _answer(module: nn.Module, x: Tensor, length: Tensor, config: RunConfig) -> Callable[[], None]:
    def answer() -> None:
        with torch.inference_mode(), _precision(config):
            module(x, length)

    return answer


def _one_step(module: SequenceModule, x: Tensor, length: Tensor, config: RunConfig) -> Callable[[], None]:
    longest = int(length.argmax())
    before = int(length[longest]) - 1
    one, one_step = x[longest : longest + 1], torch.ones(1, dtype=torch.long, device=x.device)
    last, state = one[:, before : before + 1].contiguous(), None

    if before:
        with torch.inference_mode(), _precision(config):
            _, state = module.encoder(module.embed(one[:, :before]), one_step * before)

    def step() -> None:
        # From the same state each time: a growing cache would slow down every repeat.
        with torch.inference_mode(), _precision(config):
            h_BLH, _ = module.encoder(module.embed(last), one_step, state)
            module.head(h_BLH if module.reads_steps else module.encoder.summary(h_BLH, one_step))
            if module.skip is not None:
                module.skip(last, one_step)

    return step


def _precision(config: RunConfig) -> Any:
    return torch.autocast(config.device, torch.bfloat16, enabled=config.precision == "bf16-mixed")


def repeat(act: Callable[[], object], device: str, most: int, least: int = 5) -> Repeats:
    """Time a call again and again, for about a quarter of a second but `least` to `most` times, after warming up.

    Only repeats that no other process disturbed count, as far as enough of them are found in time.
    """
    gc.collect()
    end = time.perf_counter() + WARM_UP_SECONDS
    for _ in range(3):
        act()
    while time.perf_counter() < end:
        act()

    def is_enough(seconds: list[float]) -> bool:
        return len(seconds) >= least and (sum(seconds) >= MEASURE_SECONDS or len(seconds) >= most)

    return collect(act, device, is_enough, least)


KERNELS = {
    "mkldnn_rnn_layer": "oneDNN LSTM",
    "_cudnn_rnn": "cuDNN RNN",
    "miopen_rnn": "MIOpen RNN",
    "_scaled_dot_product_flash_attention_for_cpu": "SDPA flash (CPU)",
    "_scaled_dot_product_flash_attention": "SDPA flash",
    "_scaled_dot_product_efficient_attention": "SDPA memory-efficient",
    "_scaled_dot_product_cudnn_attention": "SDPA cuDNN",
    "_scaled_dot_product_attention_math_for_mps": "SDPA math",
    "_safe_softmax": "SDPA math",  # it decomposes into products and this operator
}
"""Operators of PyTorch that determine speed, and their usual names."""


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the names of all operators that are called while it is active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # In inference mode a composite (lstm, scaled_dot_product_attention) arrives whole and hides what it calls.
        with self:
            result = func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **kwargs)


def kernels(module: SequenceModule, batch: Tensors, config: RunConfig) -> list[str]:
    """Return the fused kernels that training and inference of a module use, and what runs unfused, sorted.

    Training and inference run separately, because they may use different kernels.
    """
    x, length = batch[0].to(config.device), batch[1].to(config.device)
    module = module.to(config.device)
    recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
    names: set[str] = set()
    for training in (True, False):
        module.train(training)
        with _Operators() as seen, torch.inference_mode(not training), _precision(config):
            if training and module.decoder is not None:  # in training it writes nothing
                mask = None if batch[3] is None else batch[3].to(config.device)
                module.loss((x, length, batch[2].to(config.device), mask))
            else:
                module(x, length)
        names |= _kernels(seen.names, recurrent)
    return sorted(names)


def _kernels(names: set[str], recurrent: bool) -> set[str]:
    kernels = {KERNELS[name] for name in names & KERNELS.keys()}
    if recurrent and not any("LSTM" in kernel or "RNN" in kernel for kernel in kernels):
        kernels.add("unfused RNN steps")
    if any("scaled_dot_product" in name for name in names - KERNELS.keys()):
        kernels.add("SDPA (other)")
    return kernels


def flops(module: SequenceModule, task: Task) -> dict[str, int]:
    """Return the floating-point operations of one training sequence, for inference and for a training step.

    Matrix products and attention are counted as PyTorch counts them, on the meta device, where fused kernels are
    decomposed (elsewhere they count as zero), and Fourier transforms of n numbers as 5 n log2 n, or half of it if the
    numbers are real. A triangular system counts as a product with half of its matrix. Counting a recurrence takes 10 ms
    a step. Therefore a module that calls further operators for each further step is counted at 1, 2 and 3 steps only:
    its operations are a polynomial of degree two in length, which these determine. The module stays on the meta
    device, without its weights.
    """
    module = module.to("meta")
    stride = 1 if module.stem is None else module.stem.stride
    names = ("inference_flops_per_sequence", "train_flops_per_sequence")
    if module.window is None:
        with _Calls() as few:
            at_three = count_flops(module, task, 3 * stride)
        with _Calls() as many:
            count_flops(module, task, 7 * stride)
        if many.number - few.number >= 4 * CALLS_A_STEP:
            counts = zip(*(count_flops(module, task, steps * stride) for steps in (1, 2)), at_three, strict=True)
            return {name: _extrapolate(part, module.encoder_steps) for name, part in zip(names, counts, strict=True)}
    return dict(zip(names, count_flops(module, task, task.num_steps), strict=True))


CALLS_A_STEP = 3
"""Operators that a loop calls for each step, at least, forward and backward; padding to a whole number of rows may call
one more for some lengths than for others."""


class _Calls(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the calls of operators while it is active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += 1
        return func(*args, **(kwargs or {}))


def count_flops(module: SequenceModule, task: Task, steps: int) -> tuple[int, int]:
    """Return the operations of the forward pass, and of forward and backward, on one sequence of `steps` steps."""
    shape: tuple[int, ...] = (1, steps, task.input_size)
    if task.tokens:
        shape = (1, steps, 1 + len(task.feature_sizes)) if task.feature_sizes else (1, steps)
    x = torch.empty(shape, dtype=torch.long if task.tokens else torch.float32, device="meta")
    shape_of_y = (1, steps) if task.per_step or module.decoder is not None else (1,)
    classes = task.loss == "cross_entropy"
    if not classes and task.output_size > 1:
        shape_of_y = (*shape_of_y, task.output_size)
    y = torch.empty(shape_of_y, dtype=torch.long if classes else torch.float32, device="meta")
    length = torch.empty(1, dtype=torch.long, device="meta")
    module.train()
    with FlopCounterMode(display=False, custom_mapping=_UNCOUNTED) as counter:
        # The loss of CTC has no products, and none for the meta device.
        loss: Tensor = module(x, length).sum() if task.loss == "ctc" else module.loss((x, length, y, None))
        forward = counter.get_total_flops()
        loss.backward()  # type: ignore[no-untyped-call]
        return forward, counter.get_total_flops()


def _real_fft(shape: tuple[int, ...], dims: list[int], *_: Any, out_shape: tuple[int, ...], **__: Any) -> int:
    """Return the operations of transforms between real and complex numbers; the real side is the longer one."""
    return _fft(max(shape, out_shape, key=math.prod), dims) // 2


def _complex_fft(shape: tuple[int, ...], dims: list[int], *_: Any, **__: Any) -> int:
    return _fft(shape, dims)


def _fft(shape: tuple[int, ...], dims: list[int]) -> int:
    size = math.prod(shape[dim] for dim in dims)
    return round(5 * math.prod(shape) * math.log2(size))


def _triangular(system: tuple[int, ...], right: tuple[int, ...], *_: Any, **__: Any) -> int:
    """Return the operations of a substitution: for each unknown, n / 2 multiplications and additions on average."""
    return math.prod(right) * system[-1]


_UNCOUNTED = {
    torch.ops.aten._fft_r2c: _real_fft,
    torch.ops.aten._fft_c2r: _real_fft,
    torch.ops.aten._fft_c2c: _complex_fft,
    torch.ops.aten.linalg_solve_triangular: _triangular,
}
"""What PyTorch does not count itself."""


def _extrapolate(counts: tuple[int, ...], length: int) -> int:
    """Return the value at `length` of the polynomial through counts at 1, 2 and 3 (Newton's form, in integers)."""
    first, second = counts[1] - counts[0], counts[2] - 2 * counts[1] + counts[0]
    n = length - 1
    return counts[0] + first * n + second * (n * (n - 1) // 2)
