"""The layers between a task and an encoder that every baseline shares.

B batch, L steps, D input width, E embedding width, H hidden width, V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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

    def __init__(self, kind: str, encoder: nn.Module) -> None:
        self.kind, self.encoder = kind, encoder
        summary, outputs = int(encoder.summary_size), int(encoder.output_size)  # type: ignore[arg-type]
        self.size = {"summary": summary, "all": summary + 2 * outputs}.get(kind, outputs)

    def __call__(self, h_BLH: Tensor, length_B: Tensor) -> Tensor:
        """Return one vector for each sequence, (B, size), from the outputs of the encoder."""
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
