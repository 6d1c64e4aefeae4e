"""Elman recurrent network.

Elman, 1990, https://doi.org/10.1207/s15516709cog1402_1
Initialisation by an orthogonal matrix: Saxe et al., 2014, https://arxiv.org/abs/1312.6120
and by the identity: Le et al., 2015, https://arxiv.org/abs/1504.00941

B batch, L length, D input_size, H hidden_size.
"""

from typing import Any

from torch import Tensor, nn

from bench.models import _directions

RECURRENT_INITS = ("default", "orthogonal", "identity")


class Model(nn.Module):
    """Encodes (B, L, D) into (B, L, H), or (B, L, 2H) if bidirectional.

    `recurrent_init` "default" is PyTorch's own, uniform on ±1/sqrt(H).
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
        nonlinearity: str = "tanh",
        recurrent_init: str = "default",
        layer_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if recurrent_init not in RECURRENT_INITS:
            raise ValueError(f"recurrent_init: one of {', '.join(RECURRENT_INITS)}, but found {recurrent_init!r}")
        self.hidden_size, self.num_layers, self.bidirectional = hidden_size, num_layers, bidirectional
        self.layer_dropout = layer_dropout
        self.output_size = self.summary_size = hidden_size * (2 if bidirectional else 1)
        self.causal = not bidirectional
        if bidirectional:
            widths = [input_size] + [self.output_size] * (num_layers - 1)
            self.forward_layers, self.backward_layers = (
                nn.ModuleList(nn.RNN(width, hidden_size, 1, nonlinearity, batch_first=True) for width in widths)
                for _ in range(2)
            )
        else:
            dropout = layer_dropout if num_layers > 1 else 0.0
            self.rnn = nn.RNN(input_size, hidden_size, num_layers, nonlinearity, batch_first=True, dropout=dropout)
        for name, weight in self.named_parameters():
            if "weight_hh" in name and recurrent_init == "orthogonal":
                nn.init.orthogonal_(weight)
            elif "weight_hh" in name and recurrent_init == "identity":
                nn.init.eye_(weight)

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
