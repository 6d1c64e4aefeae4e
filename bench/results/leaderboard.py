"""The leaderboard: a pure function of run records, and its forms on paper."""

import collections
import json
import math
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.config.ids import CellId, RunId
from bench.config.settings import BASELINES
from bench.errors import DeclarationError, StoreError, UnknownNameError
from bench.results import bill, stats
from bench.results.cell_runs import CellRuns
from bench.results.metrics import METRICS
from bench.results.record import RunRecord, all_records, outcome, read_spec, records, write_atomically
from bench.results.selection import counted_test, counted_val
from bench.wording import enumeration

COLUMNS = (
    ["dataset", "length", "steps", "match", "model", "rank", "state", "metric", "goal", "score", "score_is"]
    + ["ci_low", "ci_high", "ci_of", "num_seeds", "solved", "val_screening", "val_confirmation", "drop", "val_default"]
    + list(METRICS)
    + ["kernels", "device_seconds", "usd", "kwh", "energy_is", "num_trials", "num_failed", "num_pruned", "outcomes"]
    + ["num_crashes", "origin", "configuration", "config_file", "configurations_confirmed", "configurations_tested"]
    + ["sampler", "pruner", "max_sequences", "batch_size", "device", "num_devices", "threads", "precision"]
    + ["hardware", "python", "torch", "pytorch_lightning", "optuna", "mlflow", "numpy", "commit", "sweep"]
)
"""What results/README.md defines, in its order."""

COUNTS = ["length", "steps", "rank", "num_seeds", "solved", "num_parameters", "state_size", "num_trials", "num_failed"]
COUNTS += ["num_pruned", "num_crashes", "configurations_confirmed", "configurations_tested", "max_sequences"]
COUNTS += ["batch_size", "num_devices", "threads"]


def build(folder: Path, found: Sequence[RunRecord] | None = None) -> pd.DataFrame:
    """Return the leaderboard of a sweep: per dataset and length a row a model, then its cheap baselines.

    Chance stands below them where it is exact, which it is of tasks that can be solved.
    `found` are the sweep's records, where they have been read already.
    """
    spec = read_spec(folder)
    found = all_records(folder) if found is None else found
    groups: dict[tuple[str, int, str], list[RunRecord]] = {}
    floors: dict[tuple[str, int], list[RunRecord]] = {}
    for cell_id in spec["spec"]["cells"]:
        cell = CellId.parse(cell_id)
        groups[cell.dataset, cell.length, _match(cell.space)] = []
    for record in found:
        config = record.config
        if config.phase == "baselines":
            floors.setdefault((config.dataset, config.length), []).append(record)
        else:
            groups[config.dataset, config.length, _match(config.space)].append(record)
    rows: list[dict[str, Any]] = []
    for (dataset, length, match), group in groups.items():
        below = floors.get((dataset, length), [])
        if group or below:
            rows += _group_rows(dataset, length, match, group, below, spec, folder)
    if not rows:
        raise StoreError(f"{folder}: no finished run yet")
    board = pd.DataFrame(rows, columns=COLUMNS)
    for column in COUNTS:
        board[column] = board[column].astype("Int64")  # whole numbers stay so beside empty cells
    return board


def _match(space: str) -> str:
    """Return the rule of capacity matching in a search space's name; empty where the space says the width."""
    return space.partition("@")[2]


