"""The named budgets: how much work each model gets, the same for all."""

from typing import Annotated, Any

from bench.config.bounds import Between
from bench.config.contracts import DetectionTask, StoredTask, Task
from bench.config.settings import Count, Large, Part, TrainSettings
from bench.config.strict import Strict

SMALL_DATA = 10_000
"""Below so many training examples a step sees SMALL_BATCH of them, from there on LARGE_BATCH."""

SMALL_BATCH, LARGE_BATCH = 32, 64

FEWEST_SCORED = 1_000
"""Examples of the validation part that every validation scores, or all if there are fewer.

More are scored only as long as a validation costs less than the training before it: of 2,880 overlapping windows of
etth1, 27 validations took several times as long as a short run's training, and neighbouring windows say the same.
"""

LEAST_SCORED, SCORED_TO_TRAINED = 100, 3
"""The same for runs that a budget of time makes very short: a validation scores SCORED_TO_TRAINED times the examples
trained on since the last one, and costs about as much, but at least LEAST_SCORED. With 1,000 windows of etth1 in every
validation, 27 of them took 90 % of the time of a run, for which 27 steps were left; now 216 are.
"""

Passes = Annotated[float, Between(0.01, 1e6, "passes over the training examples")]


class Budget(Strict):
    """A named amount of work, equal for every baseline.

    Drawn sequences never repeat, so their budget is a number of sequences. Stored examples repeat, so their budget is a
    number of passes over them, with a least and a largest number of steps.
    """

    title: str
    trials: Annotated[int, Between(1, 10_000)]  # configurations tried a cell: the default and Sobol points
    top_k: Annotated[int, Between(1, 1000)]  # best configurations of a cell that are confirmed; the default always is
    confirm_seeds: Annotated[int, Between(0, 999)]  # fresh seeds for each of them
    # Of drawn sequences, and of stored ones if there are no `passes`:
    max_sequences: Count
    batch_size: Count = 32
    num_epochs: Count
    num_val: Count
    num_test: Count
    # Of stored examples:
    passes: Passes | None = None  # None: counted in sequences, as drawn ones are
    language_passes: Passes | None = None  # over the windows of a text
    min_steps: Count = 300
    max_steps: Count = 2_000
    validations: Count = 27  # 3^3, so that 1/27, 1/9 and 1/3 of a run end with a validation
    # Examples of the validation and of the test part at most, evenly spaced; see also FEWEST_SCORED.
    num_scored: Count = 20_000
    patience: Part = 0.0  # share of the run without a better validation after which it ends; 0: never
    most_sequences: Large | None = None  # --max-sequences, which limits both kinds


BUDGETS = {
    "smoke": Budget(
        title="does it run at all; says nothing about models",
        trials=1,
        top_k=1,
        confirm_seeds=1,
        max_sequences=640,
        num_epochs=2,
        num_val=100,
        num_test=100,
        passes=1,
        language_passes=1,
        min_steps=20,
        max_steps=20,
        validations=2,
        num_scored=100,
    ),
    "quick": Budget(
        title="a first impression in minutes",
        trials=3,
        top_k=1,
        confirm_seeds=3,
        max_sequences=32_000,
        num_epochs=20,
        num_val=500,
        num_test=2_000,
        passes=20,
        language_passes=2,
        patience=0.25,
    ),
    "standard": Budget(
        title="overnight on two cores",
        trials=16,
        top_k=3,
        confirm_seeds=10,
        max_sequences=200_000,
        num_epochs=50,
        num_val=2_000,
        num_test=5_000,
        passes=20,
        language_passes=10,
        max_steps=6_000,
        patience=0.25,
    ),
    "full": Budget(
        title="for publication: days, or a GPU",
        trials=60,
        top_k=5,
        confirm_seeds=29,
        max_sequences=1_000_000,
        num_epochs=100,
        num_val=5_000,
        num_test=10_000,
        passes=40,
        language_passes=20,
        max_steps=20_000,
        patience=0.25,
    ),
}


SHORT = 1800.0
"""Seconds of a budget of time below which tasks that models solve abruptly get the runs of budget quick."""


def named(name: str, seconds: float | None) -> Budget:
    """Return the budget of a name, or the limits that hold for runs within a budget of time.

    Stored examples then have full runs up to those of budget standard; the time decides how many runs there are.
    """
    if seconds is None:
        return BUDGETS[name]
    drawn = BUDGETS["quick" if seconds < SHORT else "standard"]
    update = {key: getattr(drawn, key) for key in ("max_sequences", "num_epochs", "num_val", "num_test")}
    update |= {"title": "spent within a time", "trials": 10_000, "top_k": 1, "confirm_seeds": 10}
    return BUDGETS["standard"].model_copy(update=update)


def train_settings(budget: Budget, task: Task, values: dict[str, Any]) -> TrainSettings:
    """Return the settings of a run on a task under a budget, with the tuned and fixed `values` of a search space."""
    stored = isinstance(task, StoredTask) and budget.passes is not None
    work = _stored_work(budget, task) if stored else _drawn_work(budget)
    return TrainSettings(**work, **values)


def passes(task: Task, settings: TrainSettings) -> float | None:
    """Return how often a full run sees every training example; None for sequences that are drawn at random."""
    if not isinstance(task, StoredTask):
        return None
    return settings.max_steps * settings.batch_size / task.num_train


def of_steps(settings: TrainSettings, steps: int) -> TrainSettings:
    """Return the settings of a shorter run of about `steps` optimiser steps, a multiple of its validations.

    Its validations score fewer examples too: see FEWEST_SCORED and LEAST_SCORED.
    """
    epochs = settings.num_epochs
    sequences = max(1, round(steps / epochs)) * settings.batch_size  # from one validation to the next
    fewest = min(FEWEST_SCORED, max(LEAST_SCORED, SCORED_TO_TRAINED * sequences))
    num_val = min(settings.num_val, max(fewest, sequences))
    return settings.model_copy(update={"max_sequences": sequences * epochs, "num_val": num_val})


def _drawn_work(budget: Budget) -> dict[str, Any]:
    return budget.model_dump(include={"max_sequences", "batch_size", "num_epochs", "num_val", "num_test"})


def _stored_work(budget: Budget, task: Any) -> dict[str, Any]:
    """Return the steps, the batch and the validations of a run on stored examples."""
    examples, is_detection = task.num_train, isinstance(task, DetectionTask)
    batch = max(1, min(SMALL_BATCH if examples < SMALL_DATA else LARGE_BATCH, examples // 2))
    passes = budget.language_passes if task.kind == "language" else budget.passes
    steps = min(max((passes or 0.0) * examples / batch, budget.min_steps), budget.max_steps)
    if budget.most_sequences is not None:
        steps = min(steps, budget.most_sequences // batch)
    # A validation ends every share of the run: the steps are a multiple, and never more than the limit.
    share = max(1, int(steps / budget.validations))
    work: dict[str, Any] = {
        "max_sequences": share * budget.validations * batch,
        "batch_size": batch,
        "num_epochs": budget.validations,
        "num_val": min(task.counts["val"], budget.num_scored, max(FEWEST_SCORED, share * batch)),
        # An anomaly could lie between rows that are evenly spaced.
        "num_test": task.counts["test"] if is_detection else min(task.counts["test"], budget.num_scored),
    }
    return work | {"patience": budget.patience}
