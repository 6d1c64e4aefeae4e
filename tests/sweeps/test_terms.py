"""A resumed sweep keeps its terms; what has changed around it is said."""

import json
import shutil
from pathlib import Path

import pytest

from bench.config import search_spaces
from bench.config.budgets import BUDGETS
from bench.config.sweep_settings import SweepConfig
from bench.errors import DeclarationError
from bench.sweeps import prepare, terms
from bench.tracking import store

SPACES_OF_VERSION_0_1 = {
    "mlp": "0cac52964b79",
    "rnn": "642a64e1da0b",
    "lstm": "f0f2304b757a",
    "stacked_lstm": "a1d5047c554e",
    "bilstm": "1b2d04b970dd",
    "gru": "9f1c0376b62f",
    "transformer": "4a71f7ea7d6d",
}
"""Hashes in the sweeps of that version, which resume only if their spaces are the same (commit 6a21957)."""


def make(results: Path, **options) -> prepare.Plan:
    values = {"datasets": ["latch"], "lengths": [8], "models": ["lstm"], "results": results, "name": "s"}
    plan = prepare.make(SweepConfig.build(None, values | options))
    plan.folder.mkdir(parents=True, exist_ok=True)
    return plan


@pytest.fixture
def place(monkeypatch):
    """The environment of a sweep, which a test may change."""
    known = {"bench": "c0ffee1", "torch": "2.12.0", "hardware": "a machine (2 cores)", "threads per run": "1"}
    monkeypatch.setattr(terms, "environment", lambda plan: dict(known))
    return known


def test_an_upgrade_other_hardware_and_other_threads_are_said_at_the_resume(tmp_path, place):
    assert terms.freeze(make(tmp_path)) == []
    assert terms.freeze(make(tmp_path)) == []
    place |= {"torch": "2.13.0", "threads per run": "2"}
    (line,) = terms.freeze(make(tmp_path))
    assert "torch 2.12.0 -> 2.13.0, threads per run 1 -> 2" in line
    assert "Do not compare times" in line
    assert terms.freeze(make(tmp_path)) == []  # said once; both are on record
    spec = json.loads((tmp_path / "sweeps" / "s" / "sweep.json").read_text())
    assert [known["torch"] for known in spec["environments"]] == ["2.12.0", "2.13.0"]


def test_changed_rules_need_a_permission_or_another_name(tmp_path, place, monkeypatch):
    terms.freeze(make(tmp_path))
    monkeypatch.setattr(terms, "RULES", terms.RULES + 1)
    with pytest.raises(DeclarationError, match="^[^\n]*rules was 1 and is now 2;[^\n]*--name, or --allow-mixed[^\n]*$"):
        terms.freeze(make(tmp_path))
    (line,) = terms.freeze(make(tmp_path, allow_mixed=True))
    assert line == "Mixed, as --allow-mixed permits: rules was 1 and is now 2."
    assert terms.freeze(make(tmp_path)) == []


def test_a_changed_shipped_model_needs_a_permission(tmp_path, place, monkeypatch):
    terms.freeze(make(tmp_path))
    monkeypatch.setattr(terms, "checksum", lambda path: "f" * 64)
    with pytest.raises(DeclarationError, match="model file lstm.py was sha256 .* --allow-mixed"):
        terms.freeze(make(tmp_path))
    (line,) = terms.freeze(make(tmp_path, allow_mixed=True))
    assert "model file lstm.py" in line


def test_a_changed_own_model_is_mixed_in_only_with_permission(tmp_path, place):
    rule = "def __init__(self, input_size, length, *, hidden_size=8): ..."
    rate = '{ type = "float", low = 1e-4, high = 1e-2, default = 1e-3 }'
    (tmp_path / "mine.toml").write_text(f'title = "Mine"\n[tune]\nlearning_rate = {rate}\n')
    (tmp_path / "mine.py").write_text(f"class Model:\n    {rule}\n")
    terms.freeze(make(tmp_path, models=[str(tmp_path / "mine.py")]))
    (tmp_path / "mine.py").write_text(f"class Model:\n    {rule}\n# changed\n")
    with pytest.raises(DeclarationError, match="--allow-mixed"):
        terms.freeze(make(tmp_path, models=[str(tmp_path / "mine.py")]))
    assert len(terms.freeze(make(tmp_path, models=[str(tmp_path / "mine.py")], allow_mixed=True))) == 2


def test_permission_for_code_is_none_for_another_seed(tmp_path, place):
    terms.freeze(make(tmp_path))
    with pytest.raises(DeclarationError, match="seed was 0 and is now 1"):
        terms.freeze(make(tmp_path, seed=1, allow_mixed=True))


def test_a_sweep_of_an_earlier_version_is_resumed_and_its_terms_completed(tmp_path, place):
    terms.freeze(make(tmp_path))
    path = tmp_path / "sweeps" / "s" / "sweep.json"
    spec = json.loads(path.read_text())
    for key in ("environments", "num_configurations"):
        del spec[key]
    for key in ("rules", "model file lstm.py"):
        del spec["spec"][key]
    path.write_text(json.dumps(spec))
    assert terms.freeze(make(tmp_path)) == []
    assert json.loads(path.read_text())["spec"]["rules"] == terms.RULES


