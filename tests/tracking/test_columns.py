"""MLflow shows what leaderboard.csv holds, cell by cell and column by column, under the same names."""

import csv
import json
import math

import pandas as pd
import pytest
from mlflow import MlflowClient

from bench.config.ids import CellId
from bench.results import leaderboard, tables
from bench.results.leaderboard import COLUMNS
from bench.tracking import facts
from bench.tracking.projection import sync
from bench.tracking.store import store_uri
from bench.tracking.writer import Writer
from tests import makers
from tests.tracking.sweeps import Log, make_record, runs_of, sweep_folder

SPEED = {
    "train_step_milliseconds": 1.5,
    "train_sequences_per_second": 21_333.0,
    "inference_sequences_per_second": 90_000.0,
    "latency_p50_milliseconds": 0.2,
    "latency_p95_milliseconds": 0.3,
    "streaming_p50_milliseconds": 0.05,
    "streaming_p95_milliseconds": 0.06,
    "train_flops_per_sequence": 3e6,
    "inference_flops_per_sequence": 1e6,
}
ENVIRONMENT = {"hardware": "2 cores", "python": "3.12.1", "torch": "2.9", "bench": "0.2.0"}
FACTORS = {"cpu_watts": 10.0, "grid": {"gco2_per_kwh": 250.0, "source": "given"}, "confirm_seeds": 2}


def cell_records(space: str, scores=(0.9, 1.0), asked=None, **facts):
    """Return the records of a cell: two trials, two fresh seeds of the first, its test run and its exclusive pass."""
    shared = {"environment": ENVIRONMENT, "cpu_seconds": 3.0, "parameters": {"encoder": 100, "head": 20}} | facts
    made = [make_record(f"{space}/t0", **shared), make_record(f"{space}/t1", **shared | {"val": {"accuracy": 0.5}})]
    made += [make_record(f"{space}/t0-s{seed}", **shared | {"test": None, "solved": True}) for seed in range(2)]
    seeds = [run.config.run for run in made[2:]]
    values = made[0].config.model_dump()
    test = values | {"run": f"latch/L8/{space}/t0-test", "phase": "test", "opens_test_of": seeds}
    speed = values | {"run": f"latch/L8/{space}/t0-speed", "phase": "speed"}
    tests = {run: {"accuracy": score, "loss": 1.0} for run, score in zip(seeds, scores, strict=True)}
    made.append(makers.record(type(made[0].config)(**test), tests=tests, **shared))
    exclusive = {"speed": SPEED, "peak_memory_bytes": 7 * 2**20, "kernels": ["oneDNN GRU"]}
    made.append(makers.record(type(made[0].config)(**speed), **shared | exclusive))
    priced = [run.model_copy(update={"config": run.config.model_copy(update={"usd_per_hour": 0.5})}) for run in made]
    if asked:
        priced = [run.model_copy(update={"asked": run.asked.model_copy(update=asked)}) for run in priced]
    return priced


RECORDS = [*cell_records("gru"), *cell_records("mlp", (0.4, 0.7), state_size=8)]
GRADED = [*cell_records("gru", asked={"solved": None}), *cell_records("mlp", (0.4, 0.7), asked={"solved": None})]


