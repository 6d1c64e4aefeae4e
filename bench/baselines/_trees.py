"""Forests of scikit-learn as arrays of nodes, and their answers without scikit-learn.

B batch, F features, C outputs.
"""

from typing import Any

import numpy as np

from bench.config.contracts import Task

FEWEST = 1e-3  # smallest probability of a class: an answer is never certain


def nodes_of(forest: Any, task: Task) -> dict[str, np.ndarray]:
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


def answers(nodes: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """Return the logarithm of the mean share of each class in the leaves, or the mean number, (B, C), of (B, F)."""
    features = features.astype(np.float32)
    at = np.tile(nodes["roots"], (len(features), 1))  # (B, trees): where each sequence is in each tree
    row = np.arange(len(features))[:, None]
    while (inner := nodes["left"][at] != at).any():
        goes_left = features[row, nodes["feature"][at]] <= nodes["threshold"][at]
        at = np.where(inner, np.where(goes_left, nodes["left"][at], nodes["right"][at]), at)
    total = np.zeros((len(features), nodes["value"].shape[1]))
    for tree in at.T:
        total += nodes["value"][tree]
    mean = total / at.shape[1]
    return np.log(np.maximum(mean, FEWEST)) if nodes["is_class"] else mean
