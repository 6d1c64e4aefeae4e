"""The colour and the marker of each model, which are the same in every chart, and the legend that shows them."""

from collections.abc import Sequence

from bench.config.settings import BASELINES
from bench.results.leaderboard import model_order
from bench.wording import bare

PALETTE = {
    "mlp": "#b0752a",
    "rnn": "#d0453f",
    "lstm": "#1f7fc0",
    "stacked_lstm": "#6570d6",
    "bilstm": "#12918a",
    "gru": "#4f9426",
    "cnn": "#8a8100",
    "transformer": "#a857bd",
    "bitransformer": "#c94f93",
}
"""The colours of the built-in models: of medium lightness, so that they stand out from white and from black."""

FURTHER = ("#b8606f", "#5c7f4c", "#7c6a5c", "#2f9a5f", "#8d62a8", "#c0602b", "#4b7f95")
"""The colours of all other models, in turn."""

MARKERS = {
    "o": '<circle r="4"/>',
    "s": '<rect x="-3.6" y="-3.6" width="7.2" height="7.2"/>',
    "^": '<path d="M0-4.6 4.4 3.6H-4.4z"/>',
    "D": '<path d="M0-5 4.6 0 0 5-4.6 0z"/>',
    "v": '<path d="M0 4.6 4.4-3.6H-4.4z"/>',
    "P": '<path d="M-1.7-4.8h3.4v3.1h3.1v3.4H1.7v3.1h-3.4V1.7h-3.1v-3.4h3.1z"/>',
    "<": '<path d="M-4.6 0 3.6-4.4V4.4z"/>',
    ">": '<path d="M4.6 0-3.6 4.4V-4.4z"/>',
    "X": '<path d="M-1.7-4.8h3.4v3.1h3.1v3.4H1.7v3.1h-3.4V1.7h-3.1v-3.4h3.1z" transform="rotate(45)"/>',
}
"""matplotlib's markers and their shapes in the legend, for readers who cannot distinguish the colours."""

INKS = {"ink": "#22262e", "soft": "#6c727c", "grid": "#e4e6ea", "paper": "#fffffe"}
"""The colours of everything but models. A page may redefine them, as --figure-ink and so on."""


def colour(model: str, others: Sequence[str] = ()) -> str:
    """Return a model's colour; `others` lists the models on the page that are not built in."""
    name = bare(model)
    if name in PALETTE:
        return PALETTE[name]
    return FURTHER[(others.index(name) if name in others else sum(map(ord, name))) % len(FURTHER)]


def marker(model: str) -> str:
    """Return a model's marker."""
    name = bare(model)
    return list(MARKERS)[(BASELINES.index(name) if name in BASELINES else sum(map(ord, name))) % len(MARKERS)]


def legend(models: Sequence[str], others: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return each model once, built-in models first, with a small <svg> of its marker in its colour."""
    shape = '<svg aria-hidden="true" viewBox="-6 -6 12 12"><g fill="{}">{}</g></svg>'
    return [(name, shape.format(colour(name, others), MARKERS[marker(name)])) for name in in_order(models)]


def in_order(models: Sequence[str]) -> list[str]:
    """Return the names of models without their rule of capacity, each once, built-in models first."""
    return sorted({bare(model) for model in models}, key=model_order)