def _group_rows(
    dataset: str,
    length: int,
    match: str,
    group: list[RunRecord],
    floors: list[RunRecord],
    spec: dict[str, Any],
    folder: Path,
) -> list[dict[str, Any]]:
    """Return the rows of one dataset and length under one rule of capacity, best first."""
    cells: dict[str, list[RunRecord]] = {}
    for record in group:
        cells.setdefault(record.config.space, []).append(record)
    known = {name: place for place, name in enumerate(BASELINES)}
    names = sorted(cells, key=lambda name: (known.get(name.split("@")[0], len(known)), name))
    ranked: list[tuple[dict[str, Any], list[RunRecord]]] = []
    others: list[dict[str, Any]] = []
    for name in names:
        row, confirmed = _cell_row(cells[name], spec, folder)
        if confirmed:
            ranked.append((row, confirmed))
        else:
            others.append(row)
    _rank(ranked)
    rows = sorted((row for row, _ in ranked), key=_order) + others
    states = {cell_id: "not finished" for cell_id in spec["spec"]["cells"]}
    states |= {cell_id: f"not applicable: {reason}" for cell_id, reason in spec["not_applicable"].items()}
    for cell_id, state in states.items():
        cell = CellId.parse(cell_id)
        if (cell.dataset, cell.length) == (dataset, length) and cell.space not in cells and _match(cell.space) == match:
            rows.append({"dataset": dataset, "length": length, "model": cell.space, "state": state})
    asked = (group or floors)[0].asked
    floor = {"dataset": dataset, "length": length, "steps": asked.num_steps, "metric": asked.metric, "state": "floor"}
    floor["goal"] = asked.goal
    for record in floors:
        for name, value in (record.baselines or {}).items():
            rows.append(floor | {"model": f"({name})", "score": value})
    if asked.solved is not None:  # of drawn sequences it is exact; of stored ones it is of the validation part
        rows.append(floor | {"model": "(chance)", "score": asked.chance})
    shared = {"sweep": folder.name, "match": match or None}
    return [shared | row for row in rows]


def _cell_row(cell: list[RunRecord], spec: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[RunRecord]]:
    """Return a model's row, and the confirm runs that it rests on."""
    first = cell[0]
    runs = CellRuns(tuple(cell), spec["top_k"])
    chosen, confirmed = runs.chosen, runs.confirmed
    kwh, energy_is = bill.energy(cell, spec.get("cpu_watts"))
    row: dict[str, Any] = {
        "dataset": first.config.dataset,
        "length": first.config.length,
        "steps": first.asked.num_steps,
        "model": first.config.space,
        "metric": first.asked.metric,
        "goal": first.asked.goal,
        "state": "complete",
        "device_seconds": sum(record.device_seconds for record in cell),
        "usd": bill.usd(cell),
        "kwh": kwh,
        "energy_is": energy_is,
        "num_trials": len(runs.screened),
        "num_failed": sum(record.state == "failed" for record in cell),
        "num_pruned": sum(record.state == "pruned" for record in cell),
        "outcomes": _outcomes(cell),
        "num_crashes": sum(len(record.crashes) for record in cell),
        "configurations_confirmed": len({r.config.id.trial for r in cell if r.config.phase == "confirm"}),
        "configurations_tested": len({RunId.parse(run).trial for r in cell for run in r.tests}),
        "sampler": spec["spec"].get("sampler"),
        "pruner": spec["spec"].get("pruner"),
        "num_devices": first.config.num_devices,
        "max_sequences": first.config.train.max_sequences,
        "batch_size": first.config.train.batch_size,
        "device": first.config.device,
        "threads": first.config.threads,
        "precision": first.config.precision,
        "commit": first.config.commit,
    }
    row |= {key: first.environment.get(key) for key in _ENVIRONMENT}
    if chosen is None:
        causes = sorted({outcome(record) for record in runs.screened})
        if any(record.state == "complete" for record in runs.screened):
            causes = ["no configuration keeps to the limits"]
        done = len(runs.screened) >= spec["trials"] or (runs.screened and spec.get("ended_by"))
        row["state"] = f"failed: {', '.join(causes)}" if done else "not finished"
        return row, []
    speed = [runs.speed] if runs.speed else []
    row |= {
        "val_screening": chosen.val_score,
        "origin": chosen.config.origin,
        "configuration": json.dumps(_configuration(chosen), sort_keys=True),
        "config_file": str(Path("runs") / chosen.config.run / "config.json"),
    }
    if len(confirmed) < spec["confirm_seeds"]:
        row["state"] = f"not finished: {spec['ended_by']}" if spec.get("ended_by") else "not finished"
    for kernel in (", ".join(record.kernels) for record in speed):
        row["kernels"] = kernel
    for name, metric in METRICS.items():
        values = [metric.compute(record) for record in [*confirmed, *speed]]
        known = [value for value in values if value is not None]
        row[name] = statistics.median(known) if known else None
    # What the test split has not been opened for, yet or because the test run failed, proves nothing.
    if any(counted_test(record) is None for record in confirmed):
        broken = [record for record in runs.tests if not record.tests]
        causes = sorted({record.cause or "error" for record in broken})
        row["state"] = f"failed: test run: {', '.join(causes)}" if causes else "not finished"
        confirmed = [record for record in confirmed if counted_test(record) is not None]
    row["num_seeds"] = len(confirmed)
    row["val_confirmation"] = _mean_val(confirmed)
    if row["val_confirmation"] is not None and chosen.val_score is not None:
        row["drop"] = chosen.asked.sign * (chosen.val_score - row["val_confirmation"])
    row["val_default"] = _mean_val(runs.confirmations(runs.default)) if runs.default else None
    row |= _score(confirmed)
    if confirmed and row["score"] is None and first.asked.solved is None:  # all seeds failed: nothing to rank
        if row["state"] == "complete":
            row["state"] = f"failed: {', '.join(sorted({record.cause or record.state for record in confirmed}))}"
        return row, []
    return row, confirmed


