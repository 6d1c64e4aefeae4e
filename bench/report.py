"""The report of a sweep: one HTML page, made from its folder alone, that needs no network and no script.

Each section is a pure function that returns blocks of text, figures and tables; the template knows how a block looks.
"""

import functools
import json
import math
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import jinja2
import pandas as pd

from bench import bill, estimate, evidence, figures, leaderboard
from bench.config import INDEPENDENT_SAMPLERS
from bench.figures import Axis, Chart, Level, Series, bare
from bench.record import RunRecord, outcome, read_spec, records, write_atomically
from bench.selection import objective

DASH = "–"
FEW_ROWS = 24  # longer tables are folded
DRAWN = 40  # fields of the grid by which dominated points are thinned, along each axis


@dataclass(frozen=True)
class Note:
    """A paragraph; `kind` is its class on the page: lead, note or warning."""

    text: str
    kind: str = "note"
    block: ClassVar = "note"


@dataclass(frozen=True)
class Listing:
    """Terms and what they mean."""

    pairs: Sequence[tuple[str, str]]
    block: ClassVar = "listing"


@dataclass(frozen=True)
class Drawing:
    """A chart and what it shows, in words."""

    svg: str
    label: str


@dataclass(frozen=True)
class Panels:
    """Charts of one kind, with what to see in them."""

    drawings: Sequence[Drawing]
    caption: str
    legend: Sequence[tuple[str, str]] = ()  # model, its marker
    block: ClassVar = "panels"


@dataclass(frozen=True)
class Table:
    """Text cells under headings."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: bool = False  # the last row sums the others up
    is_folded: bool = False
    block: ClassVar = "table"

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers, and is set flush right."""
        return [all(_is_number(row[index]) for row in self.rows) for index in range(len(self.head))]


def _is_number(cell: str) -> bool:
    return bool(re.match(r"[-−+]?[\d.,]", cell)) or cell in ("", DASH)


Block = Note | Listing | Panels | Table


@dataclass(frozen=True)
class Section:
    """A part of the page; without blocks the reason why there is nothing to show stands in their place.

    Without either it is left out: its question was not asked.
    """

    id: str
    title: str
    blocks: Sequence[Block] = field(default=())
    reason: str = ""


@dataclass(frozen=True)
class _Sweep:
    """What all sections read."""

    folder: Path
    spec: dict[str, Any]
    board: pd.DataFrame
    runs: list[RunRecord]
    quality: float | None
    prediction: estimate.Estimate | None | str  # a string: why it cannot be read

    @property
    def terms(self) -> dict[str, Any]:
        terms: dict[str, Any] = self.spec["spec"]
        return terms

    @functools.cached_property
    def others(self) -> list[str]:
        """The models beyond the baselines: they take further colours by their place here."""
        return sorted({bare(run.config.space) for run in self.runs} - figures.PALETTE.keys())

    def legend(self, models: Iterable[str]) -> list[tuple[str, str]]:
        return figures.legend(list(models), self.others)

    def draw(self, chart: Chart, label: str) -> Drawing:
        return Drawing(figures.svg(chart, self.others), label)


def write(folder: Path, quality: float | None = None) -> Path:
    """Write `report.html` into a sweep's folder and return its path. Raises StoreError.

    `quality` is the validation score of which the page tells what reaching it costs; None: see evidence.cost_to_reach.
    """
    path = folder / "report.html"
    write_atomically(path, render(folder, quality))
    return path


def render(folder: Path, quality: float | None = None) -> str:
    """Return the report of a sweep as HTML; the same folder gives the same text. Raises StoreError."""
    spec = read_spec(folder)
    runs = list(records(folder))
    places = {cell_id: place for place, cell_id in enumerate(spec["spec"]["cells"])}
    runs.sort(key=lambda run: places.get(run.config.run.rpartition("/")[0], len(places)))
    board = leaderboard.build(folder, runs)
    sweep = _Sweep(folder, spec, board, runs, quality, _prediction(folder))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        name=folder.name,
        subtitle=_subtitle(sweep),
        facts=_facts(sweep),
        answers=[answer.partition(": ")[::2] for answer in leaderboard.answers(board)],
        warnings=_warnings(sweep),
        sections=[found for section in SECTIONS if (found := section(sweep)).blocks or found.reason],
        num_runs=f"{len(runs):,}",
    )
    return page.rstrip() + "\n"


def _prediction(folder: Path) -> estimate.Estimate | None | str:
    try:
        return estimate.read(folder)
    except ValueError:
        return "plan.json cannot be read: run `python -m bench plan` again"


# --- The head of the page ---------------------------------------------------------------------------------------------


def _subtitle(sweep: _Sweep) -> str:
    budget = sweep.terms.get("budget_settings", {})
    parts = [_count(sweep.board["model"][sweep.board["state"] != "floor"].map(bare).nunique(), "model")]
    parts.append(_count(len(list(_groups(sweep.board))), "question") + " (a dataset at a length)")
    parts.append(
        f"{sweep.spec['trials']} configurations a cell, then {_count(sweep.spec['confirm_seeds'], 'fresh seed')}"
    )
    if "max_sequences" in budget or "max_sequences" in sweep.terms:
        most = sweep.terms.get("max_sequences") or budget["max_sequences"]
        parts.append(f"at most {most:,} training sequences a run")
    return ", ".join(parts)


def _facts(sweep: _Sweep) -> list[tuple[str, str]]:
    """Return what was run where, by name."""
    spec, terms, board = sweep.spec, sweep.terms, sweep.board

    def seen(column: str, unit: str = "") -> str:
        values = [str(value) for value in board[column].dropna().unique() if str(value)]
        return "; ".join(f"{value}{unit}" for value in values) or "unknown"

    packages = ("python", "torch", "pytorch_lightning", "optuna", "mlflow", "numpy")
    versions = ", ".join(f"{name} {seen(name)}" for name in packages if board[name].notna().any())
    facts = {
        "Command": spec.get("command", "unknown"),
        "Begun": spec.get("created", "unknown").replace("T", " ").replace("+00:00", " UTC"),
        "Hardware": seen("hardware"),
        "Runs on": f"{seen('device')}, {seen('threads')} thread(s) a run, {spec.get('slots', 'unknown')} at a time, "
        f"precision {seen('precision')}",
        "Versions": versions or "unknown",
        "Commit": seen("commit"),
        "Search": f"sampler {terms.get('sampler', 'unknown')}, pruner {terms.get('pruner', 'unknown')}, objectives "
        f"{', '.join(terms.get('objectives', ['quality']))}, seed {terms.get('seed', 'unknown')}",
    }
    warm = [origin for points in spec.get("warm_starts", {}).values() for origin, _ in points]
    if warm:
        sweeps = ", ".join(sorted({origin.removeprefix("warm start from ").split("/")[0] for origin in warm}))
        chosen = int(board["origin"].astype(str).str.startswith("warm start").sum())
        facts["Warm start"] = f"{_count(len(warm), 'configuration')} of {sweeps} tried first; {chosen} of them chosen"
    limits = {
        name: terms[name] for name in terms if name.startswith("max_") and name != "max_sequences" and terms[name]
    }
    if limits:
        facts["Limits"] = ", ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in limits.items())
    return list(facts.items())


