"""Mamba-2: a state space model with one decay for each head and step, computed in chunks by products of matrices.

Dao & Gu, 2024, https://arxiv.org/abs/2405.21060, listing 1 and figure 6

B batch, L length, D input_size, H hidden_size, E inner width, N heads, P width of a head, S width of a state,
M chunks, K steps of a chunk.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.models._mixing import Decay, RMSNorm, ShortConvolution, between, chunked
from bench.models._stack import Stack


class Model(Stack):
    """Encodes (B, L, D) into (B, L, H) by residual layers, with H = hidden_size.

    A layer has `num_heads` heads, whose widths add up to `expansion` times H, and `state_width` numbers of state for
    each of their channels. `layer_dropout` is the share of a layer's outputs that is dropped in training before they
    are added.
    """

    def __init__(
        self,
        input_size: int,
        length: int,
        *,
        hidden_size: int,
        num_layers: int = 2,
        num_heads: int = 4,
        state_width: int = 32,
        expansion: int = 2,
        bidirectional: bool = False,
        layer_dropout: float = 0.0,
    ) -> None:
        if expansion * hidden_size % num_heads:
            rule = f"must be a multiple of num_heads {num_heads} over expansion {expansion}"
            raise ValueError(f"hidden_size: {rule}, but found {hidden_size}")
        super().__init__(
            input_size,
            hidden_size,
            lambda: _Mixer(hidden_size, expansion * hidden_size, num_heads, state_width),
            num_layers=num_layers,
            bidirectional=bidirectional,
            layer_dropout=layer_dropout,
        )


class _Mixer(nn.Module):
    def __init__(self, width: int, inner: int, num_heads: int, state_width: int, kernel_size: int = 4) -> None:
        super().__init__()
        self.mixed = (inner, state_width, state_width)  # what passes the convolution: values, writes and reads
        self.project = nn.Linear(width, inner + sum(self.mixed) + num_heads, bias=False)
        self.convolution = ShortConvolution(sum(self.mixed), kernel_size, bias=True)
        self.decay = Decay(num_heads)
        self.skip = nn.Parameter(torch.ones(num_heads))
        self.norm = RMSNorm(inner)
        self.out = nn.Linear(inner, width, bias=False)
        self.state_size = self.convolution.state_size + inner * state_width

    def forward(self, x_BLH: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the outputs (B, L, H) and the state: last inputs of the convolution, and (B, N, S, P)."""
        past, state_BNSP = state or (None, None)
        heads = len(self.skip)
        gate_BLE, mixed, time_BLN = self.project(x_BLH).split((self.mixed[0], sum(self.mixed), heads), dim=-1)
        mixed, past = self.convolution(mixed, past)
        value_BLE, write_BLS, read_BLS = mixed.split(self.mixed, dim=-1)
        time_BLN, decay_BLN = self.decay(time_BLN)
        value_BLNP = value_BLE.unflatten(-1, (heads, -1))
        y_BLNP, state_BNSP = _dual(value_BLNP * time_BLN[..., None], decay_BLN, write_BLS, read_BLS, state_BNSP)
        y_BLE = (y_BLNP + self.skip[:, None] * value_BLNP).flatten(2)
        return self.out(self.norm(y_BLE * F.silu(gate_BLE))), (past, state_BNSP)


def _dual(
    v_BLNP: Tensor, log_decay_BLN: Tensor, write_BLS: Tensor, read_BLS: Tensor, state_BNSP: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return reads y(t) = r(t) S(t), with S(t) = decay(t) S(t-1) + w(t) v(t)', (B, L, N, P), and the last S.

    Within a chunk, y is a product of matrices like attention; between chunks, states are carried on.
    """
    v, log_decay, write_BMKS, read_BMKS = chunked(v_BLNP, log_decay_BLN, write_BLS, read_BLS)
    v_BMNKP = v.transpose(2, 3)
    decay_BMNKK, total_BMNK = between(log_decay.transpose(2, 3))
    score_BM1KK = (read_BMKS @ write_BMKS.transpose(-1, -2))[:, :, None]
    y_BMNKP = (score_BM1KK * decay_BMNKK) @ v_BMNKP
    to_end_BMNK1 = (total_BMNK[..., -1:] - total_BMNK).exp()[..., None]
    written_BMNSP = write_BMKS.transpose(-1, -2)[:, :, None] @ (v_BMNKP * to_end_BMNK1)
    if state_BNSP is None:
        state_BNSP = torch.zeros_like(written_BMNSP[:, 0])
    states = []
    for written_BNSP, kept_BN in zip(written_BMNSP.unbind(1), total_BMNK[..., -1].exp().unbind(1), strict=True):
        states.append(state_BNSP)
        state_BNSP = kept_BN[..., None, None] * state_BNSP + written_BNSP
    before_BMNSP = torch.stack(states, dim=1)
    y_BMNKP = y_BMNKP + total_BMNK.exp()[..., None] * (read_BMKS[:, :, None] @ before_BMNSP)
    return y_BMNKP.transpose(2, 3).flatten(1, 2)[:, : v_BLNP.shape[1]], state_BNSP
