"""A random forest on the summary features of a sequence.

Breiman, 2001, Random forests, https://doi.org/10.1023/A:1010933404324

B batch, L steps, D channels, C outputs.
"""

from typing import Any

import numpy as np

from bench.baselines._trees import answers, nodes_of
from bench.config import baseline
from bench.config.contracts import Batch, Task
from bench.data.sequences import summary_features

TREES = 100
LEAVES = (1, 3)  # smallest numbers of training sequences in a leaf


class Baseline(baseline.Baseline):
    """100 trees, whose smallest leaf is the best on validation; stored are the nodes of all trees."""

    title = "random forest on summary features"
    prior = 1
    libraries = ("sklearn.ensemble",)

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether sequences of numbers have one answer each."""
        return task.kind == "series"

    @staticmethod
    def most(task: Task) -> int:
        """Return how many training sequences fit into the time of a cheap baseline."""
        return 10_000

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Grow forests and keep the best."""
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        x = summary_features(train, task.num_steps)
        best = -np.inf
        for leaf in self.grid("smallest leaf", LEAVES):
            options: dict[str, Any] = {"n_estimators": TREES, "min_samples_leaf": leaf, "random_state": 0}
            if task.loss == "mse":
                forest = RandomForestRegressor(max_features=1 / 3, **options).fit(x, train.y.reshape(-1))
            else:
                forest = RandomForestClassifier(**options).fit(x, train.y)
            before = self.arrays
            self.arrays = nodes_of(forest, task) | {"steps": np.array(task.num_steps)}
            standing = baseline.standing(task, self.outputs(val.x, val.length), val)
            if standing > best or not before:
                best, self.chosen = standing, {"smallest leaf": leaf}
            else:
                self.arrays = before

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the logarithm of the mean share of each class in the leaves, or the mean number, (B, C)."""
        return answers(self.arrays, summary_features(Batch(x, length, length), int(self.arrays["steps"])))
