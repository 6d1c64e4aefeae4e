"""Models across datasets: ranks, wins and gaps, from the leaderboards of many sweeps.

A dataset is one block. Its lengths are averaged first, because they share their data; so are sweeps that ask the same
question. Demšar, 2006, https://www.jmlr.org/papers/v7/demsar06a.html: ranks within a dataset are comparable where
scores of different metrics are not.
"""

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from bench.config.settings import RunConfig
from bench.results.disturbance import is_marked
from bench.results.leaderboard import Status
from bench.results.stats import ALPHA, mean_interval
from bench.wording import bare, enumeration, is_known

CHEAP = "(cheap baseline)"
"""The row of the cheap baseline that validation chooses on a dataset."""

FLOOR = ("(constant answer)", "(unigram)")
"""Answers that ignore the input; a gap is measured against the best of them."""

COSTS = {"train_seconds": "training time", "peak_memory_mib": "memory"}
"""Columns that are compared as ratios to the least of a question."""


class Standing(NamedTuple):
    """A model over all datasets."""

    model: str
    num_datasets: int
    rank: float  # mean over datasets; 1 is best
    rank_low: float  # of its 95 % interval, as the next
    rank_high: float
    wins: float  # share of the comparisons with other models that it wins; ties count half
    gap: float  # mean; 0: the best score of a dataset, 1: that of the best constant answer
    num_dropped: int  # questions for which successive halving dropped it
    costs: dict[str, float | None]  # geometric mean of the ratio to the least, by name of a column; None: unknown


class Pair(NamedTuple):
    """Two models over the datasets that both were tried on."""

    better: str
    worse: str
    num_datasets: int
    wins: int  # datasets on which `better` is ahead
    losses: int
    p: float  # Wilcoxon's signed-rank test of the gaps, corrected by Holm for the number of pairs; NaN: too few

    @property
    def is_shown(self) -> bool:
        """Whether the difference is significant after the correction."""
        return self.p <= ALPHA


def kind_of(config: RunConfig) -> str:
    """Return what a run's dataset asks, in words."""
    if config.task != "classification":
        return config.task.replace("_", " ")
    is_text = config.task_arguments.get("reader") == "text"
    return "classification of texts" if is_text else "classification of series"


