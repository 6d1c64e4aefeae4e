"""Sweeps of two machines below one leaderboard, and what keeps them apart."""

import json
import os
import shutil

import pytest
from click.testing import CliRunner

from bench.cli.commands import main
from bench.errors import DeclarationError, StoreError
from bench.export import export
from bench.results import across, answers, decisions, leaderboard, merge
from bench.results.record import Seconds, all_records, read_spec
from bench.sweeps import terms
from tests import makers

TERMS = {"rules": 1, "budget": "quick", "seed": 0, "sampler": "sobol", "device": "cpu", "dataset digits": "da7a"}
FITTED = {"title": "nearest", "val": {"accuracy": 0.5}, "test": {"accuracy": 0.5}, "fit_seconds": 1.0}


def sweep(results, models, hardware, name="s", baselines=None, spec=None, settings=None, **facts):
    """Write a sweep of one trial and two fresh seeds of each model on digits; later models score higher."""
    folder = results / "sweeps" / name
    cells = [f"digits/L8/{model}" for model in models]
    given = {"spec": {**TERMS, "cells": cells, **(spec or {})}, "trials": 1, "top_k": 1, "confirm_seeds": 2}
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps({**given, "command": "python -m bench sweep", **facts}))

    def write(run, phase, number=0, **values):
        config = makers.run_config(
            phase, dataset="digits", space=run.split("/")[2], run=run, number=number, data_fingerprint="da7a",
            settings=settings, opens_test_of=tuple(values.get("tests", ())) if phase == "test" else (),
        )  # fmt: skip
        values = {"environment": {"hardware": hardware}, "seconds": Seconds(total=2.0)} | values
        (folder / "runs" / run).mkdir(parents=True)
        makers.record(config, {"solved": None}, **values).write(folder / "runs" / run)
        (folder / "runs" / run / "config.json").write_text(config.model_dump_json())
        (folder / "runs" / run / "weights.pt").write_bytes(b"weights")

    for place, cell in enumerate(cells):
        score = 0.7 + 0.1 * place
        epoch = {"steps": 1, "sequences": 16, "train_seconds": 3.0 - place, "train_loss": 1.0}
        ran = {"val": {"accuracy": score}, "epochs": [epoch | {"val": {"accuracy": score}}]}
        write(f"{cell}/t0", "screen", **ran)
        for seed in range(2):
            write(f"{cell}/t0-s{seed}", "confirm", seed, **ran)
        write(f"{cell}/t0-test", "test", tests={f"{cell}/t0-s{seed}": {"accuracy": score} for seed in range(2)})
    if baselines is not None:
        write("digits/L8/_baselines", "baselines", fitted={"nearest": FITTED | baselines})
    return folder


@pytest.fixture
def machines(tmp_path):
    """Two machines that trained two models each, and fitted the same cheap baseline at different speeds."""
    one = sweep(tmp_path / "one", ("lstm", "gru"), "a slow machine", baselines={}, cpu_watts=5.0)
    two = sweep(tmp_path / "two", ("mlp", "cnn"), "a fast machine", baselines={"fit_seconds": 0.1}, cpu_watts=9.0)
    return one, two


def merged(*folders, name="all"):
    target = folders[0].parents[2] / "out" / "sweeps" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    return target, merge.merge(merge.sources(folders, target), target, "python -m bench merge")


def test_two_machines_have_one_leaderboard_and_each_row_its_hardware(machines):
    target, lines = merged(*machines)
    board = leaderboard.build(target)
    models = board[board["num_trials"].notna()]
    assert dict(zip(models["model"], models["hardware"], strict=True)) == {
        "lstm": "a slow machine", "gru": "a slow machine", "mlp": "a fast machine", "cnn": "a fast machine",
    }  # fmt: skip
    assert set(models["status"]) == {"complete"}
    assert list(board["model"]).count("(nearest)") == 1
    assert board.set_index("model")["train_seconds"]["(nearest)"] == 1.0  # of the machine that was named first
    assert len(lines) == 2
    assert lines[0].endswith("one/sweeps/s: 9 runs of 2 cells, made on a slow machine")
    assert lines[1].endswith("two/sweeps/s: 8 runs of 2 cells, made on a fast machine")
    assert not list(target.rglob("weights.pt"))
    assert (target / "runs/digits/L8/lstm/t0/config.json").exists()
    assert list(target.parent.iterdir()) == [target]


def test_times_are_not_ranked_across_machines(machines):
    target, _ = merged(*machines)
    board, records = leaderboard.build(target), all_records(target)
    assert "so times are not compared across them" in answers.mixed_conditions(board)
    questions = decisions.questions_of(target, records, 1)
    assert [decisions.choices(question, "seconds") for question in questions] == [[]]
    assert decisions.choices(questions[0], "sequences")
    board["train_seconds"] = 1.0
    assert all(row.costs["train_seconds"] is None for row in across.standings(across.results_of(board)))
    (alone,) = decisions.questions_of(machines[0], all_records(machines[0]), 1)
    assert decisions.choices(alone, "seconds")


