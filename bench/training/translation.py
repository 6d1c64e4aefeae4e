"""The decoder of a translation: a second model of the same kind, which writes the target one token after the other.

At every step it reads the last token and a vector that stands for the source, the encoder's summary (Cho et al., 2014,
https://arxiv.org/abs/1406.1078). So it needs no more of a model than `forward(x, length, state)`. With attention, what
it makes of a step is joined with a weighted mean of the encoder's outputs (Luong et al., 2015, global attention with
the general score, https://arxiv.org/abs/1508.04025).

B batch, S steps of the source, T steps of the target, E embedding width, C context width, H and K output widths of
encoder and decoder, V vocabulary of the target, W width of a beam.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.config.contracts import TranslationTask
from bench.config.settings import TrainSettings
from bench.errors import BenchError
from bench.training import layers

UNKNOWN, END = 0, 1  # tokens of the target that are never written, and that end it; see TranslationTask
BEAM = 5


class Source(NamedTuple):
    """What the decoder sees of sources."""

    context: Tensor  # (B, C)
    outputs: Tensor  # of the encoder, (B, S, H)
    valid: Tensor  # (B, S) bool

    def repeated(self, times: int) -> "Source":
        """Return the sources with each of them several times, one after the other."""
        return Source(*(part.repeat_interleave(times, dim=0) for part in self))


class Decoder(nn.Module):
    """Embedding, model and attention of the target; the output layer is the head of the module."""

    def __init__(
        self, model: Any, task: TranslationTask, settings: TrainSettings, arguments: dict[str, Any], encoder: nn.Module
    ) -> None:
        super().__init__()
        self.encoder_size, self.context_size = int(encoder.output_size), int(encoder.summary_size)  # type: ignore[arg-type]
        self.steps = task.target_steps
        self.embedding = layers.embedding(task.output_size, settings.embedding_size, settings.embedding_std)
        one_way = arguments | ({"bidirectional": False} if "bidirectional" in arguments else {})
        self.model = model(settings.embedding_size + self.context_size, self.steps, **one_way)
        if not self.model.causal:
            raise BenchError("a decoder may not see the words that it has yet to write, and this model does")
        self.output_size = int(self.model.output_size)
        self.score = nn.Linear(self.output_size, self.encoder_size, bias=False) if settings.attention else None
        self.join = nn.Linear(self.output_size + self.encoder_size, self.output_size) if settings.attention else None
        self.embedding_dropout = nn.Dropout(settings.embedding_dropout)

    def state_size(self, source_steps: int) -> int:
        """Return how many numbers are kept to write the last token: the state, and what is seen of the source."""
        seen = self.context_size + (source_steps * self.encoder_size if self.score is not None else 0)
        return int(self.model.state_size(self.steps)) + seen

    def forward(self, source: Source, last_BT: Tensor, length_B: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return what the head reads, (B, T, K), and the state. `last_BT` holds the token before each step."""
        context_BTC = source.context[:, None].expand(-1, last_BT.shape[1], -1)
        x_BTD = torch.cat([self.embedding_dropout(self.embedding(last_BT)), context_BTC], dim=-1)
        k_BTK, state = self.model(x_BTD, length_B, state)
        if self.score is not None and self.join is not None:
            scores_BTS = self.score(k_BTK) @ source.outputs.transpose(1, 2)
            scores_BTS = scores_BTS.masked_fill(~source.valid[:, None], -math.inf)
            seen_BTH = scores_BTS.softmax(-1) @ source.outputs
            k_BTK = torch.tanh(self.join(torch.cat([seen_BTH, k_BTK], dim=-1)))
        return k_BTK, state

    def taught(self, source: Source, y_BT: Tensor, length_B: Tensor) -> Tensor:
        """Return what the head reads at each step, (B, T, K), where the tokens before it are those of the target."""
        last_BT = F.pad(y_BT[:, :-1], (1, 0), value=END)
        return self(source, last_BT, length_B)[0]

    @torch.no_grad()
    def greedy(self, source: Source, head: nn.Module) -> Tensor:
        """Return the likeliest token at each step, given those before it, (B, T) with <eos> after the last.

        Every row is independent of the others. <unk> is not written.
        """
        count, device = len(source.context), source.context.device
        written_BT = torch.full((count, self.steps), END, dtype=torch.int64, device=device)
        one_B = torch.ones(count, dtype=torch.int64, device=device)
        last_B, state = one_B * END, None
        is_over_B = torch.zeros(count, dtype=torch.bool, device=device)
        for step in range(self.steps):
            k_B1K, state = self(source, last_B[:, None], one_B, state)
            logits_BV = head(k_B1K[:, 0])
            logits_BV[:, UNKNOWN] = -math.inf
            last_B = logits_BV.argmax(-1).masked_fill(is_over_B, END)
            written_BT[:, step] = last_B
            is_over_B = is_over_B | (last_B == END)
            if bool(is_over_B.all()):
                break
        return written_BT

    @torch.no_grad()
    def beam(self, source: Source, head: nn.Module, width: int = BEAM) -> Tensor:
        """Return the sentences with the best mean log likelihood of a token that a beam finds, (B, T).

        At each step the `width` likeliest beginnings of every sentence are kept. One that ends leaves the beam, which
        is then narrower (Bahdanau et al., 2015, https://arxiv.org/abs/1409.0473). <unk> is not written.
        """
        count, device = len(source.context), source.context.device
        source, rows = source.repeated(width), count * width
        written_RT = torch.full((rows, self.steps), END, dtype=torch.int64, device=device)
        one_R = torch.ones(rows, dtype=torch.int64, device=device)
        last_R, state = one_R * END, None
        sum_BW = torch.full((count, width), -math.inf, device=device)
        sum_BW[:, 0] = 0.0  # all rows of a beam begin alike
        best_B, best_BT = torch.full((count,), -math.inf, device=device), written_RT[::width].clone()
        first_B1 = torch.arange(count, device=device)[:, None] * width
        for step in range(self.steps):
            k_R1K, state = self(source, last_R[:, None], one_R, state)
            logits_RV = head(k_R1K[:, 0]).float()
            logits_RV[:, UNKNOWN] = -math.inf
            sum_BWV = sum_BW[..., None] + logits_RV.log_softmax(-1).view(count, width, -1)
            sum_BW, place_BW = sum_BWV.flatten(1).topk(width)
            row_R = (first_B1 + place_BW // logits_RV.shape[1]).flatten()
            last_R = (place_BW % logits_RV.shape[1]).flatten()
            written_RT = written_RT[row_R]
            written_RT[:, step] = last_R
            state = self._of_rows(state, row_R)
            is_over_BW = (last_R == END).view(count, width)
            if step == self.steps - 1:
                is_over_BW = torch.ones_like(is_over_BW)
            mean_BW = (sum_BW / (step + 1)).masked_fill(~is_over_BW, -math.inf)
            mean_B, which_B = mean_BW.max(-1)
            is_better_B = mean_B > best_B
            best_B = torch.where(is_better_B, mean_B, best_B)
            best_BT = torch.where(is_better_B[:, None], written_RT[first_B1[:, 0] + which_B], best_BT)
            sum_BW = sum_BW.masked_fill(is_over_BW, -math.inf)
            if bool(sum_BW.isneginf().all()):
                break
        return best_BT

    def _of_rows(self, state: Any, row_R: Tensor) -> Any:
        """Return the state of other rows of the batch. Which axis is that of the batch, two small states show."""
        parameter = next(self.model.parameters())
        size = self.embedding.embedding_dim + self.context_size
        small = []
        for count in (2, 3):
            x_BTD = torch.zeros(count, 1, size, device=parameter.device, dtype=parameter.dtype)
            small.append(self.model(x_BTD, torch.ones(count, dtype=torch.int64, device=parameter.device))[1])
        return _selected(state, small[0], small[1], row_R)


def _selected(state: Any, two: Any, three: Any, rows: Tensor) -> Any:
    """Return the rows of a state; `two` and `three` are such states of batches of two and three."""
    if isinstance(state, Tensor):
        axes = [axis for axis, (a, b) in enumerate(zip(two.shape, three.shape, strict=True)) if a != b]
        return state.index_select(axes[0], rows) if axes else state
    if isinstance(state, dict):
        return {key: _selected(part, two[key], three[key], rows) for key, part in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_selected(one, a, b, rows) for one, a, b in zip(state, two, three, strict=True))
    return state
