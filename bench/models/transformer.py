"""Transformer: pre-norm blocks of self-attention, causal or in both directions, and a feed-forward network.

Vaswani et al., 2017, https://arxiv.org/abs/1706.03762; pre-norm: Xiong et al., 2020, https://arxiv.org/abs/2002.04745
Rotary positions: Su et al., 2021, https://arxiv.org/abs/2104.09864

B batch, L length, D input_size, H width, N heads, K head width, S steps so far.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Cache = list[tuple[Tensor, Tensor]]  # of each layer: keys and values (B, N, S, K)

POSITIONS = ("rope", "sinusoidal", "none")


class Model(nn.Module):
    """Encodes (B, L, D) into (B, L, H) with H = num_heads * head_size.

    Each step attends to the steps up to it, or to all valid steps if `bidirectional`. `layer_dropout` is the share of
    each sublayer's outputs that is dropped in training before they are added (Vaswani et al. 2017, section 5.4).
    """

    def __init__(
        self,
        input_size: int,
        length: int,
        *,
        num_layers: int = 2,
        num_heads: int = 4,
        head_size: int = 16,
        feedforward_multiplier: int = 4,
        position: str = "rope",
        bidirectional: bool = False,
        layer_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if position not in POSITIONS:
            raise ValueError(f"position: one of {', '.join(POSITIONS)}, but found {position!r}")
        if position == "rope" and head_size % 2:
            raise ValueError(f"head_size: must be even for rotary positions, but found {head_size}")
        width = num_heads * head_size
        self.position, self.head_size, self.bidirectional = position, head_size, bidirectional
        self.causal = not bidirectional
        self.output_size = self.summary_size = width
        self.embed = nn.Linear(input_size, width)
        self.blocks = nn.ModuleList(
            _Block(width, num_heads, feedforward_multiplier, layer_dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # Residual paths add 2 num_layers projections; GPT-2's scaling keeps the variance of the sum at 1.
                scale = math.sqrt(2 * num_layers) if name.endswith("out.weight") else 1.0
                nn.init.normal_(parameter, std=0.02 / scale)
        nn.init.xavier_uniform_(self.embed.weight)

    def forward(self, x_BLD: Tensor, length_B: Tensor, state: Cache | None = None) -> tuple[Tensor, Cache]:
        """Return h_BLH and the keys and values of all steps so far; none of them if bidirectional."""
        # Padding is on the right, so that no valid step sees it if attention looks to the left only.
        valid_B11L = None
        if self.bidirectional:
            state = None
            valid_B11L = (torch.arange(x_BLD.shape[1], device=x_BLD.device) < length_B[:, None])[:, None, None]
        start = 0 if state is None else state[0][0].shape[2]
        h_BLH = self.embed(x_BLD)
        turn = None
        if self.position != "none":
            width = self.head_size if self.position == "rope" else self.output_size
            turn = _angles(start, x_BLD.shape[1], width, h_BLH)
        if self.position == "sinusoidal" and turn is not None:
            h_BLH, turn = h_BLH + torch.cat(turn, dim=-1), None
        cache = []
        for layer, block in enumerate(self.blocks):
            h_BLH, seen = block(h_BLH, turn, None if state is None else state[layer], valid_B11L)
            cache.append(seen)
        return self.norm(h_BLH), [] if self.bidirectional else cache

    def summary(self, h_BLH: Tensor, length_B: Tensor) -> Tensor:
        """Return the last valid step, (B, H), which has seen all others; the mean of valid steps if bidirectional."""
        if self.bidirectional:
            valid_BL = torch.arange(h_BLH.shape[1], device=h_BLH.device) < length_B[:, None]
            return (h_BLH * valid_BL[..., None]).sum(1) / length_B[:, None]
        return h_BLH[torch.arange(h_BLH.shape[0], device=h_BLH.device), length_B - 1]

    def state_size(self, length: int) -> int:
        """Return how many numbers the keys and values of `length` steps hold; 0 if bidirectional."""
        return 0 if self.bidirectional else 2 * length * len(self.blocks) * self.output_size


class _Block(nn.Module):
    def __init__(self, width: int, num_heads: int, feedforward_multiplier: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.feedforward_in = nn.Linear(width, feedforward_multiplier * width)
        self.feedforward_out = nn.Linear(feedforward_multiplier * width, width)

    def forward(
        self,
        h_BLH: Tensor,
        turn: tuple[Tensor, Tensor] | None,
        seen: tuple[Tensor, Tensor] | None,
        valid_B11L: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the outputs, and keys and values of all steps; with `valid_B11L`, each attends to all valid ones."""
        batch, length, width = h_BLH.shape
        qkv = self.qkv(self.norm_1(h_BLH)).view(batch, length, 3, self.num_heads, -1)
        qk, v_BLNK = qkv[:, :, :2], qkv[:, :, 2]
        if turn is not None:
            qk = _rotate(qk, *turn)
        q_BNLK, k_BNSK = qk.permute(2, 0, 3, 1, 4)
        v_BNSK = v_BLNK.transpose(1, 2)
        start = 0 if seen is None else seen[0].shape[2]
        if seen is not None:
            k_BNSK, v_BNSK = torch.cat([seen[0], k_BNSK], dim=2), torch.cat([seen[1], v_BNSK], dim=2)
        mask = valid_B11L
        if mask is None and start and length > 1:
            mask = torch.ones(length, start + length, dtype=torch.bool, device=h_BLH.device).tril(start)
        # No dropout on attention: with it, PyTorch uses a kernel whose memory is quadratic in the length.
        is_causal = valid_B11L is None and not start
        mixed_BNLK = F.scaled_dot_product_attention(q_BNLK, k_BNSK, v_BNSK, mask, is_causal=is_causal)
        h_BLH = h_BLH + self._drop(self.attention_out(mixed_BNLK.transpose(1, 2).reshape(batch, length, width)))
        h_BLH = h_BLH + self._drop(self.feedforward_out(F.gelu(self.feedforward_in(self.norm_2(h_BLH)))))
        return h_BLH, (k_BNSK, v_BNSK)

    def _drop(self, h_BLH: Tensor) -> Tensor:
        return F.dropout(h_BLH, self.dropout, self.training) if self.dropout else h_BLH


def _angles(start: int, length: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines and sines (L, width / 2) of the positions that begin at `start`."""
    frequency = 10_000 ** (-torch.arange(0, width, 2, device=like.device, dtype=torch.float32) / width)
    angle = torch.arange(start, start + length, device=like.device)[:, None] * frequency
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def _rotate(qk: Tensor, cos_LK: Tensor, sin_LK: Tensor) -> Tensor:
    """Turn the pairs (first half, second half) of each head by their step's angles; qk is (B, L, 2, N, K)."""
    first, second = qk.chunk(2, dim=-1)
    cos, sin = (part[:, None, None].repeat(1, 1, 1, 2) for part in (cos_LK, sin_LK))
    return qk * cos + torch.cat([-second, first], dim=-1) * sin
