"""The layers between a task and an encoder that every baseline shares.

B batch, L steps, D input width, E embedding width, H hidden width, V vocabulary.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.config.contracts import ForecastTask
from bench.config.settings import TrainSettings

MIN_KERNEL = 7  # steps, of a stem


def valid(length_B: Tensor, steps: int) -> Tensor:
    """Return which steps are no padding, (B, L) bool."""
    return torch.arange(steps, device=length_B.device) < length_B[:, None]


def embedding(size: int, width: int, std: float) -> nn.Embedding:
    """Return an embedding whose initial weights are normal with mean 0 and deviation `std`."""
    made = nn.Embedding(size, width)
    with torch.no_grad():
        made.weight.mul_(std)
    return made


class Readout:
    """What the head reads of a sequence; see `readout` of TrainSettings. It has no parameters of its own."""

    def __init__(self, kind: str, encoder: nn.Module, steps: int) -> None:
        self.kind, self.encoder = kind, encoder
        summary, outputs = int(encoder.summary_size), int(encoder.output_size)  # type: ignore[arg-type]
        self.size = {"summary": summary, "all": summary + 2 * outputs, "flat": steps * outputs}.get(kind, outputs)

    def __call__(self, h_BLH: Tensor, length_B: Tensor) -> Tensor:
        """Return one vector for each sequence, (B, size), from the outputs of the encoder."""
        if self.kind == "flat":
            return h_BLH.flatten(1)
        parts = []
        if self.kind in ("summary", "all"):
            parts.append(self.encoder.summary(h_BLH, length_B))  # type: ignore[operator]
        if self.kind in ("mean", "all"):
            kept_BLH = h_BLH.masked_fill(~valid(length_B, h_BLH.shape[1])[..., None], 0.0)
            parts.append(kept_BLH.sum(1) / length_B[:, None])
        if self.kind in ("max", "all"):
            kept_BLH = h_BLH.masked_fill(~valid(length_B, h_BLH.shape[1])[..., None], -torch.inf)
            parts.append(kept_BLH.amax(1))
        return torch.cat(parts, dim=-1)


class TiedHead(nn.Module):
    """An output layer that shares the weights (V, E) of the embedding.

    Press & Wolf, 2017, https://arxiv.org/abs/1608.05859. An encoder of another width than E is projected to it.
    """

    def __init__(self, width: int, embedded: nn.Embedding) -> None:
        super().__init__()
        self._embedding = [embedded]  # in a list, so that its weights have one name in a state_dict
        self.projection = nn.Linear(width, embedded.embedding_dim) if width != embedded.embedding_dim else None
        self.bias = nn.Parameter(torch.zeros(embedded.num_embeddings))

    @property
    def weight(self) -> Tensor:
        """The weights of the embedding, (V, E)."""
        return self._embedding[0].weight

    def forward(self, h: Tensor) -> Tensor:
        """Return logits (..., V) of outputs (..., H)."""
        return F.linear(h if self.projection is None else self.projection(h), self.weight, self.bias)


class Stem(nn.Module):
    """A strided convolution before the encoder, which sees shorter sequences of local shapes.

    Steps outside a sequence count as zero, also padding, so that padding changes no valid output. A sequence of l steps
    becomes one of ceil(l / stride). The kernel is centred: an output sees `kernel // 2` steps on either side.
    """

    def __init__(self, input_size: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride, self.kernel = stride, max(MIN_KERNEL, 2 * stride + 1)
        self.convolution = nn.Conv1d(input_size, channels, self.kernel, stride, padding=self.kernel // 2)

    def lengths(self, length_B: Tensor) -> Tensor:
        """Return the numbers of steps that the encoder sees of sequences."""
        return (length_B + self.stride - 1) // self.stride

    def steps(self, steps: int) -> int:
        """Return the number of steps that the encoder sees."""
        return math.ceil(steps / self.stride)

    def forward(self, x_BLD: Tensor, length_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, ceil(L / stride), channels), and the lengths of the sequences in it."""
        x_BLD = x_BLD.masked_fill(~valid(length_B, x_BLD.shape[1])[..., None], 0.0)
        h_BCL = F.gelu(self.convolution(x_BLD.transpose(1, 2)))
        return h_BCL.transpose(1, 2), self.lengths(length_B)


