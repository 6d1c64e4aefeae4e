"""Batches that do not fit into memory: they are divided, so that the optimiser still sees the gradient of the whole.

B batch, L steps, D input width, H hidden width.
"""

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from bench.config.settings import OnOutOfMemory

if TYPE_CHECKING:
    from bench.training.module import Tensors

ALLOCATION_FAILED = (
    "can't allocate memory",  # the allocator of the CPU
    "std::bad_alloc",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DEVICE_ALLOCATION_FAILED",  # cuDNN 9
)
"""What errors say that PyTorch has no exception class for."""

CUT_OFF = "[enforce fail a"
"""All that the allocator of the CPU says if no memory is left for its message either."""

MOST_STEPS = 16  # of the sequences that show whether a model mixes them

Result = TypeVar("Result")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on the device or on the host."""
    message = str(error)
    is_said = message == CUT_OFF or any(words in message for words in ALLOCATION_FAILED)
    return is_said or isinstance(error, torch.OutOfMemoryError | MemoryError)


class MicroBatches:
    """Into how many parts the batches of a run are divided: 1 until memory runs out, then 2, 4, 8 and so on.

    `obstacle` returns why batches cannot be divided, or None if they can. It is called once, when memory has run out.
    """

    def __init__(self, policy: OnOutOfMemory, obstacle: Callable[[], str | None]) -> None:
        self.count = 1
        self._policy, self._obstacle = policy, obstacle

    def fit(self, act: Callable[[int], Result], size: int, undo: Callable[[], None] = lambda: None) -> Result:
        """Return act(count) for the smallest count, from the present one on, that fits into memory.

        `undo` drops what a failed attempt has left behind. A batch of `size` sequences has at most as many parts.
        Raises torch.OutOfMemoryError, or what `act` raised, if no part fits or the batch may not be divided.
        """
        while True:
            try:
                return act(self.count)
            except Exception as error:
                if self._policy == "fail" or not is_out_of_memory(error):
                    raise
                message = str(error).strip().partition("\n")[0]
            # Only here, after the handler, is the failed attempt forgotten, with the tensors that its frames held.
            undo()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            reason = self._obstacle() if self.count == 1 else None
            if self.count >= size:
                reason = "it has one sequence"
            if reason is not None:
                raise torch.OutOfMemoryError(f"the batch cannot be divided, because {reason}: {message}")
            self.count = min(2 * self.count, size)


def divided(batch: "Tensors", count: int) -> "list[Tensors]":
    """Return the sequences of a batch in `count` parts, whose sizes differ by one at most."""
    parts = ([None] * count if part is None else part.tensor_split(count) for part in batch)
    return list(zip(*parts, strict=True))


def num_targets(y: Tensor, mask: Tensor | None) -> int:
    """Return how many targets the mean loss of a batch is the mean over."""
    return y.numel() if mask is None else int(mask.sum())


def accumulate(
    batch: "Tensors",
    count: int,
    loss_of: Callable[["Tensors"], Tensor],
    backward: Callable[[Tensor], Any],
    weight: float = 1.0,
) -> Tensor:
    """Add the gradients of the mean loss of a batch to those of the weights, from `count` parts; return the loss.

    The loss of a part counts with its share of the targets of the batch: the mean of the means would give the targets
    of short sequences more weight. All is multiplied by `weight`.
    """
    if count == 1:
        loss = loss_of(batch)
        loss = loss if weight == 1 else weight * loss
        backward(loss)
        return loss.detach()
    parts = divided(batch, count)
    targets = [num_targets(y, mask) for _, _, y, mask in parts]
    losses = []
    for part, number in zip(parts, targets, strict=True):
        if number:  # the mean over no targets is not a number
            loss = weight * number / sum(targets) * loss_of(part)
            backward(loss)
            losses.append(loss.detach())
    return torch.stack(losses).sum()


def mixes_sequences(encoder: nn.Module, width: int, steps: int, device: torch.device) -> bool:
    """Return whether what a model makes of a sequence in training depends on the others in its batch.

    Statistics of the batch do that, such as those of BatchNorm, which differ on a part of a batch. Two random sequences
    of `steps` steps, at most MOST_STEPS, of `width` numbers show it: what is made of one has a gradient by the other.
    """
    steps = min(steps, MOST_STEPS)
    x_2LD = torch.randn(2, steps, width).to(device).requires_grad_()
    length_2 = torch.full((2,), steps, device=device)
    h_2LH, _ = encoder(x_2LD, length_2)
    read_2S: Tensor = encoder.summary(h_2LH, length_2)  # type: ignore[operator]
    # Random weights: the sum of normalised numbers, for one, hides what they depend on.
    answer = sum((part * torch.randn(part.shape).to(part)).sum() for part in (h_2LH[0], read_2S[0]))
    assert isinstance(answer, Tensor)
    (gradient_2LD,) = torch.autograd.grad(answer, x_2LD, allow_unused=True)
    return gradient_2LD is not None and bool(gradient_2LD[1].count_nonzero())
