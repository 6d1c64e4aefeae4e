"""What the bench answers within a time: `sweep --budget TIME` on one dataset, and what validation chooses.

The test scores shown are those of rows that validation chose: of the best network, and of the best of networks and
cheap baselines.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from environments import ROOT, limit_cores
from inputs import CARDS

from bench.results import leaderboard
from bench.results.cell_runs import best_row, by_cell
from bench.results.record import RunRecord, all_records, read_spec

Curve = list[tuple[float, float]]


def sweep(dataset: str, length: int, budget: str, results: Path, seed: int) -> tuple[Path, dict[str, Any]]:
    """Run a sweep, and follow which validation scores its trials and confirm runs have reached when."""
    name = f"{dataset}-{length}-{budget}-{seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    command = [
        *(sys.executable, "-m", "bench", "sweep", "--dataset", dataset, "--length", str(length), "--budget", budget),
        *("--datasets", str(CARDS), "--results", str(results), "--name", name, "--seed", str(seed), "--workers", "2"),
    ]
    results.mkdir(parents=True, exist_ok=True)
    folder, start = results / "sweeps" / name, time.time()
    seen: dict[Path, float] = {}
    curve: Curve = []
    with (results / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, preexec_fn=limit_cores)
        while process.poll() is None:
            time.sleep(0.5)
            _follow(folder, seen, curve, time.time() - start)
    if process.returncode:
        raise RuntimeError(f"the sweep failed: see {log.name}")
    return folder, {"seconds": time.time() - start, "curve": curve}


def _follow(folder: Path, seen: dict[Path, float], curve: Curve, seconds: float) -> None:
    """Add the validation scores of trials and confirm runs with new records; a paused trial has one of how far it came.

    Both count, because a network of either has that score; the searches of peers count every validation as well.
    """
    for path in folder.glob("runs/*/*/*/t*/record.json"):
        changed = path.stat().st_mtime
        if seen.get(path) == changed:
            continue
        seen[path] = changed
        record = RunRecord.read(path.parent, epochs=False)
        if record is None or record.config.phase not in ("screen", "confirm") or record.val_score is None:
            continue
        if not curve or record.asked.sign * record.val_score > record.asked.sign * curve[-1][1]:
            curve.append((seconds, record.val_score))


def read(folder: Path, dataset: str, length: int) -> dict[str, dict[str, Any]]:
    """Return the rows of a sweep that validation chooses: `network`, and `answer` from networks and cheap baselines."""
    records = [run for run in all_records(folder) if (run.config.dataset, run.config.length) == (dataset, length)]
    cells = by_cell(records, read_spec(folder)["top_k"])
    cheap = next((run for run in records if run.config.phase == "baselines"), None)
    board = leaderboard.build(folder)
    board = board[(board["dataset"] == dataset) & (board["length"] == length)].set_index("model")
    found = {}
    for name, best in (("network", best_row(cells.values(), None)), ("answer", best_row(cells.values(), cheap))):
        if best is None:
            continue
        if best.baseline is None:
            row = board.loc[best.run.config.space]
            found[name] = {"model": best.run.config.space, "score": float(row["score"]), "seeds": int(row["num_seeds"])}
        else:
            fitted = best.run.fitted[best.baseline]
            found[name] = {"model": fitted.title, "score": fitted.test[best.run.asked.metric], "seeds": 1}
    return found


def refit(folder: Path, metric: str) -> dict[str, Any]:
    """Export what validation chose, trained again on train and val; return its test score and the seconds."""
    start = time.time()
    out = folder / "refit"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "bench", "export", folder.name, "--results", str(folder.parents[1])]
    done = subprocess.run(
        [*command, "--refit", "--out", str(out)], cwd=ROOT, capture_output=True, text=True, preexec_fn=limit_cores
    )
    if done.returncode:
        raise RuntimeError(f"the export failed: {done.stderr.strip()}")
    settings = json.loads((out / "config.json").read_text())
    name = settings["baseline"]["title"] if "baseline" in settings else settings["run"]["space"]
    return {"score": settings["test"][metric], "model": name, "seconds": time.time() - start}
