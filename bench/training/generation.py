"""Texts from a trained language model, and what can be measured of them.

Nothing here says that a text is good. The measures tell apart what is wrong with one: words that are none, passages
learned by heart, the same over and over, and a lack of all local sense. They belong beside nats on held-out text.

B batch, P length of the prompts, L length of what is written, V vocabulary.
"""

import math
import re
import sys
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence, Set
from typing import Any, TypeVar

import numpy as np
import torch

from bench.config.contracts import TextTask
from bench.data import vocabulary
from bench.errors import DeclarationError
from bench.training.module import SequenceModule

TEMPERATURES = (0.5, 0.8, 1.0)
NUM_TEXTS = 20
NUM_TOKENS = {"byte": 1_000, "character": 1_000, "word": 200}
"""About 1,000 characters by every unit; what a text repeats depends on its length."""
NUM_PROMPT = 32  # tokens
ORDER = 5  # of the n-gram model by which texts are judged, and of the best cheap sampler

Key = TypeVar("Key", bound=Hashable)


# Texts


@torch.inference_mode()
def generate(
    module: SequenceModule, prompt: np.ndarray, num_tokens: int, temperature: float, seed: int, never: int | None = 0
) -> np.ndarray:
    """Return token numbers (B, L) drawn one after the other, each given the prompt (B, P) and what was drawn before.

    Logits are divided by `temperature`; at 0 the likeliest token is taken. Token number `never` is not drawn: <unk>.
    A state is carried from step to step. Where it grows with every step, as that of attention, the context stays within
    the length that was trained on: when it is full, the last half of it is read anew. Raises DeclarationError.
    """
    if not module.encoder.causal:
        raise DeclarationError("a model that reads in both directions cannot generate: a text has no future yet")
    if temperature < 0:
        raise DeclarationError(f"temperature: at least 0, but found {temperature}")
    if prompt.shape[1] < 1:
        raise DeclarationError("at least one token to go on from, but found none")
    assert module.embedding is not None
    was_training, encoder, device = module.training, module.encoder, module.head.weight.device
    module.eval()
    generator = torch.Generator(device).manual_seed(seed)
    window = module.task.num_steps if encoder.state_size(2) > encoder.state_size(1) else sys.maxsize
    count, start = prompt.shape
    text_BT = torch.zeros(count, start + num_tokens, dtype=torch.int64, device=device)
    text_BT[:, :start] = torch.from_numpy(prompt)
    begin = fed = max(0, start - window)  # where the context begins, and up to where the state has seen it
    state: Any = None
    for step in range(start, start + num_tokens):
        if step - begin > window:
            begin = fed = step - max(1, window // 2)
            state = None
        x_BLD = module.embedding(text_BT[:, fed:step])
        h_BLH, state = encoder(x_BLD, torch.full((count,), step - fed, device=device), state)
        logits_BV = module.head(h_BLH[:, -1]).float()
        if never is not None:
            logits_BV[:, never] = -math.inf
        if temperature == 0:
            text_BT[:, step] = logits_BV.argmax(-1)
        else:  # less the largest: a quotient never overflows
            shares_BV = ((logits_BV - logits_BV.amax(-1, keepdim=True)) / temperature).softmax(-1)
            text_BT[:, step] = shares_BV.multinomial(1, generator=generator)[:, 0]
        fed = step
    module.train(was_training)
    return text_BT[:, start:].cpu().numpy()


def sample(
    module: SequenceModule, meta: Mapping[str, Any], prompt: str, num_tokens: int, temperature: float, seed: int
) -> str:
    """Return the text with which a model goes on from a prompt.

    `meta` is that of the model's task: its `vocabulary`, and the `unit` of its tokens. Raises
    DeclarationError.
    """
    words, unit = meta["vocabulary"], meta["unit"]
    found = vocabulary.tokens(prompt, unit)
    if unit == "word" and not prompt.endswith("\n"):
        del found[-1:]  # the end of the line, which goes on
    numbers = vocabulary.encode(found, words)[None]
    written = generate(module, numbers, num_tokens, temperature, seed, _unknown(meta))
    return vocabulary.decode(written[0], words, unit)


def samples(module: SequenceModule, task: TextTask, temperature: float, seed: int) -> list[str]:
    """Return texts with which a model goes on from the same prompts for all models."""
    num_tokens = NUM_TOKENS[task.meta["unit"]]
    written = generate(module, _prompts(task), num_tokens, temperature, seed, _unknown(task.meta))
    return [task.decode(numbers) for numbers in written.tolist()]


def n_gram_samples(task: TextTask, order: int, seed: int) -> list[str]:
    """Return texts of a cheap model, from the same prompts: an n-gram model, or at order 0 all tokens alike."""
    size = len(task.meta["vocabulary"])
    model = task.n_gram_model(order) if order else None
    unknown, rng = _unknown(task.meta), np.random.default_rng(seed)
    texts = []
    for prompt in _prompts(task):
        written = prompt.tolist()
        for drawn in rng.random(NUM_TOKENS[task.meta["unit"]]):
            shares = model.probabilities(written[-order:]) if model else np.ones(size)
            if unknown is not None:
                shares[unknown] = 0
            sums = shares.cumsum()
            written.append(int(np.searchsorted(sums, drawn * sums[-1], side="right")))
        texts.append(task.decode(written[len(prompt) :]))
    return texts


def _prompts(task: TextTask) -> np.ndarray:
    """Return the beginnings of validation windows, (B, P)."""
    windows = task.split("val", NUM_TEXTS).x
    return windows[np.arange(NUM_TEXTS) % len(windows), :NUM_PROMPT]


def _unknown(meta: Mapping[str, Any]) -> int | None:
    return None if meta["unit"] == "byte" else meta["vocabulary"].index(vocabulary.UNKNOWN)


# Measures


def measures(texts: Mapping[Key, Sequence[str]], task: TextTask) -> dict[Key, dict[str, float]]:
    """Return the measures of sets of texts, by their keys; all but `n_gram_nats` are shares.

    real_words    of the words of 4 letters or more, those that the training part has
    copied        of the windows of 20 characters, those that the training part has
    distinct_3    of the runs of 3 words, the different ones
    self_bleu     how alike the texts of a set are
    n_gram_nats   mean negative log likelihood of a token by a 5-gram model of the training part
    """
    train, model = task.decode(task.parts["train"].tolist()), task.n_gram_model(ORDER)
    words = set(long_words(train))
    # Those of the training part that are asked for: all of them would fill the memory.
    seen = {part for each in texts.values() for text in each for part in windows(text)}.intersection(windows(train))
    return {
        key: {
            "real_words": share([word for text in each for word in long_words(text)], words),
            "copied": share([part for text in each for part in windows(text)], seen),
            "distinct_3": distinct(each, 3),
            "self_bleu": self_bleu(each),
            "n_gram_nats": n_gram_nats(each, task, model),
        }
        for key, each in texts.items()
    }


def long_words(text: str) -> list[str]:
    """Return the words of 4 letters or more, in small letters."""
    return re.findall(r"[^\W\d_]{4,}", text.lower())


def windows(text: str, size: int = 20) -> Iterator[str]:
    """Return every `size` characters in a row."""
    return (text[start : start + size] for start in range(len(text) - size + 1))


def share(found: Sequence[str], known: Set[str]) -> float:
    """Return the share of what was found that is known; 0 where nothing was found."""
    return sum(each in known for each in found) / max(1, len(found))


def distinct(texts: Sequence[str], n: int) -> float:
    """Return the number of different runs of n words over that of all of them (distinct-n).

    Li et al. 2016, https://arxiv.org/abs/1510.03055
    """
    counts = sum((_grams(text.split(), n) for text in texts), Counter[tuple[str, ...]]())
    return len(counts) / max(1, counts.total())


def bleu(words: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return BLEU-4 of a text: the geometric mean of its n-grams' precisions, less if it is short.

    Papineni et al. 2002, https://aclanthology.org/P02-1040. Where no n-gram is in a reference, a tenth of one is
    counted (Chen & Cherry 2014, https://aclanthology.org/W14-3346, method 1).
    """
    if not words or not references:
        return 0.0
    logs = []
    for n in range(1, min(4, len(words)) + 1):
        counts, others = _grams(words, n), [_grams(reference, n) for reference in references]
        clipped = sum(min(count, max(other[gram] for other in others)) for gram, count in counts.items())
        logs.append(math.log((clipped or 0.1) / counts.total()))
    closest = min(map(len, references), key=lambda length: (abs(length - len(words)), length))
    return math.exp(min(0.0, 1 - closest / len(words)) + sum(logs) / len(logs))


def self_bleu(texts: Sequence[str]) -> float:
    """Return the mean BLEU of each text against all others: the higher, the more alike they are.

    Zhu et al. 2018 (Texygen), https://arxiv.org/abs/1802.01886
    """
    words = [text.split() for text in texts]
    return sum(bleu(each, words[:place] + words[place + 1 :]) for place, each in enumerate(words)) / max(1, len(words))


def _grams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[start:] for start in range(n)), strict=False))


def n_gram_nats(texts: Sequence[str], task: TextTask, model: Any) -> float:
    """Return the mean nats a token of texts under an n-gram model; NaN where no text has a token after its first."""
    words, unit = task.meta["vocabulary"], task.meta["unit"]
    rows = [vocabulary.encode(vocabulary.tokens(text, unit), words) for text in texts]
    rows = [row for row in rows if len(row) > 1]
    nats, counts = [model.nats(row) for row in rows], [len(row) - 1 for row in rows]
    return float(np.average(nats, weights=counts)) if rows else math.nan
