"""Sweeps that tests write by hand, and the rows of their leaderboards."""

import json

import pandas as pd

from bench.config.settings import RunConfig, TrainSettings
from bench.results import leaderboard
from bench.results.record import Asked, RunRecord, Seconds

SETTINGS = TrainSettings(max_sequences=6_400, batch_size=16, num_epochs=4, num_val=8, num_test=8)


ASKED = {
    "latch": Asked(metric="accuracy", goal="maximize", chance=0.5, solved=0.99, num_steps=8),
    "digits": Asked(metric="accuracy", goal="maximize", chance=0.1, solved=None, num_steps=8),
}


ENVIRONMENT = {"hardware": "a machine (2 cores)", "python": "3.13", "torch": "2.12"}


def write(folder, dataset: str, space: str, run: str, **facts) -> None:
    """Write the record of one run: t0 a trial, t0-s1 a confirm run, t0-speed the exclusive pass, or baselines."""
    trial, _, part = run.partition("-")
    phase = "baselines" if run == "baselines" else "speed" if part == "speed" else "confirm" if part else "screen"
    number = int(part[1:]) if phase == "confirm" else int(trial[1:]) if phase == "screen" else 0
    path = f"{dataset}/L8/_baselines" if phase == "baselines" else f"{dataset}/L8/{space}/{run}"
    config = RunConfig(
        sweep=folder.name, run=path, phase=phase, number=number, dataset=dataset, task=dataset, length=8,
        task_arguments={}, space=space, model=space, model_arguments={"hidden_size": 4}, train=SETTINGS,
        seed=100 + number, origin="default" if number == 0 else "sobol",
    )  # fmt: skip
    if "score" in facts:
        score = facts.pop("score")
        facts |= {"val": {"accuracy": score + 0.01}}
        if phase == "confirm":
            seal(folder, config, score)
    values = {"state": "complete", "seconds": Seconds(total=1.0), "environment": ENVIRONMENT} | facts
    (folder / "runs" / path).mkdir(parents=True)
    RunRecord(config=config, asked=ASKED[dataset], **values).write(folder / "runs" / path)


def seal(folder, config: RunConfig, score: float) -> None:
    """Add a confirm run to the test run of its configuration."""
    name = config.run.rsplit("-s", 1)[0] + "-test"
    path = folder / "runs" / name
    path.mkdir(parents=True, exist_ok=True)
    old = RunRecord.read(path)
    tests = (old.tests if old else {}) | {config.run: {"accuracy": score}}
    tested = config.model_copy(update={"phase": "test", "run": name, "opens_test_of": tuple(tests)})
    RunRecord(config=tested, asked=ASKED[config.dataset], state="complete", tests=tests).write(path)


def solved(at: int, seconds: float = 1.0) -> dict:
    return {"score": 1.0, "solved": True, "sequences_to_solve": at, "seconds_to_solve": seconds}


FAILED = {"state": "failed", "cause": "non_finite"}


UNSOLVED = {"score": 0.5, "solved": False}


def row(board, dataset, model) -> pd.Series:
    (found,) = (row for _, row in board.iterrows() if (row["dataset"], row["model"]) == (dataset, model))
    return found


def small(tmp_path, dataset: str, **runs: dict[str, dict]) -> pd.DataFrame:
    """The board of one dataset with two seeds a model; `runs` are by model and run."""
    folder = tmp_path / "sweeps" / "small"
    for model, found in runs.items():
        for run, facts in found.items():
            write(folder, dataset, model, run, **facts)
    spec = {"trials": 1, "top_k": 1, "confirm_seeds": 2, "not_applicable": {}}
    cells = [f"{dataset}/L8/{model}" for model in runs]
    folder.joinpath("sweep.json").write_text(json.dumps(spec | {"spec": {"cells": cells}}))
    return leaderboard.build(folder)