def _warnings(sweep: _Sweep) -> list[str]:
    """Return what a reader must know before the answer."""
    found = []
    if sweep.terms.get("budget") == "smoke":
        found.append("Budget smoke: this shows that everything runs, and says nothing about models.")
    if sweep.spec.get("ended_by"):
        found.append(f"The sweep was ended early: {sweep.spec['ended_by']}.")
    states = sweep.board["state"].astype(str)
    unfinished, failed = int(states.str.startswith("not finished").sum()), int(states.str.startswith("failed").sum())
    if unfinished:
        found.append(
            f"{_count(unfinished, 'cell')} of this sweep {_is(unfinished)} not finished; the same command goes on."
        )
    if failed:
        found.append(f"{_count(failed, 'cell')} failed and {_is(failed)} in no ranking: see Outcomes by cause.")
    return found


# --- 2. Score by length -----------------------------------------------------------------------------------------------


def _scores(sweep: _Sweep) -> Section:
    section = Section("scores", "Score by length")
    blocks: list[Block] = []
    ranked = sweep.board[sweep.board["rank"].notna()]
    if ranked.empty:
        blocks.append(Note("No model has been confirmed yet, so there is nothing to draw."))
    drawings: list[Drawing] = []
    levels = False
    for (dataset, match), group in sweep.board.groupby(["dataset", "match"], sort=False, dropna=False):
        rows = _rows(group[group["rank"].notna()])
        floors = _rows(group[group["state"] == "floor"])
        if not rows:
            continue
        title = dataset + ("" if pd.isna(match) else f" with {match}")
        metric = str(rows[0]["metric"])
        if any(_known(row["solved"]) for row in rows):
            shares = [row | {"value": row["solved"] / row["num_seeds"]} for row in rows]
            axis = Axis("share of seeds that solve", limits=(-0.04, 1.04))
            drawings.append(_score_chart(sweep, title, shares, [], axis, with_interval=True))
        scored = [row | {"value": row["score"]} for row in rows if _known(row["score"])]
        if scored:
            kind = f"{scored[0]['score_is']} test {metric}"
            with_interval = not _known(scored[0]["solved"])
            axis = Axis(kind)
            drawings.append(_score_chart(sweep, title, scored, floors, axis, with_interval))
            levels = True
    if drawings:
        caption = (
            "Points are models on the test split; bars are 95 % intervals, and where they overlap much the models are "
            "not told apart. For a task that is solved or not, the interval is of the share of seeds that solve it, "
            "and the median score beside it has none."
        )
        if levels:
            caption += " Thin grey lines are chance and cheap baselines: what lies at them has learned nothing."
        blocks.append(Panels(drawings, caption, sweep.legend(ranked["model"])))
    tables = leaderboard.for_people(sweep.board)
    for heading, cells in tables.items():
        shown = [[cell or DASH for cell in row] for row in cells]
        blocks.append(Table(heading, list(leaderboard.SHOWN.values()), shown, is_folded=len(tables) > 8))
    if tables:
        blocks.append(
            Note(
                "Models that the seeds cannot tell apart share a rank. Names in brackets are cheap baselines and "
                "chance: they have a score and no more. Device seconds are the whole bill of a row, with what failed."
            )
        )
    return Section(section.id, section.title, blocks)


def _score_chart(
    sweep: _Sweep, title: str, rows: list[dict[str, Any]], floors: list[dict[str, Any]], axis: Axis, with_interval: bool
) -> Drawing:
    """Return a score over lengths, or, for a single length, a row a model."""
    lengths = sorted({int(row["length"]) for row in rows})
    models: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["length"]):
        models.setdefault(row["model"], []).append(row)
    words = "; ".join(f"{bare(m)} {', '.join(_score(row['value']) for row in mine)}" for m, mine in models.items())
    label = f"{title}, {axis.label}, at {_join(map(str, lengths))}: {words}"

    def ends(mine: list[dict[str, Any]], name: str) -> list[float]:
        return [_float(row[name]) for row in mine] if with_interval else []

    if len(lengths) == 1:
        names = [(float(i), bare(model)) for i, model in enumerate(models)]
        bottom = [(row["model"].strip("()"), float(row["score"])) for row in floors if _known(row["score"])]
        names += [(float(len(models) + i), _shortened(name)) for i, (name, _) in enumerate(bottom)]
        rows_axis = Axis("", ticks=names)
        series = [
            Series(
                model, [_float(r["value"]) for r in mine], [float(i)], ends(mine, "ci_low"), ends(mine, "ci_high"), ""
            )
            for i, (model, mine) in enumerate(models.items())
        ]
        levels = [Level(name, [at, at], [-0.5, len(models) + i + 0.2]) for i, (name, at) in enumerate(bottom)]
        return sweep.draw(Chart(f"{title} at {lengths[0]}", axis, rows_axis, series, levels, rows=True), label)
    series = [
        Series(model, [r["length"] for r in mine], [_float(r["value"]) for r in mine], ends(mine, "ci_low"),
               ends(mine, "ci_high"))
        for model, mine in models.items()
    ]  # fmt: skip
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(floors, key=lambda row: row["length"]):
        if row["length"] in lengths and _known(row["score"]):
            by_name.setdefault(row["model"], []).append(row)
    levels = [
        Level(name.strip("()"), [row["length"] for row in mine], [float(row["score"]) for row in mine])
        for name, mine in by_name.items()
    ]
    x = Axis("length", log=True, ticks=[(length, f"{length:,}") for length in _sparse(lengths)])
    return sweep.draw(Chart(title, x, axis, series, levels, dodge=with_interval), label)


