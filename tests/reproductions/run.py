"""Reproductions of published numbers: `make reproduce ARGS="N8 N1"`, or `python tests/reproductions/run.py N8 N1`.

Every run goes through `bench.training.train.run` on one thread. Every target adds rows to the table in results.md
beside this file, which also lists the differences from the published set-ups. Training settings after the names
(`learning_rate=3e-3`) override those of the targets, to test a suspicion; the rows record them. The targets:

N1   a table of 12: which forget bias lets an LSTM keep a symbol over 20, 40, 80 and 160 others
N4   parity on longer sequences than in training: RNN, LSTM and Transformer
N7   the order of two and of three symbols, as in 1997, at 100 steps
N8   adding as in 1997, at 100 steps
N9   latch as in 1997, at a lag of 100
N10  characters of Shakespeare: an LSTM and a Transformer of the same size (N10-lstm, N10-transformer)
N11  the same, nanoGPT's configuration for a CPU
N12  chords of Bach: LSTM, GRU and RNN of the same size
N13  the length from which attention is slower than an LSTM of the same width
N20  the scorer of the Numenta Anomaly Benchmark, on its own detectors
"""

import functools
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.training import ledger
from tests.reproductions import language, machine, memory, nab
from tests.reproductions.running import Row, Settings

TABLE = Path(__file__).with_name("results.md")

TARGETS: dict[str, Callable[[Settings], Iterator[Row]]] = {
    "N20": nab.n20,
    "N13": machine.n13,
    "N8": memory.n8,
    "N9": memory.n9,
    "N7": memory.n7,
    "N4": memory.n4,
    "N12": language.n12,
    "N10-lstm": language.n10_lstm,
    "N1": memory.n1,
    "N11": language.n11,
    "N10-transformer": language.n10_transformer,
}


@functools.cache
def _commit() -> str:
    described = ["git", "-C", str(TABLE.parent), "describe", "--always", "--dirty"]
    return subprocess.run(described, capture_output=True, text=True).stdout.strip() or "unknown"


def _made(name: str, overrides: Settings) -> str:
    """Return the command, machine, versions and commit of a row."""
    words = " ".join([name, *(f"{key}={json.dumps(value)}" for key, value in overrides.items())])
    facts = ledger.environment("cpu")
    versions = f"Python {platform.python_version()}, torch {facts['torch']}"
    machine = f"{facts['hardware']}, 1 thread, load average {os.getloadavg()[1]:.1f}"
    return f'`make reproduce ARGS="{words}"`, {date.today()}, {machine}; {versions}; commit {_commit()}'


def chosen(words: list[str]) -> tuple[list[str], Settings]:
    """Return the names of the targets and the training settings of a command line."""
    overrides = {key: json.loads(value) for key, _, value in (word.partition("=") for word in words if "=" in word)}
    asked = [word for word in words if "=" not in word]
    for word in asked:
        if word != "all" and not any(word in (name, name.split("-")[0]) for name in TARGETS):
            raise SystemExit(f"unknown target {word}; choose from {', '.join(TARGETS)}, all")
    names = [name for name in TARGETS if {name, name.split("-")[0], "all"} & set(asked or ["all"])]
    return names, overrides


def main() -> None:
    names, overrides = chosen(sys.argv[1:])
    ledger.prepare_process(1)
    _commit()  # now: another commit may be checked out before a row is written
    for name in names:
        began = time.monotonic()
        for row in TARGETS[name](overrides):
            line = row.cells((time.monotonic() - began) / 60, _made(name, overrides))
            began = time.monotonic()
            print(line, flush=True)
            with TABLE.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
