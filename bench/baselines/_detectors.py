"""What detectors share: cheap baselines that score rows without a forecast, see contracts.DetectionTask.

B batch, L steps, D channels, T targets, S steps of the windows that are scored.
"""

from typing import Any

import numpy as np

from bench.config import baseline
from bench.config.contracts import Batch, Task, ranking_metric
from bench.data.sequences import with_next


class Detector(baseline.Baseline):
    """A baseline whose outputs are scores of the last step of each window, (B,); a larger score is more anomalous.

    They have no validation score, so that they are compared and can be exported, but never chosen.
    """

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether anomalies are labelled, so that scores without a forecast can be compared."""
        return ranking_metric(task) != task.metric

    def scored(self, batch: Batch, task: Task) -> np.ndarray:
        """Return the scores of the rows after the windows, (B,)."""
        return self.outputs(with_next(batch.x, batch.length, batch.y), batch.length)


def last_targets(x: np.ndarray, length: np.ndarray, targets: int, steps: int) -> np.ndarray:
    """Return the targets of the last `steps` valid steps, (B, S, T); a shorter window repeats its first."""
    places = np.maximum(length[:, None] - steps + np.arange(steps), 0)
    return np.asarray(x[np.arange(len(x))[:, None], places, :targets], dtype=np.float64)


def sizes(task: Any) -> dict[str, np.ndarray]:
    """Return the number of targets and of steps, as arrays."""
    return {"targets": np.array(len(task.target)), "steps": np.array(task.num_steps)}