def _sparse(lengths: Sequence[int], most: int = 8) -> list[int]:
    """Return at most so many of the lengths, the first and the last among them."""
    if len(lengths) <= most:
        return list(lengths)
    return [lengths[round(i * (len(lengths) - 1) / (most - 1))] for i in range(most)]


# --- 3. Outcomes ------------------------------------------------------------------------------------------------------

CAUSES = {
    "complete": "Trained to its end, or until it had solved the task.",
    "pruned": "Ended early by the pruner: others were better at the same point.",
    "over the limit": "Not trained, or not chosen: the configuration cannot keep a limit of the sweep.",
    "non_finite": "Loss or score became infinite or not a number: most often a learning rate too high.",
    "diverged": "For three epochs the loss was more than twice its best.",
    "out_of_memory": "The memory of the device or machine did not suffice.",
    "timeout": "Trained longer than --max-run-seconds allows.",
    "stall": "Made no step for --stall-seconds, and was ended.",
    "killed": "The process was killed from outside, most often by the kernel for want of memory.",
    "error": "The code raised an exception; the end of the log says which.",
    "bad_result": "The run ended without a score that can be used.",
}


def _outcomes(sweep: _Sweep) -> Section:
    frame = evidence.outcomes(sweep.runs)
    title = "Outcomes by cause"
    if frame.empty:
        return Section("outcomes", title, reason="no trial has ended yet.")
    causes = list(frame.columns[4:])
    totals = {name: int(frame[name].sum()) for name in ["runs", *causes]}
    bad = totals["runs"] - totals["complete"] - totals["pruned"] - totals.get("over the limit", 0)
    of = _count(totals["runs"], "trial and confirm run", "trials and confirm runs")
    lead = f"Of {of}, "
    lead += f"{totals['complete']:,} ended complete, {totals['pruned']:,} {_was(totals['pruned'])} pruned, "
    lead += f"and {bad:,} failed."
    is_all_well = totals["complete"] == totals["runs"]
    if is_all_well:
        lead = f"All {of} ended complete: none was pruned, none failed."
    crashes = sum(len(run.crashes) for run in sweep.runs)
    if crashes:
        lead += f" {_count(crashes, 'attempt')} died and were made again or given up; their time is on the bill."
    rows = [[_where(row), row["model"], *(f"{row[name]:,}" for name in ["runs", *causes])] for row in _rows(frame)]
    rows.append(["all", "", *(f"{total:,}" for total in totals.values())])
    head = ["question", "model", "runs", *(name.replace("_", " ") for name in causes)]
    table = Table("How the trials and confirm runs of each cell ended", head, rows, total=True)
    blocks: list[Block] = [Note(lead, "lead"), _folded(table, is_all_well)]
    shown = [(name.replace("_", " "), _meaning(name)) for name in causes if name != "complete" and totals[name]]
    if shown:
        blocks.append(Listing(shown))
    examples: dict[str, RunRecord] = {}
    for run in sweep.runs:
        if run.state == "failed" and run.config.phase in ("screen", "confirm"):
            examples.setdefault(outcome(run), run)
    if examples:
        rows = [
            [name.replace("_", " "), f"runs/{run.config.run}/log.txt", _shortened(run.message or "no message", 160)]
            for name, run in sorted(examples.items())
        ]
        blocks.append(
            Table(
                "The first failure of each cause: its log lies in the sweep's folder", ["cause", "log", "message"], rows
            )
        )
    return Section("outcomes", title, blocks)


def _meaning(cause: str) -> str:
    if cause.startswith("signal"):
        return f"The process died of {cause}."
    if cause.startswith("exit"):
        return f"The process ended with code {cause.removeprefix('exit ')} and left no record."
    return CAUSES.get(cause, "A cause without a description; the log says more.")


# --- 4. The bill ------------------------------------------------------------------------------------------------------


def _bill(sweep: _Sweep) -> Section:
    watts = sweep.spec.get("cpu_watts")
    frame = evidence.study_bill(sweep.runs, watts)
    title = "The bill"
    if frame.empty:
        return Section("bill", title, reason="no run has ended yet.")
    mine = [run for run in sweep.runs if run.config.phase != "baselines"]
    kwh, energy_is = bill.energy(mine, watts)
    money = bill.usd(mine)
    total = {name: frame[name].sum() for name in ("runs", "failed", "pruned", "device_hours", "screening_hours")}
    total |= {name: frame[name].sum() for name in ("confirming_hours", "cpu_hours", "train_sequences")}
    total |= {"model": "all", "kwh": kwh, "energy_is": energy_is, "usd": money}
    unit, hours = _time_unit(3600 * total["device_hours"])
    unit_of_energy, kwh_a_unit = ("kWh", 1.0) if (kwh or 0) >= 1 else ("Wh", 1e-3)

    def cells(row: dict[str, Any]) -> list[str]:
        device = row["device_hours"]
        energy = "not measured" if not _known(row["kwh"]) else _number(row["kwh"] / kwh_a_unit)
        return [
            row["model"],
            *(f"{int(row[name]):,}" for name in ("runs", "failed", "pruned")),
            _number(device / hours),
            *(_percent(row[name] / device if device else math.nan) for name in ("screening_hours", "confirming_hours")),
            _number(row["cpu_hours"] / hours),
            energy,
            "no price given" if not _known(row["usd"]) else _usd(row["usd"]),
            f"{int(row['train_sequences']):,}",
        ]

    head = ["model", "runs", "failed", "pruned", f"device time ({unit})", "screening", "confirming"]
    head += [f"CPU time ({unit})", f"energy ({unit_of_energy})", "money (USD)", "training sequences"]
    wall = bill.wall_seconds(sweep.runs)
    device_seconds = 3600 * total["device_hours"]
    lead = f"The whole study took {_duration(device_seconds)} of device time in {_duration(wall)} of wall time"
    lead += (
        f", {_number(kwh / kwh_a_unit)} {unit_of_energy} of energy ({energy_is})"
        if kwh is not None
        else "; energy: not measured"
    )
    lead += f", and {_usd(money)} USD." if money is not None else "; money: no price given (--price-per-hour)."
    blocks: list[Block] = [
        Note(lead, "lead"),
        Table("What each model cost over the whole study", head, [*map(cells, _rows(frame)), cells(total)], total=True),
        Note(
            "Everything is on the bill: what failed, what was pruned, attempts that died, confirm and test runs. "
            "Device time is wall time times devices; what screening and confirming leave is the exclusive timing pass. "
            + _energy_note(energy_is)
        ),
    ]
    reach = evidence.cost_to_reach(sweep.runs, sweep.quality)
    if not reach.empty:
        blocks.append(_reach_table(sweep, reach))
        blocks.append(
            Note(
                "Reaching a score with tuning takes 1 / p trials on average, where p is the share of the trials made "
                "that reach it: the cost is that of a mean trial over p."
                + (
                    ""
                    if _is_independent(sweep)
                    else " The sampler chose by earlier scores, so this is what it was, not what to expect."
                )
            )
        )
    return Section("bill", title, blocks)


