"""What tests share: a sweep written by hand. Latch has a threshold from which it is solved, digits has none."""

import json

import pandas as pd
import pytest

from bench.results import leaderboard
from bench.results.record import Seconds
from tests.results.boards import FAILED, UNSOLVED, solved, write


@pytest.fixture(scope="session")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "sweeps" / "one"
    models = ("mlp", "rnn", "lstm", "stacked_lstm", "gru", "transformer")
    spec = {
        "spec": {"cells": [f"latch/L8/{model}" for model in models] + ["digits/L8/lstm", "digits/L8/gru", "digits/L8/mlp"]},
        "trials": 2, "top_k": 1, "confirm_seeds": 3, "not_applicable": {"latch/L8/bilstm": "sees the future"},
    }  # fmt: skip

    def latch(space, run, **facts):
        write(folder, "latch", space, run, **facts)

    # Solves on all seeds; one trial failed after an attempt that died.
    latch("lstm", "t0", **solved(1_000))
    latch("lstm", "t1", **FAILED, crashes=["killed", "stall"], seconds=Seconds(crashed=5.0, total=7.0))
    for number, at in enumerate((900, 1_100, 1_300)):
        latch("lstm", f"t0-s{number}", **solved(at, at / 100), parameters={"encoder": 40, "head": 2}, state_size=8)
    latch("lstm", "t0-speed", speed=dict.fromkeys(
        ("train_sequences_per_second", "inference_sequences_per_second", "train_step_milliseconds"), 4.0
    ), peak_memory_bytes=3 * 2**20)  # fmt: skip
    # Solves on all seeds too, quicker in sequences, slower in seconds.
    latch("gru", "t0", state="pruned", val={"accuracy": 1.0})
    latch("gru", "t1", **solved(900))
    for number, at in enumerate((500, 600, 700)):
        latch("gru", f"t1-s{number}", **solved(at, at / 10))
    # On one seed of three, the others unsolved and failed.
    latch("rnn", "t0", **UNSOLVED)
    latch("rnn", "t1", **UNSOLVED)
    for number, facts in enumerate((solved(2_000), UNSOLVED, FAILED)):
        latch("rnn", f"t0-s{number}", **facts)
    # On none.
    latch("mlp", "t0", **UNSOLVED)
    latch("mlp", "t1", **UNSOLVED)
    for number in range(3):
        latch("mlp", f"t0-s{number}", **UNSOLVED)
    # No trial succeeded; and one still has a trial to make.
    latch("stacked_lstm", "t0", **FAILED)
    latch("stacked_lstm", "t1", state="failed", cause="killed")
    latch("transformer", "t0", **FAILED)
    latch("lstm", "baselines", baselines={"majority": 0.52, "bag": 0.6})

    for space, scores in {"lstm": (0.9, 0.92, 0.94), "gru": (0.89, 0.93, 0.94), "mlp": (0.4, 0.45)}.items():
        write(folder, "digits", space, "t0", score=0.8)
        write(folder, "digits", space, "t1", score=0.7)
        for number, score in enumerate(scores):
            write(folder, "digits", space, f"t0-s{number}", score=score)
    write(folder, "digits", "lstm", "baselines", baselines={"nearest": 0.95, "majority": 0.1})
    (folder / "sweep.json").write_text(json.dumps(spec))
    return folder


@pytest.fixture(scope="session")
def board(sweep) -> pd.DataFrame:
    return leaderboard.build(sweep)
