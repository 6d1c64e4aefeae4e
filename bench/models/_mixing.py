"""What Mamba-2 and gated DeltaNet share: a short causal convolution, a norm, decay rates of heads, and chunks.

B batch, L length, C channels, N heads, M chunks, K steps of a chunk.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHUNK = 32
"""Steps that are computed together at most, by products of matrices; the states of chunks follow one another.

Of 16, 32, 64 and 128, it gave the shortest training steps of both models on a CPU core, at 256 steps and a width of 64.
"""


class ShortConvolution(nn.Module):
    """A convolution of each channel by itself over the last `kernel_size` steps, and SiLU."""

    def __init__(self, channels: int, kernel_size: int, bias: bool) -> None:
        super().__init__()
        self.past = kernel_size - 1
        self.state_size = self.past * channels
        self.convolution = nn.Conv1d(channels, channels, kernel_size, groups=channels, bias=bias)

    def forward(self, x_BLC: Tensor, past_BKC: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the outputs (B, L, C) and the last inputs, which the next call needs."""
        if past_BKC is None:
            past_BKC = x_BLC.new_zeros(x_BLC.shape[0], self.past, x_BLC.shape[2])
        seen_BLC = torch.cat([past_BKC, x_BLC], dim=1)
        return F.silu(self.convolution(seen_BLC.transpose(1, 2)).transpose(1, 2)), seen_BLC[:, -self.past :]


class RMSNorm(nn.Module):
    """Division by the root mean square of the last dimension, then a scale (PyTorch's own has no form in ONNX)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape, (…, width)."""
        return x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * self.scale


class Decay(nn.Module):
    """The logarithm of the decay of each head in a step, -rate * time, where the time of a step depends on the input.

    As in Mamba-2 at first: rates from 1 to 16, times from .001 to .1, thus memories of 1 to 1,000 steps.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.log_rate = nn.Parameter(torch.empty(num_heads).uniform_(1, 16).log())
        time = torch.empty(num_heads).uniform_(math.log(1e-3), math.log(0.1)).exp()
        self.bias = nn.Parameter(time + (-torch.expm1(-time)).log())  # the inverse of softplus

    def forward(self, x_BLN: Tensor) -> tuple[Tensor, Tensor]:
        """Return the times of the steps and the logarithms of their decays, (B, L, N) each."""
        time_BLN = F.softplus(x_BLN + self.bias)
        return time_BLN, -self.log_rate.exp() * time_BLN


def chunked(*parts: Tensor) -> list[Tensor]:
    """Return tensors (B, L, …) as (B, M, K, …), with zeros after the last step.

    A trace, which must hold for any number of steps, has one chunk.
    """
    length = parts[0].shape[1]
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return [part[:, None] for part in parts]
    chunks = -(-length // CHUNK)
    steps = -(-length // chunks)
    padded = [F.pad(part, (0, 0) * (part.dim() - 2) + (0, chunks * steps - length)) for part in parts]
    return [part.reshape(part.shape[0], chunks, steps, *part.shape[2:]) for part in padded]


def between(log_decay: Tensor) -> tuple[Tensor, Tensor]:
    """Return the decay from each step to each later one, (…, K, K), and the logarithm of that from the start, (…, K).

    Row t, column s has the product of the decays of steps s + 1 to t, and zero if s lies after t.
    """
    total = log_decay.cumsum(-1)
    later = torch.ones(total.shape[-1], total.shape[-1], dtype=torch.bool, device=total.device).triu(1)
    return (total[..., :, None] - total[..., None, :]).masked_fill(later, -torch.inf).exp(), total
