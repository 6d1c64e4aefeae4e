"""The decision card: which model to use at which length and budget of training, from the records of a sweep.

Validation curves of the confirm runs say how good a model was after so many sequences, seconds or dollars. All of it is
a pure function of records. Scores are of the validation part: the test split is opened at the end of a run only.
"""

import itertools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.results import scores, stats
from bench.results.cell_runs import best_baseline, by_cell
from bench.results.record import Epoch, RunRecord
from bench.wording import duration, enumeration, percent, score, usd

STEPS = (9, 3, 1)
"""Budgets are the longest training of a question divided by these numbers."""


class Choice(NamedTuple):
    """What to use on a dataset at a length, if a training run may cost so much."""

    dataset: str
    length: int
    measure: str  # sequences, seconds or usd
    budget: float  # of one training run
    model: str
    score: float  # mean on validation; of tasks that can be solved, the share of seeds that solve them
    tied: tuple[str, ...]  # models that are not shown to be worse
    is_cheap: bool = False  # whether it is a cheap baseline
    is_compared: bool = True  # False if seeds are too few to show a difference
    is_solved: bool = False  # whether the score is a share of seeds


class Crossover(NamedTuple):
    """Two models, each of which is shown to be better at some length."""

    dataset: str
    short: str  # the better one up to `last`
    long: str  # the better one from `first` on
    last: int
    first: int


class Question(NamedTuple):
    """The confirm runs of models on a dataset at a length, with their epochs, and the run of its cheap baselines."""

    dataset: str
    length: int
    models: Mapping[str, Sequence[RunRecord]]
    cheap: RunRecord | None = None


def choices(question: Question, measure: str) -> list[Choice]:
    """Return what to use at each budget, from the smallest; a budget with the answer of the one before is left out.

    Of models that are statistically tied, the one that trains in the least time is used. There is no answer by seconds
    or dollars if the models were trained on different hardware, as in a merged sweep.
    """
    models = {name: [run for run in runs if run.epochs] for name, runs in question.models.items()}
    models = {name: runs for name, runs in models.items() if runs}
    if measure != "sequences" and not _is_one_machine(run for runs in models.values() for run in runs):
        return []
    costs = [cost for runs in models.values() for run in runs if (cost := _cost(run, run.epochs[-1], measure))]
    if not costs:
        return []
    found: list[Choice] = []
    for part in STEPS:
        choice = _choice(question, models, measure, max(costs) / part)
        if choice is not None and (not found or _answer(choice) != _answer(found[-1])):
            found.append(choice)
    return found


def _is_one_machine(runs: Iterable[RunRecord]) -> bool:
    return len({run.environment.get("hardware") for run in runs}) <= 1


def _answer(choice: Choice) -> tuple[str, frozenset[str]]:
    return choice.model, frozenset(choice.tied)


def _choice(
    question: Question, models: Mapping[str, Sequence[RunRecord]], measure: str, budget: float
) -> Choice | None:
    """Return what to use at a budget; None if no model has been validated, or has solved the task, within it."""
    reached = {name: [_reached(run, budget, measure) for run in runs] for name, runs in models.items()}
    known = {name: [value for value in values if value is not None] for name, values in reached.items()}
    known = {name: values for name, values in known.items() if len(values) == len(models[name])}
    if not known:
        return None
    asked = next(iter(models.values()))[0].asked
    is_better = _solves_more if asked.solved is not None else stats.scores_higher
    means = {name: statistics.fmean(values) for name, values in known.items()}
    best = max(means, key=lambda name: means[name])
    if asked.solved is not None and not means[best]:
        return None
    tied = [name for name in known if name != best and not _is_shown(known[best], known[name], is_better)]
    is_compared = len(known) == 1 or all(len(values) > 1 for values in known.values())
    fast = [best, *tied] if is_compared else [best]
    use = min(fast, key=lambda name: statistics.fmean(run.epochs[-1].train_seconds for run in models[name]))
    sign = 1 if asked.solved is not None else asked.sign
    cheap = _cheap(question.cheap, budget, measure)
    if cheap is not None and cheap[1] >= means[best]:
        return Choice(question.dataset, question.length, measure, budget, cheap[0], asked.sign * cheap[1], (), True)
    others = tuple(name for name in [best, *tied] if name != use)
    return Choice(
        question.dataset, question.length, measure, budget, use, sign * means[use], others, False, is_compared,
        asked.solved is not None,
    )  # fmt: skip


def _cost(run: RunRecord, epoch: Epoch, measure: str) -> float | None:
    """Return what a run had cost at a validation; None if it has no price."""
    if measure == "sequences":
        return float(epoch.sequences)
    price = run.config.usd_per_hour
    if measure == "seconds":
        return epoch.train_seconds
    return None if price is None else price * epoch.train_seconds / 3600


def _reached(run: RunRecord, budget: float, measure: str) -> float | None:
    """Return the best validation within a budget, or 1 or 0 for a task that can be solved; None before any."""
    if run.asked.solved is not None:
        solved = run.sequences_to_solve
        within = [e for e in run.epochs if solved is not None and e.sequences >= solved]
        cost = _cost(run, within[0], measure) if within else None
        return float(bool(run.solved) and cost is not None and cost <= budget * (1 + 1e-9))
    values = [
        run.asked.sign * epoch.val[run.asked.metric]
        for epoch in run.epochs
        if (cost := _cost(run, epoch, measure)) is not None and cost <= budget * (1 + 1e-9)
    ]
    return max(values, default=None)