def _mean_val(runs: list[RunRecord]) -> float | None:
    scores = [score for run in runs if (score := counted_val(run)) is not None]
    return statistics.fmean(scores) if scores else None


def _outcomes(cell: list[RunRecord]) -> str:
    """Return how the trials and confirm runs of a cell ended: `complete 12, pruned 3, out_of_memory 1`."""
    counts = collections.Counter(outcome(run) for run in cell if run.config.phase in ("screen", "confirm"))
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _score(confirmed: list[RunRecord]) -> dict[str, Any]:
    """Return the confirmed test score and its interval.

    Solve-type: k of n, with its exact interval, and the median; a mean of solved and unsolved runs says nothing. Else:
    the mean, with the interval of the mean. A run that failed is an unsolved one, with the chance score.
    """
    scores = [score for record in confirmed if (score := counted_test(record)) is not None]
    if not confirmed:
        return {}
    if all(record.state == "failed" for record in confirmed):
        scores = []
    if confirmed[0].asked.solved is not None:
        solved = sum(bool(record.solved) for record in confirmed)
        low, high = stats.clopper_pearson(solved, len(confirmed))
        score = statistics.median(scores) if scores else None
        kind = {"score_is": "median", "solved": solved, "ci_of": "share of seeds that solve"}
    else:
        low, high = stats.score_interval(scores, confirmed[0].asked.metric)
        score = statistics.fmean(scores) if scores else None
        kind = {"score_is": "mean", "ci_of": "mean score"}
    return {"score": score, "ci_low": low, "ci_high": high} | kind


def _rank(ranked: list[tuple[dict[str, Any], list[RunRecord]]]) -> None:
    """Give each row its rank: one more than the number of rows shown to be better."""
    better = [[a is not b and _better(a, b) for _, b in ranked] for _, a in ranked]
    for (row, _), rank in zip(ranked, stats.ranks(better), strict=True):
        row["rank"] = rank


def _better(a: list[RunRecord], b: list[RunRecord]) -> bool:
    if a[0].asked.solved is not None:
        return stats.solves_more([bool(record.solved) for record in a], [bool(record.solved) for record in b])
    # Paired by seed: equal seeds saw the same data in the same order.
    seeds = {record.config.seed: record for record in b}
    pairs = [(record, seeds[record.config.seed]) for record in a if record.config.seed in seeds]
    scores = [[score for run in side if (score := counted_test(run)) is not None] for side in zip(*pairs, strict=True)]
    sign = a[0].asked.sign
    return len(pairs) > 1 and stats.scores_higher(*([sign * score for score in side] for side in scores))


def _order(row: dict[str, Any]) -> tuple[float, ...]:
    score, sign = row.get("score"), 1 if row["goal"] == "maximize" else -1
    return (
        row["rank"],
        -(row.get("solved") or 0),
        row.get("sequences_to_solve") or math.inf,
        -sign * score if score is not None else math.inf,
    )


_ENVIRONMENT = ("hardware", "python", "torch", "pytorch_lightning", "optuna", "mlflow", "numpy")


def _configuration(record: RunRecord) -> dict[str, Any]:
    train = record.config.train.model_dump()
    knobs = ("learning_rate", "gradient_clip", "weight_decay", "dropout", "embedding_size", "schedule")
    return record.config.model_arguments | {name: train[name] for name in (*knobs, "warmup_fraction")}


