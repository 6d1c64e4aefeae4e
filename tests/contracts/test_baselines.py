"""Contract of cheap baselines: held by each file of `bench/baselines/` on every kind of task that it is for."""

import hashlib
import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.baselines import exponential_smoothing, forest_on_summary, hydra, isolation_forest, minirocket, quant
from bench.baselines._detectors import Detector
from bench.config import baseline, plugins
from bench.config.baseline import Baseline
from bench.config.datasets import make_task
from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from bench.data.sequences import with_next
from bench.tasks._detection import EVENT, average_precision
from bench.training import cheap
from tests.baselines.fitting import fit, score
from tests.makers import aligned, dictation, long_table, pieces, reviews, series, tagged

ROOT = Path(__file__).parents[2]
NAMES = plugins.names("baselines")


def files(path: Path) -> list[dict]:
    content = path.read_bytes()
    return [{"path": str(path), "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}]


def hourly(folder: Path):
    """A forecast of two series with a daily season, noise and a feature."""
    rng, hours = np.random.default_rng(0), np.arange(24 * 40)
    day = np.sin(hours * 2 * np.pi / 24)
    times = pd.date_range("2024-01-01", periods=len(hours), freq="h")
    frame = {"t": times, "a": day + 0.1 * rng.normal(size=len(hours)), "b": 5 - day, "c": rng.normal(size=len(hours))}
    pd.DataFrame(frame).to_csv(folder / "hours.csv", index=False)
    arguments = {"target": ["a", "b"], "features": ["c"], "time": "t", "horizon": 3}
    return make_task("forecasting", 6, arguments | {"files": files(folder / "hours.csv")})


def faults(folder: Path):
    """Anomalies in a series with a daily season and noise."""
    rng, hours = np.random.default_rng(0), np.arange(24 * 40)
    faulty = np.isin(hours, (700, 701, 702, 850))
    value = np.sin(hours * 2 * np.pi / 24) + 0.1 * rng.normal(size=len(hours)) + 3 * faulty
    pd.DataFrame({"v": value, "bad": faulty.astype(int)}).to_csv(folder / "faults.csv", index=False)
    return make_task("anomaly", 24, {"target": ["v"], "label": "bad", "files": files(folder / "faults.csv")})


def foxes(folder: Path):
    (folder / "foxes.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 30)
    return make_task("language_modelling", 12, {"files": files(folder / "foxes.txt")})


def words(folder: Path, tokens: str):
    arguments = {"reader": "text", "text": "text", "label": "label", "tokens": tokens}
    return make_task("classification", 8, arguments | {"files": files(reviews(folder / "reviews.csv"))})


def labelled(folder: Path):
    return make_task("tagging", 4, {"files": files(tagged(folder / "words.conllu"))})


def sentences(folder: Path):
    return make_task("translation", 8, {"files": [file for path in aligned(folder, 300) for file in files(path)]})


def numbers(folder: Path):
    arguments = {"target": "target", "group": "id", "files": files(long_table(folder / "s.csv", "target"))}
    return make_task("regression", 8, arguments)


def music(folder: Path):
    return make_task("music", 16, {"files": files(pieces(folder / "pieces.mat"))})


def spoken(folder: Path):
    own = own_data.make(SweepConfig(data=[dictation(folder / "dictation", 60)], task="transcription"))
    assert own is not None
    return own.card.at(own.card.lengths[0])


TASKS = {
    "forecast": hourly,
    "anomaly": faults,
    "language": foxes,
    "words": lambda folder: words(folder, "word"),
    "characters": lambda folder: words(folder, "character"),
    "tagging": labelled,
    "translation": sentences,
    "regression": numbers,
    "series": lambda folder: make_task("classification", 12, {"files": files(series(folder / "series.ts"))}),
    "music": music,
    "transcription": spoken,
    "digits": lambda folder: make_task("digits", 8, {}),
}


FOLDER = tempfile.TemporaryDirectory(prefix="bench-test-baselines-")  # removed when Python ends
MADE: dict[str, object] = {}
for _kind, _make in TASKS.items():
    (Path(FOLDER.name) / _kind).mkdir()
    MADE[_kind] = _make(Path(FOLDER.name) / _kind)
PAIRS = [(name, kind) for kind in TASKS for name in baseline.applicable(MADE[kind])]

every_baseline = pytest.mark.parametrize("name", NAMES)
every_kind = pytest.mark.parametrize("kind", TASKS)
every_pair = pytest.mark.parametrize(("name", "kind"), PAIRS)


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Fit fewer trees, on fewer examples, and search for less long: what is checked does not depend on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forest_on_summary, "TREES", 10)
        patch.setattr(exponential_smoothing, "STEPS", 10)
        patch.setattr(isolation_forest, "TREES", 20)
        patch.setattr(minirocket, "FEATURES", 840)
        patch.setattr(hydra, "GROUPS", 8)
        patch.setattr(quant, "TREES", 10)
        patch.setattr(hydra, "EXAMPLES", 300)
        patch.setattr(quant, "EXAMPLES", 300)
        yield


@pytest.fixture(scope="module")
def task_of():
    """Return the task of a kind."""
    return MADE.__getitem__


@pytest.fixture(scope="module")
def fitted(task_of):
    """Return a baseline fitted to the task of a kind, once."""
    known: dict[tuple[str, str], Baseline] = {}

    def make(name: str, kind: str) -> Baseline:
        if (name, kind) not in known:
            known[name, kind] = fit(name, task_of(kind))
        return known[name, kind]

    return make


def batch_of(found: Baseline, task, size: int = 7):
    steps = found.num_steps or found.history(task)
    return baseline.latest(baseline.windows(task, "val", size, steps), steps)


@every_baseline
def test_a_baseline_is_for_some_task(task_of, name):
    assert any(baseline.make(name).applies(task_of(kind)) for kind in TASKS)


def test_titles_are_different():
    assert len({baseline.make(name).title for name in NAMES}) == len(NAMES)


@every_kind
def test_every_kind_of_task_has_baselines(task_of, kind):
    assert len(baseline.applicable(task_of(kind))) >= 2


def test_drawn_sequences_have_none():
    assert baseline.applicable(make_task("latch", 8, {})) == {}


@every_pair
def test_outputs_have_the_shape_that_the_task_scores(task_of, fitted, name, kind):
    found, task = fitted(name, kind), task_of(kind)
    batch = batch_of(found, task)
    outputs = found.outputs(batch.x[:3], batch.length[:3])
    steps = batch.x.shape[1:2] if task.per_step else ()
    if isinstance(found, Detector):
        assert outputs.shape == (len(batch.x[:3]),)
        return
    if task.keep == "tokens":
        assert outputs.dtype == np.int64
        assert outputs.shape[0] == 3
    else:
        assert outputs.shape == (len(batch.x[:3]), *steps, task.output_size)
    assert np.isfinite(outputs).all()
    assert np.isfinite(score(found, task, "val"))


@every_pair
def test_a_baseline_is_no_worse_than_chance_where_it_was_fitted(task_of, fitted, name, kind):
    found, task = fitted(name, kind), task_of(kind)
    if name in ("uniform", "copy_source") or isinstance(found, Detector):
        return  # they know not even how frequent tokens are, or have no validation score
    worst = 0.25 if kind in ("words", "characters", "tagging", "series", "regression") else 0.05  # few examples
    if kind in ("forecast", "anomaly"):
        worst = 3.0  # the last value of a sine is a worse answer than its mean
    sign = 1 if task.goal == "maximize" else -1
    assert sign * score(found, task, "val") >= sign * task.chance - worst


@every_pair
def test_a_saved_baseline_answers_alike(task_of, fitted, name, kind, tmp_path):
    found, task = fitted(name, kind), task_of(kind)
    found.save(tmp_path / "b.npz")
    again = baseline.make(name)
    again.load(tmp_path / "b.npz")
    batch = batch_of(found, task, 4)
    assert again.num_steps == found.num_steps
    assert again.num_parameters == found.num_parameters
    np.testing.assert_array_equal(again.outputs(batch.x, batch.length), found.outputs(batch.x, batch.length))


@every_pair
def test_a_refit_learns_from_train_and_val_and_keeps_what_validation_chose(task_of, fitted, name, kind):
    if kind == "language":
        pytest.skip("language models are not trained again")
    found, task = fitted(name, kind), task_of(kind)
    again = cheap.refit(name, found.chosen, task)
    anew = {"alpha"} if name in ("minirocket", "hydra") else {key for key in found.chosen if key.endswith(" rate")}
    assert again.chosen.keys() == found.chosen.keys()
    assert all(again.chosen[key] == value for key, value in found.chosen.items() if key not in anew)
    batch = batch_of(found, task, 4)
    assert again.outputs(batch.x, batch.length).shape == found.outputs(batch.x, batch.length).shape
    if name in ("minirocket", "hydra", "nb_svm", "ridge_on_summary", "linear_map"):
        assert not np.array_equal(again.outputs(batch.x, batch.length), found.outputs(batch.x, batch.length))
    if name == "nearest_neighbour":
        assert len(again.arrays["x"]) == task.counts["train"] + task.counts["val"]


@every_pair
def test_fitting_again_gives_the_same(task_of, fitted, name, kind):
    found, again = fitted(name, kind), fit(name, task_of(kind))
    assert again.chosen == found.chosen
    for key, value in found.arrays.items():
        np.testing.assert_array_equal(again.arrays[key], value)


@every_pair
def test_a_sequence_alone_and_without_padding_gets_the_same_answer(task_of, fitted, name, kind):
    found, task = fitted(name, kind), task_of(kind)
    batch = batch_of(found, task, 5)
    together = found.outputs(batch.x, batch.length)
    for row, length in enumerate(batch.length):
        alone = found.outputs(batch.x[row : row + 1, :length], batch.length[row : row + 1])
        expected = together[row : row + 1, :length] if task.per_step else together[row : row + 1]
        if task.keep == "tokens":
            assert task.written(alone) == task.written(expected)
            continue
        np.testing.assert_allclose(alone, expected, atol=1e-4, rtol=0.02)


@every_pair
def test_a_sequence_of_one_step_has_an_answer(task_of, fitted, name, kind):
    found, task = fitted(name, kind), task_of(kind)
    batch = batch_of(found, task, 2)
    outputs = found.outputs(batch.x[:, :1], np.ones(len(batch.x), dtype=np.int64))
    assert np.isfinite(outputs).all()


@every_baseline
def test_language_models_continue_a_prompt_and_others_say_that_they_do_not(fitted, task_of, name):
    from bench.config.contracts import Sampling
    from bench.errors import DeclarationError

    if not baseline.make(name).applies(task_of("language")):
        with pytest.raises(DeclarationError, match="generates no text"):
            baseline.make(name).generate(np.array([1]), Sampling(), None)
        return
    found = fitted(name, "language")
    written = found.generate(np.array([3, 4]), Sampling(20, 1.0, 3), 0)
    assert written.shape == (20,)
    assert 0 not in written
    assert written.tolist() == found.generate(np.array([3, 4]), Sampling(20, 1.0, 3), 0).tolist()
    assert found.generate(np.array([3]), Sampling(5, 0.0, 0), None).shape == (5,)


def test_an_isolation_forest_scores_as_that_of_scikit_learn(fitted, task_of):
    from sklearn.ensemble import IsolationForest

    found, task = fitted("isolation_forest", "anomaly"), task_of("anomaly")
    train, test = (task.spread(part, 10_000) for part in ("train", "test"))
    windows = [with_next(part.x, part.length, part.y)[..., 0] for part in (train, test)]
    forest = IsolationForest(n_estimators=20, random_state=0).fit(windows[0])
    np.testing.assert_allclose(found.scored(test, task), -forest.score_samples(windows[1]), rtol=1e-6)


@pytest.mark.parametrize("name", ["isolation_forest", "matrix_profile", "rolling_z_score"])
def test_detectors_find_what_is_far_from_normal_and_a_random_score_does_not(fitted, task_of, name):
    task = task_of("anomaly")
    test = task.spread("test", 10_000)
    anomalous = test.marks[:, EVENT] > 0
    precision = {
        each: average_precision(fitted(each, "anomaly").scored(test, task), anomalous)
        for each in (name, "random_score")
    }
    assert precision[name] > 5 * precision["random_score"]
    assert task.baselines(1) == {"constant score": anomalous.mean()}


def test_nats_are_those_of_the_outputs(fitted, task_of):
    task = task_of("language")
    for name in ("unigram", "kneser_ney_2", "kneser_ney_5", "uniform"):
        found, batch = fitted(name, "language"), task.split("val", 2)
        logits = np.take_along_axis(found.outputs(batch.x, batch.length), batch.y[..., None], axis=-1)[..., 0]
        np.testing.assert_allclose(found.nats(batch), -logits, rtol=1e-6)


def test_the_libraries_of_a_fit_can_be_imported():
    assert all(importlib.import_module(library) for name in NAMES for library in baseline.make(name).libraries)


def test_files_hold_no_python_objects_and_baselines_load_no_scikit_learn(tmp_path):
    code = "; ".join(f"import bench.baselines.{name}" for name in NAMES)
    code += "; import sys; print({'sklearn', 'scipy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
