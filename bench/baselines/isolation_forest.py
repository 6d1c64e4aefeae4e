"""An isolation forest on the windows that end with the scored row.

Liu, Ting & Zhou, 2008, https://doi.org/10.1109/ICDM.2008.17

B batch, L steps, D channels, N nodes.
"""

from typing import Any

import numpy as np

from bench.baselines._detectors import Detector, last_targets, sizes
from bench.config.contracts import Batch, Task
from bench.data.sequences import with_next

TREES = 100
EULER = 0.5772156649


class Baseline(Detector):
    """100 trees of 256 windows each, as published; stored are the nodes of all trees."""

    title = "isolation forest on windows"
    libraries = ("sklearn.ensemble",)

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Grow the trees on training windows."""
        from sklearn.ensemble import IsolationForest

        self.arrays = sizes(task)
        features = self._features(with_next(train.x, train.length, train.y), train.length)
        forest = IsolationForest(n_estimators=TREES, random_state=0).fit(features)
        self.arrays |= _nodes(forest) | {"usual": np.array(_usual_depth(np.array([forest.max_samples_]))[0])}

    def _features(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        rows = last_targets(x, length, int(self.arrays["targets"]), int(self.arrays["steps"]))
        return rows.reshape(len(x), -1).astype(np.float32)

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return how early the trees isolate each window, (B,), from 0 to 1."""
        nodes, features = self.arrays, self._features(x, length)
        total = np.zeros(len(x))
        for root in nodes["roots"]:
            at = np.full(len(x), root)
            inner = nodes["left"][at] != at
            while inner.any():
                goes_left = features[np.arange(len(x)), nodes["feature"][at]] <= nodes["threshold"][at]
                at = np.where(inner, np.where(goes_left, nodes["left"][at], nodes["right"][at]), at)
                inner = nodes["left"][at] != at
            total += nodes["depth"][at]
        return np.asarray(2.0 ** (-total / (len(nodes["roots"]) * nodes["usual"])))


def _nodes(forest: Any) -> dict[str, np.ndarray]:
    """Return the nodes of all trees: each leaf is its own left and right neighbour, and has its depth."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("left", "right", "feature", "threshold", "depth")}
    roots, first = [], 0
    for estimator, columns in zip(forest.estimators_, forest.estimators_features_, strict=True):
        tree = estimator.tree_
        own = np.arange(tree.node_count)
        is_leaf = tree.children_left < 0
        depth = np.zeros(tree.node_count)
        for node in own[~is_leaf]:  # parents come before their children
            depth[[tree.children_left[node], tree.children_right[node]]] = depth[node] + 1
        parts["left"].append(np.where(is_leaf, own, tree.children_left) + first)
        parts["right"].append(np.where(is_leaf, own, tree.children_right) + first)
        parts["feature"].append(np.where(is_leaf, 0, columns[np.maximum(tree.feature, 0)]))
        parts["threshold"].append(tree.threshold)
        parts["depth"].append(depth + _usual_depth(tree.n_node_samples))
        roots.append(first)
        first += tree.node_count
    kinds = {"left": np.int32, "right": np.int32, "feature": np.int32, "threshold": np.float64, "depth": np.float64}
    nodes: dict[str, np.ndarray] = {name: np.concatenate(parts[name]).astype(kind) for name, kind in kinds.items()}
    return nodes | {"roots": np.array(roots)}


def _usual_depth(count: np.ndarray) -> np.ndarray:
    """Return the mean depth of an unsuccessful search in a tree of `count` examples, as published."""
    many = np.maximum(count, 3)
    usual = 2 * (np.log(many - 1) + EULER) - 2 * (many - 1) / many
    return np.where(count > 2, usual, np.where(count == 2, 1.0, 0.0))
