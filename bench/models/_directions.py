"""What recurrent models share: layers that run in one or both directions over padded sequences.

Both directions: Schuster & Paliwal, 1997, https://doi.org/10.1109/78.650093
Dropout between layers only: Zaremba et al., 2014, https://arxiv.org/abs/1409.2329

B batch, L length, D input_size, H width of one direction.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def run(
    forward_layers: nn.ModuleList,
    backward_layers: nn.ModuleList,
    x_BLD: Tensor,
    length_B: Tensor,
    state: Sequence[Any] | None = None,
    dropout: float = 0.0,
) -> tuple[Tensor, list[Any]]:
    """Return the outputs (B, L, H), or (B, L, 2H) with backward layers, and the forward layers' last states.

    Args:
        forward_layers: Recurrent modules of one layer each.
        backward_layers: As many, or none to run in one direction.
        x_BLD: Inputs of the first layer.
        length_B: Number of valid steps of each sequence.
        state: What an earlier call returned, with forward layers only; None at the start.
        dropout: Share of the outputs between two layers that is dropped in training.
    """
    h_BLH, states = x_BLD, []
    # Padding is on the right. Running to the right, no valid step sees it; running to the left, all would.
    flip_BL1 = flip_inside(length_B, x_BLD.shape[1]) if len(backward_layers) else None
    for number, layer in enumerate(forward_layers):
        if number:
            h_BLH = F.dropout(h_BLH, dropout, layer.training)
        forward_BLH, last = layer(h_BLH, None if state is None else state[number])
        states.append(last)
        if flip_BL1 is None:
            h_BLH = forward_BLH
        else:
            backward_BLH, _ = backward_layers[number](flip(h_BLH, flip_BL1))
            h_BLH = torch.cat([forward_BLH, flip(backward_BLH, flip_BL1)], dim=-1)
    return h_BLH, states


def last_step(h_BLH: Tensor, length_B: Tensor, two_way: bool) -> Tensor:
    """Return the last valid step, (B, H); a backward direction ends at the first step, whose half replaces it."""
    last_BH = h_BLH[torch.arange(h_BLH.shape[0], device=h_BLH.device), length_B - 1]
    if not two_way:
        return last_BH
    half = h_BLH.shape[2] // 2
    return torch.cat([last_BH[:, :half], h_BLH[:, 0, half:]], dim=-1)


def flip_inside(length_B: Tensor, steps: int) -> Tensor:
    """Return the step to read in place of each step, (B, L, 1): reversed up to the length, unchanged after it."""
    step_L = torch.arange(steps, device=length_B.device)
    flip_BL = torch.where(step_L < length_B[:, None], length_B[:, None] - 1 - step_L, step_L)
    return flip_BL[..., None]


def flip(h_BLH: Tensor, flip_BL1: Tensor) -> Tensor:
    return h_BLH.gather(1, flip_BL1.expand_as(h_BLH))
