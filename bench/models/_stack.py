"""Residual layers around a sequence mixer, as in Transformers: h + mixer(norm(h)), in one direction or in both.

Pre-norm: Xiong et al., 2020, https://arxiv.org/abs/2002.04745

B batch, L length, D input_size, H width.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.models import _directions

State = list[Any]  # of each layer: the state of its mixer


class Stack(nn.Module):
    """Encodes (B, L, D) into (B, L, H) by `num_layers` residual layers of mixers.

    A mixer is a module that gets (B, L, H) and a state, and returns outputs of the same shape and the state after them;
    its `state_size` says how many numbers that is. If `bidirectional`, each layer adds the outputs of two mixers, one
    of which sees the sequence reversed. `layer_dropout` is the share of the outputs of mixers that is dropped in
    training before they are added.
    """

    def __init__(
        self,
        input_size: int,
        width: int,
        mixer: Callable[[], nn.Module],
        *,
        num_layers: int,
        bidirectional: bool,
        layer_dropout: float,
    ) -> None:
        super().__init__()
        self.output_size = self.summary_size = width
        self.causal, self.layer_dropout = not bidirectional, layer_dropout
        self.embed = nn.Linear(input_size, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(num_layers))
        self.mixers = nn.ModuleList(mixer() for _ in range(num_layers))
        self.backward_mixers = nn.ModuleList(mixer() for _ in range(num_layers if bidirectional else 0))
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BLD: Tensor, length_B: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return h_BLH and the states of the layers; none of them if bidirectional."""
        flip_BL1 = None if self.causal else _directions.flip_inside(length_B, x_BLD.shape[1])
        h_BLH, states = self.embed(x_BLD), []
        for layer, (norm, mixer) in enumerate(zip(self.norms, self.mixers, strict=True)):
            normal_BLH = norm(h_BLH)
            # Padding is on the right, so that no valid step sees it on the way to the right.
            mixed_BLH, last = mixer(normal_BLH, None if state is None or not self.causal else state[layer])
            states.append(last)
            if flip_BL1 is not None:
                reversed_BLH, _ = self.backward_mixers[layer](_directions.flip(normal_BLH, flip_BL1), None)
                mixed_BLH = mixed_BLH + _directions.flip(reversed_BLH, flip_BL1)
            h_BLH = h_BLH + F.dropout(mixed_BLH, self.layer_dropout, self.training)
        return self.norm(h_BLH), states if self.causal else []

    def summary(self, h_BLH: Tensor, length_B: Tensor) -> Tensor:
        """Return the last valid step, (B, H), which has seen all others; the mean of valid steps if bidirectional."""
        if self.causal:
            return h_BLH[torch.arange(h_BLH.shape[0], device=h_BLH.device), length_B - 1]
        valid_BL = torch.arange(h_BLH.shape[1], device=h_BLH.device) < length_B[:, None]
        return (h_BLH * valid_BL[..., None]).sum(1) / length_B[:, None]

    def state_size(self, length: int) -> int:
        """Return how many numbers the states of all layers hold; 0 if bidirectional, which has no state."""
        return sum(mixer.state_size for mixer in self.mixers) if self.causal else 0  # type: ignore[misc]