class Window(nn.Module):
    """What a forecast adds around encoder and head: normalisation, patches, one target by itself, a linear skip.

    Every window has `num_steps` steps, the next multiple of the patch: a shorter one begins with its first row again
    and again, and padding is cut off. With `channel_independent`, each target is a sequence of its own, beside the
    features, which all targets share. Targets are normalised, features never are: their level is information.

    RevIN: Kim et al., 2022, https://openreview.net/forum?id=cGDAkQo1C0p. Patches and one model for each series: Nie et
    al., 2023 (PatchTST), https://arxiv.org/abs/2211.14730, whose patches overlap. The linear skip is NLinear of Zeng et
    al., 2023, https://arxiv.org/abs/2205.13504

    N steps of the window, P steps of a patch, T targets, F features, H horizon, S sequences: B, or B T.
    """

    EPSILON = 1e-5  # of a variance, as in RevIN

    def __init__(self, task: ForecastTask, settings: TrainSettings) -> None:
        super().__init__()
        self.num_targets, self.horizon, self.kind = task.num_targets, task.horizon, settings.input_normalisation
        self.series = task.num_targets if settings.channel_independent else 1
        self.patch = min(settings.patch_size, task.num_steps)
        self.steps = math.ceil(task.num_steps / self.patch)  # that the encoder sees
        self.num_steps = self.steps * self.patch
        self.num_features = task.input_size - task.num_targets
        channels = self.num_features + task.num_targets // self.series
        self.width = channels * self.patch  # of a step that the encoder sees
        self.output_size = task.horizon * task.num_targets // self.series  # of the head
        affine = task.num_targets if self.series == 1 else 1
        self.scale = nn.Parameter(torch.ones(affine)) if self.kind == "revin" else None
        self.shift = nn.Parameter(torch.zeros(affine)) if self.kind == "revin" else None
        self.skip = nn.Linear(self.num_steps, task.horizon) if settings.linear_skip else None
        if self.skip is not None:  # the forecast begins at the last value
            nn.init.zeros_(self.skip.weight)
            nn.init.zeros_(self.skip.bias)

    @staticmethod
    def is_asked_for(settings: TrainSettings) -> bool:
        """Return whether a setting needs this layer."""
        return (
            settings.input_normalisation != "none"
            or settings.channel_independent
            or settings.linear_skip
            or settings.patch_size > 1
            or settings.readout == "flat"
        )

    def forward(self, x_BLD: Tensor, length_B: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Return what the encoder sees, (S, N / P, width), its lengths (S,), and what `restore` needs."""
        step_BN = (torch.arange(self.num_steps, device=x_BLD.device) - self.num_steps + length_B[:, None]).clamp(min=0)
        x_BND = x_BLD.gather(1, step_BN[..., None].expand(-1, -1, x_BLD.shape[-1]))
        target_BNT, level_B1T, deviation_B1T = self._normalised(x_BND[..., : self.num_targets])
        inputs_SND, feature_BNF = target_BNT, x_BND[..., self.num_targets :]
        if self.series > 1:
            inputs_SND = target_BNT.transpose(1, 2).reshape(-1, self.num_steps, 1)
            feature_BNF = feature_BNF[:, None].expand(-1, self.series, -1, -1).flatten(0, 1)
            length_B = length_B[:, None].expand(-1, self.series).flatten()
        if self.num_features:  # ONNX cannot reshape tensors of no size
            inputs_SND = torch.cat([inputs_SND, feature_BNF], dim=-1)
        patches = inputs_SND.reshape(-1, self.steps, self.width)
        return patches, torch.full_like(length_B, self.steps), (target_BNT, level_B1T, deviation_B1T)

    def _normalised(self, target_BNT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return normalised targets, and the level and deviation that were taken from them, (B, 1, T) each."""
        last_B1T = target_BNT[:, -1:]
        if self.kind == "none":
            return target_BNT, torch.zeros_like(last_B1T), torch.ones_like(last_B1T)
        if self.scale is None or self.shift is None:
            return target_BNT - last_B1T, last_B1T, torch.ones_like(last_B1T)
        level_B1T = target_BNT.mean(1, keepdim=True)
        deviation_B1T = ((target_BNT - level_B1T).square().mean(1, keepdim=True) + self.EPSILON).sqrt()
        normal_BNT = (target_BNT - level_B1T) / deviation_B1T
        return normal_BNT * self.scale + self.shift, level_B1T, deviation_B1T

    def restore(self, answers: Tensor, context: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return forecasts on the scale of the input, (B, H T), from the outputs of the head, (S, output_size)."""
        target_BNT, level_B1T, deviation_B1T = context
        if self.series > 1:
            forecast_BHT = answers.view(-1, self.num_targets, self.horizon).transpose(1, 2)
        else:
            forecast_BHT = answers.view(-1, self.horizon, self.num_targets)
        if self.skip is not None:
            last_B1T = target_BNT[:, -1:]
            forecast_BHT = forecast_BHT + last_B1T + self.skip((target_BNT - last_B1T).transpose(1, 2)).transpose(1, 2)
        if self.scale is not None and self.shift is not None:
            forecast_BHT = (forecast_BHT - self.shift) / (self.scale + self.EPSILON**2)
        return (forecast_BHT * deviation_B1T + level_B1T).flatten(1)
