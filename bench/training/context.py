"""How much a language model gains from context that is further away.

Khandelwal et al., 2018, https://arxiv.org/abs/1805.04623, remove the words before a distance and compare the losses.

W windows, L their length, S the length of the short ones.
"""

import numpy as np
import torch
from torch.nn import functional as F

from bench.config.contracts import Task, TextTask
from bench.errors import DeclarationError
from bench.training.module import SequenceModule

WINDOWS = 256  # of the validation part, at most, evenly spaced
PARTS = 4  # a short window is a part of a whole one: 64 of 256 tokens


def gain(task: Task, module: SequenceModule) -> dict[str, float]:
    """Return `context_gain`: nats that the distant context saves, on the same targets.

    The last quarter of each window is predicted twice: with the whole window, and without its first three quarters. No
    state is carried into a window. Raises DeclarationError unless the task is language modelling with windows of at
    least PARTS tokens.
    """
    steps = task.num_steps
    if not isinstance(task, TextTask) or steps < PARTS:
        raise DeclarationError(f"context_gain: needs language models with windows of at least {PARTS} tokens")
    tokens, short = np.asarray(task.parts["val"]), steps // PARTS
    first_W = np.unique(np.linspace(0, len(tokens) - 1 - steps, WINDOWS).astype(int))
    text_WL = torch.from_numpy(tokens[first_W[:, None] + np.arange(steps + 1)]).long()
    saved = _nats(module, text_WL[:, -short - 1 :], short) - _nats(module, text_WL, short)
    return {"context_gain": saved}


def _nats(module: SequenceModule, text_WL: torch.Tensor, last: int) -> float:
    """Return the mean nats of the last tokens of texts, each predicted from those before it in its text."""
    losses = []
    with torch.inference_mode():
        for part_WL in text_WL.chunk(-(-len(text_WL) // 32)):
            length_W = torch.full((len(part_WL),), part_WL.shape[1] - 1)
            answers = module(part_WL[:, :-1], length_W)[:, -last:]
            losses.append(F.cross_entropy(answers.flatten(0, 1), part_WL[:, -last:].flatten(), reduction="none"))
    return float(torch.cat(losses).double().mean())
