"""Texts from a trained language model, and what can be measured of them.

No measure shows that a text is good. Each finds one fault: invented words, passages copied from the training part,
repetition, or a lack of local sense. Read them together with the nats on held-out text.

B batch, P length of the prompts, L length of the generated texts, V vocabulary, H hidden width.
"""

import math
import re
import sys
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence, Set
from typing import Any, TypeVar

import numpy as np
import torch

from bench.config.contracts import Sampling, TextTask
from bench.data import vocabulary
from bench.errors import DeclarationError
from bench.training.module import SequenceModule

TEMPERATURES = (0.5, 0.8, 1.0)
NUM_TEXTS = 20
NUM_TOKENS = {"byte": 1_000, "character": 1_000, "word": 200}
"""About 1,000 characters in every unit, because the amount of repetition depends on the length of a text."""
NUM_PROMPT = 32  # tokens
ORDER = 5  # of the n-gram model that judges texts, and of the best cheap sampler

MAX_TOKENS = 1_000_000  # that can be generated from one prompt
MAX_TEMPERATURE = 100.0  # all tokens are about equally likely there
MAX_SEED = 2**63 - 1  # torch accepts no larger one

Key = TypeVar("Key", bound=Hashable)


# Texts


def checked(sampling: Sampling) -> Sampling:
    """Return `sampling` if it is within the bounds. Raises DeclarationError."""
    if not 1 <= sampling.num_tokens <= MAX_TOKENS:
        rule = f"must be a whole number from 1 to {MAX_TOKENS:,}"
        raise DeclarationError(f"--num-tokens: {rule}, but found {sampling.num_tokens}")
    if not 0 <= sampling.temperature <= MAX_TEMPERATURE:  # also refuses NaN
        rule = f"must be a number from 0 to {MAX_TEMPERATURE:g}"
        raise DeclarationError(f"--temperature: {rule}, but found {sampling.temperature}")
    if not 0 <= sampling.seed < MAX_SEED:
        raise DeclarationError(f"--seed: must be a whole number from 0 to {MAX_SEED - 1:,}, but found {sampling.seed}")
    return sampling


@torch.inference_mode()
def generate(
    module: SequenceModule, prompt: np.ndarray, num_tokens: int, temperature: float, seed: int, never: int | None = 0
) -> np.ndarray:
    """Return token numbers (B, L) drawn one after the other, each given the prompt (B, P) and those drawn before.

    Logits are divided by `temperature`; 0 takes the likeliest token. Token number `never` is not drawn, by default
    <unk>. The model's state is carried from step to step. If it grows with every step, as for attention, the context
    stays within the training length: when it is full, its last half is read again. Raises DeclarationError for a
    model that is not causal, or a prompt without a token.
    """
    if not module.encoder.causal:
        raise DeclarationError("a bidirectional model cannot generate text; export a causal model with --model")
    if prompt.shape[1] < 1:
        raise DeclarationError("a prompt must have at least one token")
    assert module.embedding is not None
    was_training, encoder, device = module.training, module.encoder, module.head.weight.device
    module.eval()
    generator = torch.Generator(device).manual_seed(seed)
    window = module.task.num_steps if encoder.state_size(2) > encoder.state_size(1) else sys.maxsize
    count, start = prompt.shape
    text_BT = torch.zeros(count, start + num_tokens, dtype=torch.int64, device=device)
    text_BT[:, :start] = torch.from_numpy(prompt)
    begin = fed = max(0, start - window)  # start of the context, and of the steps the state has not seen
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
        else:  # less the largest, so that no quotient overflows
            shares_BV = ((logits_BV - logits_BV.amax(-1, keepdim=True)) / temperature).softmax(-1)
            text_BT[:, step] = shares_BV.multinomial(1, generator=generator)[:, 0]
        fed = step
    module.train(was_training)
    return text_BT[:, start:].cpu().numpy()


def samples(module: SequenceModule, task: TextTask, temperature: float, seed: int) -> list[str]:
    """Return texts with which a model continues prompts that are the same for all models."""
    num_tokens = NUM_TOKENS[task.meta["unit"]]
    written = generate(module, _prompts(task), num_tokens, temperature, seed, _unknown(task.meta))
    return [task.decode(numbers) for numbers in written.tolist()]


def n_gram_samples(task: TextTask, order: int, seed: int) -> list[str]:
    """Return texts of a cheap model from the same prompts: an n-gram model, or a uniform one at order 0."""
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
    """Return the measures of sets of texts, by their keys. All but `n_gram_nats` are shares from 0 to 1.

    real_words    share of the words of 4 letters or more that occur in the training part
    copied        share of the windows of 20 characters that occur in the training part
    distinct_3    share of different runs of 3 words
    self_bleu     similarity of the texts of a set
    n_gram_nats   mean negative log likelihood of a token under a 5-gram model of the training part
    """
    train, model = task.decode(task.parts["train"].tolist()), task.n_gram_model(ORDER)
    words = set(long_words(train))
    # Only windows of the texts, because all those of the training part would fill the memory.
    seen = {part for group in texts.values() for text in group for part in windows(text)}.intersection(windows(train))
    return {
        key: {
            "real_words": share([word for text in group for word in long_words(text)], words),
            "copied": share([part for text in group for part in windows(text)], seen),
            "distinct_3": distinct(group, 3),
            "self_bleu": self_bleu(group),
            "n_gram_nats": n_gram_nats(group, task, model),
        }
        for key, group in texts.items()
    }


def long_words(text: str) -> list[str]:
    """Return the words of 4 letters or more, in lower case."""
    return re.findall(r"[^\W\d_]{4,}", text.lower())


def windows(text: str, size: int = 20) -> Iterator[str]:
    """Return every run of `size` characters."""
    return (text[start : start + size] for start in range(len(text) - size + 1))


def share(parts: Sequence[str], known: Set[str]) -> float:
    """Return the share of the parts that are known, 0 if there are no parts."""
    return sum(part in known for part in parts) / max(1, len(parts))


def distinct(texts: Sequence[str], n: int) -> float:
    """Return the number of different runs of n words, divided by the number of all runs (distinct-n).

    Li et al. 2016, https://arxiv.org/abs/1510.03055
    """
    counts = sum((_grams(text.split(), n) for text in texts), Counter[tuple[str, ...]]())
    return len(counts) / max(1, counts.total())


def bleu(words: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return BLEU-4 of a text: the geometric mean of the precisions of its n-grams, with a penalty for short texts.

    Papineni et al. 2002, https://aclanthology.org/P02-1040. If no n-gram is in a reference, a tenth of one is counted
    (Chen & Cherry 2014, https://aclanthology.org/W14-3346, method 1).
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
    """Return the mean BLEU of each text against all others: the higher, the more similar they are.

    Zhu et al. 2018 (Texygen), https://arxiv.org/abs/1802.01886
    """
    words = [text.split() for text in texts]
    scores = [bleu(text, words[:place] + words[place + 1 :]) for place, text in enumerate(words)]
    return sum(scores) / max(1, len(words))


def _grams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[start:] for start in range(n)), strict=False))


def n_gram_nats(texts: Sequence[str], task: TextTask, model: Any) -> float:
    """Return the mean nats per token of texts under an n-gram model, NaN if no text has two tokens."""
    words, unit = task.meta["vocabulary"], task.meta["unit"]
    rows = [vocabulary.encode(vocabulary.tokens(text, unit), words) for text in texts]
    rows = [row for row in rows if len(row) > 1]
    nats, counts = [model.nats(row) for row in rows], [len(row) - 1 for row in rows]
    return float(np.average(nats, weights=counts)) if rows else math.nan
