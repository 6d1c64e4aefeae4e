"""The named budgets: how much work each model gets, the same for all."""

from typing import Annotated, Any

from bench.config.bounds import Between
from bench.config.settings import Count, TrainSettings
from bench.config.strict import Strict


class Budget(Strict):
    """A named amount of work, equal for every baseline."""

    title: str
    trials: Annotated[int, Between(1, 10_000)]  # configurations tried a cell: the default and Sobol points
    top_k: Annotated[int, Between(1, 1000)]  # best configurations of a cell that are confirmed; the default always is
    confirm_seeds: Annotated[int, Between(0, 999)]  # fresh seeds for each of them
    max_sequences: Count
    batch_size: Count = 32
    num_epochs: Count
    num_val: Count
    num_test: Count


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
    ),
}


def train_settings(budget: Budget, values: dict[str, Any]) -> TrainSettings:
    """Return the settings of a run under a budget, with the tuned and fixed `values` of a search space."""
    shared = budget.model_dump(include={"max_sequences", "batch_size", "num_epochs", "num_val", "num_test"})
    return TrainSettings(**shared, **values)
