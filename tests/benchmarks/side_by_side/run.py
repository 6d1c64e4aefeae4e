"""The bench beside its peers: `make peers ARGS="--budget 10m"` prints one table.

Each peer answers on the bench's own windows and parts, on 2 cores, within the wall time of `sweep --budget TIME`, and is
scored by the task itself. Peers live in virtual environments of their own (requirements/) and are called by files.

What the peers are given: those that select by themselves are fitted on train and val together; those that choose on
val are trained again on both. The bench chooses on val, and is shown as it is, trained on train alone, and as
`export --refit` writes it, trained on both; the time of that is added. Each peer gets the whole time for itself, although
someone who compares four of them waits four times. For peers without a clock, which end early, `seconds` says what they took.

The searches are compared by the seconds until a validation score is reached: the best one of Ray Tune.
"""

import argparse
import json
import math
import platform
import re
import statistics
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import answers
import environments
import inputs

SETS = {
    "forecasts": [("etth1", 96), ("exchange_rate", 96), ("sunspots", 132)],
    "series": [
        *(("gunpoint", 150), ("pickup_gesture", 361), ("japanese_vowels", 29)),
        *(("italy_power_demand", 24), ("arrow_head", 251), ("basic_motions", 100)),
    ],
    "texts": [("sst2", 50), ("names", 20), ("review_polarity", 256)],
    "search": [("sunspots", 132), ("names", 20), ("etth1", 96)],
}
PEERS = {
    "forecasts": ["AutoLSTM", "AutoGRU", "AutoNHITS", "AutoDLinear"],
    "series": ["MiniRocket", "Hydra", "QUANT"],
    "texts": ["NB-SVM", "word n-gram SVM", "character n-gram SVM"],
    "search": ["Optuna", "Ray Tune"],
}
LATE = 1.05  # in units of the budget: a peer that takes longer is marked


@dataclass
class Row:
    """One line of the table: somebody's answer on one dataset."""

    kind: str
    dataset: str
    length: int
    who: str
    metric: str = ""
    score: float | None = None
    seconds: float | None = None
    fitted_on: str = ""
    note: str = ""
    curve: list[tuple[float, float]] | None = None
    goal: str = "minimize"

    def reaches(self, score: float) -> float | None:
        """Return the seconds until a validation score is reached."""
        sign = 1 if self.goal == "maximize" else -1
        return next((at for at, value in self.curve or [] if sign * value >= sign * score), None)


def seconds_of(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"must be a time such as 10m, but found {text!r}")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def peer(kind: str, name: str, dataset: str, length: int, options: argparse.Namespace) -> Row:
    """Run one peer on one dataset and score its answers; a failure is a row with a reason."""
    task = inputs.task_of(dataset, length)
    row = Row(kind, dataset, length, name, task.metric, goal=task.goal)
    budget = seconds_of(options.budget)
    with tempfile.TemporaryDirectory(prefix="bench-peer-") as scratch:
        folder = Path(scratch)
        given, result = folder / "answers.npz", folder / "result.json"
        try:
            python = environments.python_of(kind, options.environments)
            if kind == "search":
                words = [name, dataset, str(length), str(budget), str(result)]
            else:
                inputs.write(kind, dataset, length, folder / "inputs.npz")
                words = [name, str(folder / "inputs.npz"), str(given), str(result), str(budget)]
            log = options.folder / f"{kind}-{dataset}-{name.replace(' ', '-')}.log"
            row.seconds = environments.call(python, f"{kind}.py", words, 2 * budget + 120, log)
            about = json.loads(result.read_text())
            row.fitted_on, row.note, row.curve = about.get("fitted_on", ""), about.get("note", ""), about.get("curve")
            if kind != "search":
                row.score = statistics.fmean(inputs.scores(dataset, length, given))
        except (RuntimeError, ValueError, OSError, KeyError) as error:
            traceback.print_exc()
            row.note = f"failed: {error}"
    if row.seconds is not None and row.seconds > LATE * budget:
        row.note += f"; {row.seconds / budget:.1f} times the budget"
    return row


def bench(kind: str, dataset: str, length: int, options: argparse.Namespace) -> Iterator[Row]:
    """Run a sweep, or read one that was run, and yield its rows."""
    task = inputs.task_of(dataset, length)
    name = f"{dataset}-{length}-{options.budget}-{options.seed}-"
    known = sorted((options.sweeps / "sweeps").glob(name + "*/sweep.json")) if options.sweeps else []
    try:
        if known:
            folder = known[-1].parent
            followed = json.loads((folder / "followed.json").read_text())
        else:
            results = options.sweeps or options.folder
            folder, followed = answers.sweep(dataset, length, options.budget, results, options.seed)
            (folder / "followed.json").write_text(json.dumps(followed))
        found = answers.read(folder, dataset, length)
    except (RuntimeError, OSError) as error:
        yield Row(kind, dataset, length, "bench", task.metric, note=f"failed: {error}", goal=task.goal)
        return
    shared = {"metric": task.metric, "seconds": followed["seconds"], "goal": task.goal}
    if kind == "search":
        curve = [tuple(point) for point in followed["curve"]]
        yield Row(kind, dataset, length, "bench", curve=curve, **shared)
        return
    for key, who in (("answer", "bench: its answer"), ("network", "bench: its best network")):
        if key in found:
            row = found[key]
            about = f"{row['model']}, {row['seeds']} seeds" if row["seeds"] > 1 else row["model"]
            yield Row(
                kind, dataset, length, who, score=row["score"], fitted_on="train, chosen on val", note=about, **shared
            )
    try:
        again = answers.refit(folder, task.metric)
    except RuntimeError as error:
        yield Row(
            kind, dataset, length, "bench: its answer, refit", task.metric, note=f"failed: {error}", goal=task.goal
        )
        return
    shared["seconds"] += again["seconds"]
    yield Row(
        kind, dataset, length, "bench: its answer, refit", score=again["score"], fitted_on="train + val",
        note=again["model"], **shared,
    )  # fmt: skip


