"""Gated recurrent unit.

Cho et al., 2014, https://arxiv.org/abs/1406.1078
Update bias from the length to be bridged (chrono): Tallec & Ollivier, 2018, https://arxiv.org/abs/1804.11188

B batch, L length, D input_size, H hidden_size.
"""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    """Encodes (B, L, D) into (B, L, H).

    `update_bias` is the initial bias of the update gate z: a number, "chrono", or "default" for PyTorch's own. In
    PyTorch, unlike in the paper, z keeps the old state, so a positive bias remembers: h' = (1 - z) n + z h.
    """

    causal = True

    def __init__(
        self,
        input_size: int,
        length: int,
        *,
        hidden_size: int,
        num_layers: int = 1,
        update_bias: float | str = "default",
    ) -> None:
        super().__init__()
        if isinstance(update_bias, str) and update_bias not in ("default", "chrono"):
            raise ValueError(f"update_bias: a number, 'chrono' or 'default', but found {update_bias!r}")
        self.rnn = nn.GRU(input_size, hidden_size, num_layers, batch_first=True)
        self.output_size = self.summary_size = hidden_size
        if update_bias == "default":
            return
        update = slice(hidden_size, 2 * hidden_size)  # PyTorch's order of gates: r, z, n
        with torch.no_grad():
            for layer in range(num_layers):
                # PyTorch adds two bias vectors, so one of them gets the whole bias.
                getattr(self.rnn, f"bias_hh_l{layer}")[update] = 0
                bias = getattr(self.rnn, f"bias_ih_l{layer}")[update]
                if update_bias == "chrono":
                    bias.uniform_(1, max(2, length - 1)).log_()
                else:
                    bias.fill_(update_bias)

    def forward(self, x_BLD: Tensor, length_B: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return h_BLH and the hidden state (num_layers, B, H)."""
        # Padding is on the right and the network runs to the right, so no valid step sees it.
        h_BLH, state = self.rnn(x_BLD, state)
        return h_BLH, state

    def summary(self, h_BLH: Tensor, length_B: Tensor) -> Tensor:
        """Return the last valid step, (B, H)."""
        return h_BLH[torch.arange(h_BLH.shape[0], device=h_BLH.device), length_B - 1]

    def state_size(self, length: int) -> int:
        """Return how many numbers the hidden states of all layers hold."""
        return self.rnn.num_layers * self.rnn.hidden_size
