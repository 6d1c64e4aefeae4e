"""What MLflow shows of a sweep follows from its records alone, so `bench sync` can write all of it again."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from bench.errors import StoreError
from bench.results.cell_runs import CellRuns, by_cell
from bench.results.record import RunRecord, read_spec, records, trials_of, write_atomically
from bench.tracking import store
from bench.tracking.runs import SweepRuns


def cell_state(cell: CellRuns) -> str:
    """Return the state of a cell whose runs are done."""
    return "failed" if cell.chosen is None else "complete"


def to_sync(results: Path, names: Sequence[str], say: Callable[[str], None]) -> list[Path]:
    """Return the folders of the named sweeps; by default, of the latest one and all that the store may not hold.

    A damaged store is first replaced by a new one; `say` gets a line about it. Raises DeclarationError and StoreError.
    """
    from bench.results.sweeps import find  # here, as a coordinator needs no pandas to write runs

    folders = find(results, names, say)
    store.connect(results, say)
    if not names:
        others = [path.parent for path in sorted(results.glob("sweeps/*/sweep.json")) if path.parent not in folders]
        folders += [folder for folder in others if not written_until(folder)]
    return folders


def sync(folder: Path, results: Path, say: Callable[[str], None]) -> int:
    """Write every record of a sweep into MLflow again; return how many there are. Raises StoreError.

    No coordinator may work on the sweep at the same time.
    """
    until_ns, spec = time.time_ns(), read_spec(folder)
    runs = SweepRuns(store.connect(results, say), results, folder, {})
    cells = by_cell(
        (run for run in records(folder) if run.config.phase in ("screen", "confirm", "test")), spec["top_k"]
    )
    is_finished, count = len(cells) == len(spec["spec"]["cells"]), 0
    problems = []

    def attempt(act: Callable[..., None], *arguments: object) -> None:
        try:
            act(*arguments)
        except Exception as error:  # noqa: BLE001 - MLflow raises the errors of all its drivers
            problems.append(store.explain(error, results))
            store.connect(results)  # raises if the store itself is the problem

    for cell_id, cell in cells.items():
        for record in cell.with_tests():
            count += 1
            attempt(runs.put_record, record)
        state = cell_state(cell)
        is_short = state == "complete" and len(cell.confirmed) < spec["confirm_seeds"]
        if (is_short or len(cell.screened) < trials_of(spec, cell_id)) and not spec.get("ended_by"):
            state, is_finished = "interrupted", False
        attempt(runs.put_cell, cell_id, state)
    datasets = sorted({cell_id.dataset for cell_id in cells})
    attempt(runs.put_sweep, datasets, "complete" if is_finished else "interrupted")
    if problems:
        most = count + len(cells) + 1
        raise StoreError(f"{len(problems)} of {most} runs could not be written to MLflow: {problems[0]}")
    note(folder, until_ns)
    return count


def changed_since(cell: CellRuns, folder: Path, until_ns: int) -> list[RunRecord]:
    """Return the runs of a cell whose records, or test scores, were written after a moment (ns since 1970)."""

    def is_new(record: RunRecord) -> bool:
        return (folder / "runs" / record.config.run / "record.json").stat().st_mtime_ns > until_ns

    tested = {run for test in cell.tests if is_new(test) for run in test.config.opens_test_of}
    return [run for run in cell.with_tests() if run.config.run in tested or is_new(run)]


def note(folder: Path, until_ns: int) -> None:
    """Note that the store holds the records of a sweep that were written until a moment (ns since 1970)."""
    with suppress(OSError):
        write_atomically(folder / store.NOTE, json.dumps({"until_ns": until_ns, "store": store.shown_uri()}))


def written_until(folder: Path) -> int:
    """Return up to which moment (ns since 1970) the store holds the records of a sweep; 0 if it may hold none.

    A moment that is still to come says that the clock was set back, and nothing about the records written since.
    """
    try:
        noted = json.loads((folder / store.NOTE).read_text())
        until_ns = int(noted["until_ns"]) if noted.get("store", "") == store.shown_uri() else 0
        return until_ns if until_ns <= time.time_ns() else 0
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0
