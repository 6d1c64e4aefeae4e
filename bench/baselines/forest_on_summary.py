"""A random forest on the summary features of a sequence.

Breiman, 2001, Random forests, https://doi.org/10.1023/A:1010933404324

B batch, L steps, D channels, F features, C outputs, N nodes.
"""

from typing import Any

import numpy as np

from bench.config import baseline
from bench.config.contracts import Batch, Task
from bench.data.sequences import summary_features

TREES = 100
LEAVES = (1, 3)  # smallest numbers of training sequences in a leaf
FEWEST = 1e-3  # smallest probability of a class: an answer is never certain


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
            self.arrays = _nodes(forest, task) | {"steps": np.array(task.num_steps)}
            standing = baseline.standing(task, self.outputs(val.x, val.length), val)
            if standing > best or not before:
                best, self.chosen = standing, {"smallest leaf": leaf}
            else:
                self.arrays = before

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the logarithm of the mean share of each class in the leaves, or the mean number, (B, C)."""
        nodes = self.arrays
        features = summary_features(Batch(x, length, length), int(nodes["steps"])).astype(np.float32)
        at = np.tile(nodes["roots"], (len(x), 1))  # (B, trees): where each sequence is in each tree
        row = np.arange(len(x))[:, None]
        while (inner := nodes["left"][at] != at).any():
            goes_left = features[row, nodes["feature"][at]] <= nodes["threshold"][at]
            at = np.where(inner, np.where(goes_left, nodes["left"][at], nodes["right"][at]), at)
        total = np.zeros((len(x), nodes["value"].shape[1]))
        for tree in at.T:
            total += nodes["value"][tree]
        mean = total / at.shape[1]
        return np.log(np.maximum(mean, FEWEST)) if nodes["is_class"] else mean


def _nodes(forest: Any, task: Task) -> dict[str, np.ndarray]:
    """Return the nodes of all trees: each leaf is its own left and right neighbour."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("left", "right", "feature", "threshold", "value")}
    roots, first = [], 0
    is_class = task.loss == "cross_entropy"
    for estimator in forest.estimators_:
        tree = estimator.tree_
        own = np.arange(tree.node_count)
        is_leaf = tree.children_left < 0
        value = np.zeros((tree.node_count, task.output_size))
        value[:, forest.classes_ if is_class else [0]] = tree.value[:, 0]
        parts["left"].append(np.where(is_leaf, own, tree.children_left) + first)
        parts["right"].append(np.where(is_leaf, own, tree.children_right) + first)
        parts["feature"].append(np.where(is_leaf, 0, tree.feature))
        parts["threshold"].append(tree.threshold)
        parts["value"].append(value / value.sum(1, keepdims=True) if is_class else value)
        roots.append(first)
        first += tree.node_count
    kinds = {"left": np.int32, "right": np.int32, "feature": np.int32, "threshold": np.float64, "value": np.float32}
    nodes: dict[str, np.ndarray] = {name: np.concatenate(parts[name]).astype(kind) for name, kind in kinds.items()}
    return nodes | {"roots": np.array(roots), "is_class": np.array(is_class)}