def answers(board: pd.DataFrame) -> list[str]:
    """Return one sentence for each dataset and length: what the evidence says, and no more."""
    return [f"{title}: {_answer(group)}{_lacking(group)}." for title, group in _groups(board)]


def _lacking(group: pd.DataFrame) -> str:
    failed = group[group["state"].astype(str).str.startswith("failed")]
    who = [f"{_bare(row.model)} ({row.state.removeprefix('failed: ')})" for row in failed.itertuples()]
    found = f"; failed: {', '.join(who)}" if who else ""
    open_ = group[group["rank"].isna() & group["state"].astype(str).str.startswith("not finished")]
    if len(open_) and group["rank"].notna().any():  # else no one has been confirmed, and that is the answer
        found += f"; not finished: {_names(open_)}"
    return found


def summaries(board: pd.DataFrame) -> list[str]:
    """Return one sentence for each dataset that was asked at several lengths: who is good at which of them."""
    found = []
    for (dataset, match), group in board.groupby(["dataset", "match"], sort=False, dropna=False):
        rows = group[group["rank"].notna()]
        lengths = sorted(rows["length"].unique())
        if len(lengths) > 1:
            title = f"{dataset} at {lengths[0]} to {lengths[-1]}" + ("" if pd.isna(match) else f" with {match}")
            beaten = [length for length in lengths if _as_good(group[group["length"] == length]) is not None]
            where = f"; at {enumeration(map(str, beaten))} a cheap baseline does as well or better" if beaten else ""
            found.append(f"{title}: {_summary(rows, lengths)}{where}.")
    return found


def _summary(rows: pd.DataFrame, lengths: list[int]) -> str:
    is_solve = rows["solved"].notna().any()
    good = rows[rows["solved"] == rows["num_seeds"]] if is_solve else rows[rows["rank"] == 1]
    every = "both" if len(lengths) == 2 else f"all {len(lengths)}"
    text = "solved on every seed" if is_solve else "in the first rank"
    budget = f" within {int(rows['max_sequences'].iloc[0]):,} sequences" if is_solve else ""
    if good.empty:
        return f"{text} at none of the lengths{budget} by any model"
    models: dict[tuple[int, ...], list[str]] = {}
    for model in rows["model"].drop_duplicates():
        models.setdefault(tuple(sorted(good.loc[good["model"] == model, "length"])), []).append(_bare(model))
    parts = []
    for where, names in sorted(models.items(), key=lambda item: (-len(item[0]), item[0])):
        if len(where) == len(lengths):
            place = f"at {every} lengths"
        elif not where:
            place = f"at none of them{budget}"
        elif len(where) > 1 and list(where) == lengths[: len(where)]:
            place = f"up to {where[-1]}"
        else:
            place = f"at {enumeration(map(str, where))} only"
        who = f" by {enumeration(names)}" if is_solve else f": {enumeration(names)}"
        parts.append(f"{place}{who}" + (_quickest(rows, names, where[-1]) if len(where) == len(lengths) else ""))
    return f"{text} {'; '.join(parts)}"


def _quickest(rows: pd.DataFrame, models: list[str], length: int) -> str:
    """Return who of several models has the shortest training step at a length, if one machine has measured all."""
    mine = rows[rows["model"].map(_bare).isin(models) & (rows["length"] == length)]
    steps = mine["train_step_milliseconds"].astype(float)
    if len(mine) < 2 or steps.isna().any() or mine["hardware"].nunique() > 1:
        return ""
    best = mine.loc[steps.idxmin()]
    return f" (the shortest training step at {length}: {_bare(best['model'])}, {steps.min():.2f} ms)"


