"""What is made of files is kept, shared, and made again where it was cut off."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.config.cache import cache
from bench.config.datasets import DataFile
from bench.data import files
from bench.data.files import checksum, prepare
from bench.errors import DataError, DataMissingError, StoreError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def card(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "numbers.txt"
    path.write_text("1 2 3")
    return [DataFile(path=str(path), sha256=checksum(path), size_bytes=5)]


class Maker:
    """Counts how often it is asked."""

    count = 0

    def __call__(self, paths):
        self.count += 1
        return {"x": np.array(paths[0].read_text().split(), dtype=np.int64)}, {"unit": "word"}


def kept() -> Path:
    (folder,) = (cache() / "prepared").iterdir()
    return folder


def test_it_is_made_once_and_mapped(card):
    make = Maker()
    first, second = prepare("a", card, [1], make), prepare("a", card, [1], make)
    files._load.cache_clear()  # as another process finds it
    third = prepare("a", card, [1], make)
    assert make.count == 1
    assert isinstance(third.arrays["x"], np.memmap)
    assert all(
        each.arrays["x"].tolist() == [1, 2, 3] and each.meta == {"unit": "word"} for each in (first, second, third)
    )
    prepare("a", card, [2], make)
    assert make.count == 2


def test_a_copy_under_another_name_is_prepared_under_its_own(card, tmp_path):
    (tmp_path / "copy.txt").write_text("1 2 3")
    copy = [card[0].model_copy(update={"path": str(tmp_path / "copy.txt")})]
    names = [prepare("t", part, {}, lambda paths: ({}, paths[0].name)).meta for part in (card, copy)]
    assert names == ["numbers.txt", "copy.txt"]


def test_a_file_that_is_not_the_one_meant_is_not_read(card):
    path = Path(card[0].path)
    path.write_text("4 5 6")
    with pytest.raises(
        DataError, match=r"numbers.txt: the file has sha256 \w{12}…, but its card says .* it was changed"
    ):
        prepare("a", card, [], Maker())


@pytest.mark.parametrize("name", ["x.npy", "meta.json"])
@pytest.mark.parametrize("left", [0, 20, None])
def test_what_was_cut_off_is_made_again(card, name, left):
    make = Maker()
    prepare("a", card, [], make)
    path = kept() / name
    path.unlink() if left is None else os.truncate(path, left)
    files._load.cache_clear()
    found = prepare("a", card, [], make)
    assert (make.count, found.arrays["x"].tolist()) == (2, [1, 2, 3])
    files._load.cache_clear()
    prepare("a", card, [], make)
    assert make.count == 2
    assert [each.name for each in kept().parent.iterdir()] == [kept().name]


def test_the_quicker_of_two_leaves_its_own(card):
    make = Maker()

    def slower(paths):
        prepare("a", card, [], make)
        return make(paths)

    assert prepare("a", card, [], slower).arrays["x"].tolist() == [1, 2, 3]
    assert make.count == 2
    assert len(list(kept().iterdir())) == 2


def test_what_another_puts_there_is_never_removed(card, monkeypatch):
    """It comes to its end just after this one has looked, and found nothing."""
    make, look, put = Maker(), files._whole, []

    def looked(folder):
        found = look(folder)
        if not put:
            put.append(0)
            prepare("a", card, [], make)
            put.append(kept().stat().st_ino)
        return found

    monkeypatch.setattr(files, "_whole", looked)
    assert prepare("a", card, [], make).arrays["x"].tolist() == [1, 2, 3]
    assert (make.count, kept().stat().st_ino) == (2, put[1])
    assert [each.name for each in kept().parent.iterdir()] == [kept().name]


def test_a_folder_that_cannot_be_written_is_told_in_a_line(card, tmp_path):
    (tmp_path / "cache").write_text("no folder")
    with pytest.raises(StoreError, match="prepared: Not a directory; .* another folder in BENCH_CACHE_DIR$"):
        prepare("a", card, [], Maker())
    (tmp_path / "cache").unlink()


def test_a_full_disk_leaves_nothing_behind(card, monkeypatch):
    def full(*_):
        raise OSError("3 requested and 1 written")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(StoreError, match="prepared: 3 requested and 1 written; .* free some space"):
        prepare("a", card, [], Maker())
    assert not list((cache() / "prepared").iterdir())


@pytest.mark.parametrize(
    "garbage",
    [
        "[]",
        "{}",
        "null",
        "5",
        '"x"',
        '{"arrays": 5, "meta": {}}',
        '{"arrays": ["x"], "meta": {"remarks": [5]}}',
        "\xff\xfe",
    ],
)
def test_garbage_in_the_cache_is_replaced(card, garbage):
    make = Maker()
    prepare("a", card, [], make)
    (kept() / "meta.json").write_text(garbage, encoding="latin-1")
    files._load.cache_clear()
    assert prepare("a", card, [], make).arrays["x"].tolist() == [1, 2, 3]
    assert make.count == 2


def test_no_home_folder_is_told_in_a_line(card, monkeypatch):
    def refuse():
        raise RuntimeError("Could not determine home directory.")

    for name in ("BENCH_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", refuse)
    with pytest.raises(StoreError, match="no home folder for the cache; name a folder in BENCH_CACHE_DIR"):
        prepare("a", card, [], Maker())


def test_a_path_that_the_system_refuses_is_missing_in_a_line(card, tmp_path):
    for path in ("/".join(["x" * 200] * 30), str(tmp_path / "numbers.txt" / "inside")):
        with pytest.raises(DataMissingError) as caught:
            files.locate(DataFile(path=path, sha256="0" * 64, size_bytes=5))
        assert "\n" not in str(caught.value)


CODE = """
import sys
from pathlib import Path
import numpy as np
from bench.config.datasets import DataFile
from bench.data.files import checksum, prepare
path = Path(sys.argv[1])
card = [DataFile(path=str(path), sha256=checksum(path), size_bytes=5)]
for number in range(30):
    found = prepare("a", card, [number], lambda paths: ({"x": np.arange(50_000)}, {}))
    assert found.arrays["x"][-1] == 49_999
"""


def test_processes_that_make_the_same_at_once(card):
    words = [sys.executable, "-c", CODE, card[0].path]
    running = [subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [(process.communicate()[1], process.returncode) for process in running] == [("", 0)] * 3
    assert len(list((cache() / "prepared").iterdir())) == 30
