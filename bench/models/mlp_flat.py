"""Feed-forward network on all steps of a window side by side.

The flat baseline of Chollet, 2017, "Deep Learning with Python", section 6.3, and of Wang et al., 2017,
https://arxiv.org/abs/1611.06455 (MLP); position features: Vaswani et al., 2017, https://arxiv.org/abs/1706.03762

Unlike `mlp` it sees the order of steps, but it learns each place of the window anew: a sequence model has to beat it.
It is a file of its own, and no argument of `mlp`, as a model declares in the body of its class that it is not causal.

B batch, L length, D input_size, H hidden_size, W length of the window, P features of a position.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}

FREQUENCIES = 8


class Model(nn.Module):
    """Encodes (B, L, D) into (B, L, H), each step from the window and from itself.

    The window holds the last `length` valid steps, `length` being those of the longest training sequence, with zeros
    before the first step of a shorter sequence. So of a longer sequence only the last `length` steps count. The first
    `num_layers` - 1 layers see the window; the last one sees their outputs, the step itself and its distance from the
    last valid step, so that a step can have its own answer.
    """

    causal = False

    def __init__(
        self, input_size: int, length: int, *, hidden_size: int, num_layers: int = 2, activation: str = "relu"
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation: one of {', '.join(ACTIVATIONS)}, but found {activation!r}")
        self.length, self.activation = length, activation
        self.output_size = self.summary_size = hidden_size
        widths = [length * input_size] + [hidden_size] * num_layers
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.step = nn.Linear(input_size + 2 * FREQUENCIES, hidden_size, bias=False)

    def forward(self, x_BLD: Tensor, length_B: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return h_BLH and no state."""
        act = ACTIVATIONS[self.activation]
        place_W = torch.arange(-self.length, 0, device=x_BLD.device)
        source_BW = length_B[:, None] + place_W
        index_BWD = source_BW.clamp(min=0)[..., None].expand(-1, -1, x_BLD.shape[2])
        h_BH = (x_BLD.gather(1, index_BWD) * (source_BW >= 0)[..., None]).flatten(1)
        for layer in self.layers[:-1]:
            h_BH = act(layer(h_BH))
        step_L = torch.arange(x_BLD.shape[1], device=x_BLD.device)
        position_BLP = self._position(length_B[:, None] - 1 - step_L).to(x_BLD.dtype)
        own_BLH = self.step(torch.cat([x_BLD, position_BLP], dim=-1))
        return act(self.layers[-1](h_BH)[:, None] + own_BLH), None

    def summary(self, h_BLH: Tensor, length_B: Tensor) -> Tensor:
        """Return the last valid step, (B, H)."""
        return h_BLH[torch.arange(h_BLH.shape[0], device=h_BLH.device), length_B - 1]

    def state_size(self, length: int) -> int:
        """Return 0: a step depends on later ones, so nothing is carried from step to step."""
        return 0

    def _position(self, steps_back_BL: Tensor) -> Tensor:
        """Return sines and cosines of wave lengths from about 6 steps to 6 windows."""
        exponent = torch.arange(FREQUENCIES, device=steps_back_BL.device) / (FREQUENCIES - 1)
        angle_BLF = steps_back_BL[..., None] * torch.exp(-math.log(max(2, self.length)) * exponent)
        return torch.cat([angle_BLF.sin(), angle_BLF.cos()], dim=-1)
