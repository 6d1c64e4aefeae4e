"""Choose portfolios: for each kind of task and model, a few configurations that were good on many datasets.

Only configurations that were tried on every dataset of a kind are candidates. Sobol points are: with the same seed, all
datasets of a kind get the same ones. Validation scores decide, never test scores.

A portfolio is chosen greedily, as by Feurer et al., 2022 (Auto-Sklearn 2.0), https://arxiv.org/abs/2007.04074: the next
configuration is the one that lowers the mean regret of the best so far the most. The regret of a score is its distance
from the best score of the model on the dataset, as a share of the distance from chance to that best score.
"""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.config.settings import TUNABLE
from bench.config.strict import fingerprint
from bench.errors import DeclarationError
from bench.results import stats
from bench.results.record import RunRecord, records
from bench.results.selection import counted_val

SIZE = 3  # configurations of a portfolio, beside the default

Regrets = dict[str, dict[str, float]]
"""By configuration (its fingerprint) and dataset at a length: the regret, from 0."""


class Entry(NamedTuple):
    """A configuration of a portfolio."""

    values: dict[str, Any]
    runs: list[str]  # the trials that it was chosen from: sweep, dataset, length, model, trial


class Portfolio(NamedTuple):
    """What was chosen for one kind of task and one model."""

    kind: str
    model: str
    entries: list[Entry]
    check: list[str]  # lines on how it does on datasets that it was not chosen from


def make(sweeps: Sequence[Path]) -> list[Portfolio]:
    """Return the portfolios of recorded sweeps. Raises DeclarationError if no model was tried on two datasets."""
    trials: dict[tuple[str, str], dict[str, dict[str, RunRecord]]] = {}  # (kind, model) -> question -> configuration
    for folder in sweeps:
        for run in records(folder):
            kind, cell = run.asked.kind, run.config.cell
            if run.config.phase == "screen" and kind not in (None, "synthetic") and run.state != "pruned":
                of_model = trials.setdefault((str(kind), cell.space), {})
                of_model.setdefault(f"{cell.dataset}/L{cell.length}", {}).setdefault(_key(run), run)
    found = [_chosen(*names, questions) for names, questions in sorted(trials.items()) if len(questions) > 1]
    made = [portfolio for portfolio in found if portfolio.entries]
    if not made and any(portfolio.check for portfolio in found):
        raise DeclarationError(
            "portfolio: no configuration is better than the default on any dataset; keep the default"
        )
    if not made:
        rule = "the sweeps must have trials of one model and the same configurations on at least two datasets of a kind"
        raise DeclarationError(f"portfolio: {rule}; run them with the same --seed and --trials")
    return made


def to_toml(portfolios: Sequence[Portfolio]) -> Iterator[tuple[str, str]]:
    """Yield for each kind its name and the content of its file."""
    import tomlkit

    for kind in sorted({portfolio.kind for portfolio in portfolios}):
        document = tomlkit.document()
        document.add(tomlkit.comment("Made by `python -m bench portfolio`; chosen by validation scores, best first."))
        for portfolio in portfolios:
            if portfolio.kind == kind:
                document.add(tomlkit.nl())
                for line in portfolio.check:
                    document.add(tomlkit.comment(line))
                tables = tomlkit.aot()
                for entry in portfolio.entries:
                    table = tomlkit.table()
                    table.add("runs", entry.runs)
                    table.add("values", tomlkit.inline_table())
                    table["values"].update(entry.values)
                    tables.append(table)
                document.add(portfolio.model, tables)
        yield kind, tomlkit.dumps(document)


def _key(run: RunRecord) -> str:
    return fingerprint(_values(run))


def _values(run: RunRecord) -> dict[str, Any]:
    """Return everything that a configuration sets."""
    return run.config.model_arguments | run.config.train.model_dump(include=TUNABLE)


def _varied(runs: Sequence[RunRecord]) -> set[str]:
    """Return the names of the settings in which configurations differ: those that the search space tunes."""
    configurations = [_values(run) for run in runs]
    names = set().union(*configurations)
    return {name for name in names if any(each.get(name) != configurations[0].get(name) for each in configurations)}


