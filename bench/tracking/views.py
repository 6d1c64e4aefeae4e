"""What the pages that a sweep links to show first: filter, columns and charts, as MLflow's page shares a view.

Filter and order are always given: the page takes what is missing from the last visit. Rows sorted by a metric do not
nest, and only then do the charts show cells; rows sorted by date nest.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

from bench.config.contracts import Goal
from bench.results.record import Asked
from bench.tracking import facts
from bench.tracking.pages import where

View = dict[str, Any]

BARS = {
    "Speed, measured with nothing else running": (
        *("train_step_milliseconds", "train_sequences_per_second", "train_tokens_per_second"),
        *("latency_p50_milliseconds", "latency_p95_milliseconds", "streaming_p50_milliseconds"),
        *("inference_sequences_per_second",),
    ),
    "Size": (
        *("num_parameters", "peak_memory_mib"),
        *("train_flops_per_sequence", "inference_flops_per_sequence"),
    ),
    "Cost of all runs of a model": ("device_seconds", "usd", "kwh", "co2_grams"),
}
"""The bar charts: by section, the columns. MLflow takes the name of the column for the title of a chart."""

AGAINST = ("device_seconds", "usd", "latency_p50_milliseconds", "peak_memory_mib", "num_parameters")
"""What the score is drawn against."""


def views(sweep: str, asked: Asked, columns: Set[str], knobs: Sequence[str]) -> dict[str, View]:
    """Return the state of each page in `pages.VIEWS`.

    `columns` are those that any cell has a number in, `knobs` the parameters in which the trials differ.
    """
    of_sweep = where("bench.sweep", sweep)
    return {
        "charts": _charts(asked, columns) | {"searchFilter": f"{of_sweep} and {where('bench.kind', 'cell')}"},
        "trials": _trials(asked, knobs) | {"searchFilter": f"{of_sweep} and {where('bench.kind', 'trial')}"},
        "runs": _runs(asked, columns, knobs) | {"searchFilter": of_sweep},
    }


def _everything() -> View:
    return {
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
        "groupBy": None,
        "isAccordionReordered": True,  # else the page sorts the sections by their names
    }


def _order(goal: Goal, column: str) -> View:
    return {"orderByKey": f"metrics.`{column}`", "orderByAsc": goal == "minimize"}


def _charts(asked: Asked, columns: Set[str]) -> View:
    better = "higher" if asked.test_goal == "maximize" else "lower"
    is_share = asked.solved is not None
    interval: View = {
        "type": "LINE",
        "metricKey": facts.PLACE,
        "selectedMetricKeys": [facts.PLACE],
        "xAxisKey": "metric",
        "selectedXAxisMetricKey": facts.INTERVAL,
        "useGlobalXaxisKey": False,
        "displayPoints": True,
        "lineSmoothness": 0,
        "useGlobalLineSmoothing": False,
        "scaleType": "linear",
        "xAxisScaleType": "linear",
        "range": {},
    }
    names = ["score", "solved_share"] if is_share else ["score"]
    table = {
        "type": "DIFFERENCE",
        "chartName": "Every number of the leaderboard",
        "compareGroups": ["Model metrics", "Parameters"],
        "showChangeFromBaseline": False,
        "showDifferencesOnly": False,
        "baselineColumnUuid": "",
    }
    sections = [
        Section(f"Test {asked.ranks_by}, {better} is better", [interval, *(_bar(name) for name in names)]),
        Section(
            f"Test {asked.ranks_by} against cost, latency and memory",
            [_scatter(("METRIC", name), "score") for name in AGAINST if name in columns],
        ),
        *(Section(name, [_bar(bar) for bar in bars if bar in columns]) for name, bars in BARS.items()),
        Section("Every number, and the chosen configurations", [table], columns=1, height=700),
    ]
    return _everything() | _order(asked.test_goal, "score") | _sections(sections)


def _trials(asked: Asked, knobs: Sequence[str]) -> View:
    axes = ["model", *knobs]
    parallel = {
        "type": "PARALLEL",
        "selectedParams": axes,
        "selectedMetrics": ["val_screening"],
        "showAllRuns": True,
    }
    sections = [
        Section(f"Trials: settings and validation {asked.metric}", [parallel], columns=1, height=500),
        Section(
            "One setting at a time, a point a trial", [_scatter(("PARAM", knob), "val_screening") for knob in knobs]
        ),
    ]
    selected = ["metrics.`val_screening`", *(f"params.`{knob}`" for knob in axes)]
    return _everything() | _order(asked.goal, "val_screening") | _sections(sections) | {"selectedColumns": selected}


def _runs(asked: Asked, columns: Set[str], knobs: Sequence[str]) -> View:
    solved = ("solved", "solved_share") if asked.solved is not None else ()
    names = ("rank", "score", "ci_low", "ci_high", *solved, "device_seconds", "usd", "kwh", "co2_grams", "num_trials")
    names += ("val_screening", "val_confirmation", "train_step_milliseconds", "latency_p50_milliseconds")
    names += ("peak_memory_mib", "num_parameters")
    always = {"score", "val_screening", "device_seconds"}
    shown = [f"metrics.`{name}`" for name in names if name in columns | always]
    return _everything() | {
        "selectedColumns": ["tags.`bench.status`", *shown, *(f"params.`{name}`" for name in (*knobs, "seed"))],
        "orderByKey": "attributes.start_time",
        "orderByAsc": True,  # the page loads 100 runs at a time, and what is above others starts before them
    }


def _bar(name: str) -> View:
    return {"type": "BAR", "metricKey": name}


def _scatter(x: tuple[str, str], y: str) -> View:
    return {
        "type": "SCATTER",
        "xaxis": {"key": x[1], "type": x[0]},
        "yaxis": {"key": y, "type": "METRIC"},
    }


@dataclass
class Section:
    """Charts under a heading; `columns` of them stand side by side, `height` is in pixels."""

    name: str
    charts: list[View]
    columns: int = 3
    height: int = 360


def _sections(sections: Sequence[Section]) -> View:
    """Return the sections that hold charts, in the form of MLflow's page."""
    made, charts = [], []
    for number, section in enumerate(section for section in sections if section.charts):
        uuid, state = f"section{number}", {"deleted": False, "isGenerated": False}
        size = {"columns": section.columns, "cardHeight": section.height}
        made.append({"uuid": uuid, "name": section.name, "display": True, "isReordered": True} | state | size)
        common = {"runsCountToCompare": 100, "metricSectionId": uuid} | state
        charts += [{"uuid": f"{uuid}-{index}"} | card | common for index, card in enumerate(section.charts)]
    return {"compareRunSections": made, "compareRunCharts": charts}
