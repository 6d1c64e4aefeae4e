"""An n-gram model of 2 tokens with Kneser-Ney smoothing; see bench/data/kneser_ney.py."""

from bench.baselines._language import NGrams


class Baseline(NGrams):
    """The next token, from the 1 before it."""

    title, order = "Kneser-Ney 2-gram", 2
    prior = 0
