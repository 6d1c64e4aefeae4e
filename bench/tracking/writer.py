"""The writer of a sweep: its records go into MLflow from a thread, beside the training.

Nothing that happens here stops or slows a sweep. `bench sync` writes what is missing later.
"""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.config.ids import CellId
from bench.results.cell_runs import CellRuns
from bench.results.record import RunRecord
from bench.tracking import projection, store
from bench.tracking.runs import SweepRuns

NOTE_SECONDS = 30.0
"""Between two notes of how far the store has come, so that a resumed sweep does not look up all of its runs."""

RETRY_SECONDS = 60.0
"""For this time nothing is written to a store that could not be reached; then it gets what it missed."""

CLOSE_SECONDS = {"database": 600.0, "server": 30.0}
"""How long a finished sweep waits until all is written. A slow server is left to `bench sync`."""


class Writer:
    """Writes one sweep into MLflow from a thread of its own.

    `write_*` return at once; `close` waits. The thread calls `say` with lines for the user.
    """

    def __init__(self, results: Path, folder: Path, say: Callable[[str], None]) -> None:
        self.problem = ""  # the first one, in a line
        self.experiments: dict[str, str] = {}  # by dataset
        self._results, self._folder, self._say = results, folder, say
        self._noted = time.monotonic()
        self._retry_at = 0.0
        self._runs: SweepRuns | None = None  # None while there is no connection
        self._missed: list[tuple[Any, ...]] = []
        self._queue: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    @property
    def errors(self) -> int:
        """How many items the store lacks."""
        return len(self._missed)

    def write_record(self, record: RunRecord) -> None:
        """Write a trial or a confirm run."""
        self._queue.put((SweepRuns.put_record, record))

    def write_missing(self, cell: CellRuns) -> None:
        """Write the runs of an earlier session that the store may lack."""
        self._queue.put((self._put_missing, cell))

    def write_cell(self, cell: CellId, state: str) -> None:
        """Write the state of a cell, and its row of the leaderboard as its records make it now."""
        self._queue.put((SweepRuns.put_cell, cell, state))

    def write_sweep(self, datasets: list[str], state: str) -> None:
        """Write the state of the sweep, one run in each dataset's experiment."""
        self._queue.put((SweepRuns.put_sweep, datasets, state))

    def drain(self, timeout: float) -> None:
        """Wait until all that was handed over is written, at most `timeout` seconds."""
        is_reached = threading.Event()
        self._queue.put((is_reached,))
        is_reached.wait(timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Wait `timeout` seconds, by default `CLOSE_SECONDS`, until all is written; return whether it is."""
        self._queue.put(None)
        self._thread.join(timeout or CLOSE_SECONDS["server" if store.server_url() else "database"])
        written = not self._thread.is_alive() and not self.errors
        if written:
            self._note()
        return written

    def _note(self) -> None:
        """Note that the store holds what ended a while ago: a run that has just ended may not be in the queue yet."""
        self._noted = time.monotonic()
        projection.note(self._folder, time.time_ns() - int(2e9 * NOTE_SECONDS))

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item[0], threading.Event):
                item[0].set()
                continue
            self._catch_up()
            self._attempt(*item)
            if self._queue.empty() and not self.errors and time.monotonic() - self._noted > NOTE_SECONDS:
                self._note()
        self._catch_up()

    def _catch_up(self) -> None:
        """Write what a server missed, in its order, once it is time to look whether it answers again."""
        if not self._missed or self._runs is not None or time.monotonic() < self._retry_at:
            return
        missed, self._missed = self._missed, []
        for item in missed:
            self._attempt(*item)
        if not self._missed:
            self._say("MLflow: the server answers again, and has got what it missed")

    def _attempt(self, act: Callable[..., None], *arguments: Any) -> None:
        try:
            if self._runs is None and time.monotonic() < self._retry_at:
                self._missed.append((act, *arguments))
                return
            act(self._connected(), *arguments)
        except Exception as error:  # noqa: BLE001 - tracking never stops training, whatever it raises
            self._missed.append((act, *arguments))
            text = store.explain(error, self._results)
            if not self.problem:
                self.problem = text
                self._say(f"MLflow: {text}; the sweep continues without it, `bench sync` writes the runs later")
            with suppress(OSError), (self._folder / "mlflow.log").open("a") as file:
                file.write(f"{datetime.now().isoformat()} {act.__name__}: {type(error).__name__}: {text}\n")
            if store.server_url():
                self._runs = None  # before the next item, ask whether the server answers at all

    def _connected(self) -> SweepRuns:
        if self._runs is None:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            client = store.connect(self._results, self._say)
            self._runs = SweepRuns(client, self._results, self._folder, self.experiments)
        return self._runs

    def _put_missing(self, runs: SweepRuns, cell: CellRuns) -> None:
        until = projection.written_until(self._folder)  # read now: a store that was just replaced holds nothing
        for record in projection.changed_since(cell, self._folder, until):
            self._attempt(SweepRuns.put_record, record)