def test_facts_of_a_machine_stay_with_its_cells(machines):
    records = list(machines[0].rglob("record.json")) + list(machines[1].rglob("record.json"))
    for path in records:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"cpu_seconds": 3600.0}))
    target, _ = merged(*machines)
    kwh = leaderboard.build(target).set_index("model")["kwh"]
    assert kwh["lstm"] == pytest.approx(4 * 0.005)
    assert kwh["cnn"] == pytest.approx(4 * 0.009)


def test_identical_runs_count_once_and_different_ones_are_refused_by_name(machines, tmp_path):
    copy = shutil.copytree(machines[0], tmp_path / "copy" / "sweeps" / "s")
    target, lines = merged(*machines, copy)
    assert len(all_records(target)) == 17
    assert lines[2].startswith(f"{copy}: 0 runs")
    path = copy / "runs/digits/L8/gru/t0/record.json"
    path.write_text(path.read_text().replace('"total": 2.0', '"total": 2.5').replace('"total":2.0', '"total":2.5'))
    with pytest.raises(
        DeclarationError, match="digits/L8/gru/t0: differs between .*one.* and .*copy.*; one run has two"
    ):
        merged(*machines, copy)


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        ({"spec": {"budget": "smoke"}}, "budget is 'quick' in .*one.* and 'smoke' in .*two"),
        ({"spec": {"rules": 2}}, "rules is 1 in"),
        ({"spec": {"rules": None}}, "rules is 1 in .* and None in"),
        ({"spec": {"seed": 1}}, "seed is 0 in .* and 1 in"),
        ({"spec": {"dataset digits": "0ther"}}, "dataset digits is 'da7a' in .* and '0ther' in"),
        ({"confirm_seeds": 3}, "confirm_seeds is 2 in .* and 3 in"),
        ({"settings": {"max_sequences": 320}}, "digits at 8: max_sequences is 640 in .* and 320 in"),
    ],
)
def test_what_disagrees_is_refused_by_name(tmp_path, other, complaint):
    one = sweep(tmp_path / "one", ("lstm",), "a machine")
    two = sweep(tmp_path / "two", ("gru",), "a machine", **other)
    with pytest.raises(DeclarationError, match=complaint) as refused:
        merged(one, two)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out/sweeps/all").exists()


def test_a_budget_of_time_is_not_shared_by_two_machines(tmp_path):
    folders = [
        sweep(tmp_path / name, (model,), name, spec={"budget": "10m"})
        for name, model in (("one", "gru"), ("two", "mlp"))
    ]
    with pytest.raises(DeclarationError, match=r"a budget of time \(10m\) buys other runs on another machine"):
        merged(*folders)


def test_differing_baselines_are_reported_and_disagreeing_records_are_damage(tmp_path):
    one = sweep(tmp_path / "one", ("lstm",), "a machine", baselines={})
    two = sweep(tmp_path / "two", ("gru",), "a machine", baselines={"test": {"accuracy": 0.6}})
    _, lines = merged(one, two)
    assert "cheap baselines of digits at 8 score differently in" in lines[2]
    assert "nearest; those of" in lines[2]
    (two / "runs/digits/L8/gru/t0").rename(two / "runs/digits/L8/gru/t1")
    with pytest.raises(StoreError, match="is the record of run digits/L8/gru/t0; restore the file"):
        merged(one, two)


def test_a_merged_sweep_is_replaced_by_merging_again_and_no_other_one(machines):
    target, _ = merged(*machines)
    merged(*machines)
    assert len(read_spec(target)[merge.MERGED]) == 2
    assert list(target.parent.iterdir()) == [target]
    with pytest.raises(DeclarationError, match="is there already and is no merged sweep; choose another --name"):
        merge.merge(merge.sources(machines, machines[0].with_name("x")), machines[0], "")


def test_a_merged_sweep_is_neither_resumed_nor_exported(machines):
    target, _ = merged(*machines)
    with pytest.raises(DeclarationError, match="merged from others and cannot be resumed"):
        terms.refuse_merged("all", read_spec(target))
    with pytest.raises(StoreError, match="merged sweeps hold no weights; name the sweep that trained .*one/sweeps/s"):
        export.find(target, None, None, "gru")


def test_the_command_merges_results_folders(machines, tmp_path):
    words = ["merge", str(tmp_path / "one"), str(tmp_path / "two"), "--name", "all", "--results", str(tmp_path / "one")]
    for _ in range(2):  # the results folder then holds the merged sweep too
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.stderr
        assert "9 runs of 2 cells, made on a slow machine" in done.stderr
    assert (tmp_path / "one/sweeps/all/leaderboard.csv").read_text().count(os.linesep) == 6
    shown = CliRunner().invoke(main, ["leaderboard", "all", "--results", str(tmp_path / "one"), "--markdown"])
    assert shown.exit_code == 0
    assert "cnn" in shown.stdout
    page = CliRunner().invoke(main, ["report", "all", "--results", str(tmp_path / "one")])
    assert page.exit_code == 0, page.stderr
    assert "a slow machine; a fast machine" in (tmp_path / "one/sweeps/all/report.html").read_text()