def _energy_note(energy_is: str) -> str:
    if "not measured" in energy_is:
        return "Energy is not measured where no meter of the device can be read; --cpu-watts would estimate it."
    if "estimated" in energy_is:
        return f"Energy is {energy_is}: time in disguise, and no evidence of its own."
    return f"Energy is {energy_is}."


def _reach_table(sweep: _Sweep, reach: pd.DataFrame) -> Table:
    metrics = _metrics(sweep.runs)
    unit, hours = _time_unit(reach["device_seconds"].max())
    rows = []
    for row in _rows(reach):
        known = _known(row["device_seconds"])
        missed = f"not reached in {_count(int(row['trials']), 'trial')}"
        rows.append(
            [
                _where(row),
                row["model"],
                f"{metrics[row['dataset'], row['length']]} {_score(row['quality'])}",
                f"{row['reached']} of {row['trials']}",
                _number(row["device_seconds"] / 3600 / hours) if known else missed,
                _usd(row["usd"]) if _known(row["usd"]) else DASH if not known else "no price given",
            ]
        )
    head = ["question", "model", "validation score", "reached", f"device time ({unit})", "money (USD)"]
    return _folded(Table("Cost to reach a validation score, tuning included", head, rows))


# --- 5. Expected performance ------------------------------------------------------------------------------------------


def _is_independent(sweep: _Sweep) -> bool:
    return sweep.terms.get("sampler", "sobol") in INDEPENDENT_SAMPLERS


def _expected(sweep: _Sweep) -> Section:
    anchor, title = "expected", "Expected performance of tuning"
    sampler, pruner = sweep.terms.get("sampler", "sobol"), sweep.terms.get("pruner", "none")
    if not _is_independent(sweep):
        reason = f"the sampler {sampler} chooses by earlier scores, so its trials are no independent draws, and what "
        return Section(anchor, title, reason=reason + "fewer of them would have found cannot be told from them.")
    frame = evidence.expected_performance(sweep.runs)
    if frame.empty:
        reason = "only default configurations were tried, and they are no draws."
        if any(run.config.phase == "screen" and run.state == "pruned" for run in sweep.runs):
            reason = (
                f"trials were ended early (pruner {pruner}, or a limit), and their scores are not those of whole runs."
            )
        return Section(anchor, title, reason=reason)
    blocks: list[Block] = []
    if pruner != "none":
        blocks.append(
            Note(
                f"Cells in which the pruner {pruner} could end trials are left out: its scores are not of whole runs.",
                "warning",
            )
        )
    defaults = {
        (run.config.dataset, run.config.length, run.config.space): run
        for run in sweep.runs
        if run.config.phase == "screen" and run.config.number == 0
    }
    metrics = _metrics(sweep.runs)
    by_trials: list[Drawing] = []
    by_seconds: list[Drawing] = []
    for (dataset, length, match), rows in _split(frame).items():
        where = _question(dataset, length, match)
        metric = f"best validation {metrics[dataset, length]}"
        models = list(dict.fromkeys(row["model"] for row in rows))
        most = max(row["trials"] for row in rows)
        before = min(0.0, 1 - 0.14 * most)  # leaves room for the word
        mine = {model: [row for row in rows if row["model"] == model] for model in models}
        known = {m: run for m in models if (run := defaults.get((dataset, length, m))) and run.val_score is not None}
        words = "; ".join(
            f"{bare(m)} from {_score(r[0]['score'])} to {_score(r[-1]['score'])}" for m, r in mine.items()
        )
        unit, hours = _time_unit(max(row["device_seconds"] for row in rows))
        trials = Axis("trials drawn", ticks=[(before, "default"), *((float(n), f"{n:,}") for n in _nice(most))])
        seconds = Axis(f"device time ({unit})", from_zero=True)
        took = {model: run.device_seconds for model, run in known.items()}
        for drawings, x, name, size, defaults_at in (
            (by_trials, trials, "trials", 1.0, dict.fromkeys(known, before)),
            (by_seconds, seconds, "device_seconds", 3600 * hours, took),
        ):
            series = [
                Series(model, [row[name] / size for row in curve], [row["score"] for row in curve],
                       points="" if curve[1:] else "filled")
                for model, curve in mine.items()
            ]  # fmt: skip
            series += [
                Series(model, [defaults_at[model] / size], [run.val_score or 0.0], line="", points="hollow")
                for model, run in known.items()
            ]
            label = f"{where}, expected {metric} by {x.label}: {words}"
            drawings.append(sweep.draw(Chart(where, x, Axis(metric), series), label))
    legend = sweep.legend(frame["model"])
    blocks.append(
        Panels(
            by_trials,
            "The best validation score to be expected of so many trials: a curve that is still rising says that more "
            "trials would pay. Hollow markers: the default configuration's own score; it is no draw and in no curve.",
            legend,
        )
    )
    blocks.append(
        Panels(
            by_seconds,
            "The same against device time, where cheap models get more trials for their money. Hollow markers stand at "
            "what the default's trial took.",
            legend,
        )
    )
    blocks.append(_expected_table(sweep, frame, defaults))
    blocks.append(
        Note(
            "Curves are the unbiased estimate (draws without replacement; Tang et al. 2020), whose last point is the "
            "best score seen. The plug-in estimate (with replacement; Dodge et al. 2019) is too low near the end. "
            "Failed trials count with the chance score. Nothing here says what more trials than were made would bring."
        )
    )
    return Section(anchor, title, blocks)


