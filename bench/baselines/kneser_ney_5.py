"""An n-gram model of 5 tokens with Kneser-Ney smoothing; see bench/data/kneser_ney.py."""

from bench.baselines._language import NGrams


class Baseline(NGrams):
    """The next token, from the 4 before it."""

    title, order = "Kneser-Ney 5-gram", 5
    prior = 1
