"""Speed by length: the crossover by hand, refusals, and one real measurement."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from bench.cli.commands import main
from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from bench.errors import DeclarationError, HardwareError
from bench.report import speed_charts
from bench.sweeps import speed
from bench.sweeps.engines.local import Event
from tests.makers import hourly

SAME = {"hardware": "a machine", "device": "cpu", "precision": "32-true", "threads": 1}
SAME |= {"dataset": "adding", "batch_size": 32, "status": "complete", "reason": None}


def frame(**milliseconds: list[float | None]) -> pd.DataFrame:
    """Rows of models at 64, 128, 256, … steps."""
    rows = [
        {"model": model, "steps": 64 * 2**i, "train_step_milliseconds": value, "peak_memory_mib": 1.0} | SAME
        for model, values in milliseconds.items()
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def between(**milliseconds) -> str:
    return speed_charts.crossover(frame(**milliseconds), "transformer", "lstm", "train_step_milliseconds")


def test_the_place_is_interpolated_on_logarithms():
    # A factor of 1/2 at 128 and of 2 at 256: equal in the middle, at 128 times the root of 2.
    found = between(lstm=[1, 2, 4], transformer=[0.1, 1, 8])
    assert found == "transformer becomes slower than lstm between 128 and 256 steps (about 180)"
    # A factor of 1/2 at 256 and of 4 at 512: a third of the way, at 256 times the third root of 2.
    found = between(lstm=[1, 2, 4, 8], transformer=[0.1, 1, 2, 32])
    assert found == "transformer becomes slower than lstm between 256 and 512 steps (about 320)"
    # A factor of 1/8 at 1,024 and of 8 at 2,048.
    found = between(lstm=[1, 1, 1, 1, 8, 1], transformer=[0.1, 0.1, 0.1, 0.1, 1, 8])
    assert found == "transformer becomes slower than lstm between 1024 and 2048 steps (about 1400)"


@pytest.mark.parametrize(
    ("transformer", "words"),
    [
        ([2, 4, 8], "at every length measured (64 to 256 steps)"),
        ([0.5, 1, 2], "not slower than lstm at any length"),
        (
            [2, 1, 8],
            "becomes faster than lstm between 64 and 128 steps (about 91), then slower than lstm between 128 and",
        ),
        ([2, 4, 2], "transformer becomes faster than lstm between 128 and 256 steps (about 180)"),
        ([1, 4, 8], "becomes slower than lstm between 64 and 128 steps (about 64)"),
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
        speed_charts.sentences(rows)


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


def test_what_was_measured_twice_is_shown_once_as_last_measured(tmp_path):
    for name, value in (("one", 1.0), ("two", 3.0)):
        frame(lstm=[value, 2 * value]).to_csv(tmp_path / f"{name}.csv", index=False)
    rows = speed.read([tmp_path / "one.csv", tmp_path / "two.csv"])
    assert rows["train_step_milliseconds"].tolist() == [3, 6]


def test_two_models_are_measured_at_two_lengths(tmp_path):
    command = ["speed", "--dataset", "latch", "--length", "8,16", "--batch-size", "4"]
    command += ["--models", "lstm,bilstm", "--results", str(tmp_path)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    (csv,) = tmp_path.glob("speed/*/latch-b4-32-true/speed.csv")
    rows = speed.read([csv])
    assert csv.parent.parent.name == speed.slug(rows["hardware"][0])
    assert rows["model"].tolist() == ["lstm", "bilstm"] * 2
    assert rows["steps"].tolist() == [9, 9, 17, 17]
    assert (rows["batch_size"] == 4).all()
    assert (rows["train_step_milliseconds"] > 0).all()
    assert rows["streaming_p50_milliseconds"].isna().tolist() == [False, True, False, True]
    assert rows["train_flops_per_sequence"].gt(rows["inference_flops_per_sequence"]).all()
    for length, model in zip(rows["length"], rows["model"], strict=True):
        assert {path.name for path in (csv.parent / f"L{length}" / model).iterdir()} >= {"config.json", "record.json"}
    assert "training step (ms a batch)" in " ".join(done.stdout.split())  # a title is wrapped to its table's width
    assert "* training step: transformer and lstm were not both measured" in done.stdout
    svg = csv.with_name("speed.svg")
    ElementTree.parse(svg)
    text = svg.read_text()
    is_disturbed = rows["timing_disturbed"].fillna("").str.contains("train_step")
    assert "training step" in text or is_disturbed.all()  # what other processes disturbed is not drawn
    assert "var(" not in text
    conditions = "cpu, 1 thread(s), 32-true; latch, 4 sequences a batch"
    assert re.search(f">[^<]*{re.escape(conditions)}</text>", text)
    assert re.search(f"<title>[^<]*{re.escape(conditions)}</title>", text)
    text = (Path(__file__).parents[2] / "results" / "README.md").read_text()
    columns = [re.sub(r"_b\d+_", "_b2_", name) for name in rows.columns]  # a column for each batch size
    assert [name for name in columns if f"`{name}`" not in text] == []
    assert rows["inference_b1_milliseconds"].gt(0).all()
    assert list(speed_charts.batch_columns(rows)) == [1, 2, 4]
    assert "inference by batch size, 17 steps (ms a batch)" in " ".join(done.stdout.split())
    done = CliRunner().invoke(main, ["speed", str(csv), "--json"])
    assert [row["model"] for row in json.loads(done.stdout)] == ["lstm", "bilstm"] * 2


def test_disturbed_values_are_marked_and_not_compared_or_drawn():
    rows = frame(lstm=[1, 2, 4], transformer=[0.1, 1, 8]).assign(timing_disturbed="no", train_spread=0.1)
    rows.loc[rows["steps"].eq(256) & rows["model"].eq("transformer"), "timing_disturbed"] = "latency, train_step"
    assert speed_charts.tables(rows)["training step (ms a batch)"][1] == ["transformer", "0.1", "1", "8*"]
    found = speed_charts.crossover(rows, "transformer", "lstm", "train_step_milliseconds")
    assert found == "transformer is not slower than lstm at any length measured (64 to 128 steps)"
    (remark,) = speed_charts.remarks(rows)
    assert "Values marked with * were measured while other processes used the processor" in remark
    (step, _) = speed_charts._by_length(rows)
    assert [series.x for series in step.series] == [[64, 128, 256], [64, 128]]
    rows["timing_disturbed"] = "train_step"
    found = speed_charts.crossover(rows, "transformer", "lstm", "train_step_milliseconds")
    assert found == "transformer and lstm were not both measured undisturbed"
    assert speed_charts.remarks(rows.assign(timing_disturbed="no")) == []


def test_latency_by_batch_size_is_a_table_and_a_chart_for_some_lengths():
    rows = frame(lstm=[1.0] * 5, gru=[1.0] * 5).assign(timing_disturbed="no")
    for number in (1, 2, 4):
        rows[f"inference_b{number}_milliseconds"] = rows["steps"] * number / 64
        rows[f"inference_b{number}_spread"] = 0.5
    rows.loc[0, "timing_disturbed"] = "inference_b2"
    found = speed_charts.batch_tables(rows)
    assert list(found) == [f"inference by batch size, {steps} steps (ms a batch)" for steps in ("64", "256", "1,024")]
    assert found["inference by batch size, 64 steps (ms a batch)"] == [["lstm", "1", "2*", "4"], ["gru", "1", "2", "4"]]
    shortest, *_ = charts = speed_charts._by_batch(rows)
    assert len(charts) == 3
    assert [(series.x, series.y) for series in shortest.series] == [([1, 4], [1.0, 4.0]), ([1, 2, 4], [1.0, 2.0, 4.0])]
    assert shortest.series[1].low == [0.75, 1.5, 3.0]
    assert speed_charts.batch_tables(frame(lstm=[1.0])) == {}  # of an earlier version


@pytest.mark.parametrize(("most", "sizes"), [(1, (1,)), (4, (1, 2, 4)), (5, (1, 2, 4, 5))])
def test_batch_sizes_double_up_to_the_largest(most, sizes):
    assert speed.batches_up_to(most) == sizes


class Killer:
    """An engine whose every run dies without a record."""

    def __init__(self, *arguments, **options) -> None: ...

    def start_server(self) -> None: ...

    def close(self) -> None: ...

    def run_all(self, jobs):
        return [Event(job, "ended", cause="stall") for job in jobs]


def test_a_run_that_dies_is_a_row_with_its_cause(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "LocalEngine", Killer)
    options = {"datasets": ["latch"], "lengths": [8], "models": ["lstm", "gru"], "results": tmp_path}
    rows, folder = speed.measure(SweepConfig.build(None, options), 4, lambda text: None)
    assert rows[["status", "reason"]].to_numpy().tolist() == [["failed", "stall"]] * 2
    assert rows["hardware"].notna().all()
    for path in speed_charts.write(rows, folder):
        assert path.stat().st_size
    kept = speed.read([folder / "speed.csv"])
    assert kept[["status", "reason"]].to_numpy().tolist() == [["failed", "stall"]] * 2
    assert all(cells[1:] == ["stall"] for cells in speed_charts.tables(kept).get("training step (ms a batch)", []))


def test_your_own_file_is_measured_as_sweep_and_plan_read_it(tmp_path, monkeypatch):
    """The command takes all options of the data; without --length, the lengths follow from the file."""
    monkeypatch.setattr(speed, "LocalEngine", Killer)
    file = hourly(tmp_path / "my_load.csv", rows=1200)
    command = ["speed", "--data", str(file), "--target", "load", "--horizon", "12", "--models", "lstm,mlp"]
    command += ["--results", str(tmp_path)]
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 0, shown.output
    (csv,) = tmp_path.glob("speed/*/my_load-b32-32-true/speed.csv")
    rows = speed.read([csv])
    config = SweepConfig.build(None, {"data": [file], "target": ["load"], "horizon": 12})
    assert sorted(set(rows["length"])) == own_data.make(config).card.lengths
    assert rows["dataset"].eq("my_load").all()
    shown = CliRunner().invoke(main, [*command, "--length", "24", "--batch-size", "8"])
    assert shown.exit_code == 0, shown.output
    (csv,) = tmp_path.glob("speed/*/my_load-b8-32-true/speed.csv")
    assert speed.read([csv])["length"].tolist() == [24, 24]


def test_your_own_file_in_the_place_of_a_speed_csv_is_explained(tmp_path):
    file = hourly(tmp_path / "my_load.csv")
    with pytest.raises(DeclarationError, match="to measure on a file of yours, give it with --data"):
        speed.read([file])
    shown = CliRunner().invoke(main, ["speed", str(file), "--data", str(file)])
    assert shown.exit_code == 2
    assert "give speed.csv files to show them, or --data to measure, not both" in shown.output


def test_a_file_of_version_0_1_is_read_with_its_states(tmp_path):
    rows = frame(lstm=[1.0, None]).drop(columns=["status", "reason"])
    rows["state"] = ["complete", "failed: out_of_memory"]
    rows.to_csv(tmp_path / "speed.csv", index=False)
    kept = speed.read([tmp_path / "speed.csv"])
    assert kept["status"].tolist() == ["complete", "failed"]
    assert "state" not in kept
    assert speed_charts.tables(kept)["training step (ms a batch)"] == [["lstm", "1", "out_of_memory"]]
    rows["state"] = "complete"
    rows.to_csv(tmp_path / "speed.csv", index=False)
    assert speed.read([tmp_path / "speed.csv"])["reason"].isna().all()


def test_the_shade_is_of_the_spread_that_was_measured():
    rows = pd.DataFrame({
        "train_step_milliseconds": [10.0], "train_spread": [0.2], "peak_memory_mib": [1.0],
        "streaming_p50_milliseconds": [1.0], "streaming_p95_milliseconds": [1.5],
    })  # fmt: skip
    assert speed_charts._band(rows, "train_step_milliseconds") == ([9.0], [11.0])
    assert speed_charts._band(rows, "streaming_p50_milliseconds") == ([1.0], [1.5])
    assert speed_charts._band(rows, "peak_memory_mib") == ([], [])


def test_a_length_that_fails_is_a_cell_with_its_cause():
    rows = frame(lstm=[1.0, None])
    rows.loc[1, ["status", "reason"]] = ["failed", "out_of_memory"]
    ((model, first, second),) = speed_charts.tables(rows)["training step (ms a batch)"]
    assert (model, first, second) == ("lstm", "1", "out_of_memory")


def test_a_gpu_that_torch_does_not_see_is_told_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("bench.sweeps.engines.machine.call", lambda function: 0)
    config = SweepConfig(datasets=["latch"], lengths=[8], models=["mlp"], gpus="1", results=tmp_path)
    with pytest.raises(HardwareError, match="sees 0 of 1"):
        speed.measure(config, 4, lambda line: None)
    assert not list(tmp_path.iterdir())
