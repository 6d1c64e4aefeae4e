"""Datasets that are made of your own files."""

from pathlib import Path

from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from tests.makers import long_table, recordings, reviews, series

CLASSIFIED = {
    "reviews.csv": (reviews, ()),
    "reviews.tsv": (reviews, ("--tokens", "character")),
    "reviews.jsonl": (reviews, ()),
    "series.ts": (series, ()),
    "series.npz": (series, ()),
    "series.npy": (series, ("--data", "labels.npy")),
    "rows.csv": (series, ()),
    "long.csv": (lambda path: long_table(path, "label"), ("--group", "id", "--label", "label")),
    "tones": (recordings, ()),
}


def make(*paths: Path, **options) -> own_data.Own:
    own = own_data.make(SweepConfig(data=list(paths), **options))
    assert own is not None
    return own
