"""What a sweep has lost, doubled or left open, beside one that nothing disturbed; its files are read without the bench."""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

COUNTS = ("lost", "doubled", "left open", "orphaned", "differing")

SAME = (
    *("asked", "state", "cause", "val", "best_epoch", "val_loss", "tests", "ensemble", "classes", "by_length"),
    *("solved", "sequences_to_solve", "train_steps", "train_sequences", "train_tokens", "parameters", "state_size"),
    *("baselines", "weights_sha256", "checkpoint_ignored"),
)
"""What a record says that does not depend on the clock."""


def facts(folder: Path) -> dict[str, dict]:
    """Return what each run of a sweep has come to, apart from times."""
    found = {}
    for path in sorted((folder / "runs").rglob("record.json")):
        record = json.loads(path.read_text())
        config = record["config"]
        run, is_timed = config["run"], config["phase"] == "speed"
        found[run] = {"config": config} | ({} if is_timed else {name: record.get(name) for name in SAME})
        epochs = [{key: value for key, value in epoch.items() if key != "train_seconds"} for epoch in record["epochs"]]
        found[run] |= {"epochs": epochs}
    return found


def trials(folder: Path) -> list[tuple]:
    """Return study, number, state, parameters and values of every trial in study.db."""
    question = """
        SELECT study_name, number, state, group_concat(DISTINCT param_name || '=' || param_value), max(value)
        FROM trials JOIN studies USING (study_id) LEFT JOIN trial_params USING (trial_id)
        LEFT JOIN trial_values USING (trial_id) GROUP BY trial_id ORDER BY study_name, number
    """
    with closing(sqlite3.connect(folder / "study.db")) as study:
        return [(*row[:3], ",".join(sorted((row[3] or "").split(","))), row[4]) for row in study.execute(question)]


def tracked(folder: Path) -> list[tuple[str, str]]:
    """Return name and status of every run in the MLflow store of a sweep's results folder."""
    question = "SELECT value, status FROM runs JOIN tags USING (run_uuid) WHERE key = 'bench.id' AND lifecycle_stage = 'active'"
    with closing(sqlite3.connect(folder.parents[1] / "mlflow.db")) as store:
        return sorted(store.execute(question))


def leftovers(folder: Path) -> list[str]:
    """Return the files of a sweep that only an unfinished writer leaves."""
    patterns = ("runs/**/.*", "runs/**/*.part", "runs/**/checkpoint-*", ".*", "study.db-*")
    return sorted(str(path.relative_to(folder)) for pattern in patterns for path in folder.glob(pattern))


def compare(folder: Path, undisturbed: Path) -> dict[str, list[str]]:
    """Return how a sweep that was killed differs from one that was not, by the words of COUNTS."""
    found: dict[str, list[str]] = {word: [] for word in COUNTS}
    there, expected = facts(folder), facts(undisturbed)
    found["lost"] += [f"run {run}" for run in expected.keys() - there.keys()]
    found["doubled"] += [f"run {run}" for run in there.keys() - expected.keys()]
    for run in sorted(there.keys() & expected.keys()):
        parts = [name for name, value in expected[run].items() if there[run][name] != value]
        if parts:
            found["differing"].append(f"run {run}: {', '.join(parts)}")
    ours, theirs = Counter(trials(folder)), Counter(trials(undisturbed))
    numbers = Counter((study, number) for study, number, *_ in ours.elements())
    found["doubled"] += [f"trial {study} {number}" for (study, number), times in numbers.items() if times > 1]
    found["lost"] += [f"trial {trial[:2]}" for trial in theirs if trial[:2] not in numbers]
    found["left open"] += [f"trial {trial[:3]}" for trial in ours if trial[2] in ("RUNNING", "WAITING")]
    found["differing"] += [f"trial {trial}" for trial in ours if trial not in theirs]
    pages = Counter(name for name, _ in tracked(folder))
    expected_pages = {name for name, _ in tracked(undisturbed)}
    found["lost"] += [f"MLflow run {name}" for name in expected_pages - pages.keys()]
    found["doubled"] += [f"MLflow run {name}" for name, times in pages.items() if times > 1]
    found["left open"] += [f"MLflow run {name}" for name, status in tracked(folder) if status == "RUNNING"]
    found["left open"] += [f"file {name}" for name in leftovers(folder)]
    return found