def _chosen(kind: str, model: str, questions: Mapping[str, Mapping[str, RunRecord]]) -> Portfolio:
    common = set.intersection(*(set(runs) for runs in questions.values()))
    default = {key for runs in questions.values() for key, run in runs.items() if run.config.number == 0}
    regrets = _regrets(questions, common)
    keys = _greedy(regrets, sorted(default & common), list(questions))
    varied = _varied([run for runs in questions.values() for run in runs.values()])
    entries = []
    for key in keys:
        runs = [of_question[key] for of_question in questions.values()]
        values = {name: value for name, value in _values(runs[0]).items() if name in varied}
        entries.append(Entry(values, [f"{run.config.sweep}: {run.config.run}" for run in runs]))
    return Portfolio(kind, model, entries, list(_left_out(regrets, sorted(default & common), list(questions))))


def _regrets(questions: Mapping[str, Mapping[str, RunRecord]], common: set[str]) -> Regrets:
    regrets: Regrets = {key: {} for key in sorted(common)}
    for question, runs in questions.items():
        scores = {key: runs[key].asked.sign * (counted_val(runs[key]) or 0.0) for key in common}
        if not scores:
            continue
        best, first = max(scores.values()), next(iter(runs.values()))
        span = max(best - first.asked.sign * first.asked.chance, 1e-12)
        for key, score in scores.items():
            regrets[key][question] = (best - score) / span
    return regrets


def _greedy(regrets: Regrets, begun: Sequence[str], questions: Sequence[str]) -> list[str]:
    """Return up to SIZE configurations to try after those in `begun`, the most useful first."""
    chosen: list[str] = []
    while len(chosen) < SIZE:
        tried = [*begun, *chosen]
        left = [key for key in regrets if key not in tried]
        if not left:
            break
        best = min(left, key=lambda key: _mean_regret(regrets, [*tried, key], questions))
        if tried and _mean_regret(regrets, [*tried, best], questions) >= _mean_regret(regrets, tried, questions):
            break  # no other configuration is better anywhere
        chosen.append(best)
    return chosen


def _mean_regret(regrets: Regrets, keys: Sequence[str], questions: Sequence[str]) -> float:
    return statistics.fmean(min(regrets[key][question] for key in keys) for question in questions)


def _left_out(regrets: Regrets, begun: Sequence[str], questions: Sequence[str]) -> Iterator[str]:
    """Yield lines that compare portfolios with random order on datasets that they were not chosen from.

    A portfolio for each dataset is chosen from the others alone. After n trials, the default among them, its regret is
    compared with the expected regret of n random configurations of the same ones.
    """
    names = sorted({question.partition("/")[0] for question in questions})
    if len(names) < 2 or not regrets:
        return
    after: dict[int, list[tuple[float, float]]] = {1: [], 2: [], 3: []}
    for name in names:
        inside = [question for question in questions if question.partition("/")[0] != name]
        order = [*begun, *_greedy(regrets, begun, inside)]
        for question in (question for question in questions if question.partition("/")[0] == name):
            expected = stats.expected_performance([-of[question] for of in regrets.values()])
            for count, pairs in after.items():
                tried = order[:count]
                if tried and count <= len(expected):
                    pairs.append((min(regrets[key][question] for key in tried), -expected[count - 1]))
    yield f"Mean regret on a dataset left out ({', '.join(names)}), portfolio against random order:"
    for count, pairs in after.items():
        if pairs:
            portfolio, random = (statistics.fmean(side) for side in zip(*pairs, strict=True))
            yield f"  after {count} trial{'s' * (count > 1)}: {portfolio:.3f} against {random:.3f}"


def summary(portfolios: Sequence[Portfolio]) -> Iterator[str]:
    """Yield lines that say what was chosen."""
    for portfolio in portfolios:
        yield f"{portfolio.kind}, {portfolio.model}: {len(portfolio.entries)} beside the default"
        yield from (f"  {json.dumps(entry.values, sort_keys=True)}" for entry in portfolio.entries)
        yield from (f"  {line}" for line in portfolio.check)
