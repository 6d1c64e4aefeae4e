"""The table beside the peers: the windows they get, the check of their answers, and how rows are compared."""

import hashlib
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bench.config import datasets, plugins
from bench.config.datasets import make_task

HERE = Path(__file__).resolve().parent


@pytest.fixture
def parts(monkeypatch):
    """The modules of this folder, which are scripts and import each other by name."""
    monkeypatch.syspath_prepend(str(HERE))
    import environments
    import inputs
    import run

    yield inputs, environments, run
    for name in ("answers", "environments", "inputs", "run"):
        sys.modules.pop(name, None)


def forecast(tmp_path):
    path = tmp_path / "v.csv"
    path.write_text("v,w\n" + "".join(f"{row},{row * row % 7}\n" for row in range(40)))
    file = {
        "path": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "size_bytes": path.stat().st_size,
    }
    from bench.config.datasets import DataFile

    arguments = {"files": [DataFile(**file).model_dump()], "target": ["v", "w"], "splits": [20, 8, 12], "horizon": 3}
    return make_task("forecasting", 4, arguments)


def test_peers_get_every_row_of_each_part_once(tmp_path, parts):
    inputs, _, _ = parts
    task = forecast(tmp_path)
    rows = inputs.rows(task)
    assert [len(rows[part]) for part in ("train", "val", "test")] == [20, 8, 12]
    joined = np.concatenate([rows[part] for part in ("train", "val", "test")])[None]
    assert np.allclose(task.decode(joined.reshape(1, -1)[:, :6])[0, :, 0], [0, 1, 2], atol=1e-4)
    scale, mean = task.meta["scale"][0], task.meta["mean"][0]
    assert np.allclose(joined[0, :, 0] * scale + mean, np.arange(40), atol=1e-3)


def test_answers_to_other_windows_are_refused(tmp_path, parts, monkeypatch):
    inputs, _, _ = parts
    task = forecast(tmp_path)
    monkeypatch.setattr(inputs, "task_of", lambda dataset, length: task)
    y = inputs.whole(task, "test").y
    np.savez(tmp_path / "good.npz", test_0=y, targets=y)
    np.savez(tmp_path / "shifted.npz", test_0=y, targets=y + 1)
    assert inputs.scores("v", 4, tmp_path / "good.npz") == [0.0]
    with pytest.raises(ValueError, match="other windows"):
        inputs.scores("v", 4, tmp_path / "shifted.npz")


def test_every_set_has_a_card_and_every_kind_a_list_and_a_script(parts):
    inputs, _, run = parts
    known = plugins.declarations("datasets", inputs.CARDS)
    for kind, sets in run.SETS.items():
        assert (HERE / f"{kind}.py").is_file()
        assert (HERE / "requirements" / f"{kind}.txt").is_file()
        for name, length in sets:
            assert name in known
            assert length in datasets.read(name, inputs.CARDS).lengths


def test_a_score_is_reached_by_the_first_validation_that_is_as_good(parts):
    _, _, run = parts
    row = run.Row("search", "a", 1, "Ray Tune", curve=[(5.0, 0.5), (9.0, 0.4)], goal="minimize")
    assert row.reaches(0.45) == 9.0
    assert row.reaches(0.4) == 9.0
    assert row.reaches(0.3) is None


def test_the_verdict_compares_the_answer_with_the_best_peer(parts):
    _, _, run = parts

    def rows(ours, goal):
        return [
            run.Row("texts", f"set {goal}", 1, who, score=score, goal=goal)
            for who, score in (("bench: its answer, refit", ours), ("NB-SVM", 0.8), ("word n-gram SVM", 0.7))
        ]

    lines = run.verdict([*rows(0.75, "maximize"), *rows(0.7, "minimize")])
    assert lines[0].endswith("on 1 of 2 datasets.")
    assert "worse than NB-SVM" in lines[1]


def test_a_peer_that_takes_too_long_is_ended_with_what_it_started(tmp_path, parts):
    _, environments, _ = parts
    script = tmp_path / "slow.py"
    alive = tmp_path / "alive"
    child = f"import time, pathlib; time.sleep(4); pathlib.Path({str(alive)!r}).touch()"
    script.write_text(
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    )
    with pytest.raises(RuntimeError, match="ended after"):
        environments.call(Path(sys.executable), str(script), [], 1.5, tmp_path / "log")
    time.sleep(4)
    assert not alive.exists()
