"""Gated recurrent unit.

Cho et al., 2014, https://arxiv.org/abs/1406.1078
Update bias from the length to be bridged (chrono): Tallec & Ollivier, 2018, https://arxiv.org/abs/1804.11188

B batch, L length, D input_size, H hidden_size.
"""

from typing import Any

import torch
from torch import Tensor, nn

from bench.models import _directions


class Model(nn.Module):
    """Encodes (B, L, D) into (B, L, H), or (B, L, 2H) if bidirectional.

    `update_bias` is the initial bias of the update gate z: a number, "chrono", or "default" for PyTorch's own. In
    PyTorch, unlike in the paper, z keeps the old state, so a positive bias remembers: h' = (1 - z) n + z h.
    `layer_dropout` is the share of the outputs between two layers that is dropped in training.
    """

    def __init__(
        self,
        input_size: int,
        length: int,
        *,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        update_bias: float | str = "default",
        layer_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if isinstance(update_bias, str) and update_bias not in ("default", "chrono"):
            raise ValueError(f"update_bias: a number, 'chrono' or 'default', but found {update_bias!r}")
        self.hidden_size, self.num_layers, self.bidirectional = hidden_size, num_layers, bidirectional
        self.layer_dropout = layer_dropout
        self.output_size = self.summary_size = hidden_size * (2 if bidirectional else 1)
        self.causal = not bidirectional
        if bidirectional:
            widths = [input_size] + [self.output_size] * (num_layers - 1)
            self.forward_layers, self.backward_layers = (
                nn.ModuleList(nn.GRU(width, hidden_size, batch_first=True) for width in widths) for _ in range(2)
            )
            modules: list[nn.GRU] = [*self.forward_layers, *self.backward_layers]
        else:
            dropout = layer_dropout if num_layers > 1 else 0.0
            self.rnn = nn.GRU(input_size, hidden_size, num_layers, batch_first=True, dropout=dropout)
            modules = [self.rnn]
        if update_bias != "default":
            for module in modules:
                _set_update_bias(module, update_bias, length)

    def forward(self, x_BLD: Tensor, length_B: Tensor, state: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return h_BLH and the hidden state (num_layers, B, H), or None if bidirectional."""
        if self.bidirectional:
            layers = self.forward_layers, self.backward_layers
            return _directions.run(*layers, x_BLD, length_B, dropout=self.layer_dropout)[0], None
        # Padding is on the right and the network runs to the right, so no valid step sees it.
        h_BLH, state = self.rnn(x_BLD, state)
        return h_BLH, state

    def summary(self, h_BLH: Tensor, length_B: Tensor) -> Tensor:
        """Return the last valid step, (B, H); if bidirectional, with the first step of the backward direction."""
        return _directions.last_step(h_BLH, length_B, self.bidirectional)

    def state_size(self, length: int) -> int:
        """Return how many numbers the hidden states of all layers hold; 0 if bidirectional, which has no state."""
        return 0 if self.bidirectional else self.num_layers * self.hidden_size


def _set_update_bias(module: nn.GRU, update_bias: float | str, length: int) -> None:
    update = slice(module.hidden_size, 2 * module.hidden_size)  # PyTorch's order of gates: r, z, n
    with torch.no_grad():
        for layer in range(module.num_layers):
            # PyTorch adds two bias vectors, so one of them gets the whole bias.
            getattr(module, f"bias_hh_l{layer}")[update] = 0
            bias = getattr(module, f"bias_ih_l{layer}")[update]
            if update_bias == "chrono":
                bias.uniform_(1, max(2, length - 1)).log_()
            else:
                bias.fill_(update_bias)