def compare(results, folder) -> None:
    """Compare every cell's run with its row, as it stands in the CSV file."""
    board = leaderboard.build(folder)
    tables.write_csv(board, folder / "leaderboard.csv")
    with (folder / "leaderboard.csv").open(newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    runs = runs_of(results)
    for model in ("gru", "mlp"):
        cell, row = runs[f"{model} L8"].data, rows[model]
        shown = {name for name in cell.metrics if not math.isnan(cell.metrics[name])}
        for column in COLUMNS:
            text = row[column]
            if column in ("dataset", "sweep"):
                assert cell.tags[f"bench.{column}"] == text
            elif column in facts.SETTINGS:
                assert cell.params[column] == text, column
            elif text == "":
                assert column not in shown, column
                assert not cell.tags.get(f"bench.{column}"), column
            elif column in shown:
                assert cell.metrics[column] == pytest.approx(float(text), rel=1e-12), column
            else:
                assert cell.tags[f"bench.{column}"] == text.removeprefix("'"), column
        assert shown <= {*COLUMNS, facts.INTERVAL, facts.PLACE}
        for knob, value in json.loads(row["configuration"]).items():
            assert cell.params[knob] == str(value)


@pytest.mark.parametrize("records", [RECORDS, GRADED], ids=["solved", "graded"])
def test_every_column_of_every_cell_is_in_mlflow_after_a_sync(results, records):
    folder = sweep_folder(results, records, **FACTORS)
    sync(folder, results, Log())
    compare(results, folder)
    cell = runs_of(results)["gru L8"].data.metrics
    assert cell["kwh"] == pytest.approx(6 * 3.0 * 10 / 3.6e6)
    assert cell["co2_grams"] == pytest.approx(250 * cell["kwh"])
    assert cell["usd"] == pytest.approx(cell["device_seconds"] * 0.5 / 3600)
    assert cell.keys() >= {"score", "ci_low", "ci_high", "rank", "peak_memory_mib", "num_parameters", *SPEED}
    assert ("solved_share" in cell) == (records is RECORDS)


def test_a_live_sweep_ends_with_what_a_sync_writes(results):
    folder = sweep_folder(results, RECORDS[:4], **FACTORS)
    writer = Writer(results, folder, Log())
    writer.write_sweep(["latch"], "running")
    for record in RECORDS:
        if record.config.phase in ("screen", "confirm"):
            writer.write_record(record)
    writer.write_cell(CellId("latch", 8, "gru"), "complete")
    writer.drain(60)
    assert "score" not in runs_of(results)["gru L8"].data.metrics
    sweep_folder(results, RECORDS, **FACTORS)
    for model in ("gru", "mlp"):
        writer.write_cell(CellId("latch", 8, model), "complete")
    writer.write_sweep(["latch"], "complete")
    assert writer.close(120), writer.problem
    compare(results, folder)
    live = {name: (run.info.run_id, run.data.metrics) for name, run in runs_of(results).items()}
    sync(folder, results, Log())
    compare(results, folder)
    assert {name: (run.info.run_id, run.data.metrics) for name, run in runs_of(results).items()} == live | {
        name: (run.info.run_id, run.data.metrics)
        for name, run in runs_of(results).items()
        if run.data.tags["bench.kind"] == "confirm"  # the writer was not told of their test scores
    }


def test_the_sweep_has_the_bill_of_its_cells(results):
    folder = sweep_folder(results, RECORDS, **FACTORS, environments=[{"bench": "c0ffee1", "torch": "2.9"}])
    sync(folder, results, Log())
    runs = runs_of(results)
    sweep, cells = runs["demo"].data, [runs[f"{model} L8"].data.metrics for model in ("gru", "mlp")]
    for name in facts.SUMS:
        assert sweep.metrics[name] == pytest.approx(sum(cell[name] for cell in cells)), name
    assert (sweep.tags["bench.commit"], sweep.tags["bench.torch"]) == ("c0ffee1", "2.9")


def test_every_run_names_versions_data_and_seed(results):
    folder = sweep_folder(results, RECORDS, **FACTORS)
    sync(folder, results, Log())
    for name, run in runs_of(results).items():
        if name == "demo":
            continue
        expected = {"bench.python": "3.12.1", "bench.torch": "2.9", "bench.version": "0.2.0", "bench.commit": "c0ffee1"}
        assert run.data.tags.items() >= (expected | {"bench.data_fingerprint": "da7a"}).items(), name
        assert "seed" in run.data.params or "bench.seed_of_sweep" in run.data.tags, name


def test_a_configuration_that_is_chosen_later_replaces_the_first(results):
    """MLflow changes no parameter, so the cell's run is made again, and what was below it moves."""

    def at(rate: float, record):
        train = record.config.train.model_copy(update={"learning_rate": rate})
        return record.model_copy(update={"config": record.config.model_copy(update={"train": train})})

    first_two, seeds = RECORDS[:2], RECORDS[2:4]
    other = at(0.5, first_two[1])
    folder = sweep_folder(results, [first_two[0], other, *seeds], **FACTORS)
    sync(folder, results, Log())
    first = runs_of(results)["gru L8"]
    assert first.data.params["learning_rate"] == "0.01"
    better = [at(0.5, make_record(f"gru/t1-s{seed}", val={"accuracy": 2.0}, solved=True)) for seed in range(2)]
    sweep_folder(results, [other.model_copy(update={"val": {"accuracy": 2.0}}), *better], **FACTORS)
    sync(folder, results, Log())
    runs = runs_of(results)
    assert runs["gru L8"].info.run_id != first.info.run_id
    assert runs["gru L8"].data.params["learning_rate"] == "0.5"
    assert runs["t0 gru L8"].data.tags["mlflow.parentRunId"] == runs["gru L8"].info.run_id
    assert MlflowClient(store_uri(results)).get_run(first.info.run_id).info.lifecycle_stage == "deleted"


def test_peak_memory_beside_other_runs_has_a_name_of_its_own(results):
    folder = sweep_folder(results, cell_records("gru", peak_memory_bytes=50 * 2**20), **FACTORS)
    sync(folder, results, Log())
    runs = runs_of(results)
    assert runs["gru L8"].data.metrics["peak_memory_mib"] == 7
    for name in ("t0 gru L8", "t0-s0 gru L8"):
        assert runs[name].data.metrics["run_peak_memory_mib"] == 50
        assert "peak_memory_mib" not in runs[name].data.metrics


def test_the_test_score_of_a_seed_and_the_mean_of_the_cell_have_one_name(results):
    folder = sweep_folder(results, GRADED, **FACTORS)
    sync(folder, results, Log())
    runs = runs_of(results)
    scores = [runs[f"t0-s{seed} gru L8"].data.metrics["score"] for seed in range(2)]
    assert runs["gru L8"].data.metrics["score"] == pytest.approx(sum(scores) / 2)
    assert runs["t0-s0 gru L8"].data.metrics["test_loss"] == 1.0
    assert not pd.isna(runs["t0-s0 gru L8"].data.metrics["val_confirmation"])
