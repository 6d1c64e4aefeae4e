"""What a person sees of a sweep: a live board on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from bench.sweep.coordinator import Status

LINE_SECONDS = 10.0


class Screen:
    """Shows a sweep; a context manager. All of it goes to standard error, so that standard output stays data."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
        )
        self._cells = self._progress.add_task("cells", total=None)
        self._runs = self._progress.add_task("runs ", total=None)
        self._last_line = time.monotonic()

    def __enter__(self) -> "Screen":
        if self.console.is_terminal:
            self._live = Live(self._progress, console=self.console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Show a line that stays."""
        self.console.print(text, soft_wrap=True, markup=False)

    @contextmanager
    def download(self, name: str, size: int) -> Iterator[Callable[[int], None]]:
        """Show a download of `size` bytes; yields what is to be told of every piece."""
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        hidden = not self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=hidden) as progress:
            task = progress.add_task(name, total=size)
            yield lambda count: progress.advance(task, count)

    def update(self, status: "Status") -> None:
        """Show where the sweep stands."""
        plan = status.plan
        self._progress.update(self._cells, completed=status.finished_cells, total=len(plan.cells))
        self._progress.update(self._runs, completed=min(status.finished_runs, plan.num_runs), total=plan.num_runs)
        if self._live is not None:
            self._live.update(Group(self._progress, self._details(status)))
        elif time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            self.say(
                f"{status.phase}: {status.finished_cells}/{len(plan.cells)} cells, "
                f"{status.finished_runs}/{plan.num_runs} runs, {status.failed} failed, {_left(status)}; {_best(status)}"
            )

    def _details(self, status: "Status") -> Any:
        lines = [Text(f"{status.phase}, {_left(status)}" + (f", {status.failed} failed" if status.failed else ""))]
        active = {run: at for run, at in status.running.items() if at != "waiting"}
        lines += [Text(f"  {run}  {at}", style="dim") for run, at in active.items()]
        if status.best:
            lines.append(Text(f"best on validation: {_best(status)}", style="dim"))
        return Group(*lines)


def _left(status: "Status") -> str:
    seconds = status.seconds_left
    if seconds is None:
        return "time left not known yet"
    return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"


def _best(status: "Status") -> str:
    latest = list(status.best.items())[-3:]
    return ", ".join(f"{where} {model} {score:.3f}" for where, (model, score) in latest) or "no score yet"


def print_tables(tables: dict[str, list[list[str]]], headings: list[str]) -> None:
    """Print tables of text cells to standard output, one after another.

    Columns in which nothing stands are left out, and those on the right that do not fit.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    for title, rows in tables.items():
        table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        room, shown = console.width, []
        for index, heading in enumerate(headings):
            cells = [row[index] for row in rows]
            if not any(cells):
                continue
            number = all(cell[:1].isdigit() or cell[:1] in ("", "-") for cell in cells)
            room -= max(len(heading), *map(len, cells)) + 2
            if room < 0 and number:
                break
            table.add_column(heading, justify="right" if number else "left", no_wrap=number or index == 0)
            shown.append(index)
        for row in rows:
            table.add_row(*[Text(row[index]) for index in shown])
        console.print()
        console.print(table)
