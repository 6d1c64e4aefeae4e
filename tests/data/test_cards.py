"""Dataset cards of your own files: what is written is read, and nothing is written over."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.config import datasets
from bench.data import cards, own_data
from bench.errors import BenchError
from tests.data.own_files import make
from tests.makers import hourly, recordings


def test_a_folder_that_has_changed_is_another(tmp_path):
    before = make(recordings(tmp_path / "tones")).card
    recording = tmp_path / "tones/low/0_who0.wav"
    content = bytearray(recording.read_bytes())
    content[-1] ^= 1
    recording.write_bytes(content)
    after = make(tmp_path / "tones").card
    assert before.files[0].size_bytes == after.files[0].size_bytes
    assert before.fingerprint != after.fingerprint


def test_a_card_by_hand_is_the_same_data(tmp_path):
    file = hourly(tmp_path / "load.csv")
    own = make(file, horizon=4, target=["load"], lengths=[12])
    (tmp_path / "by_hand.toml").write_text(
        'title = "Load"\ntask = "forecasting"\nkind = "real"\nlengths = [6, 12]\nlength_meaning = "hours"\n'
        f'source = "me"\nlicence = "mine"\n[[files]]\npath = "{file}"\nsha256 = "{own.card.files[0].sha256}"\n'
        f"size_bytes = {file.stat().st_size}\n[arguments]\n"
        'target = ["load"]\nhorizon = 4\ntime = "timestamp"\n'
    )
    assert datasets.read("by_hand", tmp_path).fingerprint == own.card.fingerprint
    own_data.save(own, tmp_path)
    saved = datasets.read("load", tmp_path)
    assert saved == own.card
    assert saved.at(12).split("val", 5).x.shape == (5, 12, 1)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)  # names of columns, files and classes


values = st.recursive(
    texts | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["by", "train", "shares"]), inner),
)


@given(
    title=texts,
    path=texts.map(lambda text: "x" + text.replace("\0", "").replace("..", "")),
    arguments=st.dictionaries(st.sampled_from(["target", "splits", "time"]), values),
)
def test_any_card_that_is_written_is_read(title, path, arguments):
    shared = {"title": title, "task": "t", "kind": "real", "lengths": [4], "length_meaning": "m", "source": title}
    file = {"path": path, "sha256": "0" * 64, "size_bytes": 1}
    card = datasets.Dataset(name="n", licence=title, files=[file], arguments=arguments, **shared)
    found = tomllib.loads(cards.to_toml(card))
    assert found == shared | {"licence": title, "files": [file], "arguments": arguments}


def test_a_card_is_never_written_over(tmp_path):
    own = make(hourly(tmp_path / "load.csv"))
    assert "written" in own_data.save(own, tmp_path)
    assert "exists already, with the same data" in own_data.save(own, tmp_path)
    before = (tmp_path / "load.toml").read_text()
    with pytest.raises(own_data.DeclarationError, match="load.toml: exists already, for other data"):
        own_data.save(make(hourly(tmp_path / "load.csv", rows=700)), tmp_path)
    assert (tmp_path / "load.toml").read_text() == before


def test_a_card_that_cannot_be_written_is_one_line(tmp_path):
    own = make(hourly(tmp_path / "load.csv"))
    (tmp_path / "datasets").write_text("a file")
    with pytest.raises(BenchError, match="run where you may write, or leave --save-card out"):
        own_data.save(own, tmp_path / "datasets")
