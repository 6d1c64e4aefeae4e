"""What a trained network does with the past: gradients by lag, gates by step, and how far attention looks back.

A network's own weights are examined before, half way through and after training, on sequences of the validation part
and in double precision, so that no gradient is lost to subnormal numbers. How many a run in single precision would lose
is counted.

B batch, L steps, D input width, H hidden width, N heads, S steps looked at.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.config.contracts import Task
from bench.config.datasets import task_of
from bench.config.settings import RunConfig
from bench.results.diagnoses import Row
from bench.training.datamodule import to_tensors
from bench.training.memory import by_lag
from bench.training.module import SequenceModule, Tensors
from bench.training.watch import Weights

SEQUENCES = 61  # a prime, which no width of a state equals; that are examined, of the longest of the validation part
FIT = (2, 64)  # lags between which a half-life is fitted
LEAST = 1e-30  # smaller norms are left out of the fit
GATES = {nn.LSTM: ("input", "forget", "cell", "output"), nn.GRU: ("reset", "update", "new")}
Found = tuple[str, str, int, float, float, float]  # a Row without the moment
KEEPING = ("forget", "update")
"""The gates by which the state of an LSTM and of a GRU survives a step."""


@dataclass
class _Seen:
    """What is recorded while a network answers."""

    inputs: list[Tensor] = field(default_factory=list)  # of each step of the encoder, (B, D)
    states: list[list[Tensor]] = field(default_factory=list)  # after each step
    gates: dict[str, list[tuple[str, Tensor]]] = field(default_factory=dict)  # by layer: each gate (B, L, H)
    distances: list[Tensor] = field(default_factory=list)  # of each layer of attention, (N,)


def diagnose(task: Task, config: RunConfig, trained: Weights, middle: tuple[int, Weights] | None = None) -> list[Row]:
    """Return what the network of a run does with the past, with its initial weights and with the `trained` ones.

    `middle` holds the training steps that were made half way, and the weights then, if they were kept.
    """
    torch.manual_seed(config.seed)
    module = SequenceModule(task, config).eval().double()
    batch = _longest(to_tensors(task.split("val", config.train.num_val)))

    def examined(at: str) -> list[Row]:
        probes = (
            (f"bit in the {state}", "", lag, area, math.nan, math.nan) for state, lag, area in by_lag(task, module)
        )
        return [Row(at, *row) for row in (*_examine(module, batch), *probes)]

    rows = examined("start")
    if middle is not None:
        steps, weights = middle
        module.load_state_dict(weights)
        rows.append(Row("middle", "training steps", "", 0, steps, math.nan, math.nan))
        rows += examined("middle")
    module.load_state_dict(trained)
    return rows + examined("end")


def half_life_at_start(config: RunConfig) -> float:
    """Return after how many steps back the gradient of the state halves in the untrained network of a run.

    NaN if the network has no state of a fixed size.
    """
    torch.manual_seed(config.seed)
    task = task_of(config)
    module = SequenceModule(task, config).eval().double()
    rows = _examine(module, _longest(to_tensors(task.split("val", config.train.num_val))))
    lives = [row[3] for row in rows if row[:2] == ("gradient of the state", "half-life")]
    return lives[0] if lives else math.nan


def _longest(batch: Tensors) -> Tensors:
    """Return the longest sequences of a split, at most SEQUENCES, in double precision: none of them is padded."""
    x, length, y, mask = batch
    rows = torch.nonzero(length == length.max()).flatten()[:SEQUENCES]
    x = x[rows, : int(length.max())]
    return x if x.dtype == torch.long else x.double(), length[rows], y[rows], None if mask is None else mask[rows]


def _examine(module: SequenceModule, batch: Tensors) -> Iterator[Found]:
    """Yield rows without the moment: quantity, part, lag or step, mean, and the range over units or sequences."""
    seen = _Seen()
    with _recorded(module, seen):
        torch.autograd.backward(_last_loss(module, batch))
    size = len(seen.inputs[0])
    yield from _gradients("gradient of the input", [[step] for step in seen.inputs], size, 0)
    yield from _gradients("gradient of the state", seen.states[:-1], size, 1)  # no answer reads the last one
    for layer, gates in seen.gates.items():
        yield from _gates(layer, gates)
    for number, distance_N in enumerate(seen.distances):
        low, high = float(distance_N.min()), float(distance_N.max())
        yield "attention distance", f"layer {number + 1}", 0, float(distance_N.mean()), low, high


def _last_loss(module: SequenceModule, batch: Tensors) -> Tensor:
    """Return the mean loss of the last answer of each sequence; of a translation or transcript, of all tokens."""
    x, length_B, y, mask = batch
    if module.decoder is not None or module.task.loss == "ctc":
        return module.loss(batch)
    answers = module(x, length_B)
    if mask is not None:
        last_B = (mask * torch.arange(1, mask.shape[1] + 1)).argmax(1)
        rows = torch.arange(len(mask))
        answers, y = answers[rows, last_B], y[rows, last_B]
    if module.task.loss == "mse":
        return F.mse_loss(answers.flatten(), y.flatten().double())
    return F.cross_entropy(answers, y.flatten())


# Recording


@contextmanager
def _recorded(module: SequenceModule, seen: _Seen) -> Iterator[None]:
    """Record the inputs and states of the encoder, its gates and its attention while the module answers."""
    encoder: Any = module.encoder
    handles = [
        part.register_forward_hook(_gate_hook(seen, name))
        for name, part in encoder.named_modules()
        if isinstance(part, nn.LSTM | nn.GRU)
    ]
    direct = encoder.forward
    attention = F.scaled_dot_product_attention
    encoder.forward = _stepwise(encoder, direct, seen)
    F.scaled_dot_product_attention = _watched(attention, seen)
    try:
        yield
    finally:
        del encoder.forward  # that of the class is seen again
        F.scaled_dot_product_attention = attention
        for handle in handles:
            handle.remove()


def _stepwise(encoder: nn.Module, direct: Callable[..., Any], seen: _Seen) -> Callable[..., Any]:
    """Return a `forward` that keeps the gradient of every step's input, and of every state if its size is fixed.

    Gates and attention are recorded in a pass over the whole sequence; states in a second one, step by step, which
    gives the same outputs by the contract of models.
    """

    def forward(x_BLD: Tensor, length_B: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        seen.inputs = [step.detach().requires_grad_() for step in x_BLD.unbind(1)]
        steps = torch.stack(seen.inputs, dim=1)
        outputs, last = direct(steps, length_B)
        if not _has_state(encoder):
            return outputs, last
        one_B, parts = torch.ones_like(length_B), []
        for step in range(steps.shape[1]):
            output, state = direct(steps[:, step : step + 1], one_B, state)
            tensors = _tensors(state)
            for tensor in tensors:
                tensor.retain_grad()
            seen.states.append(tensors)
            parts.append(output)
        return torch.cat(parts, dim=1), state

    return forward


def _has_state(encoder: Any) -> bool:
    """Return whether an encoder keeps a state of a fixed size from step to step."""
    return bool(encoder.causal) and encoder.state_size(2) == encoder.state_size(1) > 0


def _tensors(state: Any) -> list[Tensor]:
    """Return the tensors of a state that gradients reach."""
    if isinstance(state, Tensor):
        return [state] if state.requires_grad else []
    return [tensor for part in state or () for tensor in _tensors(part)] if isinstance(state, list | tuple) else []


def _gate_hook(seen: _Seen, name: str) -> Callable[..., None]:
    """Return a hook that computes the gates of a layer from its inputs and outputs."""

    def hook(layer: Any, arguments: tuple[Any, ...], result: tuple[Tensor, Any]) -> None:
        x_BLD, h_BLH = arguments[0], result[0]
        if x_BLD.shape[1] < 2 or layer.num_layers > 1:  # one step of a pass by steps; layers without outputs of theirs
            return
        weights = [getattr(layer, f"{kind}_l0") for kind in ("weight_ih", "bias_ih", "weight_hh", "bias_hh")]
        with torch.no_grad():
            before_BLH = torch.cat([torch.zeros_like(h_BLH[:, :1]), h_BLH[:, :-1]], dim=1)
            sum_BLG = F.linear(x_BLD, weights[0], weights[1]) + F.linear(before_BLH, weights[2], weights[3])
            names = GATES[nn.LSTM if isinstance(layer, nn.LSTM) else nn.GRU]
            parts = zip(names, sum_BLG.chunk(len(names), dim=-1), strict=True)
            seen.gates[name] = [(gate, part.sigmoid()) for gate, part in parts if gate not in ("cell", "new")]

    return hook


def _watched(attention: Callable[..., Tensor], seen: _Seen) -> Callable[..., Tensor]:
    """Return attention that records how far each head looks back on average, in steps."""

    def watched(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *rest: Any, **how: Any) -> Tensor:
        with torch.no_grad():
            logits_BNLS = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
            ahead = torch.arange(k.shape[-2]) - (torch.arange(q.shape[-2]) + k.shape[-2] - q.shape[-2])[:, None]
            if how.get("is_causal"):
                logits_BNLS = logits_BNLS.masked_fill(ahead > 0, -torch.inf)
            if mask is not None:
                logits_BNLS = logits_BNLS.masked_fill(~mask, -torch.inf)
            distance_BNL = (logits_BNLS.softmax(-1) * ahead.abs()).sum(-1)
            seen.distances.append(distance_BNL.mean((0, 2)))
        return attention(q, k, v, mask, *rest, **how)

    return watched


# Summaries


def _gradients(quantity: str, steps: list[list[Tensor]], batch: int, first: int) -> Iterator[Found]:
    """Yield the norm of the gradient by lag, over sequences, its half-life, and what single precision would lose.

    `steps` are in the order of time, and the last one has the lag `first`.
    """
    if not any(steps):
        return
    grads = [torch.cat([_by_sequence(tensor, batch) for tensor in step], dim=1) * batch for step in steps]
    norms = np.array([grad.norm(dim=1).numpy() for grad in grads])[::-1]  # of the loss of one sequence, by lag
    for lag, of_sequences in enumerate(norms, first):
        yield quantity, "", lag, float(of_sequences.mean()), float(of_sequences.min()), float(of_sequences.max())
    numbers = torch.cat([grad.flatten() for grad in grads]).abs().numpy()
    single = np.finfo(np.float32)
    is_zero = numbers < float(single.smallest_subnormal) / 2  # rounded to zero
    shares = {"zeros in float32": is_zero.mean(), "subnormal in float32": ((numbers < single.tiny) & ~is_zero).mean()}
    for part, value in (shares | {"half-life": half_life(norms.mean(1), first)}).items():
        yield quantity, part, 0, float(value), math.nan, math.nan


def _by_sequence(tensor: Tensor, batch: int) -> Tensor:
    """Return the gradient of a tensor, zero if there is none, with a row for each sequence.

    The batch is the first axis, or the second as in the states of PyTorch's recurrent layers.
    """
    grad = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
    return grad.movedim(0 if grad.shape[0] == batch else 1, 0).flatten(1)


def half_life(norms: np.ndarray, first: int = 0) -> float:
    """Return after how many steps back a norm halves, by a straight line through its logarithms; inf if it grows.

    `norms` are by lag from `first` on; those of FIT that are above LEAST are fitted. NaN if there are fewer than three.
    """
    lags = np.arange(first, first + len(norms))
    used = (lags >= FIT[0]) & (lags <= FIT[1]) & (norms > LEAST)
    if used.sum() < 3:
        return math.nan
    slope = float(np.polyfit(lags[used], np.log2(norms[used]), 1)[0])
    return -1 / slope if slope < 0 else math.inf


def _gates(layer: str, gates: list[tuple[str, Tensor]]) -> Iterator[Found]:
    """Yield how open each gate is by step, over units, and what the keeping gate lets survive by lag."""
    for gate, open_BLH in gates:
        unit_LH = open_BLH.mean(0)
        for step, units in enumerate(unit_LH):
            yield f"{gate} gate", layer, step, float(units.mean()), float(units.min()), float(units.max())
        if gate in KEEPING:
            kept_LH = open_BLH.clamp(min=1e-300).log().flip(1).cumsum(1).mean(0).exp()
            for lag, units in enumerate(kept_LH):
                yield "survives", layer, lag + 1, float(units.mean()), float(units.min()), float(units.max())
