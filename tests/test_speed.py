"""Speed by length: the crossover by hand, refusals, and one real measurement."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pandas as pd
import pytest

from bench import speed
from bench.config import SweepConfig
from bench.errors import DeclarationError, HardwareError

SAME = {"hardware": "a machine", "device": "cpu", "precision": "32-true", "threads": 1, "state": "complete"}


def frame(**milliseconds: list[float | None]) -> pd.DataFrame:
    """Rows of models at 64, 128, 256, … steps."""
    rows = [
        {"model": model, "steps": 64 * 2**i, "train_step_milliseconds": value, "peak_memory_mib": 1.0} | SAME
        for model, values in milliseconds.items()
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def between(**milliseconds) -> str:
    return speed.crossover(frame(**milliseconds), "transformer", "lstm", "train_step_milliseconds")


def test_the_place_is_interpolated_on_logarithms():
    # A factor of 1/2 at 128 and of 2 at 256: equal in the middle, at 128 times the root of 2.
    found = between(lstm=[1, 2, 4], transformer=[0.1, 1, 8])
    assert found == "transformer becomes slower than lstm between 128 and 256 steps (about 1.8e+02)" or "181" in found


@pytest.mark.parametrize(
    ("transformer", "words"),
    [
        ([2, 4, 8], "at every length measured (64 to 256 steps)"),
        ([0.5, 1, 2], "not slower than lstm at any length"),
        ([2, 1, 8], "change places 2 times"),
        ([2, 4, 2], "change places 1 times"),
        ([None, None, None], "were not both measured"),
    ],
)
def test_what_can_be_said_is_said(transformer, words):
    assert words in between(lstm=[1, 2, 4], transformer=transformer)


@pytest.mark.parametrize("name", speed.CONDITIONS)
def test_rows_of_different_conditions_are_not_compared_by_time(name):
    rows = frame(lstm=[1, 2], transformer=[2, 1])
    rows[name] = ["one", "one", "two", "two"]
    with pytest.raises(HardwareError, match=f"rows of different {name} are not compared by time: one; two"):
        speed.sentences(rows)


def test_files_of_two_machines_are_refused_in_one_line(tmp_path):
    for name in ("one", "two"):
        rows = frame(lstm=[1, 2], transformer=[2, 1])
        rows["hardware"] = name
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    command = [sys.executable, "-m", "bench", "speed", *map(str, sorted(tmp_path.glob("*.csv")))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.strip() == "bench: rows of different hardware are not compared by time: one; two"
    with pytest.raises(DeclarationError, match="not a speed.csv"):
        speed.read([tmp_path / "none.csv"])


def test_two_models_are_measured_at_two_lengths(tmp_path):
    config = SweepConfig.build(
        None, {"datasets": ["latch"], "lengths": [8, 16], "models": ["lstm", "bilstm"], "results": tmp_path}
    )
    said: list[str] = []
    rows, folder = speed.measure(config, 4, said.append)
    assert rows["model"].tolist() == ["lstm", "bilstm"] * 2
    assert rows["steps"].tolist() == [9, 9, 17, 17]
    assert (rows["batch_size"] == 4).all()
    assert (rows["train_step_milliseconds"] > 0).all()
    assert rows["streaming_p50_milliseconds"].isna().tolist() == [False, True, False, True]
    assert rows["train_flops_per_sequence"].gt(rows["inference_flops_per_sequence"]).all()
    assert len(said) == 4
    csv, svg = speed.write(rows, folder)
    assert len(speed.read([csv])) == 4
    ElementTree.parse(svg)
    text = svg.read_text()
    assert "training step" in text
    assert "var(" not in text


def test_a_length_that_fails_is_a_row(tmp_path, monkeypatch):
    rows = frame(lstm=[1.0, None])
    rows.loc[1, "state"] = "failed: out_of_memory"
    ((model, first, second),) = speed.tables(rows)["training step (ms a batch)"]
    assert (model, first, second) == ("lstm", "1", "out_of_memory")
