"""Dataset cards: their names and paths are safe wherever they become part of a path, an address or a filter."""

import pytest

from bench.config import datasets
from bench.config.datasets import DataFile
from bench.errors import BenchError, DeclarationError, UnknownNameError

CARD = 'title = "t"\ntask = "latch"\nkind = "synthetic"\nlengths = [4]\nlength_meaning = "m"\nsource = "s"\nlicence = "l"\n'


@pytest.mark.parametrize(
    "name", ["..", "../x", "/etc/x", "a b", "a'b", 'a"b', "a;b", "a\nb", "a\0b", "x" * 300, "caf\udce9", ""]
)
def test_a_name_that_is_unsafe_in_a_path_is_refused_in_one_line(tmp_path, name):
    with pytest.raises(UnknownNameError, match="^unknown dataset ") as typed:
        datasets.read(name, tmp_path)
    with pytest.raises(DeclarationError, match="the name must be 1 to 64 letters, digits.*; rename the card") as card:
        datasets.check_name(name)
    for message in (str(typed.value), str(card.value)):
        assert message.isprintable()
        assert len(message) < 500


def test_a_card_with_an_unsafe_file_name_is_refused(tmp_path):
    (tmp_path / "my card.toml").write_text(CARD)
    with pytest.raises(BenchError, match="dataset 'my card': the name must be .*; rename the card"):
        datasets.read("my card", tmp_path)


def test_names_that_differ_in_case_only_are_refused(tmp_path):
    for name in ("Load", "load"):
        (tmp_path / f"{name}.toml").write_text(CARD)
    with pytest.raises(BenchError, match="datasets 'load' and 'Load' differ in upper and lower case only; rename one"):
        datasets.read("load", tmp_path)
    (tmp_path / "Load.toml").unlink()
    assert datasets.read("load", tmp_path).name == "load"


@pytest.mark.parametrize("path", ["../x.csv", "a/../../x.csv", "", "a\0b"])
def test_a_path_of_a_card_stays_below_the_data_folder(path):
    with pytest.raises(ValueError, match="must be a path below the data folder, without '..', or an absolute path"):
        DataFile(path=path, sha256="0" * 64, size_bytes=1)
    with pytest.raises(ValueError, match="must be the name of a file beside the card"):
        DataFile(path="x", sha256="0" * 64, size_bytes=1, listing="../x.tsv")
