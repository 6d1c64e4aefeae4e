"""Kill the coordinators and runs of real small sweeps, and count what is lost: `make kills`, ARGS="--kills 10" for less.

Every kill is SIGKILL, which no process can catch. The kills are dealt from a deck: at every commit point of the
coordinator, at random moments, and at the moment in which a run writes its checkpoint, weights or record. A killed
coordinator is followed by the same command, until the sweep is complete. It is then compared with an undisturbed sweep.
Ctrl-C deals no further kills.

The sweeps train for real, with two differences from the command that you would type: checkpoints are written after
every validation instead of every minute, and one model starts a helper in a session of its own.
"""

import argparse
import contextlib
import hashlib
import os
import platform
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.training.machine import PACKAGES, processor
from tests.faults.losses import COUNTS, compare, facts

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RECORD = HERE / "kills.md"
ENOUGH = 120  # kills that make a record worth keeping

CHECKPOINTS_AFTER_EVERY_VALIDATION = """
import sys
from bench.config.settings import RunConfig
RunConfig.model_fields["checkpoint_seconds"].default = 0.001
RunConfig.model_rebuild(force=True)
from bench.cli.commands import main
sys.argv[0] = "bench"
main()
"""
SWEEP = ("sweep", "--name", "s", "--dataset", "latch", "--length", "8", "--models", f"gru,{HERE / 'helped.py'}")
SIZE = ("--budget", "smoke", "--trials", "4", "--confirm-seeds", "2", "--workers", "2")

COORDINATION = "".join((ROOT / "bench/sweeps" / name).read_text() for name in ("jobs.py", "coordinator.py"))
POINTS = re.findall(r'crash_point\("(\w+)"\)', COORDINATION)
FILES = ("checkpoint.part", "checkpoint-*.ckpt", "weights.pt", ".record.json.*", "record.json")
DECK = [*(f"coordinator {point}" for point in POINTS), "coordinator at a random moment"]
DECK += ["coordinator and all its processes", "fork server", "fork server", *["run at a random moment"] * 20]
DECK += [f"run as it writes {name}" for name in FILES] * 2
"""Forty kills; a longer record is dealt from several decks."""

GONE_SECONDS = 10.0  # after the coordinator, in which all processes have to be gone
PATIENCE = 900.0  # for a coordinator to end by itself
MOST_KILLS_OF_A_RUN = 2  # in one session of the coordinator, which gives a run up after the fourth


class Session:
    """A coordinator that was started, and all processes below it."""

    def __init__(self, results: Path, crash_at: str = "") -> None:
        self.folder, self.token = results / "sweeps" / "s", uuid.uuid4().hex
        command = [sys.executable, "-c", CHECKPOINTS_AFTER_EVERY_VALIDATION, *SWEEP, *SIZE, "--results", str(results)]
        environment = os.environ | {"BENCH_KILLS": self.token, "BENCH_TESTING": "1", "BENCH_CRASH_AT": crash_at}
        self.output = results / f"output-{self.token}.txt"
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                command, env=environment, stdout=file, stderr=file, stdin=subprocess.DEVNULL, cwd=ROOT,
                start_new_session=True,
            )  # fmt: skip
        self.kills_of: Counter[Path] = Counter()
        self._first_seen: dict[int, set[Path]] = {}

    def alive(self) -> list[int]:
        """Return all processes that were started with the token in their environment, and the coordinator."""
        mark, found = f"BENCH_KILLS={self.token}".encode(), []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (path / "environ").read_bytes().split(b"\0") and _state(int(path.name)) not in "ZX":
                    found.append(int(path.name))
        return found

    def server(self) -> int | None:
        """Return the process that runs are forked from."""
        below = [pid for pid in _children(self.process.pid) if _leads_session(pid)]
        return below[0] if below else None

    def runs(self) -> dict[int, Path]:
        """Return the processes of the runs under way, with their folders; a run's output goes to its log."""
        server, found = self.server(), {}
        for pid in _children(server) if server else []:
            with contextlib.suppress(OSError):
                log = Path(os.readlink(f"/proc/{pid}/fd/1"))
                if log.name == "log.txt" and self.kills_of[log.parent] < MOST_KILLS_OF_A_RUN:
                    found[pid] = log.parent
        return found

    def kill_run(self, card: str, rng: random.Random) -> bool:
        """Kill a run at the moment that a card names; return whether the coordinator lived to see it."""
        delay = time.monotonic() + rng.uniform(0, 0.8)
        pattern = card.removeprefix("run as it writes ")
        while self.process.poll() is None:
            for pid, folder in self.runs().items():
                if pattern == card:
                    is_due = time.monotonic() > delay
                else:
                    there = set(folder.glob(pattern))
                    is_due = bool(there - self._first_seen.setdefault(pid, there))
                if is_due and _kill(pid):
                    self.kills_of[folder] += 1
                    return True
            time.sleep(0.002)
        return False

    def kill_server(self) -> bool:
        """Kill the fork server while a run is under way; return whether there was one."""
        while self.process.poll() is None:
            runs = self.runs()
            if runs and (server := self.server()) and _kill(server):
                self.kills_of.update(runs.values())
                return True
            time.sleep(0.01)
        return False

    def kill_coordinator(self, card: str, rng: random.Random) -> bool:
        """Kill the coordinator, or wait until it is killed at its commit point; return whether it was."""
        if card.split()[-1] not in POINTS:
            if rng.random() < 0.7:
                while self.process.poll() is None and not self.runs():
                    time.sleep(0.01)
            end = time.monotonic() + rng.uniform(0, 5)
            while self.process.poll() is None and time.monotonic() < end:
                time.sleep(0.01)
            for pid in sorted(self.alive()) if "all" in card else [self.process.pid]:
                _kill(pid)
        return self.process.wait(PATIENCE) == -signal.SIGKILL

    def seconds_until_gone(self) -> float:
        """Return how long after the coordinator the last process ended; infinity if it has to be killed here."""
        began = time.monotonic()
        while left := self.alive():
            if time.monotonic() - began > GONE_SECONDS:
                for pid in left:
                    _kill(pid)
                return float("inf")
            time.sleep(0.005)
        return time.monotonic() - began


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        lists = Path(f"/proc/{pid}/task").glob("*/children")
        return [int(child) for path in lists for child in path.read_text().split()]
    return []


