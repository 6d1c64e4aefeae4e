"""Temporal convolutional network: residual blocks of dilated causal convolutions.

Bai, Kolter & Koltun, 2018, https://arxiv.org/abs/1803.01271; their code: https://github.com/locuslab/TCN
Weight normalisation: Salimans & Kingma, 2016, https://arxiv.org/abs/1602.07868

B batch, L length, D input_size, H hidden_size, C channels, P past steps that a convolution looks back at.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

Past = list[tuple[Tensor, Tensor]]  # of each block: the last P inputs of both convolutions, (B, C, P)


class Model(nn.Module):
    """Encodes (B, L, D) into (B, L, H), each step from the steps before it.

    The blocks look back 1, 2, 4, … times `kernel_size` - 1 steps, twice each. There are as many of them as the last
    step needs to see the first one of the longest training sequence. `layer_dropout` is the share of the outputs of
    each convolution that is dropped in training, as in the authors' code.
    """

    causal = True

    def __init__(
        self, input_size: int, length: int, *, hidden_size: int, kernel_size: int = 7, layer_dropout: float = 0.0
    ) -> None:
        super().__init__()
        if kernel_size < 2:
            raise ValueError(f"kernel_size: must be at least 2, but found {kernel_size}")
        self.output_size = self.summary_size = hidden_size
        # n blocks see 1 + 2 (kernel_size - 1) (2^n - 1) steps.
        num_blocks = max(1, math.ceil(math.log2((length - 1) / (2 * (kernel_size - 1)) + 1)))
        widths = [input_size] + [hidden_size] * (num_blocks - 1)
        self.kept = sum((kernel_size - 1) * 2**number * (width + hidden_size) for number, width in enumerate(widths))
        self.blocks = nn.ModuleList(
            _Block(width, hidden_size, kernel_size, 2**number, layer_dropout) for number, width in enumerate(widths)
        )

    def forward(self, x_BLD: Tensor, length_B: Tensor, state: Past | None = None) -> tuple[Tensor, Past]:
        """Return h_BLH and, of each block, the last inputs of its convolutions."""
        # Padding is on the right and convolutions look to the left, so no valid step sees it.
        h_BCL, states = x_BLD.transpose(1, 2), []
        for number, block in enumerate(self.blocks):
            h_BCL, past = block(h_BCL, None if state is None else state[number])
            states.append(past)
        return h_BCL.transpose(1, 2), states

    def summary(self, h_BLH: Tensor, length_B: Tensor) -> Tensor:
        """Return the last valid step, (B, H)."""
        return h_BLH[torch.arange(h_BLH.shape[0], device=h_BLH.device), length_B - 1]

    def state_size(self, length: int) -> int:
        """Return how many numbers the last inputs of all convolutions hold, at any length."""
        return self.kept


class _Block(nn.Module):
    """Two convolutions, each with weight normalisation, ReLU and dropout, and a shortcut around both."""

    def __init__(self, width: int, out: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.past, self.dropout = (kernel_size - 1) * dilation, dropout
        # Their weights begin as PyTorch's: the authors' draws of .01 are overwritten by the normalisation.
        self.first = weight_norm(nn.Conv1d(width, out, kernel_size, dilation=dilation))
        self.second = weight_norm(nn.Conv1d(out, out, kernel_size, dilation=dilation))
        self.shortcut = nn.Conv1d(width, out, 1) if width != out else nn.Identity()
        if isinstance(self.shortcut, nn.Conv1d):
            nn.init.normal_(self.shortcut.weight, std=0.01)

    def forward(self, x_BCL: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the outputs (B, H, L) and the last inputs of both convolutions."""
        before = (None, None) if state is None else state
        h_BCL, first = self._convolve(self.first, x_BCL, before[0])
        h_BCL, second = self._convolve(self.second, h_BCL, before[1])
        return F.relu(h_BCL + self.shortcut(x_BCL)), (first, second)

    def _convolve(self, convolution: nn.Module, x_BCL: Tensor, before_BCP: Tensor | None) -> tuple[Tensor, Tensor]:
        padded = F.pad(x_BCL, (self.past, 0)) if before_BCP is None else torch.cat([before_BCP, x_BCL], dim=2)
        h_BCL = F.dropout(F.relu(convolution(padded)), self.dropout, self.training)
        return h_BCL, padded[..., -self.past :]
