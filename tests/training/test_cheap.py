"""The run of the cheap baselines: rows in full, files that can be read again, and failures that stay alone."""

import json

import numpy as np
import pytest

from bench.baselines import forest_on_summary, hydra, logistic_on_steps, minirocket, nearest_neighbour, quant
from bench.config import baseline
from bench.config.settings import RunConfig
from bench.results.record import RunRecord
from bench.training import cheap, train
from tests.makers import run_config

LENGTH = 8


def digits(**changes) -> RunConfig:
    return run_config("baselines", dataset="digits", run="digits/L8/_baselines", length=LENGTH, **changes)


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Fit fewer trees and features: what is checked does not depend on their number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forest_on_summary, "TREES", 5)
        patch.setattr(minirocket, "FEATURES", 168)
        patch.setattr(hydra, "GROUPS", 4)
        patch.setattr(quant, "TREES", 5)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory, quick):
    """Return the folder and the record of the run of the baselines of the digits."""
    folder = tmp_path_factory.mktemp("baselines")
    record = train.run(digits(), folder=folder)
    record.write(folder)
    return folder, record


@pytest.fixture
def only(monkeypatch):
    """Leave out all baselines but these."""
    return lambda *names: monkeypatch.setattr(
        baseline, "applicable", lambda task: {name: baseline.make(name) for name in names}
    )


def test_every_baseline_has_a_row_in_full(done):
    folder, record = done
    assert record.state == "complete"
    assert {path.stem for path in folder.glob("*.npz")} == set(record.fitted)
    for name, row in record.fitted.items():
        assert row.state == "complete", row.reason
        assert row.val.keys() == row.test.keys() == {"accuracy", "balanced_accuracy", "macro_f1"}
        assert record.baselines[row.title] == row.test["accuracy"]
        assert 0 < row.fit_seconds < row.seconds
        assert 0 < row.latency_p50_milliseconds <= row.latency_p95_milliseconds
        assert row.sequences_per_second > 0
        assert row.size_bytes == (folder / f"{name}.npz").stat().st_size
    assert record.fitted["logistic_on_steps"].num_parameters == 650
    assert record.fitted["logistic_on_steps"].chosen["strength"] in (0.1, 1.0, 10.0)
    assert record.fitted["nearest_neighbour"].num_parameters is None
    assert RunRecord.read(folder) == record


def test_the_scores_are_those_of_the_stored_files(done):
    from bench.config.datasets import task_of

    folder, record = done
    task = task_of(record.config)
    for name, row in record.fitted.items():
        found = baseline.make(name)
        found.load(folder / f"{name}.npz")
        for part, size, scores in (("val", 60, row.val), ("test", 60, row.test)):
            batch = task.split(part, size)
            assert task.score(found.outputs(batch.x, batch.length), batch) == scores


def test_a_baseline_that_fails_leaves_the_others(monkeypatch, only, tmp_path):
    only("constant", "logistic_on_steps", "nearest_neighbour")

    def fail(*_):
        raise RuntimeError("no such thing\nmore")

    monkeypatch.setattr(logistic_on_steps.Baseline, "fit", fail)
    record = train.run(digits(), folder=tmp_path)
    assert record.state == "complete"
    row = record.fitted["logistic_on_steps"]
    assert (row.state, row.reason, row.test) == ("failed", "RuntimeError: no such thing", {})
    assert row.title not in record.baselines
    assert not (tmp_path / "logistic_on_steps.npz").exists()
    assert record.fitted["nearest_neighbour"].state == "complete"


def test_a_baseline_that_takes_too_long_leaves_the_others(monkeypatch, only, tmp_path):
    only("constant", "nearest_neighbour")
    monkeypatch.setattr(cheap, "SECONDS", 0.2)
    monkeypatch.setattr(
        nearest_neighbour.Baseline, "fit", lambda *_: [None for _ in iter(int, 1) if False]
    )  # never ends
    record = train.run(digits(), folder=tmp_path)
    row = record.fitted["nearest_neighbour"]
    assert (row.state, row.reason) == ("failed", "not fitted within 0.2 s of CPU time")
    assert record.fitted["constant"].state == "complete"


def test_after_its_time_a_run_fits_no_further_baseline():
    """The simple ones come first, so that a slow machine has some of them."""
    record = train.run(digits(max_seconds=1e-9))
    assert {row.reason for row in record.fitted.values()} == {"no time was left to fit it"}
    order = [baseline.make(name).prior for name in record.fitted]
    assert order == sorted(order)
    assert record.state == "complete"


def test_a_row_says_on_how_many_examples_it_was_fitted(monkeypatch, only):
    only("nearest_neighbour")
    monkeypatch.setattr(nearest_neighbour, "CELLS", 64 * 100)
    row = train.run(digits()).fitted["nearest_neighbour"]
    assert row.reason == "fitted on 100 of 1,197 training examples"


def test_fitting_sees_no_test_example(monkeypatch, only):
    seen = []
    original = baseline.windows

    def noted(task, part, size, history):
        seen.append(part)
        return original(task, part, size, history)

    def fit(self, train, val, task):
        seen.append("fit")
        assert len(train.x) == 1_197
        assert len(val.x) == 60
        self.arrays = {"constant": np.zeros(10), "per_step": np.array(False)}

    from bench.baselines import constant

    monkeypatch.setattr(baseline, "windows", noted)
    monkeypatch.setattr(constant.Baseline, "fit", fit)
    only("constant")
    assert train.run(digits()).fitted["constant"].state == "complete"
    assert seen.index("test") > seen.index("fit")


def test_a_record_of_an_earlier_version_is_read(done, tmp_path):
    folder, _ = done
    stored = json.loads((folder / "record.json").read_text())
    del stored["fitted"]
    (tmp_path / "record.json").write_text(json.dumps(stored))
    assert RunRecord.read(tmp_path).fitted == {}


def test_drawn_sequences_keep_the_answers_that_the_task_knows():
    record = train.run(run_config("baselines", run="latch/L8/_baselines"))
    assert set(record.baselines) == {"constant answer", "counts, no order"}
    assert record.fitted == {}
