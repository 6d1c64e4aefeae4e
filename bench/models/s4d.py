"""Diagonal state space model S4D: a linear recurrence, computed for whole sequences as a convolution.

Gu, Gupta, Goel & Ré, 2022, https://arxiv.org/abs/2206.11893; their code: https://github.com/state-spaces/s4

B batch, L length, D input_size, H hidden_size, N states of a channel (a complex one stands for itself and its
conjugate), S and M steps: L steps are read as M rows of S, both about sqrt(L).
"""

import contextlib
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INITIALISATIONS = ("lin", "real")

SLOW = 0.1
"""Decays, frequencies and step sizes are stored in this unit, so that Adam changes them a tenth as fast as the rest.

The authors train them at a learning rate of 1e-3 beside 1e-2. They are vectors, which have no weight decay here, as the
authors' have none.
"""


class Model(nn.Module):
    """Encodes (B, L, D) into (B, L, H), each step from the steps before it.

    Every layer runs each channel through `num_states` real numbers of state. `initialisation` "lin" starts them as
    num_states / 2 oscillators, A_n = -1/2 + i pi n, "real" as decays, A_n = -(n + 1) (section 4.4 of the paper).
    `layer_dropout` is the share of each layer's outputs that is dropped in training before they are added.
    """

    causal = True

    def __init__(
        self,
        input_size: int,
        length: int,
        *,
        hidden_size: int,
        num_layers: int = 2,
        num_states: int = 64,
        initialisation: str = "lin",
        layer_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if initialisation not in INITIALISATIONS:
            raise ValueError(f"initialisation: one of {', '.join(INITIALISATIONS)}, but found {initialisation!r}")
        if num_states % 2:
            raise ValueError(f"num_states: must be even, but found {num_states}")
        self.output_size = self.summary_size = hidden_size
        self.kept = num_layers * hidden_size * num_states
        self.embed = nn.Linear(input_size, hidden_size)
        self.blocks = nn.ModuleList(
            _Block(hidden_size, num_states, initialisation, layer_dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(hidden_size)

    def forward(
        self, x_BLD: Tensor, length_B: Tensor, state: list[Tensor] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Return h_BLH and each layer's state."""
        # Padding is on the right, so no valid step sees it.
        h_BLH, states = self.embed(x_BLD), []
        for number, block in enumerate(self.blocks):
            h_BLH, after = block(h_BLH, None if state is None else state[number])
            states.append(after)
        return self.norm(h_BLH), states

    def summary(self, h_BLH: Tensor, length_B: Tensor) -> Tensor:
        """Return the last valid step, (B, H)."""
        return h_BLH[torch.arange(h_BLH.shape[0], device=h_BLH.device), length_B - 1]

    def state_size(self, length: int) -> int:
        """Return how many numbers the states of all layers hold, at any length."""
        return self.kept


class _Block(nn.Module):
    """Normalisation, state space and a gated linear map of its outputs, with a shortcut around them."""

    def __init__(self, width: int, num_states: int, initialisation: str, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm = nn.LayerNorm(width)
        self.space = _StateSpace(width, num_states, initialisation)
        self.mix = nn.Linear(width, 2 * width)

    def forward(self, h_BLH: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        y_BHL, state = self.space(self.norm(h_BLH).transpose(1, 2), state)
        mixed_BLH = F.glu(self.mix(F.gelu(y_BHL).transpose(1, 2)))
        return h_BLH + F.dropout(mixed_BLH, self.dropout, self.training), state


class _StateSpace(nn.Module):
    """Runs each channel u through x' = A x + B u and y = 2 Re(C x) + skip u, with u constant during a step of time dt.

    With a = exp(A dt), a step makes the state a times itself plus u; what is left of B, (a - 1) / A, is multiplied into
    C. So a whole sequence is convolved with the kernel 2 Re(C B a^l), l = 0, 1, …. With "real", nothing is doubled.
    """

    def __init__(self, width: int, num_states: int, initialisation: str) -> None:
        super().__init__()
        self.is_complex = initialisation == "lin"
        size = num_states // 2 if self.is_complex else num_states
        decay_N = torch.full((size,), 0.5) if self.is_complex else 1.0 + torch.arange(size)
        self.log_step = nn.Parameter(torch.empty(width).uniform_(math.log(0.001), math.log(0.1)) / SLOW)
        self.log_decay = nn.Parameter(decay_N.log().repeat(width) / SLOW)
        if self.is_complex:
            self.frequency = nn.Parameter(math.pi * torch.arange(size).repeat(width) / SLOW)
            self.output = nn.Parameter(torch.randn(width, size, 2) * math.sqrt(0.5))
        else:
            self.output = nn.Parameter(torch.randn(width, size))
        self.skip = nn.Parameter(torch.randn(width))

    def forward(self, u_BHL: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the outputs (B, H, L) and the state, (B, H, N), or (B, H, N, 2) for complex numbers."""
        is_mixed = torch.amp.is_autocast_available(u_BHL.device.type)
        with torch.autocast(u_BHL.device.type, enabled=False) if is_mixed else contextlib.nullcontext():
            u_BHL = u_BHL.to(self.skip.dtype)
            before_BHN = torch.view_as_complex(state) if state is not None and self.is_complex else state
            act = self._step if u_BHL.shape[2] == 1 else self._convolve
            y_BHL, after_BHN = act(u_BHL, before_BHN)
            y_BHL = y_BHL + self.skip[:, None] * u_BHL
        return y_BHL, torch.view_as_real(after_BHN) if self.is_complex else after_BHN

    def rates(self) -> tuple[Tensor, Tensor]:
        """Return A dt and C B of each state, (H, N)."""
        a_HN: Tensor = -(SLOW * self.log_decay).exp().view(self.output.shape[:2])
        c_HN: Tensor = self.output
        if self.is_complex:
            a_HN = torch.complex(a_HN, (SLOW * self.frequency).view_as(a_HN))
            c_HN = torch.view_as_complex(self.output)
        rate_HN = a_HN * (SLOW * self.log_step).exp()[:, None]
        return rate_HN, c_HN * (rate_HN.exp() - 1) / a_HN

    def _step(self, u_BH1: Tensor, before_BHN: Tensor | None) -> tuple[Tensor, Tensor]:
        rate_HN, weight_HN = self.rates()
        state_BHN = u_BH1.to(rate_HN.dtype).expand(-1, -1, rate_HN.shape[1])
        if before_BHN is not None:
            state_BHN = state_BHN + rate_HN.exp() * before_BHN
        y_BH = (weight_HN * state_BHN).sum(-1)
        return (2 * y_BH.real if self.is_complex else y_BH)[..., None], state_BHN

    def _convolve(self, u_BHL: Tensor, before_BHN: Tensor | None) -> tuple[Tensor, Tensor]:
        steps = u_BHL.shape[2]
        rate_HN, weight_HN = self.rates()
        powers = _powers(rate_HN, steps)
        kernel_BHL = self._read(weight_HN[None], *powers)[..., :steps]
        transformed = torch.fft.rfft(u_BHL, 2 * steps) * torch.fft.rfft(kernel_BHL, 2 * steps)
        y_BHL = torch.fft.irfft(transformed, 2 * steps)[..., :steps]
        state_BHN = self._last_state(u_BHL, *powers)
        if before_BHN is not None:
            y_BHL = y_BHL + self._read(weight_HN * rate_HN.exp() * before_BHN, *powers)[..., :steps]
            state_BHN = state_BHN + (rate_HN * steps).exp() * before_BHN
        return y_BHL, state_BHN

    def _read(self, weight_BHN: Tensor, rows_HNM: Tensor, steps_HNS: Tensor) -> Tensor:
        """Return the kernel 2 Re(weight a^l), (B, H, M S), as a product of matrices of real numbers."""
        left_BHNM, right_HNS = weight_BHN[..., None] * rows_HNM, steps_HNS
        if self.is_complex:
            left_BHNM = 2 * torch.cat([left_BHNM.real, -left_BHNM.imag], dim=2)
            right_HNS = torch.cat([right_HNS.real, right_HNS.imag], dim=1)
        return torch.einsum("bhnm,hns->bhms", left_BHNM, right_HNS).flatten(2)

    def _last_state(self, u_BHL: Tensor, rows_HNM: Tensor, steps_HNS: Tensor) -> Tensor:
        """Return the state after the last step, (B, H, N): the sum of a^(L - 1 - l) u_l."""
        size = steps_HNS.shape[2]
        padded = F.pad(u_BHL, (rows_HNM.shape[2] * size - u_BHL.shape[2], 0))
        u_BHMS = padded.reshape(*u_BHL.shape[:2], -1, size)
        # Rows and the steps of a row end with the last step, whose power is 0.
        late_HNS, late_HNM = steps_HNS.flip(2), rows_HNM.flip(2)
        if not self.is_complex:
            return torch.einsum("bhmn,hnm->bhn", torch.einsum("bhms,hns->bhmn", u_BHMS, late_HNS), late_HNM)
        parts = torch.einsum("bhms,hnsc->bhmnc", u_BHMS, torch.view_as_real(late_HNS))
        return torch.einsum("bhmn,hnm->bhn", torch.view_as_complex(parts), late_HNM)


def _powers(rate_HN: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Return a^(S m) for rows m, (H, N, M), and a^s for the steps of a row, (H, N, S); a power is a product of two."""
    size = math.isqrt(steps - 1) + 1
    rows_M = size * torch.arange(-(-steps // size), device=rate_HN.device)
    steps_S = torch.arange(size, device=rate_HN.device)
    return (rate_HN[..., None] * rows_M).exp(), (rate_HN[..., None] * steps_S).exp()
