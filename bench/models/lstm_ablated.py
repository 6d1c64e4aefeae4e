"""LSTM without one of its gates, or with coupled gates.

Greff et al., 2017, section 4 (NIG, NFG, NOG, CIFG), https://arxiv.org/abs/1503.04069. Without forget gate it is the
LSTM of Hochreiter & Schmidhuber, 1997.

B batch, L length, D input_size, H hidden_size, G gates that are left and the cell's input, times H.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.models import _directions

State = list[tuple[Tensor, Tensor]]

GATES = {
    "none": ("input", "forget", "cell", "output"),
    "input": ("forget", "cell", "output"),
    "forget": ("input", "cell", "output"),
    "output": ("input", "forget", "cell"),
    "coupled": ("forget", "cell", "output"),
}
"""By `without`: the parts of a step that have weights, in the order of PyTorch's gates."""


class Model(nn.Module):
    """Encodes (B, L, D) into (B, L, H), step by step: no fused kernel knows these variants, so it is slower than lstm.

    `without` names the gate that is removed, which is then always open: "input", "forget" or "output"; with "coupled"
    the input gate is 1 - f, as in a GRU; "none" is a plain LSTM. `forget_bias` is the initial bias of the forget gate.
    """

    def __init__(
        self, input_size: int, length: int, *, hidden_size: int, without: str = "none", forget_bias: float = 1.0
    ) -> None:
        super().__init__()
        if without not in GATES:
            raise ValueError(f"without: one of {', '.join(GATES)}, but found {without!r}")
        self.without, self.hidden_size = without, hidden_size
        self.output_size = self.summary_size = hidden_size
        self.causal = True
        size = len(GATES[without]) * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(size, hidden_size))
        self.bias = nn.Parameter(torch.empty(size))
        for parameter in self.parameters():  # as in nn.LSTM
            nn.init.uniform_(parameter, -1 / math.sqrt(hidden_size), 1 / math.sqrt(hidden_size))
        if "forget" in GATES[without]:
            first = GATES[without].index("forget") * hidden_size
            with torch.no_grad():
                self.bias[first : first + hidden_size] = forget_bias

    def forward(self, x_BLD: Tensor, length_B: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return h_BLH, and the hidden and cell state after the last step."""
        zero_BH = x_BLD.new_zeros(x_BLD.shape[0], self.hidden_size)
        h_BH, c_BH = (zero_BH, zero_BH) if state is None else state[0]
        # Padding is on the right and the network runs to the right, so no valid step sees it.
        sum_BLG = F.linear(x_BLD, self.weight_ih, self.bias)
        is_tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        steps = torch.jit.script(_steps) if is_tracing else _steps  # a trace alone would fix their number
        h_BLH, h_BH, c_BH = steps(sum_BLG, self.weight_hh, h_BH, c_BH, self.without)
        return h_BLH, [(h_BH, c_BH)]

    def summary(self, h_BLH: Tensor, length_B: Tensor) -> Tensor:
        """Return the last valid step, (B, H)."""
        return _directions.last_step(h_BLH, length_B, False)

    def state_size(self, length: int) -> int:
        """Return how many numbers the hidden and the cell state hold."""
        return 2 * self.hidden_size


def _steps(
    sum_BLG: Tensor, weight_hh: Tensor, h_BH: Tensor, c_BH: Tensor, without: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the outputs (B, L, H) and the last hidden and cell state; TorchScript must understand it."""
    size = h_BH.shape[1]
    outputs: list[Tensor] = []
    for step in range(sum_BLG.shape[1]):
        sum_BG = sum_BLG[:, step] + h_BH @ weight_hh.t()
        first = 0  # of the part that is read next
        admitted_BH, kept_BH = torch.ones_like(c_BH), torch.ones_like(c_BH)
        if without != "input" and without != "coupled":
            admitted_BH = sum_BG[:, :size].sigmoid()
            first += size
        if without != "forget":
            kept_BH = sum_BG[:, first : first + size].sigmoid()
            first += size
        if without == "coupled":
            admitted_BH = 1 - kept_BH
        c_BH = kept_BH * c_BH + admitted_BH * sum_BG[:, first : first + size].tanh()
        h_BH = c_BH.tanh()
        if without != "output":
            h_BH = sum_BG[:, first + size :].sigmoid() * h_BH
        outputs.append(h_BH)
    return torch.stack(outputs, dim=1), h_BH, c_BH
