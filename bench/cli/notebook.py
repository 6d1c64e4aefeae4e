"""What you see of a sweep in a notebook: a progress bar, and lines above it."""

import sys
import time
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bench.cli.screen import best_so_far, time_left

with warnings.catch_warnings():  # without ipywidgets the bar is a line of text; before Optuna imports it and warns
    warnings.simplefilter("ignore")
    from tqdm.auto import tqdm

if TYPE_CHECKING:
    from bench.sweeps.status import Status

UPDATE_SECONDS = 0.5


def is_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


class NotebookScreen:
    """Shows a sweep in a notebook. The bar counts runs, or seconds if the budget is a time."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._began = self._updated = time.monotonic()

    def __enter__(self) -> "NotebookScreen":
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def say(self, text: str) -> None:
        """Show a line that stays."""
        tqdm.write(text)

    def update(self, status: "Status") -> None:
        """Show how far the sweep is."""
        now = time.monotonic()
        if self._bar is not None and now - self._updated < UPDATE_SECONDS:
            return
        self._updated = now
        seconds, runs = status.plan.seconds, status.plan.num_runs
        total, unit = (runs, "runs") if seconds is None else (seconds, "s")
        done = status.finished_runs if seconds is None else now - self._began
        if self._bar is None:
            form = "{desc} {bar} {n:.0f}/{total:.0f} {unit}{postfix}"
            self._bar = tqdm(total=total, unit=unit, leave=False, bar_format=form, desc=status.phase)
        self._bar.n = min(done, total or done)
        failed = f", {status.failed} failed" if status.failed else ""
        self._bar.set_description_str(status.phase, refresh=False)
        self._bar.set_postfix_str(f"{time_left(status)}{failed}; {best_so_far(status)}", refresh=False)
        self._bar.refresh()
