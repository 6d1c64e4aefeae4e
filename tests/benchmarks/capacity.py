"""How many runs one coordinator carries, with stub runs that train nothing.

    python capacity.py further COUNT ENGINE [FOLDER]   what a further run costs in a sweep of COUNT runs
    python capacity.py start SLOTS ENGINE HOLD         seconds until SLOTS runs of HOLD seconds are under way
    python capacity.py gpus SECONDS_A_RUN SECONDS_A_TICK   how many GPUs that keeps busy, by simulation
    python capacity.py all [SLOTS]                     all figures of docs/scale.md; hours on a slow machine

Each prints JSON, `all` a line for each figure. ENGINE is local or ray. `further` takes the sweep that `scale.py fill` made in FOLDER, or makes one;
the sweep grows by the runs that are timed. CPU seconds are given by part: the coordinator's main thread, its other
threads (MLflow), and the processes below it (fork server and runs; of Ray its driver, and all others of Ray).
"""

import heapq
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from scale import LENGTHS, MODELS, PATH, TERMS, filled
from stub_sweeps import Quiet, plan

WORKERS = 8
FURTHER = 4  # trials of each cell that are timed
TICKS = 100  # that each run sends in the second half, to find what a tick costs
WARM_UP = 16  # runs that are not timed
TICK = os.sysconf("SC_CLK_TCK")


class Meter:
    """The CPU seconds of a coordinator by part, of which `marks` are taken at moments of a sweep."""

    def __init__(self) -> None:
        self.marks: dict[str, dict[str, float]] = {}
        self.driver: int | None = None  # Ray's

    def mark(self, name: str) -> None:
        below = _cpu_below(os.getpid())
        main = time.thread_time()
        found = {"seconds": time.monotonic(), "main": main, "other_threads": time.process_time() - main}
        if self.driver is not None:
            found["driver"] = below.pop(self.driver, 0.0)
        self.marks[name] = found | {"processes": sum(below.values())}

    def between(self, first: str, last: str) -> dict[str, float]:
        return {part: self.marks[last][part] - value for part, value in self.marks[first].items()}


def _cpu_below(pid: int) -> dict[int, float]:
    """CPU seconds of each process below one, those that it has reaped included."""
    parents, used = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        number = int(path.parent.name)
        parents[number], used[number] = int(words[1]), sum(map(int, words[11:15])) / TICK
    below, found = {pid}, True
    while found:
        found = {number for number, parent in parents.items() if parent in below} - below
        below |= found
    return {number: used[number] for number in below - {pid}}


def watched(kind: str, made, meter: Meter, slots: list[dict[str, str]], preload: list[str], marked: set[int]):
    """An engine that takes no job before MLflow has caught up, and marks the moments after which `marked` runs ended."""
    from bench.sweeps import coordinator
    from bench.sweeps.engines import cluster, local
    from bench.tracking.writer import Writer

    trackers: list[Writer] = []

    class Watched(Writer):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            trackers.append(self)

    coordinator.Writer = Watched
    base = local.LocalEngine if kind == "local" else cluster.RayEngine

    class Engine(base):
        is_open, ends, left_to_mlflow = False, 0, 0

        @property
        def idle(self) -> int:
            if not self.is_open and trackers[-1]._queue.empty():
                self.is_open = True
                meter.mark("open")
            return super().idle if self.is_open else 0

        def wait(self, timeout: float) -> list:
            events = super().wait(timeout)
            for event in events:
                self.ends += event.kind == "ended"
                if event.kind == "ended" and self.ends in marked:
                    meter.mark(f"end {self.ends}")
                    self.left_to_mlflow = trackers[-1]._queue.qsize()
            return events

    functions = ("stub_sweeps:stub", preload)
    if kind == "local":
        return Engine(slots, 600.0, *functions)
    engine = Engine(made.config, len(slots), *functions)
    meter.driver = engine._connection._child.pid
    return engine


def further(count: int, kind: str, folder: Path) -> dict:
    """The cost of a further run of no length, and of a tick: in seconds, and in CPU seconds by part."""
    from bench.sweeps import coordinator
    from bench.sweeps.engines.local import PRELOAD

    os.environ["PYTHONPATH"] = PATH
    total = FURTHER * len(LENGTHS) * len(MODELS)
    found: dict = {"engine": kind, "runs": count}
    for ticks in (0, TICKS):
        os.environ["STUB_TICKS"] = str(ticks)
        first = sum(path.name[1:].isdigit() for path in (folder / "sweeps/x/runs/adding/L25/lstm").iterdir())
        made = plan(folder, first + FURTHER, **TERMS, engine=kind, workers=WORKERS)
        meter = Meter()
        engine = watched(kind, made, meter, made.slots, [*PRELOAD, "stub_sweeps"], {WARM_UP, total})
        start = time.monotonic()
        outcome = coordinator.run(made, Quiet(), engine, measures_speed=False)
        assert outcome.exit_code == 0, outcome
        assert engine.ends == total, engine.ends
        spent = meter.between(f"end {WARM_UP}", f"end {total}")  # fork servers were still loading torch before
        spent = {part: value / (total - WARM_UP) for part, value in spent.items()}
        if ticks:
            found |= {f"tick_{part}": (value - found[part]) / TICKS for part, value in spent.items()}
        else:
            found |= spent | {"left_to_mlflow": engine.left_to_mlflow}
            found["resumed_seconds"] = meter.marks["open"]["seconds"] - start
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return found


