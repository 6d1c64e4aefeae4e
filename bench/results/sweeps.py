"""Where the sweeps of a results folder are, and their records as one table."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import DeclarationError, UnknownNameError
from bench.results.record import records

if TYPE_CHECKING:
    import pandas as pd


def find(results: Path, names: Sequence[str], say: Callable[[str], None] = lambda line: None) -> list[Path]:
    """Return the folders of the sweeps named; without names, of the newest sweep that has results.

    If a newer sweep has no finished run yet, `say` gets a line about it. Raises DeclarationError if there is no sweep,
    and UnknownNameError.
    """
    folder = results / "sweeps"
    known = {path.name: path for path in sorted(folder.glob("*")) if (path / "sweep.json").exists()}
    if not known:
        raise DeclarationError(f"{folder}: no sweep here yet; run: python -m bench sweep")
    for name in names:
        if name not in known:
            raise UnknownNameError("sweep", name, known)
    if names:
        return [known[name] for name in names]
    newest_first = sorted(known.values(), key=lambda path: (path / "sweep.json").stat().st_mtime, reverse=True)
    newest = newest_first[0]
    chosen = next((path for path in newest_first if _has_results(path)), newest)
    if chosen != newest:
        say(f"sweep {newest.name} has no finished run yet; this is sweep {chosen.name}, the newest that has one")
    return [chosen]


def every(results: Path) -> list[Path]:
    """Return the folders of all sweeps. Raises DeclarationError if there is none."""
    find(results, ())
    return sorted(path.parent for path in (results / "sweeps").glob("*/sweep.json"))


def _has_results(sweep: Path) -> bool:
    return any((sweep / "runs").rglob("record.json"))


def load(results: str | Path = "results", *sweeps: str) -> "pd.DataFrame":
    """Return the records of a results folder, one row a run, with nested fields flattened by dots, for notebooks.

    Without names, those of all sweeps. Raises StoreError if a record is damaged.
    """
    import pandas as pd  # here: `find` answers before anything slow is imported

    folders = find(Path(results), sweeps) if sweeps else sorted((Path(results) / "sweeps").glob("*/"))
    rows = [record.model_dump(exclude={"epochs"}) for folder in folders for record in records(folder)]
    return pd.json_normalize(rows)