def _groups(board: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield what is compared with each other: a dataset at a length, under one rule of capacity."""
    for (dataset, length, match), group in board.groupby(["dataset", "length", "match"], sort=False, dropna=False):
        yield f"{dataset} at {length}" + ("" if pd.isna(match) else f" with {match}"), group


def _answer(group: pd.DataFrame) -> str:
    rows = group[group["rank"].notna()]
    if rows.empty:
        states = group["state"][~group["state"].str.startswith(("floor", "not applicable"))]
        all_failed = len(states) and states.str.startswith("failed").all()
        return "no model was confirmed" if all_failed else "no model has been confirmed yet"
    budget = f"{int(rows['max_sequences'].iloc[0]):,} sequences"
    if rows["solved"].notna().any():
        full = rows[rows["solved"] == rows["num_seeds"]]
        partly = rows[(rows["solved"] > 0) & (rows["solved"] < rows["num_seeds"])]
        none = rows[rows["solved"] == 0]
        parts = []
        if not full.empty:
            quickest = full.loc[full["seconds_to_solve"].astype(float).idxmin()]
            fewest, most = int(full["num_seeds"].min()), int(full["num_seeds"].max())
            every = "the one seed" if most == 1 else f"all {most} seeds"
            if fewest < most:  # a budget ended the sweep
                every = f"each of their {fewest} to {most} seeds"
            text = f"solved on {every} by {_names(full)}"
            if len(full) == 1 or full["hardware"].nunique() == 1:
                if len(full) > 1:
                    text += f", quickest by {_bare(quickest['model'])}"
                text += f" ({quickest['seconds_to_solve']:.1f} s, {int(quickest['sequences_to_solve']):,} sequences)"
            else:
                text += " (on different hardware: not compared by time)"
            parts.append(text)
        if not partly.empty:
            counts = ", ".join(f"{_bare(r.model)} {int(r.solved)} of {int(r.num_seeds)}" for r in partly.itertuples())
            parts.append(f"on some seeds by {counts}")
        if not none.empty:
            tried = group[~group["state"].str.startswith(("floor", "not applicable"))]
            who = "any model" if len(none) == len(tried) else _names(none)
            parts.append(f"not solved within {budget} by {who}")
        return "; ".join(parts)
    first = rows[rows["rank"] == 1]
    best = first.iloc[0]
    interval = ""
    if math.isfinite(best["ci_low"]):
        interval = f" [{best['ci_low']:.3f}, {best['ci_high']:.3f}]"
    text = f"best {best['metric']} {best['score']:.3f}{interval} by {_bare(best['model'])}"
    if len(first) > 1:
        text += f", not told apart from {_names(first.iloc[1:])}"
    cheap = _as_good(group)
    if cheap is not None:
        text += f"; the cheap baseline {cheap['model'].strip('()')} does as well or better ({cheap['score']:.3f})"
    return f"{text}, within {budget}"


def _as_good(group: pd.DataFrame) -> "pd.Series[Any] | None":
    """Return the best of the cheap baselines that are as good as the best model of a task of degree, if any is."""
    rows = group[(group["rank"] == 1) & group["solved"].isna()]
    if rows.empty:
        return None
    best, sign = rows.iloc[0]["score"], 1 if rows.iloc[0]["goal"] == "maximize" else -1
    floors = group[(group["state"] == "floor") & (sign * group["score"] >= sign * best)]
    return None if floors.empty else floors.loc[(sign * floors["score"]).idxmax()]


def _names(rows: pd.DataFrame) -> str:
    return enumeration(_bare(name) for name in rows["model"])


def _bare(model: str) -> str:
    """Return a model's name without the rule of capacity, which the sentence has named."""
    return model.partition("@")[0]


def write_csv(board: pd.DataFrame, path: Path) -> None:
    """Write the leaderboard as CSV; a text cell that a spreadsheet would run as a formula gets a leading quote.

    So does one that would be read as a number: commit 12e4567 is none, and neither is a sweep named 0012.
    """
    safe = board.copy()
    for column in safe.columns:
        if safe[column].dtype.kind not in "fiub":
            safe[column] = safe[column].map(_inert)
    write_atomically(path, safe.to_csv(index=False, lineterminator="\n"))


def _inert(value: Any) -> Any:
    if isinstance(value, str) and value and (value[0] in "=+-@\t\r\0" or re.fullmatch(r"\d+(\.\d+)?([eE]\d+)?", value)):
        return f"'{value}"
    return value


SHOWN = {
    "model": "model",
    "rank": "rank",
    "score": "score",
    "interval": "95 % interval",
    "solved": "solved",
    "sequences_to_solve": "sequences to solve",
    "num_parameters": "parameters",
    "train_step_milliseconds": "ms a step",
    "inference_sequences_per_second": "inference seq/s",
    "peak_memory_mib": "MiB",
    "device_seconds": "device s",
}
"""The columns that fit a screen, and their headings there."""


def for_people(board: pd.DataFrame) -> dict[str, list[list[str]]]:
    """Return a table of text cells for each dataset and length, by its heading; the columns are those of SHOWN."""
    tables: dict[str, list[list[str]]] = {}
    for title, group in _groups(board):
        steps = group["steps"].dropna()
        heading = f"{title} ({int(steps.iloc[0])} steps, {group['metric'].dropna().iloc[0]}"
        of = group["ci_of"].dropna()
        heading += f"; interval of the {of.iloc[0]})" if len(of) else ")"
        tables[heading] = [_cells(row) for _, row in group.iterrows()]
    return tables


def filled(head: Sequence[str], rows: Sequence[Sequence[str]], nothing: str = "") -> tuple[list[str], list[list[str]]]:
    """Return the headings and rows of a table without the columns in which no row has anything."""
    kept = [index for index in range(len(head)) if any(row[index] != nothing for row in rows)]
    return [head[index] for index in kept], [[row[index] for index in kept] for row in rows]


def _cells(row: "pd.Series[Any]") -> list[str]:
    def shown(name: str, form: str) -> str:
        return "" if pd.isna(row[name]) else format(row[name], form)

    if str(row["state"]).startswith(("failed", "not")) and pd.isna(row["score"]):
        name = f"{_bare(row['model'])} ({str(row['state']).split(':')[0]})"
        return [name, *[""] * (len(SHOWN) - 2), shown("device_seconds", ".1f")]
    interval = "" if pd.isna(row["ci_low"]) else f"{row['ci_low']:.2f} to {row['ci_high']:.2f}"
    solved = "" if pd.isna(row["solved"]) else f"{int(row['solved'])} of {int(row['num_seeds'])}"
    return [
        _bare(row["model"]),
        shown("rank", ".0f"),
        shown("score", ".3f"),
        interval,
        solved,
        shown("sequences_to_solve", ",.0f"),
        shown("num_parameters", ",.0f"),
        shown("train_step_milliseconds", ".2f"),
        shown("inference_sequences_per_second", ",.0f"),
        shown("peak_memory_mib", ".0f"),
        shown("device_seconds", ".1f"),
    ]


def to_markdown(board: pd.DataFrame) -> str:
    """Return the leaderboard as Markdown: the answers, then a table for each dataset and length."""
    lines = [f"- {answer}" for answer in [*summaries(board), *answers(board)]]
    for heading, found in for_people(board).items():
        head, rows = filled(list(SHOWN.values()), found)
        lines += ["", f"### {heading}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    row = board[board["hardware"].notna()].iloc[:1]
    for values in row.itertuples():
        lines += [
            "",
            f"{values.hardware}, {values.device}, {int(values.threads)} thread(s) a run; Python {values.python}, "
            f"torch {values.torch}; commit {values.commit or 'unknown'}; sweep {values.sweep}.",
        ]
    return "\n".join(lines) + "\n"


def find_sweeps(results: Path, names: Iterable[str]) -> list[Path]:
    """Return the folders of the sweeps named, or of the latest one. Raises DeclarationError."""
    folder = results / "sweeps"
    known = {path.name: path for path in sorted(folder.glob("*")) if (path / "sweep.json").exists()}
    if not known:
        raise DeclarationError(f"{folder}: no sweep here yet; run: python -m bench sweep")
    chosen = list(names) or [max(known, key=lambda name: (known[name] / "sweep.json").stat().st_mtime)]
    for name in chosen:
        if name not in known:
            raise UnknownNameError("sweep", name, known)
    return [known[name] for name in chosen]


def load(results: str | Path = "results", *sweeps: str) -> pd.DataFrame:
    """Return the records of a results folder, a row a run, nested facts flattened with dots (for notebooks).

    Without names, of all sweeps.
    """
    folders = find_sweeps(Path(results), sweeps) if sweeps else sorted((Path(results) / "sweeps").glob("*/"))
    rows = [record.model_dump(exclude={"epochs"}) for folder in folders for record in records(folder)]
    return pd.json_normalize(rows)
