"""A diagnosis of a sweep: the networks that are chosen, their weights half way, and the files that are written."""

import pytest

from bench.config import datasets
from bench.errors import StoreError
from bench.export.diagnose import diagnose_sweep, of_winners
from bench.results import diagnoses
from tests.export.kinds import swept


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """The folder of a sweep whose runs have four validations, so that one of them is half way."""
    return swept(tmp_path_factory.mktemp("diagnose"), datasets.read("adding"), 20, num_epochs=4, max_sequences=256)


def test_a_winner_is_diagnosed_before_half_way_and_after(sweep):
    (confirmed,) = sweep.glob("runs/adding/L20/gru/t0-s0")
    (made,) = diagnose_sweep(sweep)
    assert [path.name for path in made.files] == ["adding-L20-gru.csv", "adding-L20-gru.svg"]
    assert all(path.stat().st_size for path in made.files)
    assert "<svg" in made.files[1].read_text()
    has_middle = (confirmed / "middle.pt").exists()  # unless the first validation was the best
    assert set(made.table["at"]) == {"start", "end", *(["middle"] if has_middle else [])}
    assert diagnoses.read(sweep).keys() == {"adding-L20-gru"}
    assert made.lines[0].startswith("gru on adding at 20: the gradient of the state halves every ")


def test_a_sweep_of_an_earlier_version_has_no_middle_and_a_damaged_one_is_named(sweep):
    (confirmed,) = sweep.glob("runs/adding/L20/gru/t0-s0")
    (confirmed / "middle.pt").write_bytes(b"nothing")
    assert any("middle.pt: damaged" in line for line in of_winners(sweep.parents[1], sweep))
    with pytest.raises(StoreError, match="middle.pt: damaged"):
        list(diagnose_sweep(sweep))
    (confirmed / "middle.pt").unlink()
    (made,) = diagnose_sweep(sweep)
    assert "gru on adding at 20: weights of the middle of training were not kept" in made.lines


def test_what_is_not_confirmed_cannot_be_diagnosed(sweep):
    with pytest.raises(StoreError, match="has no confirmed run of lstm yet"):
        list(diagnose_sweep(sweep, model="lstm"))
