"""Exported models of every kind of file, each of a sweep of one cell that is made in this process."""

from pathlib import Path

import numpy as np
import pandas as pd

from bench.config import search_spaces
from bench.config.datasets import make_task
from bench.config.settings import RunConfig, TrainSettings
from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from bench.export.export import export
from bench.results.record import write_json
from bench.training.train import run
from tests.makers import dictation, hourly, long_table, recordings, reviews, series, tagged

TEXT = "the quick brown fox jumps over the lazy dog\nand runs away, as foxes do.\n" * 12


def text(path: Path) -> Path:
    path.write_text(TEXT)
    return path


def two_loads(path: Path) -> Path:
    hourly(path)
    table = pd.read_csv(path)
    table["b"], table["sun"] = table["load"].shift(3, fill_value=1.0) * 5 + 40, np.arange(len(table)) % 24 > 12
    table["sun"] = table["sun"].astype(int)
    table.to_csv(path, index=False)
    return path


RECIPES = {
    "forecast by a recipe": {
        "input_normalisation": "revin", "channel_independent": True, "linear_skip": True, "patch_size": 5,
        "look_back": 2, "readout": "all",
    },
    "tagging by a recipe": {"word_features": True},
    "numbers by a recipe": {"stem_channels": 4, "stem_stride": 2, "readout": "all"},
    "texts by a recipe": {"linear_skip": True},
}  # fmt: skip
"""Training settings of a kind."""


KINDS = {
    "forecast": (lambda f: hourly(f / "load.csv"), {"horizon": 3, "lengths": [12]}),
    "forecast by a recipe": (
        lambda f: two_loads(f / "load.csv"),
        {"horizon": 3, "lengths": [12], "target": ["load", "b"]},
    ),
    "groups": (
        lambda f: long_table(f / "s.csv", "target", 30),
        {"task": "forecasting", "target": ["value"], "group": "id", "lengths": [2], "splits": [0.6, 0.2, 0.2]},
    ),
    "regression": (
        lambda f: long_table(f / "s.csv", "target"),
        {"task": "regression", "target": ["target"], "group": "id", "lengths": [8]},
    ),
    "numbers": (lambda f: series(f / "rows.csv"), {"label": "label", "lengths": [12]}),
    "long": (lambda f: long_table(f / "l.csv", "label"), {"label": "label", "group": "id", "lengths": [6]}),
    "ts": (lambda f: series(f / "series.ts"), {"lengths": [12]}),
    "arrays": (lambda f: series(f / "series.npz"), {"lengths": [9]}),
    "wav": (lambda f: recordings(f / "tones"), {"lengths": [10]}),
    "speech": (lambda f: dictation(f / "words"), {"task": "transcription", "lengths": [90]}),
    "text": (lambda f: reviews(f / "reviews.csv"), {"text": "text", "label": "label", "lengths": [5]}),
    "bytes": (lambda f: reviews(f / "r.jsonl"), {"text": "text", "label": "label", "tokens": "byte", "lengths": [20]}),
    "tagging": (lambda f: tagged(f / "words.conllu"), {"lengths": [4]}),
    "tagged table": (
        lambda f: tagged(f / "words.csv"),
        {"task": "tagging", "group": "sentence", "label": "label", "lengths": [5]},
    ),
    "tagging by a recipe": (lambda f: tagged(f / "words.conllu"), {"lengths": [4]}),
    "numbers by a recipe": (
        lambda f: long_table(f / "l.csv", "label"),
        {"label": "label", "group": "id", "lengths": [6]},
    ),
    "texts by a recipe": (
        lambda f: reviews(f / "r.jsonl"),
        {"text": "text", "label": "label", "tokens": "character", "lengths": [20]},
    ),
    "language": (lambda f: text(f / "foxes.txt"), {"lengths": [24]}),
    "words": (lambda f: text(f / "foxes.txt"), {"lengths": [6], "tokens": "word"}),
}


def swept(folder: Path, card, length: int, space_name: str = "gru", seeds: int = 1, **settings) -> Path:
    """Return the folder of a sweep of one cell: its confirm runs and their test, made in this process, and a trial.

    The record of the trial is that of the first confirm run, under its own name: no test looks at its training.
    """
    sweep = folder / "results" / "sweeps" / "s"
    space = search_spaces.read(space_name)
    arguments, training = space.split(space.default)
    cell = f"{card.name}/L{length}/{space_name}"
    effort = {"max_sequences": 64, "batch_size": 16, "num_epochs": 1, "num_val": 40, "num_test": 40}
    train = TrainSettings(**effort | training | settings)
    config = RunConfig(
        sweep="s", run=f"{cell}/t0", phase="screen", number=0, dataset=card.name, task=card.task, length=length,
        task_arguments=card.arguments, space=space_name, model=space.model, model_arguments=arguments, train=train,
        seed=0,
    )  # fmt: skip
    made = []
    for seed in range(seeds):
        update = {"run": f"{cell}/t0-s{seed}", "phase": "confirm", "number": seed, "seed": seed + 1}
        made.append(config.model_copy(update=update))
    opened = tuple(each.run for each in made)
    made.append(config.model_copy(update={"run": f"{cell}/t0-test", "phase": "test", "opens_test_of": opened}))
    for each in made:
        place = sweep / "runs" / each.run
        place.mkdir(parents=True)
        record = run(each, folder=place)
        assert record.state == "complete", record.message
        record.write(place)
        if not (sweep / "runs" / config.run).exists():
            (sweep / "runs" / config.run).mkdir()
            record.model_copy(update={"config": config}).write(sweep / "runs" / config.run)
    spec = {"cells": [cell]}
    write_json(
        sweep / "sweep.json",
        {"top_k": 1, "trials": 1, "confirm_seeds": 1, "command": "python -m bench sweep", "spec": spec},
    )
    return sweep


def export_of(kind: str, folder: Path):
    """Return the file, the task and the exported folder of a kind, and what the export did."""
    maker, options = KINDS[kind]
    file = maker(folder)
    own = own_data.make(SweepConfig(data=[file], **options))
    assert own is not None
    length = options["lengths"][0]
    recipe = RECIPES.get(kind, {})
    sweep = swept(folder, own.card, length, **recipe)
    told = export(sweep, folder / "results", None, None, None, folder / "out")
    concerned = {name: recipe[name] for name in ("look_back", "word_features") if name in recipe}
    return file, make_task(own.card.task, length, own.card.arguments | concerned), folder / "out", told
