"""What the bench costs when there is much of it.

    python scale.py trials SAMPLER COUNT [MORE]   the coordinator's own cost a trial, in a cell of COUNT trials
    python scale.py runs COUNT [FOLDER]           leaderboard, report, bench.load and resume of a sweep of COUNT runs
    python scale.py fill COUNT FOLDER             make that sweep in a new folder, and leave it there

Each prints JSON. With FOLDER, `runs` reads the sweep that `fill` has made there. `--profile FILE` with `trials` writes
what Python's profiler finds of the coordinator.
"""

import contextlib
import cProfile
import json
import os
import pstats
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from stub_sweeps import Quiet, fill, plan

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE)]
PATH = os.pathsep.join([str(ROOT), str(HERE)])

TRIALS = 30  # that are timed
SEEDS = 5
LENGTHS = [25, 50, 100, 200]
MODELS = ["mlp", "rnn", "lstm", "stacked_lstm", "bilstm", "gru", "transformer"]
TERMS = {"datasets": ["adding"], "lengths": LENGTHS, "models": MODELS, "confirm_seeds": SEEDS}
LOAD = "import bench, sys; frame = bench.load(sys.argv[1]); print(frame.shape)"


def trials(sampler: str, count: int, more: int = TRIALS, profile: Path | None = None) -> dict:
    """The coordinator's own cost a trial, from trial `count` on."""
    from bench.results.record import records
    from bench.sweeps import coordinator
    from bench.sweeps.engines.local import PRELOAD, LocalEngine
    from bench.tracking.writer import Writer

    trackers: list[Writer] = []

    class Watched(Writer):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            trackers.append(self)

    class Engine(LocalEngine):
        """Takes no job before MLflow has caught up: in a sweep that was never stopped, it would have."""

        cpu: float | None = None  # seconds of this process when it was ready

        @property
        def idle(self) -> int:
            if self.cpu is None and trackers[-1]._queue.empty():
                self.cpu = time.process_time()
            return 0 if self.cpu is None else super().idle

    os.environ["PYTHONPATH"] = PATH
    coordinator.Writer = Watched
    found: dict = {"sampler": sampler, "count": count}
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
        options = {"datasets": ["adding"], "lengths": [8], "models": ["lstm"], "sampler": sampler, "confirm_seeds": 0}
        fill(Path(folder), count, **options)
        for name, seconds in {"own_seconds": 0.0, "behind_seconds": 0.5}.items():
            begun, count = count, count + more
            made = plan(Path(folder), count, **options)
            slots = [slot | {"STUB_SECONDS": str(seconds)} for slot in made.slots]
            # The fork server has torch loaded, as that of a sweep: a larger process takes longer to fork.
            engine = Engine(slots, 600.0, run="stub_sweeps:stub", preload=[*PRELOAD, "stub_sweeps"])
            profiler = cProfile.Profile() if profile and not seconds else contextlib.nullcontext()
            start = time.time()
            with profiler:
                outcome = coordinator.run(made, Quiet(), engine)
            assert outcome.exit_code == 0, outcome
            cpu = time.process_time()
            if profile and not seconds:
                with profile.open("w") as file:
                    pstats.Stats(profiler, stream=file).sort_stats("cumulative").print_stats(80)
            new = [r for r in records(made.folder) if r.config.phase == "screen" and r.config.number >= begun]
            starts = sorted(datetime.fromisoformat(record.started_at).timestamp() for record in new)
            assert len(starts) == more
            # Without the first few: the fork server was still loading torch.
            found[name] = (starts[-1] - starts[4]) / (len(starts) - 5) - seconds
            found[f"{name}_cpu"] = (cpu - engine.cpu) / more  # with MLflow's thread
            found[f"{name}_to_first"] = starts[0] - start
    return found


def trials_a_cell(count: int) -> int:
    """How many trials each cell of a sweep of about `count` runs has; two configurations of each are confirmed."""
    return count // (len(LENGTHS) * len(MODELS)) - 2 * SEEDS - 2  # a test run and a speed run


def runs(count: int, folder: Path) -> dict:
    """Seconds and peak memory of what reads a finished sweep of about `count` runs."""
    words = ["--dataset", "adding", "--models", ",".join(MODELS), "--confirm-seeds", SEEDS, "--workers", 1]
    words += [word for length in LENGTHS for word in ("--length", length)]
    before = _pages(folder)
    found: dict = {"runs": before[0]}
    found["leaderboard"] = _timed("-m", "bench", "leaderboard", "x", "--results", folder)
    found["report"] = _timed("-m", "bench", "report", "x", "--results", folder)
    found["load"] = _timed("-c", LOAD, folder)
    words += ["--name", "x", "--trials", trials_a_cell(count), "--results", folder]
    found["resume"] = _timed("-m", "bench", "sweep", *words)
    assert _pages(folder) == before, f"the resumed sweep found something to do: {before} to {_pages(folder)}"
    return found


@contextlib.contextmanager
def filled(count: int, folder: str | None):
    """A folder with a sweep of about `count` runs: the one that is given, or a new one that is removed at the end."""
    if folder is not None:
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as new:
        # In a process of its own: what it took would count as the peak of every process that this one starts.
        subprocess.run([sys.executable, __file__, "fill", str(count), new], stdout=subprocess.DEVNULL, check=True)
        yield Path(new)


def _pages(results: Path) -> tuple[int, ...]:
    """How many runs there are on disk and in MLflow, and how many points their curves have, cells' pages apart."""
    own = "select run_uuid from tags where key = 'bench.kind' and value in ('trial', 'confirm')"
    queries = ["select count(*) from runs", f"select count(*) from metrics where run_uuid in ({own})"]
    with contextlib.closing(sqlite3.connect(results / "mlflow.db")) as store:
        counts = [store.execute(query).fetchone()[0] for query in queries]
    return sum(1 for _ in results.rglob("record.json")), *counts


def _timed(*words: object) -> dict:
    """Seconds, CPU seconds and peak resident MB of a command of Python."""
    command = [sys.executable, *map(str, words)]
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{text[-3000:]}")
    cpu = usage.ru_utime + usage.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_mb": usage.ru_maxrss / 1000, "output": text[-300:]}


def main() -> None:
    words = sys.argv[1:]
    profile = None
    if "--profile" in words:
        at = words.index("--profile")
        profile = Path(words[at + 1])
        del words[at : at + 2]
    match words:
        case ["trials", sampler, *rest]:
            found: object = trials(sampler, *map(int, rest), profile=profile)
        case ["fill", count, folder]:
            found = fill(Path(folder), trials_a_cell(int(count)), **TERMS)
        case ["runs", count, *folder]:
            with filled(int(count), *(folder or [None])) as results:
                found = runs(int(count), results)
        case _:
            raise SystemExit(__doc__)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
