"""Feed-forward network on each step alone, with the mean over steps as its summary (deep sets).

Zaheer et al., 2017, https://arxiv.org/abs/1703.06114

It sees what a sequence contains but not in which order, so a sequence model has to beat it.
B batch, L length, D input_size, H hidden_size.
"""

from typing import Any

import torch
from torch import Tensor, nn

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


class Model(nn.Module):
    """Encodes (B, L, D) into (B, L, H), each step alone."""

    causal = True

    def __init__(
        self, input_size: int, length: int, *, hidden_size: int, num_layers: int = 2, activation: str = "relu"
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation: one of {', '.join(ACTIVATIONS)}, but found {activation!r}")
        widths = [input_size] + [hidden_size] * num_layers
        layers = [
            part
            for before, after in zip(widths, widths[1:], strict=False)
            for part in (nn.Linear(before, after), ACTIVATIONS[activation]())
        ]
        self.layers = nn.Sequential(*layers)
        self.output_size = self.summary_size = hidden_size

    def forward(self, x_BLD: Tensor, length_B: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return h_BLH and no state."""
        return self.layers(x_BLD), None

    def summary(self, h_BLH: Tensor, length_B: Tensor) -> Tensor:
        """Return the mean over the valid steps, (B, H)."""
        valid_BL = torch.arange(h_BLH.shape[1], device=h_BLH.device) < length_B[:, None]
        return (h_BLH * valid_BL[..., None]).sum(1) / length_B[:, None]

    def state_size(self, length: int) -> int:
        """Return 0: no step depends on another."""
        return 0