def _expected_table(sweep: _Sweep, frame: pd.DataFrame, defaults: dict[tuple[str, int, str], RunRecord]) -> Table:
    plugged = {
        (row["dataset"], row["length"], row["model"], row["trials"]): row["score"]
        for row in _rows(evidence.expected_performance(sweep.runs, unbiased=False))
    }
    rows = []
    for (dataset, length, model), group in frame.groupby(["dataset", "length", "model"], sort=False):
        curve = _rows(group)
        last = curve[-1]
        default = defaults.get((dataset, length, model))
        half = curve[max(1, len(curve) // 2) - 1]
        rows.append(
            [
                _where(last),
                model,
                str(len(curve)),
                _duration(curve[0]["device_seconds"]),
                _score(None if default is None else default.val_score),
                _score(curve[0]["score"]),
                _score(half["score"]) + f" (of {half['trials']})",
                _score(last["score"]),
                _score(plugged[dataset, length, model, last["trials"]]),
            ]
        )
    head = ["question", "model", "draws", "a trial takes", "default", "one draw", "half the draws", "all draws"]
    return _folded(Table("Expected best validation score", [*head, "all draws, plug-in"], rows))


def _nice(most: int) -> list[int]:
    """Return about six whole numbers up to `most`, at equal steps."""
    step = next(step for power in range(9) for step in (10**power, 2 * 10**power, 5 * 10**power) if most / step <= 6)
    return [1, *range(step, most + 1, step)] if step > 1 else list(range(1, most + 1))


# --- 6. Default against tuned -----------------------------------------------------------------------------------------


def _tuning(sweep: _Sweep) -> Section:
    anchor, title = "tuning", "Default against tuned"
    frame = evidence.default_against_tuned(sweep.runs, sweep.spec["top_k"])
    if frame.empty:
        return Section(
            anchor, title, reason="no cell has both its default and its chosen configuration confirmed on fresh seeds."
        )
    rows = _rows(frame)
    kept = [row for row in rows if row["picked"] == 0]
    sure = [row for row in rows if row["picked"] != 0 and _known(row["low"])]
    lead = f"In {len(kept)} of {_count(len(rows), 'cell')} screening put the default configuration itself first. "
    lead += f"Tuning gained more than chance explains in {sum(row['low'] > 0 for row in sure)}, and lost in "
    lead += f"{sum(row['high'] < 0 for row in sure)}: there the interval of the gain excludes zero."
    drawings = []
    for (dataset, length, match), mine in _split(frame).items():
        mine = [row for row in mine if _known(row["default"]) and _known(row["tuned"])]
        if not mine:
            continue
        where = _question(dataset, length, match)
        series: list[Series] = []
        for place, row in enumerate(mine):
            model, y = row["model"], [float(place)]
            series.append(Series(model, [row["default"], row["tuned"]], y * 2, points=""))
            if _known(row["screened"]):
                series.append(Series(model, [row["screened"]], y, line="", points="tick"))
            series.append(Series(model, [row["default"]], y, line="", points="hollow"))
            series.append(Series(model, [row["tuned"]], y, line="", points="filled"))
        names = Axis("", ticks=[(float(place), bare(row["model"])) for place, row in enumerate(mine)])
        words = "; ".join(f"{bare(r['model'])} {_score(r['default'])} to {_score(r['tuned'])}" for r in mine)
        axis = Axis(f"mean validation {mine[0]['metric']} on fresh seeds")
        chart = Chart(where, axis, names, series, rows=True)
        drawings.append(sweep.draw(chart, f"{where}, default to tuned, mean validation score on fresh seeds: {words}"))
    head = ["question", "model", "default", "tuned", "gain", "95 % interval", "seeds", "solved before", "solved after"]
    head += ["tuned is", "when picked", "drop since", "chosen in the end"]
    cells = [
        [
            _where(row),
            row["model"],
            _score(row["default"]),
            _score(row["tuned"]),
            _signed(row["gain"]) if row["picked"] else "0",
            _interval(row["low"], row["high"]) if row["picked"] else DASH,
            str(row["seeds"]),
            _whole(row["default_solved"]),
            _whole(row["tuned_solved"]),
            f"t{row['picked']}" if row["picked"] else "default",
            _score(row["screened"]),
            _signed(row["drop"]),
            f"t{row['chosen']}" if row["chosen"] else "default",
        ]
        for row in rows
    ]
    blocks: list[Block] = [Note(lead, "lead")]
    if drawings:
        caption = (
            "Hollow: the default; filled: the configuration that screening put first, both on the same fresh seeds, "
            "which had no part in that. The upright tick is the score with which it was picked: where it lies above "
            "the filled point, it was lucky."
        )
        blocks.append(Panels(drawings, caption, sweep.legend(frame["model"])))
    blocks.append(
        _folded(Table("Mean validation scores on fresh seeds; a positive gain is an improvement", head, cells))
    )
    drops = [row["drop"] for row in rows if _known(row["drop"])]
    curse = "The winner's curse: the best of several noisy scores is expected to be too good, so the choice is trained "
    curse += "again on fresh seeds, and the best there of those confirmed is the one chosen in the end."
    if drops:
        middle = statistics.median(drops)
        of = f"(median of {_count(len(drops), 'cell')})"
        if abs(middle) < 0.0005:
            curse += f" Here those put first scored the same as when they were picked {of}."
        else:
            curse += (
                f" Here those put first scored {_score(abs(middle))} {'worse' if middle > 0 else 'better'} than when "
            )
            curse += f"they were picked {of}."
    blocks.append(Note(curse))
    return Section(anchor, title, blocks)


# --- 7. Pareto front --------------------------------------------------------------------------------------------------


def _pareto(sweep: _Sweep) -> Section:
    anchor, title = "pareto", "Pareto front"
    screened = [run for run in sweep.runs if run.config.phase == "screen" and run.state == "complete"]
    asked = list(sweep.terms.get("objectives", ["quality"]))
    names = asked
    if len(asked) < 2:
        names = [n for n in ("quality", "latency", "cost") if any(objective(run, n) is not None for run in screened)]
    frame = evidence.pareto_front(sweep.runs, names) if len(names) > 1 else pd.DataFrame()
    if frame.empty:
        return Section(anchor, title, reason="no complete trial within the limits has two objectives measured.")
    signs = {(run.config.dataset, run.config.length): run.asked.sign for run in screened}
    metrics = _metrics(sweep.runs)
    drawings: list[Drawing] = []
    sentences: list[list[str]] = []
    hidden = 0
    for (dataset, length), group in frame.groupby(["dataset", "length"], sort=False):
        rows = _rows(group)
        front = [row for row in rows if row["on_front"]]
        where = f"{dataset} at {length}"
        kept = list(dict.fromkeys(row["model"] for row in front))
        sentences.append(
            [where, str(len(rows)), str(len(front)), ", ".join(kept), _percent(_float(rows[0]["hypervolume"]))]
        )
        for name in names:
            if name == "quality":
                continue
            drawing, thinned = _front_chart(sweep, where, rows, name, signs[dataset, length], metrics[dataset, length])
            drawings.append(drawing)
            hidden += thinned
    words = "The objectives of this sweep" if len(asked) > 1 else "Quality against what it costs"
    lead = (
        f"{words}: {_join(names)}. On the front is what no other trial of the same dataset and length matches in all "
    )
    lead += "of them and beats in one; anything else pays more for less."
    caption = "Large points joined by a line are the front; small ones are dominated. Upwards "
    caption += (
        "and to the left is better."
        if all(sign > 0 for sign in signs.values())
        else "is a higher score, to the left is cheaper."
    )
    if len(names) > 2:
        caption += " The front is of all objectives together, so a panel shows points of it that lie behind its line."
    if hidden:
        caption += f" {hidden:,} dominated points that would lie upon others are not drawn."
    blocks: list[Block] = [
        Note(lead, "lead"),
        Panels(drawings, caption, sweep.legend(frame["model"])),
        Table("Fronts", ["question", "trials", "on the front", "models on it", "hypervolume"], sentences),
        Note(
            "Hypervolume: the share of the box between the worst and the best value of each objective that the front "
            "dominates; 100 % would be one configuration that is best in everything."
        ),
    ]
    return Section(anchor, title, blocks)


def _front_chart(
    sweep: _Sweep, where: str, rows: list[dict[str, Any]], name: str, sign: int, metric: str
) -> tuple[Drawing, int]:
    """Return quality against another objective, and how many dominated points were left out."""
    # Of a small model a single run costs millionths of a dollar.
    thousand = name == "cost" and _is_priced(sweep) and max(row["cost"] for row in rows) < 0.01
    if thousand:
        rows = [row | {"cost": 1000 * row["cost"]} for row in rows]
    behind = sorted(
        (row for row in rows if not row["on_front"]), key=lambda row: (row[name], row["quality"], row["model"])
    )
    drawn = [behind[i] for i in figures.thin([(row[name], row["quality"]) for row in behind], DRAWN)]
    front = sorted(
        (row for row in rows if row["on_front"]), key=lambda row: (row[name], -sign * row["quality"], row["model"])
    )
    stairs: list[tuple[float, float]] = []
    for row in front:
        if not stairs or sign * row["quality"] > sign * stairs[-1][1]:
            if stairs:
                stairs.append((row[name], stairs[-1][1]))
            stairs.append((row[name], row["quality"]))
    values = [row[name] for row in rows]
    stairs.append((max(values), stairs[-1][1]))
    series = [
        Series(m, [r[name] for r in mine], [r["quality"] for r in mine], line="", points="faint")
        for m, mine in _by_model(drawn)
    ]
    for model, mine in _by_model(front):
        best = max(mine, key=lambda row: (sign * row["quality"], -row[name]))
        mine = [best, *(row for row in mine if row is not best)]
        series.append(Series(model, [r[name] for r in mine], [r["quality"] for r in mine], line="", tag=bare(model)))
    log = min(values) > 0 and max(values) / min(values) > 10
    x = Axis(_objective_label(sweep, name, thousand), log=log)
    level = Level("", [x for x, _ in stairs], [y for _, y in stairs], solid=True)
    words = "; ".join(f"{bare(row['model'])} {_score(row['quality'])} at {_number(row[name])}" for row in front[:8])
    label = f"{where}, validation {metric} against {x.label}; the front: {words}"
    return sweep.draw(Chart(where, x, Axis(f"validation {metric}"), series, [level]), label), len(behind) - len(drawn)


def _is_priced(sweep: _Sweep) -> bool:
    return any(run.config.usd_per_hour is not None for run in sweep.runs)


def _objective_label(sweep: _Sweep, name: str, thousand: bool) -> str:
    runs = "1,000 runs" if thousand else "a run"
    return {
        "latency": "latency (ms to answer a sequence)",
        "memory": "peak memory (GiB)",
        "parameters": "trainable numbers",
        "cost": f"cost of {runs} (USD)" if _is_priced(sweep) else "duration of a run (s)",
    }[name]


# --- 8. Predicted against actual --------------------------------------------------------------------------------------


def _planned(sweep: _Sweep) -> Section:
    anchor, title = "plan", "Predicted against actual"
    if sweep.prediction is None:
        return Section(
            anchor, title, reason="not planned: run `python -m bench plan` with the same arguments before the sweep."
        )
    if isinstance(sweep.prediction, str):
        return Section(anchor, title, reason=sweep.prediction)
    frame = evidence.predicted_against_actual(sweep.runs, sweep.prediction)
    if frame.empty:
        return Section(anchor, title, reason="no cell that was planned has ended.")
    rows = _rows(frame)
    predicted, actual = frame.attrs["wall_predicted"], frame.attrs["wall_actual"]
    work = frame["predicted_for_work_done"].sum()
    took = frame["actual_seconds"].sum()
    lead = f"The plan was {_duration(predicted)} of wall time, if no run is solved early; it took {_duration(actual)}. "
    lead += f"For the training steps that were made, {_duration(work)} of device time were predicted and "
    lead += f"{_duration(took)} spent (predicted over actual: {_number(work / took if took else math.nan)})."
    known = [row for row in rows if row["predicted_for_work_done"] > 0 and row["actual_seconds"] > 0]
    blocks: list[Block] = [Note(lead, "lead")]
    if known:
        series = [
            Series(m, [r["actual_seconds"] for r in mine], [r["predicted_for_work_done"] for r in mine], line="")
            for m, mine in _by_model(known)
        ]
        x, y = Axis("actual device time (s)", log=True), Axis("predicted for the work done (s)", log=True)
        label = f"{len(known)} cells: device time predicted for the work done against actual; median ratio "
        label += _number(statistics.median(r["predicted_for_work_done"] / r["actual_seconds"] for r in known))
        drawing = sweep.draw(Chart("device time of each cell", x, y, series, equal=True), label)
        caption = (
            "Each point is a cell. On the dotted line the prediction was right; above it, too high; below it, too low."
        )
        blocks.append(Panels([drawing], caption, sweep.legend(frame["model"])))
    cells = [
        [
            _where(row),
            row["model"],
            _number(row["predicted_seconds"]),
            _number(row["actual_seconds"]),
            _number(row["ratio"]),
            _percent(row["work_done"]),
            _number(row["predicted_for_work_done"]),
        ]
        for row in rows
    ]
    head = ["question", "model", "predicted (s)", "actual (s)", "predicted / actual", "work done"]
    blocks.append(_folded(Table("Device time by cell", [*head, "predicted for the work done (s)"], cells)))
    blocks.append(
        Note(
            "Work done is the share of the planned training steps: runs that are solved or fail early make fewer; it "
            "is above 100 % where more configurations were confirmed than was to be expected."
        )
    )
    return Section(anchor, title, blocks)


# --- 9. Speed by length -----------------------------------------------------------------------------------------------

SPEED = {
    "train_step_milliseconds": "a training step (ms)",
    "inference_sequences_per_second": "inference (sequences/s)",
    "streaming_p50_milliseconds": "a streamed step, median (ms)",
    "peak_memory_mib": "peak memory (MiB)",
}


def _speed(sweep: _Sweep) -> Section:
    anchor, title = "speed", "Speed by length"
    names = [name for name in SPEED if name in sweep.board.columns and sweep.board[name].notna().any()]
    measured = sweep.board[sweep.board[names].notna().any(axis=1)] if names else sweep.board.iloc[:0]
    if measured.empty:
        return Section(anchor, title, reason="no exclusive pass has been made yet.")
    hardware = [str(value) for value in measured["hardware"].dropna().unique()]
    blocks: list[Block] = []
    if len(hardware) > 1:
        text = f"The rows come from different hardware ({'; '.join(hardware)}): they are not compared by time."
        blocks.append(Note(text, "warning"))
    drawings = []
    for (dataset, match), group in measured.groupby(["dataset", "match"], sort=False, dropna=False):
        if len(hardware) > 1 or group["steps"].nunique() < 2:
            continue
        for name in names:
            rows = [
                row for row in _rows(group.sort_values("steps", kind="stable")) if _known(row[name]) and row[name] > 0
            ]
            steps = sorted({int(row["steps"]) for row in rows})
            if len(steps) < 2:
                continue
            where = dataset + ("" if pd.isna(match) else f" with {match}")
            series = [Series(m, [r["steps"] for r in mine], [r[name] for r in mine]) for m, mine in _by_model(rows)]
            ends = "; ".join(
                f"{bare(m)} {_number(first[name])} at {first['steps']}, {_number(last[name])} at {last['steps']}"
                for m, (first, *_, last) in ((m, [*mine, mine[-1]]) for m, mine in _by_model(rows))
            )
            x = Axis("steps of a training sequence", log=True, ticks=[(n, f"{n:,}") for n in _sparse(steps)])
            chart = Chart(where, x, Axis(SPEED[name], log=True), series, _in_proportion(rows, steps, name))
            drawings.append(sweep.draw(chart, f"{where}, {SPEED[name]}: {ends}"))
    if drawings:
        caption = "Both axes are logarithmic. A line as steep as the dashed one is a time in proportion to length."
        blocks.append(Panels(drawings, caption, sweep.legend(measured["model"])))
    several = len(hardware) > 1
    head = ["question", "model", "steps", *(SPEED[name] for name in names), *(["hardware"] if several else [])]
    cells = [
        [
            _where(row),
            row["model"],
            f"{row['steps']:,}",
            *(_number(row[name]) for name in names),
        ]
        + ([str(row["hardware"])] if several else [])
        for row in _rows(measured)
    ]
    blocks.append(_folded(Table("The chosen configuration of each model, alone on the machine", head, cells)))
    batch = ", ".join(f"{int(size):,}" for size in measured["batch_size"].dropna().unique())
    blocks.append(
        Note(
            f"From the exclusive pass: alone, warmed up, medians, batches of {batch or 'unknown'} sequences. "
            "The chosen configurations differ in width: compared is what was chosen, not architectures of equal size."
        )
    )
    return Section(anchor, title, blocks)


def _in_proportion(rows: list[dict[str, Any]], steps: list[int], name: str) -> list[Level]:
    """Return a line along which time is proportional to length, from the quickest model at the shortest one."""
    starts = [row[name] for row in rows if row["steps"] == steps[0]]
    if name == "peak_memory_mib" or name.endswith("per_second") or not starts:
        return []
    return [Level("in proportion", [steps[0], steps[-1]], [min(starts), min(starts) * steps[-1] / steps[0]])]


# --- 10. Generated text -----------------------------------------------------------------------------------------------

MEASURES = {
    "real_words": "real words",
    "copied": "copied",
    "distinct_3": "distinct-3",
    "self_bleu": "self-BLEU",
    "n_gram_nats": "5-gram nats",
}


def _texts(sweep: _Sweep) -> Section:
    frame = evidence.generated(sweep.runs, sweep.spec["top_k"])
    blocks: list[Block] = []
    for (dataset, length), group in frame.groupby(["dataset", "length"], sort=False) if not frame.empty else ():
        rows = _rows(group)
        cells = [
            [row["model"], row["temperature"], _score(row["score"]), *(_score(row[name]) for name in MEASURES)]
            for row in rows
        ]
        head = ["model", "temperature", f"test {rows[0]['metric']}", *MEASURES.values()]
        blocks.append(_folded(Table(f"{dataset} at {length:,}: 20 texts by each model", head, cells)))
        shown = {row["model"]: row for row in rows if row["temperature"] == "0.8" or row["model"].startswith("(")}
        pairs = [(f"{name} at {row['temperature']}", _excerpt(sweep, row)) for name, row in shown.items()]
        blocks.append(Listing(pairs))
    if blocks:
        blocks.append(
            Note(
                "All go on from the same 20 beginnings of validation windows, for about 1,000 characters, each model "
                "with the weights of one seed; models in brackets are cheap samplers. Real words: the share of words "
                "of 4 letters or more that the training part has. Copied: the share of windows of 20 characters that "
                "it has. Distinct-3: different runs of 3 words over all of them. Self-BLEU: how alike the texts are. "
                "5-gram nats: how surprising a token is to a 5-gram model of the training part. None of them is a "
                "score: repeated commonplaces are made of real words and surprise nobody."
            )
        )
    return Section("texts", "Generated text", blocks)


def _excerpt(sweep: _Sweep, row: dict[str, Any], most: int = 300) -> str:
    """Return the beginning of the first text of a row, its lines parted as those of a poem."""
    try:
        texts = json.loads((sweep.folder / "runs" / row["run"] / "samples.json").read_text(encoding="utf-8"))
        (text, *_) = texts[row["model"].strip("()") if row["model"].startswith("(") else row["temperature"]]
    except (OSError, ValueError, KeyError):
        return "the text is no longer there."
    return _shortened(" / ".join(line for line in text.splitlines() if line.strip()), most)


# --- 11. How to read this ---------------------------------------------------------------------------------------------

GLOSSARY = (
    ("Cell", "A model on a dataset at one length. Every cell gets the same budget."),
    ("Trial", "One configuration, trained with one seed. Trials choose; they are judged on validation data only."),
    ("Confirm run", "A chosen configuration trained again on a fresh seed that no choice has seen."),
    (
        "Seed",
        "The number from which initial weights and training data follow. With one seed all models see the same "
        "batches, so scores are compared in pairs, seed by seed.",
    ),
    (
        "Solved",
        "The task's threshold reached in two validations in a row, and on the test split. “0 of 3” means not solved "
        "within this budget, never that a model cannot.",
    ),
    ("Rank", "One more than the number of models shown to be better. What the seeds cannot tell apart shares a rank."),
    (
        "95 % interval",
        "Of k of n seeds: Clopper and Pearson's, exact. Of a mean: Student's t below 20 seeds, BCa bootstrap from "
        "there. One seed has none.",
    ),
    ("Device time", "Wall time of a run on each of its devices, with attempts that died."),
)

RULES = (
    "Choices see validation data only; the test split is opened once, for the chosen configuration.",
    "Every model gets the same number of trials and training sequences, and what failed is on its bill.",
    "What was chosen as the best of several is trained again before it is believed.",
    "A difference that the seeds cannot bear out is not called one; no correction is made for the number of pairs.",
    "What was not measured is said to be so; it is never a blank or a zero.",
)


def _reading(sweep: _Sweep) -> Section:
    rules = [(f"Rule {number}", text) for number, text in enumerate(RULES, 1)]
    return Section("reading", "How to read this", [Listing(GLOSSARY), Listing(rules)])


SECTIONS: Sequence[Callable[[_Sweep], Section]] = (
    *(_scores, _outcomes, _bill, _expected, _tuning, _pareto, _planned, _speed, _texts, _reading),
)


# --- Numbers and words ------------------------------------------------------------------------------------------------


def _known(value: Any) -> bool:
    return not pd.isna(value)


def _float(value: Any) -> float:
    return float(value) if _known(value) else math.nan


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _groups(board: pd.DataFrame) -> Iterator[Any]:
    return iter(board.groupby(["dataset", "length", "match"], sort=False, dropna=False))


def _split(frame: pd.DataFrame) -> dict[tuple[str, int, str], list[dict[str, Any]]]:
    """Return rows by what is compared: dataset, length and rule of capacity, as they first appear."""
    found: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for row in _rows(frame):
        found.setdefault((row["dataset"], row["length"], row["model"].partition("@")[2]), []).append(row)
    return found


def _by_model(rows: Iterable[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["model"], []).append(row)
    return list(found.items())


def _metrics(runs: Iterable[RunRecord]) -> dict[tuple[str, int], str]:
    return {(run.config.dataset, run.config.length): run.asked.metric for run in runs}


def _question(dataset: str, length: int, match: str) -> str:
    return f"{dataset} at {length}" + (f" with {match}" if match else "")


def _where(row: dict[str, Any]) -> str:
    """Return the question of a row; its model's name says the rule of capacity, if there is one."""
    return f"{row['dataset']} at {row['length']:,}"


def _folded(table: Table, always: bool = False) -> Table:
    return Table(table.caption, table.head, table.rows, table.total, always or len(table.rows) > FEW_ROWS)


def _number(value: float | None) -> str:
    """Return a number with three significant digits and thousands separators; a dash where there is none."""
    if value is None or not _known(value) or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}".replace("-", "−")


def _score(value: float | None) -> str:
    return DASH if value is None or not _known(value) else f"{value:.3f}".replace("-", "−")


def _signed(value: float) -> str:
    if not _known(value):
        return DASH
    return "0.000" if abs(value) < 0.0005 else f"{value:+.3f}".replace("-", "−")


def _interval(low: float, high: float) -> str:
    return f"{_signed(low)} to {_signed(high)}" if _known(low) and _known(high) else DASH


def _whole(count: float | None) -> str:
    return DASH if count is None or not _known(count) else f"{int(count):,}"


def _percent(share: float) -> str:
    if not _known(share):
        return DASH
    return f"{100 * share:.0f} %" if share in (0, 1) or share >= 0.1 else f"{100 * share:.1f} %"


def _usd(value: float) -> str:
    return f"{value:,.2f}" if value >= 0.1 or value == 0 else _number(value)


def _time_unit(seconds: float) -> tuple[str, float]:
    """Return the unit that suits a time and its size in hours."""
    if not _known(seconds) or seconds < 120:
        return "s", 1 / 3600
    return ("min", 1 / 60) if seconds < 7200 else ("h", 1.0)


def _duration(seconds: float) -> str:
    unit, hours = _time_unit(seconds)
    return f"{_number(seconds / 3600 / hours)} {unit}"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _join(words: Iterable[str]) -> str:
    words = list(words)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _shortened(text: str, most: int = 24) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
