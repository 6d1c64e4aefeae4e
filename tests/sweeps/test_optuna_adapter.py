"""What the sweep relies on beyond Optuna's public interface: these fail when Optuna changes it."""

import sqlite3

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from bench.errors import StoreError
from bench.sweeps import optuna_adapter
from bench.sweeps.optuna_adapter import TrialStore

SPACE = {"x": FloatDistribution(0, 1)}


def study_of(store: TrialStore) -> optuna.Study:
    return store.study("latch/L8/lstm", ["maximize"], optuna.samplers.RandomSampler(0))


def test_a_released_trial_comes_first_with_its_number_and_values(tmp_path):
    store = TrialStore(tmp_path / "study.db")
    study = study_of(store)
    first, second = study.ask(SPACE), study.ask(SPACE)
    store.release(study, second.number)
    store.release(study, first.number)
    later = study_of(TrialStore(tmp_path / "study.db"))
    for trial in (first, second):
        again = later.ask(SPACE)
        assert (again.number, again.params) == (trial.number, trial.params)
    assert later.ask(SPACE).number == 2


def test_a_trial_killed_between_number_and_values_gets_values_later(tmp_path):
    store = TrialStore(tmp_path / "study.db")
    study = study_of(store)
    number = study.ask().number
    store.release(study, number)
    again = study.ask(SPACE)
    assert (again.number, again.params.keys()) == (number, SPACE.keys())


def test_a_trial_of_another_process_is_reported_and_told(tmp_path):
    store = TrialStore(tmp_path / "study.db")
    number = study_of(store).ask(SPACE).number
    later = TrialStore(tmp_path / "study.db")
    study = study_of(later)
    later.handle(study, number).report(0.5, 10)
    study.tell(number, 0.75)
    assert later.frozen(study, number).intermediate_values == {10: 0.5}
    assert (later.count(study), later.count(study, TrialState.COMPLETE), later.count(study, TrialState.FAIL)) == (
        1,
        1,
        0,
    )


def test_a_released_trial_is_resumed_and_an_ended_one_stays_as_it_is(tmp_path):
    store = TrialStore(tmp_path / "study.db")
    study = study_of(store)
    number = study.ask(SPACE).number
    store.release(study, number)
    assert store.frozen(study, number).state == TrialState.WAITING
    store.resume(study, number)
    study.tell(number, 0.75)
    store.release(study, number)
    store.resume(study, number)
    assert store.frozen(study, number).state == TrialState.COMPLETE


@pytest.mark.parametrize("name", ["a?b", "c%20d", "e#f", "g;h i", "{SCHEMA_VERSION}", "ü"])
def test_any_folder_name_holds_its_own_database(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    study_of(TrialStore(folder / "study.db")).ask(SPACE)
    assert [path.name for path in folder.iterdir()] == ["study.db"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_database_locked_by_another_process_is_reported_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(optuna_adapter, "LOCK_SECONDS", 0.1)
    path = tmp_path / "study.db"
    store = TrialStore(path)
    study = study_of(store)
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="^[^\n]*study.db: locked by another process[^\n]*resume$"):
            TrialStore(path)
        with pytest.raises(StoreError, match="locked by another process"), optuna_adapter.in_one_line(path):
            study.ask(SPACE)
        other.execute("ROLLBACK")
    assert study.ask(SPACE).number == 0  # nothing is lost


@pytest.mark.parametrize("content", [b"", b"no database at all, but longer than a header" * 9])
def test_a_damaged_database_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "study.db").write_bytes(content)
    with pytest.raises(StoreError, match="^[^\n]*study.db: damaged[^\n]*restore the file[^\n]*$"):
        TrialStore(tmp_path / "study.db")
