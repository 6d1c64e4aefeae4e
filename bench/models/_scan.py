"""The recurrence h(t) = a(t) h(t-1) + b(t) for all steps at once, and the layer that minGRU and minLSTM make of it.

The steps are cut into about sqrt(L) blocks of about sqrt(L) steps. All blocks advance side by side, each from zero, and
then the last state of each is carried into the next: 2 sqrt(L) operations on large tensors in place of L on small ones.
Feng et al. 2024 scan in log space instead. On one CPU core, forward and backward over (32, 1024, 64) in float32 take
six times as long that way, and outputs are wrong by up to 2e-4 of their value in place of 2e-7, because the sums of
logarithms grow with the length, and their rounding with them.

B batch, L length, H width, E inner width.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def linear_recurrence(a_BLH: Tensor, b_BLH: Tensor, h_BH: Tensor | None = None) -> Tensor:
    """Return h(t) = a(t) h(t-1) + b(t) at every step, (B, L, H), from the state `h_BH` before the first; None is zero.

    The factors `a_BLH` must lie between 0 and 1: products of them may vanish, but nothing overflows.
    """
    if h_BH is not None:
        b_BLH = torch.cat([torch.addcmul(b_BLH[:, :1], a_BLH[:, :1], h_BH[:, None]), b_BLH[:, 1:]], dim=1)
    # ONNX keeps the loop of a script, so that any number of steps can follow.
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return torch.jit.script(_step_by_step)(a_BLH, b_BLH)
    return _Recurrence.apply(a_BLH, b_BLH)  # type: ignore[no-untyped-call]


class _Recurrence(torch.autograd.Function):
    """The gradient of a recurrence is a recurrence that runs backwards, so that only a and h are stored."""

    @staticmethod
    def forward(ctx: Any, a_BLH: Tensor, b_BLH: Tensor) -> Tensor:
        h_BLH = _scan(a_BLH, b_BLH)
        ctx.save_for_backward(a_BLH, h_BLH)
        return h_BLH

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        a_BLH, h_BLH = ctx.saved_tensors
        later_BLH = F.pad(a_BLH[:, 1:], (0, 0, 0, 1))  # from step t + 1 to t, a gradient passes through a(t + 1)
        gradient_BLH = _scan(later_BLH.flip(1), gradients[0].flip(1)).flip(1)
        return gradient_BLH * F.pad(h_BLH[:, :-1], (0, 0, 1, 0)), gradient_BLH


def _scan(a_BLH: Tensor, b_BLH: Tensor) -> Tensor:
    """Return the recurrence from zero, in blocks."""
    batch, length, width = b_BLH.shape
    steps = math.isqrt(length - 1) + 1
    blocks = -(-length // steps)
    product, h = (part.new_zeros(batch, blocks, steps, width) for part in (a_BLH, b_BLH))
    product.view(batch, -1, width)[:, :length] = a_BLH
    h.view(batch, -1, width)[:, :length] = b_BLH
    for step in range(1, steps):
        h[:, :, step].addcmul_(product[:, :, step], h[:, :, step - 1])
        product[:, :, step].mul_(product[:, :, step - 1])
    for block in range(1, blocks):
        h[:, block].addcmul_(product[:, block], h[:, block - 1, -1:])
    return h.view(batch, -1, width)[:, :length]


def _step_by_step(a_BLH: Tensor, b_BLH: Tensor) -> Tensor:
    """Return the recurrence from zero, one step after the other."""
    h_BH = torch.zeros_like(b_BLH[:, 0])
    steps = []
    for step in range(b_BLH.shape[1]):
        h_BH = a_BLH[:, step] * h_BH + b_BLH[:, step]
        steps.append(h_BH)
    return torch.stack(steps, 1)


class Minimal(nn.Module):
    """A layer whose gates see the input but not the state: h(t) = (1 - z(t)) h(t-1) + z(t) g(candidate(t)).

    Candidates and gates have the width `expansion` times `width`. g is the positive function of Feng et al. 2024,
    appendix B: x + .5 from zero on, below a sigmoid. `memory_bias` is the logit of 1 - z, the share of the old state
    that is kept, at a preactivation of zero: a number, or "chrono" for shares that suit memories of up to `length`
    steps. The first gate writes and a second one keeps, so they begin with opposite biases.
    """

    num_gates: int

    def __init__(self, width: int, expansion: int, memory_bias: float | str, length: int) -> None:
        super().__init__()
        if isinstance(memory_bias, str) and memory_bias != "chrono":
            raise ValueError(f"memory_bias: a number or 'chrono', but found {memory_bias!r}")
        self.state_size = expansion * width
        self.project = nn.Linear(width, (1 + self.num_gates) * self.state_size)
        self.out = nn.Linear(self.state_size, width)
        with torch.no_grad():
            _, *biases = self.project.bias.chunk(1 + self.num_gates)
            if isinstance(memory_bias, str):
                biases[0].uniform_(1, max(2, length - 1)).log_().neg_()
            else:
                biases[0].fill_(-memory_bias)
            for bias in biases[1:]:
                bias.copy_(-biases[0])

    def forward(self, x_BLH: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the outputs (B, L, H) and the state (B, E)."""
        candidate_BLE, *gates = self.project(x_BLH).chunk(1 + self.num_gates, dim=-1)
        logit_BLE = self.update(*gates)
        logit_BLE = logit_BLE.to(torch.promote_types(logit_BLE.dtype, torch.float32))
        positive_BLE = torch.where(candidate_BLE >= 0, candidate_BLE + 0.5, candidate_BLE.sigmoid())
        h_BLE = linear_recurrence((-logit_BLE).sigmoid(), logit_BLE.sigmoid() * positive_BLE, state)
        return self.out(h_BLE.to(candidate_BLE.dtype)), h_BLE[:, -1]

    def update(self, *gates: Tensor) -> Tensor:
        """Return the logit of z from the preactivations of the gates, (B, L, E) each."""
        raise NotImplementedError
