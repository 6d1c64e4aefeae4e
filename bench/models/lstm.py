"""Long short-term memory: plain, stacked or bidirectional.

Hochreiter & Schmidhuber, 1997, https://doi.org/10.1162/neco.1997.9.8.1735, with the forget gate of
Gers et al., 2000, https://doi.org/10.1162/089976600300015015
Forget bias from the length to be bridged (chrono): Tallec & Ollivier, 2018, https://arxiv.org/abs/1804.11188

B batch, L length, D input_size, H hidden_size.
"""

import torch
from torch import Tensor, nn

from bench.models import _directions

State = list[tuple[Tensor, Tensor]]


class Model(nn.Module):
    """Encodes (B, L, D) into (B, L, H), or (B, L, 2H) if bidirectional.

    `forget_bias` is the initial bias of the forget gate: a number, "chrono", or "default" for PyTorch's own, with which
    the cell halves at every step. `input_bias` is the initial bias of the input gate: a negative one keeps noise out
    (Hochreiter & Schmidhuber 1997, section 4), and None leaves PyTorch's own. Chrono sets both. `layer_dropout` is the
    share of the outputs between two layers that is dropped in training. Each layer is an LSTM of its own, so that a
    backward direction can be flipped inside each length.
    """

    def __init__(
        self,
        input_size: int,
        length: int,
        *,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        forget_bias: float | str = "default",
        input_bias: float | None = None,
        layer_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if isinstance(forget_bias, str) and forget_bias not in ("default", "chrono"):
            raise ValueError(f"forget_bias: a number, 'chrono' or 'default', but found {forget_bias!r}")
        if input_bias is not None and forget_bias == "chrono":
            raise ValueError(f"input_bias: must be None with forget_bias 'chrono', but found {input_bias!r}")
        self.hidden_size, self.num_layers, self.bidirectional = hidden_size, num_layers, bidirectional
        self.layer_dropout = layer_dropout
        self.output_size = self.summary_size = hidden_size * (2 if bidirectional else 1)
        self.causal = not bidirectional
        widths = [input_size] + [self.output_size] * (num_layers - 1)
        self.forward_layers = nn.ModuleList(nn.LSTM(width, hidden_size, batch_first=True) for width in widths)
        self.backward_layers = nn.ModuleList(
            nn.LSTM(width, hidden_size, batch_first=True) for width in widths if bidirectional
        )
        for lstm in [*self.forward_layers, *self.backward_layers]:
            if forget_bias != "default":
                _set_forget_bias(lstm, forget_bias, length)
            if input_bias is not None:
                _set_bias(lstm, slice(hidden_size), input_bias)

    def forward(self, x_BLD: Tensor, length_B: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return h_BLH and, unless bidirectional, each layer's hidden and cell state."""
        h_BLH, states = _directions.run(
            self.forward_layers, self.backward_layers, x_BLD, length_B, state, self.layer_dropout
        )
        return h_BLH, [] if self.bidirectional else states

    def summary(self, h_BLH: Tensor, length_B: Tensor) -> Tensor:
        """Return the last valid step, (B, H); if bidirectional, with the first step of the backward direction."""
        return _directions.last_step(h_BLH, length_B, self.bidirectional)

    def state_size(self, length: int) -> int:
        """Return how many numbers all layers keep, hidden and cell; 0 if bidirectional, which has no state."""
        return 0 if self.bidirectional else 2 * self.num_layers * self.hidden_size


def _set_forget_bias(lstm: nn.LSTM, forget_bias: float | str, length: int) -> None:
    size = lstm.hidden_size
    input_gate, forget_gate = slice(0, size), slice(size, 2 * size)  # PyTorch's order of gates: i, f, g, o
    if forget_bias != "chrono":
        _set_bias(lstm, forget_gate, float(forget_bias))
        return
    bias = torch.empty(size).uniform_(1, max(2, length - 1)).log()
    _set_bias(lstm, forget_gate, bias)
    _set_bias(lstm, input_gate, -bias)


def _set_bias(lstm: nn.LSTM, gate: slice, bias: Tensor | float) -> None:
    bias_ih, bias_hh = getattr(lstm, "bias_ih_l0"), getattr(lstm, "bias_hh_l0")  # noqa: B009 - Any, for mypy
    with torch.no_grad():
        # PyTorch adds two bias vectors: setting both to b would give 2 b.
        bias_ih[gate], bias_hh[gate] = bias, 0
