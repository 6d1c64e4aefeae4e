"""The average of one configuration's seeds, as one model.

Lakshminarayanan et al., 2017, https://arxiv.org/abs/1612.01474

B batch, L steps, C outputs.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.config.contracts import Task
from bench.training.module import SequenceModule


class Ensemble(nn.Module):
    """Several trained modules of one configuration; answers are averaged: probabilities, or values."""

    def __init__(self, members: Sequence[SequenceModule]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.task = members[0].task

    def forward(self, x: Tensor, length_B: Tensor) -> Tensor:
        """Return raw outputs, (B, C) or (B, L, C): mean values, or logarithms or log odds of mean probabilities."""
        answers = torch.stack([member(x, length_B) for member in self.members])
        if self.task.loss == "mse":
            return answers.mean(0)
        if self.task.loss == "bernoulli":
            return torch.logsumexp(F.logsigmoid(answers), dim=0) - torch.logsumexp(F.logsigmoid(-answers), dim=0)
        return torch.logsumexp(answers.log_softmax(-1), dim=0) - float(np.log(len(self.members)))


class Average:
    """The average of the outputs that several runs gave for one split; adding them one by one saves memory."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._count = 0
        self._sum = np.zeros(0)

    def add(self, outputs: np.ndarray) -> None:
        """Add what one run gave, as `Task.score` gets it."""
        values = outputs.astype(np.float64)
        if self._task.keep == "nll":
            values = np.exp(-values)
        elif self._task.loss == "bernoulli":
            values = np.exp(-np.logaddexp(0, -values))
        elif self._task.loss == "cross_entropy":
            values = np.exp(values - values.max(-1, keepdims=True))
            values /= values.sum(-1, keepdims=True)
        self._sum = values if not self._count else self._sum + values
        self._count += 1

    @property
    def outputs(self) -> np.ndarray:
        """The average as `Task.score` gets it, float32; the logarithm of a probability is at least -700."""
        mean = self._sum / self._count
        if self._task.loss == "bernoulli":
            mean = np.clip(mean, 1e-12, 1 - 1e-12)
            mean = np.log(mean / (1 - mean))
        if self._task.keep == "nll" or self._task.loss == "cross_entropy":
            mean = np.log(np.maximum(mean, 1e-304))
        return (-mean if self._task.keep == "nll" else mean).astype(np.float32)
