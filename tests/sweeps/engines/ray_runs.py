"""Runs without torch for tests of the engine on Ray."""

import json
import os
import time
from pathlib import Path


def show(folder: Path, on_report, submitted: float) -> None:
    """Report two epochs, and write down what was answered, and which GPUs of which node the run sees."""
    answers = []
    for steps in (1, 2):
        answers.append(on_report(("epoch", steps, steps / 10)))
        time.sleep(0.2)
    shown = {"answers": answers, "gpus": os.environ["CUDA_VISIBLE_DEVICES"], "start": time.time()}
    shown["node"] = Path(os.environ["BENCH_CACHE_DIR"]).name
    time.sleep(2.0)
    (folder / "record.json").write_text(json.dumps(shown | {"end": time.time()}))
    print("seen")


def eat(folder: Path, on_report, submitted: float) -> None:
    """Fill memory until something ends it."""
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1) * (64 * 2**20)))
        time.sleep(0.02)


def nothing(folder: Path, on_report, submitted: float) -> None:
    """Do nothing, and say so."""
    (folder / "record.json").write_text("{}")