def results_of(board: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each model and question: dataset, length, model, place (from 1), gap and costs.

    Rows of several sweeps of one question are averaged. Models that successive halving dropped have no test score:
    they share the last places, and the gap of the worst that was confirmed. Rows with a rule of capacity are left out.
    """
    rows: list[dict[str, Any]] = []
    free = board[board["match"].isna()]
    for (_, dataset, length), group in free.groupby(["sweep", "dataset", "length"], sort=False):
        rows += [{"dataset": dataset, "length": length} | row for row in _question(group)]
    if not rows:
        return pd.DataFrame(columns=["dataset", "length", "model", "place", "gap", "is_dropped", *COSTS])
    frame = pd.DataFrame(rows)
    keys = ["dataset", "length", "model"]
    return frame.groupby(keys, sort=False, as_index=False).mean(numeric_only=True)


def _question(group: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the models of one question with their places and gaps; none if no model was confirmed."""
    sign = 1 if group.iloc[0]["goal"] == "maximize" else -1
    scored = group[group["rank"].notna() & group["score"].notna()]
    if scored.empty:
        return []
    values = {bare(row.model): sign * float(row.score) for row in scored.itertuples()}
    chosen = group[group["chosen_by_validation"].notna() & group["score"].notna()]
    cheap = None if chosen.empty else chosen.iloc[0]
    if cheap is not None:
        values[CHEAP] = sign * float(cheap["score"])
    best, worst = max(values.values()), min(values.values())
    floors = group[group["model"].isin(FLOOR) & group["score"].notna()]["score"]
    floor = max(sign * float(score) for score in floors) if len(floors) else worst
    scale = best - min(floor, worst) if floor >= best else best - floor
    places = dict(zip(values, stats.rankdata([-value for value in values.values()]), strict=True))
    rows = scored.set_index(scored["model"].map(bare))
    if "hardware" in scored and scored["hardware"].nunique() > 1:  # a merged sweep: times are not compared
        rows = rows.assign(train_seconds=math.nan)
    found = [
        {"model": name, "place": places[name], "gap": (best - value) / scale if scale > 0 else 0.0, "is_dropped": 0}
        | _costs(cheap if name == CHEAP else rows.loc[name])
        for name, value in values.items()
    ]
    dropped = [bare(model) for model in group[group["status"] == Status.DROPPED]["model"]]
    last = len(values) + (len(dropped) + 1) / 2
    gap = max(row["gap"] for row in found)
    return found + [{"model": name, "place": last, "gap": gap, "is_dropped": 1} for name in dropped]


def _costs(row: "pd.Series[Any]") -> dict[str, float]:
    """Return the known costs of a row, without times that other processes disturbed."""
    known = {name: row[name] for name in COSTS if is_known(row[name]) and not is_marked(dict(row), name)}
    return {name: float(value) for name, value in known.items() if value > 0}


def by_dataset(results: pd.DataFrame) -> pd.DataFrame:
    """Return places and gaps averaged over the lengths of each dataset."""
    return results.groupby(["dataset", "model"], sort=False, as_index=False).agg(
        place=("place", "mean"), gap=("gap", "mean"), num_dropped=("is_dropped", "sum")
    )


def standings(results: pd.DataFrame) -> list[Standing]:
    """Return the models by their mean rank, best first."""
    ratios = _ratios(results)
    wins = _wins(results)
    num_models = results["model"].nunique()
    rows = []
    for model, group in by_dataset(results).groupby("model", sort=False):
        low, high = np.clip(mean_interval(group["place"].tolist()), 1, num_models).tolist()
        costs = {name: ratios.get((name, str(model))) for name in COSTS}
        rows.append(
            Standing(
                str(model), len(group), statistics.fmean(group["place"]), low, high, wins[str(model)],
                statistics.fmean(group["gap"]), round(group["num_dropped"].sum()), costs,
            )
        )  # fmt: skip
    return sorted(rows, key=lambda row: (row.rank, row.model))


def _wins(results: pd.DataFrame) -> dict[str, float]:
    """Return the share of comparisons that each model wins: over datasets, of the means over its questions."""
    won: dict[str, list[float]] = {}
    for _, group in by_dataset(results).groupby("dataset"):
        for a, b in itertools.permutations(group.itertuples(), 2):
            score = 1.0 if a.place < b.place else 0.5 if a.place == b.place else 0.0
            won.setdefault(str(a.model), []).append(score)
    return {str(model): statistics.fmean(won.get(str(model), [math.nan])) for model in results["model"].unique()}


def _ratios(results: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return the geometric mean, over questions, of each cost over the least of the question's networks."""
    logs: dict[tuple[str, str], list[float]] = {}
    networks = results[results["model"] != CHEAP]
    for name in COSTS:
        if name not in networks:
            continue
        for _, group in networks[networks[name].notna()].groupby(["dataset", "length"]):
            if len(group) > 1:
                least = group[name].min()
                for row in group.itertuples():
                    logs.setdefault((name, str(row.model)), []).append(math.log(getattr(row, name) / least))
    return {key: math.exp(statistics.fmean(values)) for key, values in logs.items()}


def friedman(results: pd.DataFrame) -> tuple[float, int, int] | None:
    """Return p of Friedman's test that all models are alike, and the numbers of models and datasets it compares.

    Only models that were tried on every dataset are compared; None if there are fewer than three of them, or fewer
    than three datasets.
    """
    table = by_dataset(results).pivot_table(index="dataset", columns="model", values="gap").dropna(axis=1)
    if table.shape[0] < 3 or table.shape[1] < 3:
        return None
    p = float(stats.friedmanchisquare(*(table[model] for model in table)).pvalue)
    return p, table.shape[1], table.shape[0]


def pairs(results: pd.DataFrame) -> list[Pair]:
    """Return every two models, the better one first, by p."""
    table = by_dataset(results).pivot_table(index="dataset", columns="model", values="gap")
    found = [pair for a, b in itertools.combinations(table, 2) if (pair := _pair(table[[a, b]].dropna())) is not None]
    tested = [pair for pair in found if not math.isnan(pair.p)]
    corrected = dict(zip(map(id, tested), holm([pair.p for pair in tested]), strict=True))
    adjusted = [pair._replace(p=corrected.get(id(pair), math.nan)) for pair in found]
    return sorted(adjusted, key=lambda pair: (math.isnan(pair.p), pair.p, pair.better, pair.worse))


def _pair(gaps: pd.DataFrame) -> Pair | None:
    """Return two models by their gaps on common datasets; None if they have none."""
    if gaps.empty:
        return None
    a, b = gaps.columns
    differences = (gaps[b] - gaps[a]).to_numpy()  # above 0 where a is better
    if differences.sum() < 0:
        a, b, differences = b, a, -differences
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    p = math.nan
    if len(differences) >= 6 and wins + losses:  # with five, p is .0625 at best
        p = float(stats.wilcoxon(differences, zero_method="pratt").pvalue)
    return Pair(str(a), str(b), len(differences), wins, losses, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number (Holm 1979), in the same order."""
    order = np.argsort(p_values, kind="stable")
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def profile(results: pd.DataFrame, model: str, gaps: Iterable[float]) -> list[float]:
    """Return the share of datasets on which a model's gap is at most so large (Dolan & Moré 2002)."""
    own = by_dataset(results)
    own = own[own["model"] == model]["gap"].to_numpy()
    return [float((own <= gap + 1e-12).mean()) for gap in gaps]


def sentence(results: pd.DataFrame) -> str:
    """Return what the datasets say together, as one sentence."""
    ranking = standings(results)
    datasets = results["dataset"].nunique()
    if len(ranking) < 2:
        return "Only one model was confirmed, so there is nothing to compare."
    best = ranking[0]
    shown = [pair.worse for pair in pairs(results) if pair.is_shown and pair.better == best.model]
    name = "the cheap baseline that validation chooses" if best.model == CHEAP else best.model
    what = f"{name} has the best average rank, {best.rank:.1f}"
    if not math.isnan(best.rank_low):
        what += f" [{best.rank_low:.1f}, {best.rank_high:.1f}]"
    what += f", on {datasets} {'dataset' if datasets == 1 else 'datasets'}"
    tied = [row.model.strip("()") for row in ranking[1:] if row.model not in shown]
    if not shown:
        return f"{what}; no difference to another model is significant after the correction for the number of pairs."
    verb = "is" if len(tied) == 1 else "are"
    rest = f"; {enumeration(tied)} {verb} statistically tied" if tied else ""
    return f"{what}, and is shown to be ahead of {enumeration(name.strip('()') for name in shown)}{rest}."
