"""Scores of translations: BLEU and chrF as sacrebleu computes them (Post, 2018, https://arxiv.org/abs/1804.08771).

BLEU: Papineni et al., 2002, https://aclanthology.org/P02-1040; chrF: Popović, 2015, https://aclanthology.org/W15-3049
sacrebleu is loaded where something is scored, as it takes half a second.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

BANDS = ((1, 10), (11, 15), (16, 20), (21, 30), (31, None))
"""Numbers of tokens of a source, for scores by length: from, and up to and including."""


def bleu(written: Sequence[str], references: Sequence[str]) -> float:
    """Return the BLEU of a whole corpus, from 0 to 100.

    The matches of a sentence are counted once: scores of parts of a corpus are computed many times, for intervals.
    """
    from sacrebleu.metrics.bleu import BLEU

    counts = np.sum([_matches(*pair) for pair in zip(written, references, strict=True)], axis=0).tolist()
    score = BLEU.compute_bleu(counts[2:6], counts[6:], counts[0], counts[1], smooth_method="exp")
    return float(score.score)


def report(written: Sequence[str], references: Sequence[str], length: np.ndarray) -> dict[str, float]:
    """Return BLEU, chrF, the share of the references' length that was written, and BLEU by tokens of the source."""
    from sacrebleu.metrics.chrf import CHRF

    matches = np.array([_matches(*pair) for pair in zip(written, references, strict=True)])
    scores = {
        "bleu": bleu(written, references),
        "chrf": float(CHRF().corpus_score(list(written), [list(references)]).score),
        "length_ratio": float(matches[:, 0].sum() / matches[:, 1].sum()),
    }
    for low, high in BANDS:
        rows = np.flatnonzero((length >= low) & (length <= (high or length.max()))).tolist()
        if rows:
            name = f"{low}_to_{high}" if high else f"from_{low}"
            scores[f"bleu_{name}"] = bleu([written[i] for i in rows], [references[i] for i in rows])
    return scores


def signatures() -> dict[str, str]:
    """Return what says how sacrebleu computes each score: its settings and its version."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    metrics = {"bleu": BLEU(), "chrf": CHRF()}
    for metric in metrics.values():
        metric.corpus_score(["a"], [["a"]])  # only then is the number of references known
    return {name: str(metric.get_signature()) for name, metric in metrics.items()}


@functools.lru_cache(maxsize=1 << 16)
def _matches(written: str, reference: str) -> tuple[int, ...]:
    """Return the words of both, and the matching runs of one to four words and all of them."""
    found = _sentences().sentence_score(written, [reference])
    return (found.sys_len, found.ref_len, *found.counts, *found.totals)


@functools.lru_cache(maxsize=1)
def _sentences() -> "BLEU":
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(effective_order=True)  # as sacrebleu asks for single sentences; the matches are the same
