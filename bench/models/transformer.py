"""Decoder-only Transformer: pre-norm blocks of causal self-attention and a feed-forward network.

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
    """Encodes (B, L, D) into (B, L, H) with H = num_heads * head_size."""

    causal = True

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
    ) -> None:
        super().__init__()
        if position not in POSITIONS:
            raise ValueError(f"position: one of {', '.join(POSITIONS)}, but found {position!r}")
        if position == "rope" and head_size % 2:
            raise ValueError(f"head_size: must be even for rotary positions, but found {head_size}")
        width = num_heads * head_size
        self.position, self.head_size = position, head_size
        self.output_size = self.summary_size = width
        self.embed = nn.Linear(input_size, width)
        self.blocks = nn.ModuleList(_Block(width, num_heads, feedforward_multiplier) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # Residual paths add 2 num_layers projections; GPT-2's scaling keeps the variance of the sum at 1.
                scale = math.sqrt(2 * num_layers) if name.endswith("out.weight") else 1.0
                nn.init.normal_(parameter, std=0.02 / scale)
        nn.init.xavier_uniform_(self.embed.weight)

    def forward(self, x_BLD: Tensor, length_B: Tensor, state: Cache | None = None) -> tuple[Tensor, Cache]:
        """Return h_BLH and the keys and values of all steps so far."""
        # Padding is on the right and attention looks to the left, so no valid step sees it.
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
            h_BLH, seen = block(h_BLH, turn, None if state is None else state[layer])
            cache.append(seen)
        return self.norm(h_BLH), cache

    def summary(self, h_BLH: Tensor, length_B: Tensor) -> Tensor:
        """Return the last valid step, (B, H), which has seen all others."""
        return h_BLH[torch.arange(h_BLH.shape[0], device=h_BLH.device), length_B - 1]

    def state_size(self, length: int) -> int:
        """Return how many numbers the keys and values of `length` steps hold."""
        return 2 * length * len(self.blocks) * self.output_size


class _Block(nn.Module):
    def __init__(self, width: int, num_heads: int, feedforward_multiplier: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.feedforward_in = nn.Linear(width, feedforward_multiplier * width)
        self.feedforward_out = nn.Linear(feedforward_multiplier * width, width)

    def forward(
        self, h_BLH: Tensor, turn: tuple[Tensor, Tensor] | None, seen: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
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
        mask_LS = None
        if start and length > 1:
            mask_LS = torch.ones(length, start + length, dtype=torch.bool, device=h_BLH.device).tril(start)
        # No dropout on attention: with it, PyTorch uses a kernel whose memory is quadratic in the length.
        mixed_BNLK = F.scaled_dot_product_attention(q_BNLK, k_BNSK, v_BNSK, mask_LS, is_causal=not start)
        h_BLH = h_BLH + self.attention_out(mixed_BNLK.transpose(1, 2).reshape(batch, length, width))
        h_BLH = h_BLH + self.feedforward_out(F.gelu(self.feedforward_in(self.norm_2(h_BLH))))
        return h_BLH, (k_BNSK, v_BNSK)


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