def line(row: Row) -> str:
    score = "–" if row.score is None else f"{row.score:.4g}"
    seconds = "–" if row.seconds is None else f"{row.seconds:.0f}"
    return f"| {row.dataset} {row.length} | {row.who} | {row.metric} | {score} | {seconds} | {row.fitted_on} | {row.note} |"


def searches(rows: list[Row]) -> list[str]:
    """Return the table of the searches of one dataset: seconds until the best score of Ray Tune, and of each other."""
    target = next((row.curve[-1][1] for row in rows if row.who == "Ray Tune" and row.curve), None)
    lines = []
    for row in rows:
        best = row.curve[-1] if row.curve else None
        reached = row.reaches(target) if target is not None else None
        cells = [
            *(f"{row.dataset} {row.length}", row.who, row.metric),
            "–" if best is None else f"{best[1]:.4g} after {best[0]:.0f} s",
            "–" if target is None else f"{target:.4g}",
            "not reached" if reached is None else f"{reached:.0f}",
            "–" if row.seconds is None else f"{row.seconds:.0f}",
            row.note,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def verdict(rows: list[Row]) -> list[str]:
    """Return, for each dataset with scores, whether the bench's answer, trained on train and val as theirs, is as good."""
    lines, good, total = [], 0, 0
    for dataset in dict.fromkeys(row.dataset for row in rows):
        scored = [row for row in rows if row.dataset == dataset and row.score is not None and math.isfinite(row.score)]
        ours = [row for row in scored if row.who == "bench: its answer, refit"]
        peers = [row for row in scored if not row.who.startswith("bench")]
        if ours and peers:
            sign = 1 if ours[0].goal == "maximize" else -1
            best = max(peers, key=lambda row: sign * (row.score or 0.0))
            total += 1
            good += (is_good := sign * (ours[0].score or 0.0) >= sign * (best.score or 0.0))
            lines.append(f"{dataset}: {'not worse' if is_good else 'worse'} than {best.who} ({best.score:.4g})")
    return [f"The bench's answer is not worse than any peer's on {good} of {total} datasets."] + lines if total else []


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--budget", default="10m", help="wall time of each, such as 10m (default)")
    parser.add_argument("--kinds", default="forecasts,series,texts,search", help="of peers, separated by commas")
    parser.add_argument("--sets", default="", help="datasets, separated by commas; by default all")
    parser.add_argument("--peers", default="", help="names of peers, separated by commas; by default all")
    parser.add_argument("--without-bench", action="store_true", help="only the peers")
    parser.add_argument("--seed", type=int, default=0, help="of the bench's sweeps")
    parser.add_argument("--sweeps", type=Path, help="results folder: sweeps of an earlier call are read, others added")
    parser.add_argument("--folder", type=Path, default=Path("results/peers"), help="of logs, sweeps and rows.json")
    parser.add_argument("--environments", type=Path, default=environments.ROOT / ".venv-peers")
    options = parser.parse_args()
    seconds_of(options.budget)
    for kind in options.kinds.split(","):
        if kind not in PEERS:
            parser.error(f"--kinds: {kind} is not one of {', '.join(PEERS)}")
    return options


def main() -> None:
    options = parsed()
    options.folder.mkdir(parents=True, exist_ok=True)
    names, sets = set(filter(None, options.peers.split(","))), set(filter(None, options.sets.split(",")))
    rows: list[Row] = []
    print(f"{platform.processor() or platform.machine()}, cores: {environments.num_cores()}, {options.budget} each\n")
    for kind in options.kinds.split(","):
        columns = ["data", "who", "metric", "test score", "seconds", "fitted on", "note"]
        if kind == "search":
            columns = ["data", "who", "metric", "best on val", "score to reach", "reached after s", "seconds", "note"]
        print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
        for dataset, length in SETS[kind]:
            if sets and dataset not in sets:
                continue
            of_set = [] if options.without_bench else list(bench(kind, dataset, length, options))
            wanted = [name for name in PEERS[kind] if not names or name in names]
            of_set += [peer(kind, name, dataset, length, options) for name in wanted]
            rows += of_set
            print("\n".join(searches(of_set) if kind == "search" else map(line, of_set)), flush=True)
            facts: list[dict[str, Any]] = [vars(row) for row in rows]
            (options.folder / "rows.json").write_text(json.dumps(facts, indent=1))
        print()
    print("\n".join(verdict(rows)))


if __name__ == "__main__":
    main()
