"""Importance of knobs: found where there is some, and not claimed where there are too few trials."""

import optuna
import pytest

from bench.errors import StoreError
from bench.sweeps import importance

pytestmark = pytest.mark.usefixtures("quick_databases")


def study(tmp_path, trials: int, score=lambda rate, clip: -abs(rate - 0.3)) -> optuna.Study:
    """A study of two knobs; by default only the learning rate matters."""
    made = optuna.create_study(
        study_name="latch/L8/lstm", storage=f"sqlite:///{tmp_path / 'study.db'}", direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
    )  # fmt: skip
    for _ in range(trials):
        trial = made.ask()
        values = [trial.suggest_float(name, 0, 1) for name in ("learning_rate", "gradient_clip")]
        trial.suggest_categorical("schedule", ["cosine"])
        made.tell(trial, score(*values))
    return made


def test_the_knob_that_decides_is_the_important_one(tmp_path):
    study(tmp_path, 60)
    (found,) = importance.of_sweep(tmp_path)
    assert (str(found.cell), found.trials) == ("latch/L8/lstm", 60)
    assert list(found.knobs) == ["learning_rate", "gradient_clip"]  # a knob with one value has no importance
    assert found.knobs["learning_rate"] > 0.7
    assert sum(found.knobs.values()) == pytest.approx(1)


@pytest.mark.parametrize("trials", [0, 1, importance.FEWEST_TRIALS - 1])
def test_few_trials_say_nothing(tmp_path, trials):
    study(tmp_path, trials)
    (found,) = importance.of_sweep(tmp_path)
    assert (found.trials, found.knobs) == (trials, {})


def test_equal_scores_say_nothing(tmp_path):
    study(tmp_path, 20, score=lambda rate, clip: 1.0)
    assert importance.of_sweep(tmp_path)[0].knobs == {}


def test_without_a_study_there_is_nothing(tmp_path):
    assert importance.of_sweep(tmp_path) == []
    (tmp_path / "study.db").write_text("this is no database, but a text of some length")
    with pytest.raises(StoreError):
        importance.of_sweep(tmp_path)
