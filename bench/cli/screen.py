"""What you see of a command: progress on standard error, tables and answers on standard output."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, cast

import click
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
    import pandas as pd

    from bench.sweeps.status import Status

LINE_SECONDS = 10.0
"""Between two lines about a sweep, where there is no terminal."""

UNCHANGED_SECONDS = 60.0
"""The same if nothing has happened since but that time has passed."""

PIPE_WIDTH = 10_000  # of a table that is no terminal's: every row is one line


class _Forgiving:
    """Standard error. A sweep continues when it cannot be written to, because its reader left or the disk is full."""

    def write(self, text: str) -> None:
        """Write, if possible."""
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        """Flush, if possible."""
        with suppress(OSError):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


class Screen:
    """Shows a sweep: a live view on a terminal, plain lines elsewhere. Standard output stays free for data."""

    def __init__(self) -> None:
        self.console = Console(file=cast(IO[str], _Forgiving()), highlight=False)
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
        self._last_state: tuple[Any, ...] = ()

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
        """Show a download of `size` bytes. Yields a function that takes the size of each piece."""
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        hidden = not self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=hidden) as progress:
            task = progress.add_task(name, total=size)
            yield lambda count: progress.advance(task, count)

    def update(self, status: "Status") -> None:
        """Show how far the sweep is."""
        plan = status.plan
        self._progress.update(self._cells, completed=status.finished_cells, total=len(plan.cells))
        total = plan.num_runs
        done = status.finished_runs if total is None else min(status.finished_runs, total)
        self._progress.update(self._runs, completed=done, total=total)
        if self._live is not None:
            self._live.update(Group(self._progress, self._details(status)))
            return
        state = (status.phase, status.finished_cells, done, status.failed)
        seconds = UNCHANGED_SECONDS if state == self._last_state else LINE_SECONDS
        if time.monotonic() - self._last_line > seconds:
            self._last_line, self._last_state = time.monotonic(), state
            self.say(
                f"{status.phase}: {status.finished_cells}/{len(plan.cells)} cells, "
                f"{done}{'' if total is None else f'/{total}'} runs, {status.failed} failed, {time_left(status)}; "
                f"{best_so_far(status)}"
            )

    def _details(self, status: "Status") -> Any:
        lines = [Text(f"{status.phase}, {time_left(status)}" + (f", {status.failed} failed" if status.failed else ""))]
        active = {run: at for run, at in status.running.items() if at != "waiting"}
        lines += [Text(f"  {run}  {at}", style="dim") for run, at in active.items()]
        if status.best:
            lines.append(Text(f"best on validation: {best_so_far(status)}", style="dim"))
        return Group(*lines)


def time_left(status: "Status") -> str:
    """Return how long the sweep still takes, in words."""
    seconds = status.seconds_left
    if seconds is None:
        return "time left unknown"
    return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"


def best_so_far(status: "Status") -> str:
    """Return the best models of the latest datasets and lengths, by validation score."""
    latest = list(status.best.items())[-3:]
    return ", ".join(f"{where} {model} {score:.3f}" for where, (model, score) in latest) or "no scores yet"


def print_board(board: "pd.DataFrame") -> None:
    """Print a leaderboard to standard output, with its answers."""
    from bench.results import answers, tables

    print_tables(tables.for_people(board), list(tables.SHOWN.values()))
    print_answers(answers.lines(board))


def print_answers(sentences: Iterable[str]) -> None:
    """Print sentences to standard output, each as an item of a list."""
    click.echo()
    for sentence in sentences:
        click.echo(f"* {sentence}")


def is_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return sys.stdout.isatty()


def print_tables(tables: dict[str, list[list[str]]], headings: list[str]) -> None:
    """Print tables of text cells to standard output, one after another.

    Empty columns are left out. On a terminal, text wraps, and the last columns that still do not fit are named in a
    line below. Elsewhere every row is one line.
    """
    console = Console(highlight=False, width=None if is_terminal() else PIPE_WIDTH)
    for title, rows in tables.items():
        columns = [_Column(heading, [row[i] for row in rows]) for i, heading in enumerate(headings)]
        columns = [column for column in columns if any(column.cells)]
        table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        shown = _fitting(columns, console.width)
        for column in shown:
            justify: Any = "right" if column.is_number else "left"
            table.add_column(column.heading, justify=justify, width=column.width, no_wrap=column.is_number)
        for cells in zip(*[column.cells for column in shown], strict=True):
            table.add_row(*map(Text, cells))
        hidden = [column.heading for column in columns if column not in shown]
        with console.capture() as capture:
            console.print()
            console.print(table)
            if hidden:
                console.print(f"(not shown for lack of width: {', '.join(hidden)}; widen the terminal or use --json)")
        click.echo(capture.get(), nl=False)


class _Column:
    """A column of a table and its width in characters: first the least that is readable."""

    def __init__(self, heading: str, cells: list[str]) -> None:
        self.heading, self.cells = heading, cells
        self.natural = max(map(len, [heading, *cells]))
        digits = all(cell[:1].isdigit() or cell[:1] in ("", "-", "−") for cell in cells)
        self.is_number = digits and self.natural <= 20
        longest_word = max(len(word) for cell in [heading, *cells] for word in cell.split() or [""])
        self.width = self.natural if self.is_number else max(longest_word, min(self.natural, 12))


def _fitting(columns: list[_Column], width: int) -> list[_Column]:
    """Return the first columns that fit beside each other, each as wide as the space allows."""
    gap, shown = 2, columns[:1]
    room = width - shown[0].width
    for column in columns[1:]:
        room -= column.width + gap
        if room < 0:
            break
        shown.append(column)
    room = width - sum(column.width + gap for column in shown) + gap
    while room > 0 and (narrow := [column for column in shown if column.width < column.natural]):
        for column in narrow[:room]:
            column.width += 1
        room -= len(narrow)
    return shown