def _leads_session(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid) == pid
    return False


def _kill(pid: int) -> bool:
    with contextlib.suppress(OSError):
        if _state(pid) not in "ZX":
            os.kill(pid, signal.SIGKILL)
            return True
    return False


class Campaign:
    """Sweeps that are killed until a deck of kills is dealt."""

    def __init__(self, folder: Path, kills: int, seed: int, say: Callable[[str], None] = print) -> None:
        self.folder, self.rng, self.say = folder, random.Random(seed), say
        self.cards = deque(self._shuffled(kills))
        self.kills: Counter[str] = Counter()
        self.gone: list[float] = []  # seconds from the end of a killed coordinator to that of its last process
        self.found: dict[str, list[str]] = {word: [] for word in COUNTS}
        self.sweeps = self.ended = 0

    def _shuffled(self, kills: int) -> list[str]:
        decks = [self.rng.sample(DECK, len(DECK)) for _ in range(-(-kills // len(DECK)))]
        return [card for deck in decks for card in deck][:kills]

    def carry_out(self) -> None:
        """Deal all kills; raise RuntimeError if the undisturbed sweep fails."""
        undisturbed = self.folder / "undisturbed"
        undisturbed.mkdir(parents=True)
        session = Session(undisturbed)
        if session.process.wait(PATIENCE):
            raise RuntimeError(f"the undisturbed sweep failed:\n{session.output.read_text()[-2000:]}")
        problems = [text for texts in compare(session.folder, session.folder).values() for text in texts]
        if problems or session.seconds_until_gone() > GONE_SECONDS:
            raise RuntimeError(f"the undisturbed sweep is not clean: {problems}")
        while self.cards:
            self._sweep(session.folder)

    def _sweep(self, undisturbed: Path) -> None:
        """Carry out one sweep with its kills, and compare it."""
        self.sweeps += 1
        results = self.folder / f"sweep-{self.sweeps}"
        results.mkdir()
        known: dict[str, str] = {}
        while True:
            session, status = self._session(results, known)
            if status != -signal.SIGKILL:
                break
        name = f"sweep {self.sweeps}"
        if status:
            self.found["lost"].append(f"{name}: exit code {status}: {session.output.read_text()[-500:]}")
        for word, texts in compare(session.folder, undisturbed).items():
            self.found[word] += [f"{name}: {text}" for text in texts]
        self.ended += len(facts(session.folder))
        self.say(f"{name} is complete: {sum(self.kills.values())} kills, {self._counted()}")

    def _session(self, results: Path, known: dict[str, str]) -> tuple[Session, int]:
        """Start or resume the sweep and kill what the next cards say; return its exit code."""
        cards = []
        while self.cards and not (cards and cards[-1].startswith("coordinator")):
            cards.append(self.cards.popleft())
        point = cards[-1].split()[-1] if cards else ""
        crash_at = f"{point}:{1 if point == 'after_crash' else self.rng.randint(1, 4)}" if point in POINTS else ""
        session = Session(results, crash_at)
        for index, card in enumerate(cards):
            if point == "after_crash" and card == cards[-1]:
                self._deal("run at a random moment", session, known)
            if not self._deal(card, session, known):
                if not (point in POINTS and session.process.poll() == -signal.SIGKILL):
                    self.cards.extendleft(reversed(cards[index:]))  # the sweep was complete before
                    break
                self.kills[cards[-1]] += 1  # its commit point came before the other kills
                self.cards.extendleft(reversed(cards[index:-1]))
                break
        status = session.process.wait(PATIENCE)
        seconds = session.seconds_until_gone()
        if status == -signal.SIGKILL:
            self.gone.append(min(seconds, GONE_SECONDS))
        if seconds > GONE_SECONDS:
            self.found["orphaned"].append(f"sweep {self.sweeps}: after {cards[-1:]}")
        self._note(session.folder, known)
        return session, status

    def _deal(self, card: str, session: Session, known: dict[str, str]) -> bool:
        if card.startswith("run"):
            done = session.kill_run(card, self.rng)
        elif card == "fork server":
            done = session.kill_server()
        else:
            done = session.kill_coordinator(card, self.rng)
        self.kills[card] += done
        self._note(session.folder, known)
        return done

    def _note(self, folder: Path, known: dict[str, str]) -> None:
        """Compare the records with those `known` before: each stays as it is."""
        there = {}
        for path in folder.glob("runs/**/record.json"):
            with contextlib.suppress(FileNotFoundError):
                there[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
        for path, content in known.items():
            if path not in there:
                self.found["lost"].append(f"sweep {self.sweeps}: {path} is gone")
            elif there[path] != content:
                self.found["doubled"].append(f"sweep {self.sweeps}: {path} was written again")
        known |= there

    def _counted(self) -> str:
        return ", ".join(f"{len(self.found[word])} {word}" for word in COUNTS)

    def lines(self, options: argparse.Namespace, minutes: float) -> Iterator[str]:
        """Yield the lines of the record."""
        git = ["git", "-C", str(ROOT)]
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "bench"]).returncode
        versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        yield "# Record of kills\n"
        yield f"`make kills`, or `python -m tests.faults.kills --kills {options.kills} --seed {options.seed}`, made this page."
        state = f"commit {commit or 'unknown'}{' with changes' if changed else ''}"
        yield f"It took {minutes:.0f} minutes on {datetime.now(UTC):%Y-%m-%d}, at {state}, on {processor()}; {load()}."
        yield f"Python {platform.python_version()}, {versions}.\n"
        yield f"{sum(self.kills.values())} processes got SIGKILL in {self.sweeps} sweeps, which made {self.ended} runs."
        yield "Each sweep was resumed by the same command until it was complete, and compared with one that nothing"
        yield "disturbed: records, study and MLflow store, bit for bit where no clock is involved.\n"
        yield "| Found in all sweeps | Number |\n|---|---|"
        meanings = {
            "lost": "runs, trials and MLflow runs that had ended and are missing",
            "doubled": "runs, trials and MLflow runs that are there twice, or were carried out again",
            "left open": "trials and MLflow runs that seem to run; unfinished files",
            "orphaned": f"processes alive {GONE_SECONDS:.0f} s after their coordinator",
            "differing": "runs and trials with another configuration, score or weights",
        }
        yield from (f"| {word}: {meanings[word]} | {len(self.found[word])} |" for word in COUNTS)
        if self.gone:
            yield f"\nAfter a coordinator was killed, its last process was gone in {statistics.median(self.gone):.2f} s (median),"
            yield f"at most {max(self.gone):.2f} s."
        yield "\n| Killed | Times |\n|---|---|"
        yield from (f"| {card.replace('_', ' ')} | {self.kills[card]} |" for card in dict.fromkeys(DECK))
        if any(self.found.values()):
            yield "\n## Findings\n"
            yield from (f"- {word}: {text}" for word in COUNTS for text in self.found[word])


def load() -> str:
    """Return how many processes wanted to run, and how many cores were left to this one."""
    return f"load average {os.getloadavg()[2]:.1f} for {len(os.sched_getaffinity(0))} core(s)"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kills", type=int, default=ENOUGH, help=f"from {ENOUGH} on, the record replaces {RECORD.name}"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--keep", type=Path, help="new folder in which the sweeps are kept")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="bench-kills-"))
    began = time.monotonic()
    campaign = Campaign(folder, options.kills, options.seed, lambda line: print(line, file=sys.stderr, flush=True))
    signal.signal(signal.SIGINT, lambda number, frame: campaign.cards.clear())  # the sweep under way is completed
    campaign.carry_out()
    text = "\n".join(campaign.lines(options, (time.monotonic() - began) / 60)) + "\n"
    print(text)
    if sum(campaign.kills.values()) >= ENOUGH:
        RECORD.write_text(text)
    if not any(campaign.found.values()) and options.keep is None:
        shutil.rmtree(folder)
    else:
        print(f"the sweeps are in {folder}", file=sys.stderr)
    return int(any(campaign.found.values()))


if __name__ == "__main__":
    sys.exit(main())
