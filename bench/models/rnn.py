"""Elman recurrent network.

Elman, 1990, https://doi.org/10.1207/s15516709cog1402_1
Initialisation by an orthogonal matrix: Saxe et al., 2014, https://arxiv.org/abs/1312.6120
and by the identity: Le et al., 2015, https://arxiv.org/abs/1504.00941

B batch, L length, D input_size, H hidden_size.
"""

import torch
from torch import Tensor, nn

RECURRENT_INITS = ("default", "orthogonal", "identity")


class Model(nn.Module):
    """Encodes (B, L, D) into (B, L, H).

    `recurrent_init` "default" is PyTorch's own, uniform on ±1/sqrt(H).
    """

    causal = True

    def __init__(
        self,
        input_size: int,
        length: int,
        *,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        recurrent_init: str = "default",
    ) -> None:
        super().__init__()
        if recurrent_init not in RECURRENT_INITS:
            raise ValueError(f"recurrent_init: one of {', '.join(RECURRENT_INITS)}, but found {recurrent_init!r}")
        self.rnn = nn.RNN(input_size, hidden_size, num_layers, nonlinearity, batch_first=True)
        self.output_size = self.summary_size = hidden_size
        for layer in range(num_layers):
            weight = getattr(self.rnn, f"weight_hh_l{layer}")
            if recurrent_init == "orthogonal":
                nn.init.orthogonal_(weight)
            elif recurrent_init == "identity":
                nn.init.eye_(weight)

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
