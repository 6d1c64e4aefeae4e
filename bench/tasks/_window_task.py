"""What tasks on the windows of a table share: its rows in three parts, and the windows that lie in them.

B batch, L look-back, H horizon, D input columns, T target columns, N rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from bench.config.contracts import Batch, StoredTask
from bench.data import sequences
from bench.data.files import prepare
from bench.data.remarks import Remark
from bench.data.splits import PARTS, check_table_splits, split_column
from bench.data.table_format import TableFormat
from bench.errors import DeclarationError
from bench.tasks import _windows
from bench.tasks._sequences import checked_files


class WindowTask(StoredTask):
    """A task whose sequences are windows of a table and whose targets are the rows after them; see forecasting.py.

    A subclass calls `_read` in its `__init__`.
    """

    tokens, per_step = False, False
    loss: Literal["mse"] = "mse"
    metric, goal, solved, causal, kind = "mse", "minimize", None, False, "forecasting"
    splits_each_series = False  # also series with times, whose borders are otherwise times that all series share

    def _read(
        self,
        task: str,
        length: int,
        files: Sequence[Any],
        target: Sequence[str],
        features: Sequence[str],
        form: TableFormat,
        splits: Sequence[float] | Mapping[str, Any],
        *,
        horizon: int = 1,
        season: int | None = None,
        look_back: int = 1,
        scaling: Literal["table", "group"] = "table",
    ) -> None:
        """Read the table and find its windows; `task` is the name in errors. Raises BenchError."""
        data_files = checked_files(task, length, files, "row to look back on")
        if not target or isinstance(target, str):
            raise DeclarationError(f"{task}: target: must be a list of at least one column, but found {target!r}")
        for name, value in (("horizon", horizon), ("season", season), ("look_back", look_back)):
            if value is not None and value < 1:
                unit = "" if name == "look_back" else " row"
                raise DeclarationError(f"{task}: {name}: must be at least 1{unit}, but found {value}")
        if scaling not in ("table", "group") or (scaling == "group" and form.group is None):
            known = "must be 'table', or 'group' with a group column"
            raise DeclarationError(f"{task}: scaling: {known}, but found {scaling!r}")
        check_table_splits(task, splits, "rows")
        rule = dict(splits) if isinstance(splits, Mapping) else list(splits)
        form = replace(form, split_by=split_column(splits))
        self.name, self.length, self.num_steps = task, length, look_back * length
        self.horizon, self.season, self.target = horizon, season, list(dict.fromkeys(target))
        self.num_targets = num_targets = len(self.target)
        names = list(dict.fromkeys([*self.target, *features]))
        self.input_size, self.output_size = len(names), horizon * num_targets
        how = [vars(form), names, num_targets, rule, season, scaling, *([True] if self.splits_each_series else [])]
        by_group = scaling == "group"
        prepared = prepare(
            "forecasting",
            data_files,
            how,
            lambda paths: _windows.make(
                paths, form, names, num_targets, rule, season, by_group, self.splits_each_series
            ),
        )
        self._values_ND, self._times = prepared.arrays["values"], prepared.arrays.get("times")
        self._starts = prepared.arrays["starts"]
        # The seasonal naive error is on the scale of the values.
        self._scale = np.ones(num_targets) if by_group else np.array(prepared.meta["scale"][:num_targets])
        self._naive = np.array(prepared.meta["naive"][:num_targets])
        self._set_windows(self._usable(prepared.arrays), prepared.meta)

    def _usable(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the arrays with the stretches of rows in which targets may lie."""
        return arrays

    def _set_windows(self, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
        """Find the windows of each part, and what is remarked about them. Raises DeclarationError for an empty part."""
        self._ranges: dict[str, np.ndarray] = {}
        skipped, group_starts = {}, []
        for part in PARTS:
            self._ranges[part] = _windows.ranges(arrays["runs"], part, self.length, self.horizon)
            blocks = _windows.ranges(arrays["blocks"], part, self.length, self.horizon)
            skipped[part] = int((blocks[:, 1] - blocks[:, 0]).sum())
            group_starts.append(blocks[:, 2])
        # Of each part: the number of windows before each range, and of all.
        self._before = {part: np.cumsum(np.r_[0, found[:, 1] - found[:, 0]]) for part, found in self._ranges.items()}
        self.counts = {part: int(before[-1]) for part, before in self._before.items()}
        for part, count in self.counts.items():
            if not count and skipped[part]:
                rule = f"each of the {skipped[part]:,} windows of the {part} part holds a missing target"
                raise DeclarationError(
                    f"{self.name}: length {self.length}, horizon {self.horizon}: {rule}; fill the gaps, or use a "
                    "smaller length or horizon, or other splits"
                )
            if not count:
                raise DeclarationError(
                    f"{self.name}: length {self.length}, horizon {self.horizon}: no window fits into the {part} part "
                    f"(rows of train, val and test: {meta['rows']}); use a smaller length or horizon, or other splits"
                )
            skipped[part] -= count
        remarks = list(meta["remarks"])
        if any(skipped.values()):
            counts = ", ".join(f"{part} {count:,}" for part, count in skipped.items())
            remarks.append(Remark("windows", f"windows skipped because a target is missing: {counts}"))
        remarks += _windows.groups_without_window(meta["groups"], arrays["starts"], np.concatenate(group_starts))
        self.meta = meta | {"remarks": remarks, "left_out": skipped, "length": self.length}
        self.chance = self._mean_error("val")

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the windows of a part at these places, in the order of rows."""
        start, group = self._rows(part, places)
        x = self._values_ND[np.maximum(start[:, None] + np.arange(-self.num_steps, 0), group[:, None])]
        y = self._values_ND[start[:, None] + np.arange(self.horizon), : len(self.target)]
        return Batch(x, np.full(len(x), self.num_steps), y.reshape(len(y), -1))

    def reaching_back(self, part: str, places: np.ndarray, steps: int) -> Batch:
        """Return the same windows with their last `steps` rows, or with all rows of the group where those are fewer."""
        start, group = self._rows(part, places)
        length = np.minimum(start - group, steps)
        x = sequences.padded(self._values_ND, start - length, length)
        y = self._values_ND[start[:, None] + np.arange(self.horizon), : len(self.target)]
        return Batch(x, length, y.reshape(len(y), -1))

    def rows_of_train(self, most: int) -> np.ndarray:
        """Return the targets of the first training rows, `most` at most and of one group, (N, T), standardised."""
        first, beyond, group = self._ranges["train"][0]
        return self._values_ND[group : min(beyond + self.horizon - 1, group + most), : len(self.target)]

    def times(self, part: str, places: np.ndarray) -> np.ndarray | None:
        """Return the times of the targets, (B, H) datetime64[ns] in UTC; None for a table without times."""
        if self._times is None:
            return None
        rows = self._rows(part, places)[0][:, None] + np.arange(self.horizon)
        return self._times[rows].view("datetime64[ns]")

    def decode(self, outputs: np.ndarray, part: str | None = None, places: np.ndarray | None = None) -> np.ndarray:
        """Return answers to the windows of a part at these places in the units of the table, (B, H, T).

        Without `scaling` by group, all windows have the same units and need not be named.
        """
        groups = None
        if "group_scale" in self.meta:
            if part is None or places is None:
                raise ValueError("each group has its own scale: name the part and the places of the windows")
            groups = np.searchsorted(self._starts, self._rows(part, places)[1])
        return decode(outputs, self.meta, len(self.target), groups)

    def _rows(self, part: str, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the first target row of each window, and the first row of its group; both (B,)."""
        number = np.searchsorted(self._before[part], places, side="right") - 1
        first, _, group = self._ranges[part][number].T
        return first + places - self._before[part][number], group

    def _mean_error(self, part: str) -> float:
        """Return the mse of the training mean over all windows of a part, without gathering them."""
        total = 0.0
        for first, beyond, _ in self._ranges[part]:
            rows = self._values_ND[first : beyond + self.horizon - 1, : len(self.target)].astype(np.float64)
            sums = np.cumsum(np.r_[0.0, (rows**2).sum(1)])
            total += float((sums[self.horizon :] - sums[: -self.horizon]).sum())
        return total / (self.counts[part] * self.output_size)


def decode(outputs: np.ndarray, meta: dict[str, Any], num_targets: int, groups: Any = None) -> np.ndarray:
    """Return answers (B, H T) in the units of the table, (B, H, T); `groups` are the numbers of their groups, (B,)."""
    if groups is None:
        mean, scale = (np.array(meta[key][:num_targets]) for key in ("mean", "scale"))
    else:
        mean, scale = (np.array(meta[key])[groups, None, :num_targets] for key in ("group_mean", "group_scale"))
    return np.asarray(outputs.reshape(len(outputs), -1, num_targets) * scale + mean)
