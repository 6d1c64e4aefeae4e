"""Where the sweeps of a results folder are, and their records as one table."""

import json
import os
import shutil

import pandas as pd
import pytest

from bench.errors import DeclarationError, UnknownNameError
from bench.results import sweeps
from bench.results.record import records


def test_records_load_flat(sweep):
    frame = sweeps.load(sweep.parents[1])
    assert len(frame) == len(list(sweep.rglob("record.json")))
    assert {"config.train.learning_rate", "val.accuracy", "seconds.total", "asked.metric"} <= set(frame.columns)
    assert frame.equals(sweeps.load(sweep.parents[1], "one"))
    rows = [run.model_dump(exclude={"epochs"}) for run in records(sweep)]
    pd.testing.assert_frame_equal(frame, pd.json_normalize(rows))
    assert sweeps.load(sweep.parents[1] / "nowhere").empty


def test_sweeps_are_found_by_name_the_latest_without(sweep):
    results = sweep.parents[1]
    assert sweeps.find(results, []) == sweeps.find(results, ["one"]) == [sweep]


def test_a_sweep_misspelled(sweep):
    with pytest.raises(UnknownNameError, match="unknown sweep 'ome'; did you mean 'one'"):
        sweeps.find(sweep.parents[1], ["ome"])


def test_a_folder_without_sweeps(tmp_path):
    with pytest.raises(DeclarationError, match="no sweep here yet; run: python -m bench sweep"):
        sweeps.find(tmp_path, [])


def test_the_newest_sweep_without_results_gives_way_to_the_newest_with_results(sweep, tmp_path):
    shutil.copytree(sweep.parents[1], tmp_path / "results")
    new = tmp_path / "results" / "sweeps" / "two"
    new.mkdir()
    new.joinpath("sweep.json").write_text(json.dumps({"spec": {"cells": []}}))
    lines = []
    (found,) = sweeps.find(tmp_path / "results", [], lines.append)
    assert found.name == "one"
    assert lines == ["sweep two has no finished run yet; this is sweep one, the newest that has one"]
    assert sweeps.find(tmp_path / "results", ["two"], lines.append) == [new]
    assert len(lines) == 1


def test_without_any_result_the_newest_sweep_is_taken(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "sweeps" / name).mkdir(parents=True)
        (tmp_path / "sweeps" / name / "sweep.json").write_text("{}")
    os.utime(tmp_path / "sweeps" / "one" / "sweep.json", (0, 0))
    lines = []
    assert [path.name for path in sweeps.find(tmp_path, [], lines.append)] == ["two"]
    assert lines == []
