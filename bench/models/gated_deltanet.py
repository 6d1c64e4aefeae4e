"""Gated DeltaNet: a linear memory that decays and replaces what a key had stored, computed in chunks.

Yang, Kautz & Hatamizadeh, 2024, https://arxiv.org/abs/2412.06464
Steps that reverse what is stored (negative eigenvalues): Grazzi et al., 2024, https://arxiv.org/abs/2411.12537

B batch, L length, D input_size, H hidden_size, N heads, Q width of a key, V width of a value, M chunks,
K steps of a chunk.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.models._mixing import Decay, RMSNorm, ShortConvolution, between, chunked
from bench.models._stack import Stack


class Model(Stack):
    """Encodes (B, L, D) into (B, L, H) by residual layers, with H = hidden_size.

    The keys of the `num_heads` heads have H numbers together, and the values `expansion` times as many. A step replaces
    a share of what the memory returns for its key: up to all of it, or up to twice as much with `negative_eigenvalues`.
    `layer_dropout` is the share of a layer's outputs that is dropped in training before they are added.
    """

    def __init__(
        self,
        input_size: int,
        length: int,
        *,
        hidden_size: int,
        num_layers: int = 2,
        num_heads: int = 2,
        expansion: int = 2,
        negative_eigenvalues: bool = False,
        bidirectional: bool = False,
        layer_dropout: float = 0.0,
    ) -> None:
        if hidden_size % num_heads:
            raise ValueError(f"hidden_size: must be a multiple of num_heads {num_heads}, but found {hidden_size}")
        super().__init__(
            input_size,
            hidden_size,
            lambda: _Mixer(hidden_size, num_heads, expansion, 2.0 if negative_eigenvalues else 1.0),
            num_layers=num_layers,
            bidirectional=bidirectional,
            layer_dropout=layer_dropout,
        )


class _Mixer(nn.Module):
    def __init__(self, width: int, num_heads: int, expansion: int, most: float, kernel_size: int = 4) -> None:
        super().__init__()
        self.num_heads, self.most = num_heads, most
        self.mixed = (width, width, expansion * width)  # what passes the convolution: queries, keys and values
        self.project = nn.Linear(width, sum(self.mixed) + self.mixed[2] + 2 * num_heads, bias=False)
        self.convolution = ShortConvolution(sum(self.mixed), kernel_size, bias=False)
        self.decay = Decay(num_heads)
        self.norm = RMSNorm(expansion * width // num_heads)
        self.out = nn.Linear(expansion * width, width, bias=False)
        self.memory = (num_heads, width // num_heads, expansion * width // num_heads)
        self.state_size = self.convolution.state_size + math.prod(self.memory)

    def forward(self, x_BLH: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the outputs (B, L, H) and the state: last inputs of the convolution, and (B, N, Q, V)."""
        past, state_BNQV = state or (None, x_BLH.new_zeros(x_BLH.shape[0], *self.memory))
        sizes = (sum(self.mixed), self.mixed[2], self.num_heads, self.num_heads)
        mixed, gate, time_BLN, share_BLN = self.project(x_BLH).split(sizes, dim=-1)
        mixed, past = self.convolution(mixed, past)
        q, k, v_BLNV = (part.unflatten(-1, (self.num_heads, -1)) for part in mixed.split(self.mixed, dim=-1))
        q_BLNQ, k_BLNQ = F.normalize(q, dim=-1) * q.shape[-1] ** -0.5, F.normalize(k, dim=-1)
        _, decay_BLN = self.decay(time_BLN)
        # ONNX keeps the loop of a script, so that any number of steps can follow.
        is_tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        rule = torch.jit.script(_step_by_step) if is_tracing else _delta_rule
        o_BLNV, state_BNQV = rule(q_BLNQ, k_BLNQ, v_BLNV, decay_BLN, self.most * share_BLN.sigmoid(), state_BNQV)
        o_BLNV = self.norm(o_BLNV) * F.silu(gate.unflatten(-1, (self.num_heads, -1)))
        return self.out(o_BLNV.flatten(2)), (past, state_BNQV)


def _delta_rule(
    q_BLNQ: Tensor, k_BLNQ: Tensor, v_BLNV: Tensor, log_decay_BLN: Tensor, share_BLN: Tensor, state_BNQV: Tensor
) -> tuple[Tensor, Tensor]:
    """Return reads o(t) = q(t) S(t), (B, L, N, V), and the last S, of the gated delta rule.

    S(t) = decay(t) (1 - share(t) k(t) k(t)') S(t-1) + share(t) k(t) v(t)'. Within a chunk, what the steps write solves
    a triangular system of equations (the WY representation); it has a part from values and one from the state before.
    """
    parts = chunked(q_BLNQ, k_BLNQ, v_BLNV, log_decay_BLN[..., None], share_BLN[..., None])
    q, k, v, log_decay, share = (part.transpose(2, 3) for part in parts)  # (B, M, N, K, …) each
    decay_BMNKK, total_BMNK = between(log_decay[..., 0])
    kept = total_BMNK.exp()[..., None]
    system = share * (k @ k.mT) * decay_BMNKK
    right = torch.cat([share * v, share * kept * k], dim=-1)
    solved = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)
    from_value, from_state = solved.split((v.shape[-1], k.shape[-1]), dim=-1)
    within, reads = (q @ k.mT) * decay_BMNKK, kept * q
    to_end = (total_BMNK[..., -1:] - total_BMNK).exp()[..., None] * k
    outputs = []
    for chunk in range(v.shape[1]):
        written = from_value[:, chunk] - from_state[:, chunk] @ state_BNQV
        outputs.append(reads[:, chunk] @ state_BNQV + within[:, chunk] @ written)
        state_BNQV = kept[:, chunk, :, -1:] * state_BNQV + to_end[:, chunk].mT @ written
    o = torch.stack(outputs, dim=1).transpose(2, 3)
    return o.flatten(1, 2)[:, : v_BLNV.shape[1]], state_BNQV


def _step_by_step(
    q_BLNQ: Tensor, k_BLNQ: Tensor, v_BLNV: Tensor, log_decay_BLN: Tensor, share_BLN: Tensor, state_BNQV: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what `_delta_rule` returns, one step after the other."""
    outputs = []
    for step in range(log_decay_BLN.shape[1]):
        key_BNQ1, decay_BN11 = k_BLNQ[:, step, :, :, None], log_decay_BLN[:, step, :, None, None].exp()
        state_BNQV = decay_BN11 * state_BNQV
        stored_BN1V = key_BNQ1.transpose(-1, -2) @ state_BNQV
        written_BN1V = share_BLN[:, step, :, None, None] * (v_BLNV[:, step, :, None] - stored_BN1V)
        state_BNQV = state_BNQV + key_BNQ1 @ written_BN1V
        outputs.append((q_BLNQ[:, step, :, None] @ state_BNQV)[:, :, 0])
    return torch.stack(outputs, 1), state_BNQV