def _solves_more(a: Sequence[float], b: Sequence[float]) -> bool:
    return stats.solves_more([value > 0.5 for value in a], [value > 0.5 for value in b])


def _is_shown(best: Sequence[float], other: Sequence[float], is_better: Callable[..., bool]) -> bool:
    """Return whether the best model is shown to be better; seeds are paired as far as both have them."""
    return min(len(best), len(other)) > 1 and is_better(best, other)


def _cheap(run: RunRecord | None, budget: float, measure: str) -> tuple[str, float] | None:
    """Return the cheap baseline that validation chooses, and its score times the sign; None if it costs too much."""
    name = best_baseline(run) if run is not None else None
    if run is None or name is None:
        return None
    fitted = run.fitted[name]
    if measure == "seconds" and (fitted.fit_seconds or 0.0) > budget:
        return None
    return fitted.title, run.asked.sign * fitted.val[run.asked.metric]


def crossovers(questions: Iterable[Question]) -> list[Crossover]:
    """Return the pairs of models of which each is shown to be better at some length, one at the shorter ones.

    Shown means by confirm runs, as for ranks. Pairs that change more than once are left out, and so are pairs of which
    neither is ever the best.
    """
    by_dataset: dict[str, dict[int, Question]] = {}
    for question in questions:
        by_dataset.setdefault(question.dataset, {})[question.length] = question
    found = []
    for dataset, at in by_dataset.items():
        names = list(dict.fromkeys(name for question in at.values() for name in question.models))
        for a, b in itertools.combinations(names, 2):
            found += _crossover(dataset, at, a, b)
    return found


def _crossover(dataset: str, at: Mapping[int, Question], a: str, b: str) -> list[Crossover]:
    winners: list[tuple[int, str]] = []
    for length in sorted(at):
        models = at[length].models
        if models.get(a) and models.get(b):
            if scores.is_better(models[a], models[b]):
                winners.append((length, a))
            elif scores.is_better(models[b], models[a]):
                winners.append((length, b))
    changes = [(x, y) for x, y in itertools.pairwise(winners) if x[1] != y[1]]
    if len(changes) != 1:
        return []
    (last, short), (first, long) = changes[0]
    return [Crossover(dataset, short, long, last, first)]


def questions_of(folder: Path, runs: Sequence[RunRecord], top_k: int) -> list[Question]:
    """Return the questions of a sweep, from its records. Raises StoreError if one is damaged.

    Rows under a rule of capacity ask another question, and are left out.
    """
    cheap = {(run.config.dataset, run.config.length): run for run in runs if run.config.phase == "baselines"}
    models: dict[tuple[str, int], dict[str, list[RunRecord]]] = {}
    for cell, of_cell in by_cell(runs, top_k).items():
        confirmed = [_with_epochs(folder, run) for run in of_cell.confirmed if run.state == "complete"]
        if confirmed and "@" not in cell.space:
            models.setdefault((cell.dataset, cell.length), {})[cell.space] = confirmed
    return [Question(*key, of_models, cheap.get(key)) for key, of_models in models.items()]


def _with_epochs(folder: Path, run: RunRecord) -> RunRecord:
    """Return a confirm run with its validations, which most readers of records leave out."""
    full = RunRecord.read(folder / "runs" / run.config.run)
    return run if full is None else run.model_copy(update={"epochs": full.epochs})


def lines(questions: Sequence[Question]) -> list[str]:
    """Return the card as sentences: where the answer depends on the training time, and where models cross over."""
    sentences = []
    for question in questions:
        found = choices(question, "seconds")
        if len(found) > 1:
            parts = [f"within {_budget(choice)} of training {_use(choice)}" for choice in found]
            sentences.append(f"{question.dataset} at {question.length}, by validation: {'; '.join(parts)}.")
    for dataset, short, long, last, first in crossovers(questions):
        rule = f"{short} is shown to be better up to {last:,} and {long} from {first:,} on"
        sentences.append(f"{dataset}: {rule}; the crossover lies between.")
    return sentences


def _budget(choice: Choice) -> str:
    if choice.measure == "seconds":
        return duration(choice.budget)
    return usd(choice.budget) if choice.measure == "usd" else f"{choice.budget:,.0f} sequences"


def _use(choice: Choice) -> str:
    if choice.is_cheap:
        return f"the cheap baseline {choice.model} is enough"
    text = f"use {choice.model}"
    if choice.tied:
        verb = "is" if len(choice.tied) == 1 else "are"
        text += f" ({enumeration(choice.tied)} {verb} statistically tied and slower to train)"
    return text


def cells_of(choice: Choice) -> list[str]:
    """Return a row of the card: budget, model, tied models and score, as text."""
    tied = ", ".join(choice.tied) if choice.is_compared else "too few seeds to compare"
    model = f"({choice.model})" if choice.is_cheap else choice.model
    value = percent(choice.score) + " of seeds solved" if choice.is_solved else score(choice.score)
    return [f"{choice.dataset} at {choice.length}", _budget(choice), model, tied, value]
