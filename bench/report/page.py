"""The blocks that the page of a report consists of, and the findings that its sections are made from."""

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import jinja2
import pandas as pd

from bench.config.ids import CellId
from bench.config.sweep_settings import INDEPENDENT_SAMPLERS
from bench.report import figures, palette
from bench.report.figures import Chart, Matrix
from bench.results import leaderboard, tables
from bench.results.record import RunRecord, all_records, read_spec
from bench.sweeps import estimate
from bench.wording import DASH, bare, is_known

FEW_ROWS = 24  # longer tables are folded


@dataclass(frozen=True)
class Note:
    """A paragraph; `kind` is its class on the page: lead, note or warning."""

    text: str
    kind: str = "note"
    block: ClassVar = "note"


@dataclass(frozen=True)
class Listing:
    """Terms and their meanings."""

    pairs: Sequence[tuple[str, str]]
    block: ClassVar = "listing"


@dataclass(frozen=True)
class Drawing:
    """A chart, and a label that says what it shows."""

    svg: str
    label: str


@dataclass(frozen=True)
class Panels:
    """Charts of one kind, with a caption."""

    drawings: Sequence[Drawing]
    caption: str
    legend: Sequence[tuple[str, str]] = ()  # each model and its marker
    block: ClassVar = "panels"


@dataclass(frozen=True)
class Table:
    """Text cells under headings."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: bool = False  # the last row is the sum of the others
    is_folded: bool = False
    block: ClassVar = "table"

    @functools.cached_property
    def numeric(self) -> list[bool]:
        """Whether each column has numbers only, so that it is right-aligned."""
        return [all(_is_number(row[index]) for row in self.rows) for index in range(len(self.head))]

    def filled(self) -> "Table":
        """Return the table without the columns that have dashes only."""
        head, rows = tables.filled(self.head, self.rows, DASH)
        return replace(self, head=head, rows=rows)

    def folded(self, always: bool = False) -> "Table":
        """Return the table, folded if it is long; a click unfolds it."""
        return replace(self, is_folded=always or len(self.rows) > FEW_ROWS)


def _is_number(cell: str) -> bool:
    return bool(re.match(r"[-−+]?[\d.,]", cell)) or cell in ("", DASH)


Block = Note | Listing | Panels | Table


@dataclass(frozen=True)
class Section:
    """A part of the page. Without blocks it shows the reason why; without blocks and reason it is omitted."""

    id: str
    title: str
    blocks: Sequence[Block] = field(default=())
    reason: str = ""


def html(**parts: Any) -> str:
    """Return a page: `report.html.j2` with its parts."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(**parts).rstrip() + "\n"


@dataclass(frozen=True)
class Findings:
    """A sweep and its results, which all sections read."""

    folder: Path
    spec: dict[str, Any]
    board: pd.DataFrame
    runs: list[RunRecord]
    quality: float | None
    prediction: estimate.Estimate | None | str  # a string says why it cannot be read

    @classmethod
    def read(cls, folder: Path, quality: float | None) -> "Findings":
        """Read a sweep's folder, its runs in the order of its cells. Raises StoreError."""
        spec = read_spec(folder)
        runs = all_records(folder)
        places = {CellId.parse(cell): place for place, cell in enumerate(spec["spec"]["cells"])}
        runs.sort(key=lambda run: places.get(run.config.id.cell, len(places)))
        return cls(folder, spec, leaderboard.build(folder, runs), runs, quality, _prediction(folder))

    @property
    def terms(self) -> dict[str, Any]:
        """The settings of the sweep that a resume must not change."""
        terms: dict[str, Any] = self.spec["spec"]
        return terms

    @functools.cached_property
    def others(self) -> list[str]:
        """The models that are not built in, in the order in which they take further colours."""
        return sorted({bare(run.config.space) for run in self.runs} - palette.PALETTE.keys())

    @property
    def is_independent(self) -> bool:
        """Whether configurations were drawn independently of earlier scores."""
        return self.terms.get("sampler", "sobol") in INDEPENDENT_SAMPLERS

    @property
    def is_priced(self) -> bool:
        """Whether a price was given; without one, the cost of a run is its duration."""
        return any(run.config.usd_per_hour is not None for run in self.runs)

    @functools.cached_property
    def metrics(self) -> dict[tuple[str, int], str]:
        """The primary metric of each dataset and length."""
        return {(run.config.dataset, run.config.length): run.asked.metric for run in self.runs}

    def legend(self, models: Iterable[str]) -> list[tuple[str, str]]:
        """Return each model once, with its marker."""
        return palette.legend(list(models), self.others)

    def draw(self, chart: Chart | Matrix, label: str) -> Drawing:
        """Return a chart with its label."""
        if isinstance(chart, Matrix):
            return Drawing(figures.matrix_svg(chart, self.others), label)
        return Drawing(figures.svg(chart, self.others), label)


def _prediction(folder: Path) -> estimate.Estimate | None | str:
    try:
        return estimate.read(folder)
    except ValueError:
        return "plan.json cannot be read: run `python -m bench plan` again"


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as plain dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def by_question(frame: pd.DataFrame) -> dict[tuple[str, int, str], list[dict[str, Any]]]:
    """Return rows by what is compared (dataset, length and rule of capacity), as these first appear."""
    groups: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for row in rows_of(frame):
        groups.setdefault((row["dataset"], row["length"], row["model"].partition("@")[2]), []).append(row)
    return groups


def by_model(rows: Iterable[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return rows by model, as the models first appear."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["model"], []).append(row)
    return list(groups.items())


def subject(name: str, match: Any) -> str:
    """Return a title: what is compared, and under which rule of capacity if there is one."""
    return f"{name} with {match}" if match and is_known(match) else name


def question(dataset: str, length: int, match: str) -> str:
    """Return the title of what is compared: `latch at 8 with parameters=70k`."""
    return subject(f"{dataset} at {length}", match)


def question_of(row: dict[str, Any]) -> str:
    """Return the title of a row's dataset and length; the model's name has the rule of capacity."""
    return f"{row['dataset']} at {row['length']:,}"


def sparse(lengths: Sequence[int], most: int = 8) -> list[int]:
    """Return at most `most` of the lengths, including the first and the last."""
    if len(lengths) <= most:
        return list(lengths)
    return [lengths[round(index * (len(lengths) - 1) / (most - 1))] for index in range(most)]
