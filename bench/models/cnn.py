"""Convolutional networks for series: fully convolutional, or of Inception modules.

FCN: Wang et al., 2017, https://arxiv.org/abs/1611.06455
InceptionTime: Fawaz et al., 2020, https://arxiv.org/abs/1909.04939

B batch, L length, D input_size, H hidden_size, C channels.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DESIGNS = ("fcn", "inception")
NORMS = ("batch", "layer", "sequence")


class Model(nn.Module):
    """Encodes (B, L, D) into (B, L, H), each step from its surroundings on both sides.

    `design` "fcn" has three convolutions of 8, 5 and 3 steps with H, 2H and H channels, the original with H = 128.
    "inception" has `num_modules` modules, each of convolutions of 39, 19 and 9 steps and a maximum of 3 steps side by
    side, with a shortcut around every three of them; the original has six and H = 128. `norm` is what the statistics of
    normalisation are of: "batch", the valid steps of all sequences (the originals), "layer", the channels of one step,
    or "sequence", the valid steps of one sequence.
    """

    causal = False

    def __init__(
        self,
        input_size: int,
        length: int,
        *,
        hidden_size: int = 64,
        design: str = "fcn",
        num_modules: int = 3,
        norm: str = "batch",
        layer_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value, choices in (("design", design, DESIGNS), ("norm", norm, NORMS)):
            if value not in choices:
                raise ValueError(f"{name}: one of {', '.join(choices)}, but found {value!r}")
        self.output_size = self.summary_size = hidden_size
        self.layer_dropout = layer_dropout
        self.blocks = nn.ModuleList()
        if design == "fcn":
            widths = (input_size, hidden_size, 2 * hidden_size, hidden_size)
            for width, out, kernel in zip(widths, widths[1:], (8, 5, 3), strict=False):
                self.blocks.append(_Convolution(width, out, kernel, norm))
        else:
            if hidden_size % 4:
                raise ValueError(f"hidden_size: must be a multiple of 4, but found {hidden_size}")
            for first in range(0, num_modules, 3):
                width = hidden_size if first else input_size
                self.blocks.append(_Residual(width, hidden_size, min(3, num_modules - first), norm))

    def forward(self, x_BLD: Tensor, length_B: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return h_BLH and no state."""
        valid_B1L = torch.arange(x_BLD.shape[1], device=x_BLD.device) < length_B[:, None, None]
        h_BCL = x_BLD.transpose(1, 2)
        for number, block in enumerate(self.blocks):
            if number:
                h_BCL = F.dropout(h_BCL, self.layer_dropout, self.training)
            h_BCL = block(h_BCL, valid_B1L)
        return h_BCL.transpose(1, 2), None

    def summary(self, h_BLH: Tensor, length_B: Tensor) -> Tensor:
        """Return the mean over the valid steps, (B, H)."""
        valid_BL = torch.arange(h_BLH.shape[1], device=h_BLH.device) < length_B[:, None]
        return (h_BLH * valid_BL[..., None]).sum(1) / length_B[:, None]

    def state_size(self, length: int) -> int:
        """Return 0: a step depends on later ones, so nothing is carried from step to step."""
        return 0


class _Convolution(nn.Module):
    """Convolution, normalisation and ReLU. Padding counts as zeros, as beyond the ends of a sequence."""

    def __init__(self, width: int, out: int, kernel: int, norm: str) -> None:
        super().__init__()
        self.before, self.after = (kernel - 1) // 2, kernel // 2
        self.convolution = nn.Conv1d(width, out, kernel, bias=False)
        self.norm = _Norm(out, norm)

    def forward(self, h_BCL: Tensor, valid_B1L: Tensor) -> Tensor:
        padded = F.pad(h_BCL * valid_B1L, (self.before, self.after))
        return F.relu(self.norm(self.convolution(padded), valid_B1L))


class _Module(nn.Module):
    """An Inception module: convolutions of three lengths on a bottleneck, and a maximum, side by side."""

    def __init__(self, width: int, out: int, norm: str) -> None:
        super().__init__()
        part = out // 4
        self.bottleneck = nn.Conv1d(width, part, 1, bias=False) if width > 1 else nn.Identity()
        inner = part if width > 1 else 1
        self.convolutions = nn.ModuleList(
            nn.Conv1d(inner, part, kernel, padding=kernel // 2, bias=False) for kernel in (39, 19, 9)
        )
        self.after_maximum = nn.Conv1d(width, part, 1, bias=False)
        self.norm = _Norm(out, norm)

    def forward(self, h_BCL: Tensor, valid_B1L: Tensor) -> Tensor:
        narrow = self.bottleneck(h_BCL * valid_B1L)
        largest = F.max_pool1d(h_BCL.masked_fill(~valid_B1L, -torch.inf), 3, stride=1, padding=1)
        parts = [convolution(narrow) for convolution in self.convolutions]
        parts.append(self.after_maximum(largest.masked_fill(~valid_B1L, 0)))
        return F.relu(self.norm(torch.cat(parts, dim=1), valid_B1L))


class _Residual(nn.Module):
    """Up to three Inception modules with a shortcut around them."""

    def __init__(self, width: int, out: int, num_modules: int, norm: str) -> None:
        super().__init__()
        self.inner = nn.ModuleList(_Module(out if number else width, out, norm) for number in range(num_modules))
        self.shortcut = nn.Conv1d(width, out, 1, bias=False)
        self.norm = _Norm(out, norm)

    def forward(self, h_BCL: Tensor, valid_B1L: Tensor) -> Tensor:
        inner = h_BCL
        for module in self.inner:
            inner = module(inner, valid_B1L)
        return F.relu(inner + self.norm(self.shortcut(h_BCL), valid_B1L))


class _Norm(nn.Module):
    """Normalisation of (B, C, L) by statistics of valid steps only, with a scale and a shift for each channel.

    "batch" is BatchNorm (Ioffe & Szegedy 2015): outside training it uses running averages, of momentum .1.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int, norm: str) -> None:
        super().__init__()
        self.norm, self.width = norm, width
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        if norm == "batch":
            self.register_buffer("mean", torch.zeros(width))
            self.register_buffer("variance", torch.ones(width))

    def forward(self, h_BCL: Tensor, valid_B1L: Tensor) -> Tensor:
        if self.norm == "layer":
            return F.layer_norm(h_BCL.transpose(1, 2), (self.width,), self.scale, self.shift).transpose(1, 2)
        if self.norm == "batch" and not self.training:
            mean, variance = self.mean[:, None], self.variance[:, None]
        else:
            axes = (0, 2) if self.norm == "batch" else (2,)
            count = valid_B1L.sum(axes, keepdim=True)
            h_BCL = h_BCL * valid_B1L
            mean = h_BCL.sum(axes, keepdim=True) / count
            variance = ((h_BCL - mean).square() * valid_B1L).sum(axes, keepdim=True) / count
            if self.norm == "batch":
                self._remember(mean.flatten(), variance.flatten())
        scale = self.scale[:, None] * (variance + 1e-5).rsqrt()
        return (h_BCL - mean) * scale + self.shift[:, None]

    def _remember(self, mean_C: Tensor, variance_C: Tensor) -> None:
        with torch.no_grad():
            self.mean.lerp_(mean_C.to(self.mean.dtype), 0.1)
            self.variance.lerp_(variance_C.to(self.variance.dtype), 0.1)