def start(slots: int, kind: str, hold: float) -> dict:
    """Seconds until so many runs of `hold` seconds are under way in a new sweep, and the CPU seconds that this took."""
    from bench.results.record import records
    from bench.sweeps import coordinator
    from bench.sweeps.engines.local import PRELOAD

    os.environ["PYTHONPATH"] = PATH
    os.environ["STUB_SECONDS"] = str(hold)
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        trials = -(-slots // (len(LENGTHS) * len(MODELS)))
        made = plan(Path(name), trials, **TERMS | {"confirm_seeds": 0}, engine=kind, workers=slots)
        meter = Meter()
        # On Ray without torch: as many fork servers on one machine are not what a cluster has, and fill its memory.
        preload = [*PRELOAD, "stub_sweeps"] if kind == "local" else ["stub_sweeps"]
        engine = watched(kind, made, meter, made.slots, preload, {1})
        begun = time.time()
        outcome = coordinator.run(made, Quiet(), engine, measures_speed=False)
        assert outcome.exit_code == 0, outcome
        starts = sorted(datetime.fromisoformat(r.started_at).timestamp() - begun for r in records(made.folder))
    found = {"engine": kind, "slots": slots, "first_start": starts[0], "last_start": starts[slots - 1]}
    at_once = sum(at < starts[0] + hold for at in starts)
    return found | {"started_before_the_first_end": at_once, "until_first_end": meter.between("open", "end 1")}


def busy(gpus: int, run_seconds: float, own_seconds: float, tick_seconds: float, rounds: int = 12) -> float:
    """The share of their time that GPUs train, if one coordinator serves them one request after another.

    Runs last `run_seconds`, give or take a fifth. A run asks for `own_seconds` of the coordinator when it ends, and
    its GPU is idle until these are over; it sends a tick a second, each of which takes `tick_seconds`. There is always
    a next run to make.
    """
    rng = random.Random(0)
    free, trained, idle = 0.0, 0.0, 0.0
    lengths = (run_seconds * rng.uniform(0.8, 1.2) for _ in itertools.count())
    ends = [(rng.uniform(0, run_seconds), 0.0) for _ in range(gpus)]  # when a run ends, and how long it took
    heapq.heapify(ends)
    last_tick = 0.0
    for number in range(gpus * rounds):
        end, length = heapq.heappop(ends)
        free += (end - last_tick) * gpus * tick_seconds if end > last_tick else 0.0
        last_tick = max(last_tick, end)
        free = max(free, end) + own_seconds
        if number >= gpus * rounds // 2:  # in the second half, queues have settled
            trained, idle = trained + length, idle + free - end
        length = next(lengths)
        heapq.heappush(ends, (free + length, length))
    return trained / (trained + idle)


def most_gpus(run_seconds: float, own_seconds: float, tick_seconds: float, share: float = 0.95) -> int:
    """The largest number of GPUs that are busy for `share` of their time."""
    low, high = 1, 2
    while busy(high, run_seconds, own_seconds, tick_seconds) >= share:
        low, high = high, 2 * high
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (middle, high) if busy(middle, run_seconds, own_seconds, tick_seconds) >= share else (low, middle)
    return low


def everything(slots: int) -> None:
    """Measure all figures, each in a process of its own, whose peak memory is then its own."""

    def call(script: str, *words: object) -> dict:
        command = [sys.executable, str(Path(__file__).with_name(script)), *map(str, words)]
        line = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1]
        print(script, *words, line, flush=True)
        return json.loads(line)

    own = {}
    for count in (1_000, 10_000, 100_000):
        with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
            call("scale.py", "fill", count, folder)
            call("scale.py", "runs", count, folder)
            for kind in ("local", "ray"):
                own[kind] = call("capacity.py", "further", count, kind, folder)
    for kind in ("local", "ray"):
        call("capacity.py", "start", slots, kind, 60)
        costs = [own[kind][f"{part}main"] + own[kind][f"{part}other_threads"] for part in ("", "tick_")]
        call("capacity.py", "gpus", *costs)


def main() -> None:
    match sys.argv[1:]:
        case ["further", count, kind, *folder]:
            with filled(int(count), *(folder or [None])) as results:
                found: object = further(int(count), kind, results)
        case ["start", slots, kind, hold]:
            found = start(int(slots), kind, float(hold))
        case ["gpus", own, tick]:
            found = {length: most_gpus(length, float(own), float(tick)) for length in (10.0, 60.0, 600.0)}
        case ["all", *slots]:
            everything(*map(int, slots or ["64"]))
            return
        case _:
            raise SystemExit(__doc__)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