def _as_version_0_1_wrote(path: Path) -> None:
    """Take from a sweep.json what version 0.1 did not write: budgets of stored examples and spaces by kind of task."""
    spec = json.loads(path.read_text())
    own = {"rules", "budget of stored examples"}
    terms_then = {key: value for key, value in spec["spec"].items() if key not in own and " for " not in key}
    path.write_text(json.dumps(spec | {"spec": terms_then | {"search space lstm": "f0f2304b757a"}}))


def test_a_sweep_on_stored_examples_of_version_0_1_is_mixed_only_with_permission(tmp_path, place):
    terms.freeze(make(tmp_path, datasets=["digits"], lengths=None))
    path = tmp_path / "sweeps" / "s" / "sweep.json"
    _as_version_0_1_wrote(path)
    old = path.read_text()
    with pytest.raises(DeclarationError, match="^[^\n]*is now passes over the data[^\n]* --allow-mixed[^\n]*$"):
        terms.freeze(make(tmp_path, datasets=["digits"], lengths=None))
    assert path.read_text() == old
    with pytest.raises(DeclarationError, match="seed was 0 and is now 1"):
        terms.freeze(make(tmp_path, datasets=["digits"], lengths=None, seed=1, allow_mixed=True))
    (line,) = terms.freeze(make(tmp_path, datasets=["digits"], lengths=None, allow_mixed=True))
    assert line.startswith("Mixed, as --allow-mixed permits: stored examples: the budget was a number of sequences")
    assert terms.freeze(make(tmp_path, datasets=["digits"], lengths=None)) == []  # it was permitted once


def test_drawn_sequences_have_the_terms_that_version_0_1_wrote(tmp_path, place):
    terms.freeze(make(tmp_path))
    spec = json.loads((tmp_path / "sweeps" / "s" / "sweep.json").read_text())["spec"]
    drawn = {"max_sequences": 32_000, "batch_size": 32, "num_epochs": 20, "num_val": 500, "num_test": 2_000}
    assert spec["budget_settings"] == drawn
    assert "budget of stored examples" not in spec


@pytest.mark.parametrize(("model", "digits"), SPACES_OF_VERSION_0_1.items())
def test_search_spaces_of_drawn_sequences_are_those_of_version_0_1(model, digits):
    assert search_spaces.read(model).hash == digits


def test_another_budget_of_stored_examples_needs_a_permission(tmp_path, place, monkeypatch):
    terms.freeze(make(tmp_path, datasets=["digits"], lengths=None))
    other = BUDGETS["quick"].model_copy(update={"passes": 21.0})
    monkeypatch.setitem(BUDGETS, "quick", other)
    with pytest.raises(DeclarationError, match="budget of stored examples was .* --allow-mixed"):
        terms.freeze(make(tmp_path, datasets=["digits"], lengths=None))


def test_versions_of_what_an_own_model_imports_are_on_record(tmp_path):
    rule = "def __init__(self, input_size, length, *, hidden_size=8): ..."
    rate = '{ type = "float", low = 1e-4, high = 1e-2, default = 1e-3 }'
    (tmp_path / "mine.toml").write_text(f'title = "Mine"\n[tune]\nlearning_rate = {rate}\n')
    (tmp_path / "mine.py").write_text(f"import os\nimport scipy.signal\nclass Model:\n    {rule}\n")
    terms.freeze(make(tmp_path, models=[str(tmp_path / "mine.py")]))
    (known,) = json.loads((tmp_path / "sweeps" / "s" / "sweep.json").read_text())["environments"]
    assert {"scipy", "torch", "bench", "hardware", "threads per run"} <= known.keys()
    assert "os" not in known


def test_runs_without_their_terms_are_refused(tmp_path):
    plan = make(tmp_path)
    (plan.folder / "runs").mkdir()
    with pytest.raises(Exception, match="has runs but no sweep.json; restore it, or use another --name"):
        terms.freeze(plan)
    shutil.rmtree(plan.folder)


def test_a_sweep_keeps_its_key_in_a_shared_mlflow_store_when_its_command_changes(tmp_path, place, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    plans = [make(tmp_path / folder) for folder in ("one", "two")]
    for plan in plans:
        terms.freeze(plan)
    first, other = (store.sweep_key(plan.folder) for plan in plans)
    assert first != other  # though name and command are the same, and perhaps the second in which they began
    terms.freeze(make(tmp_path / "one", workers=3))
    assert store.sweep_key(plans[0].folder) == first
    # A sweep from before there were keys has that which its first command made.
    path = plans[1].folder / "sweep.json"
    spec = json.loads(path.read_text())
    del spec[store.KEY]
    path.write_text(json.dumps(spec))
    old = store.sweep_key(plans[1].folder)
    terms.freeze(make(tmp_path / "two", workers=3))
    assert store.sweep_key(plans[1].folder) == old
