"""The files of a run on another machine, which shares no folder with this one."""

import hashlib
from pathlib import Path

import pytest

from bench.config import own_code, plugins
from bench.config.datasets import DataFile
from bench.data.files import locate
from bench.errors import DataError
from bench.results.record import write_json
from bench.sweeps.engines import parcels
from bench.sweeps.engines.node import own_folder
from bench.sweeps.engines.parcels import Changes, Parcel, Receiver, Sender, batches, unpack
from tests.makers import run_config


class Cluster:
    """Keeps what is put, and counts what is fetched."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.fetched = 0

    def put(self, chunk: bytes) -> str:
        self.kept[f"ref {len(self.kept)}"] = chunk
        return f"ref {len(self.kept) - 1}"

    def get(self, reference: str) -> bytes:
        self.fetched += 1
        return self.kept[reference]


@pytest.fixture
def cluster(monkeypatch) -> Cluster:
    monkeypatch.setattr(parcels, "SMALL", 2_600)  # a config.json is smaller
    monkeypatch.setattr(parcels, "CHUNK", 1000)
    parcels._is_here.cache_clear()
    parcels._allow.cache_clear()
    return Cluster()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Let this process be another machine, by its caches and data folders."""

    def become(name: str) -> Path:
        parcels._is_here.cache_clear()
        monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / name / "cache"))
        monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / name / "data"))
        (tmp_path / name / "data").mkdir(parents=True, exist_ok=True)
        return tmp_path / name

    return become


def a_run(cell: Path, name: str, **changes) -> Path:
    (cell / name).mkdir(parents=True, exist_ok=True)
    write_json(cell / name / "config.json", run_config(run=name, **changes).model_dump(mode="json"))
    return cell / name


def sent(parcel: Parcel, cell: Path, cluster: Cluster) -> Path:
    cell.mkdir(parents=True, exist_ok=True)
    return unpack(parcel, cell, cluster.get)


def come_back(changes: Changes, folder: Path) -> list[tuple]:
    messages = [message for batch in batches([*changes.progress(), *changes.rest()]) for message in batch]
    receiver = Receiver(folder)
    for message in messages:
        receiver.take(message)
    return messages


def test_a_run_finds_the_files_of_its_folder_and_of_those_that_its_configuration_names(tmp_path, cluster):
    here = tmp_path / "here"
    for name in ("t0-s0", "t0-s1", "t1-s0"):
        a_run(here, name, phase="confirm")
        (here / name / "weights.pt").write_bytes(name.encode() * 500)
    test = a_run(here, "t0-test", phase="test", opens_test_of=["adding/L8/lstm/t0-s0", "adding/L8/lstm/t0-s1"])
    (test / "log.txt").write_text("of an earlier attempt")
    there = sent(Sender(cluster.put).parcel(test), tmp_path / "there", cluster)
    assert there.name == "t0-test"
    assert [path.name for path in there.iterdir()] == ["config.json"]
    assert sorted(path.name for path in there.parent.iterdir()) == ["t0-s0", "t0-s1", "t0-test"]
    assert (there.parent / "t0-s1" / "weights.pt").read_bytes() == b"t0-s1" * 500


def test_what_a_run_leaves_comes_back_with_its_record_last(tmp_path, cluster):
    folder = a_run(tmp_path / "here", "t0", phase="confirm", takes_over="adding/L8/lstm/t9")
    a_run(tmp_path / "here", "t9")
    (folder / "checkpoint-1.ckpt").write_bytes(b"old")
    there = sent(Sender(cluster.put).parcel(folder), tmp_path / "there", cluster)
    changes = Changes(there)
    (there / "log.txt").write_text("first\n")
    (there / "checkpoint-2.ckpt").write_bytes(b"new" * 2000)
    (there / "checkpoint-1.ckpt").unlink()
    (there / "weights.pt").write_bytes(b"part of it")
    receiver = Receiver(folder)
    for message in changes.progress():  # while it runs
        receiver.take(message)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["checkpoint-2.ckpt", "config.json", "log.txt"]
    with (there / "log.txt").open("a") as log:
        log.write("second\n")
    (there / "checkpoint-2.ckpt").unlink()
    (there / "weights.pt").write_bytes(b"all" * 1000)
    (there / "record.json").write_text("{}")
    (there.parent / "t9" / "samples.json").write_text("[]")
    messages = come_back(changes, folder)
    assert [message[1] for message in messages if message[0] == "file"][-1] == "t0/record.json"
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "log.txt", "record.json", "weights.pt"]
    assert (folder / "weights.pt").read_bytes() == b"all" * 1000
    assert (folder / "log.txt").read_text() == "first\nsecond\n"
    assert (tmp_path / "here" / "t9" / "samples.json").read_text() == "[]"


def test_a_file_that_a_lost_attempt_began_to_send_is_sent_from_its_beginning(tmp_path):
    receiver = Receiver(a_run(tmp_path, "t0"))
    receiver.take(("file", "t0/weights.pt", 0, b"lost", False))
    receiver = Receiver(tmp_path / "t0")
    receiver.take(("file", "t0/weights.pt", 0, b"who", False))
    receiver.take(("file", "t0/weights.pt", 3, b"le", True))
    assert (tmp_path / "t0" / "weights.pt").read_bytes() == b"whole"


@pytest.mark.parametrize("path", ["../evil", "t0/../../evil", "/etc/passwd", "evil", "a/b/c", ".."])
def test_a_node_writes_into_the_folders_of_the_cell_only(tmp_path, path):
    receiver = Receiver(a_run(tmp_path / "cell", "t0"))
    with pytest.raises(DataError, match="folders of its cell only"):
        receiver.take(("file", path, 0, b"x", True))


def with_data(machine, name: str = "load.csv", content: bytes = b"0123456789" * 300) -> dict:
    (machine / "data" / name).parent.mkdir(parents=True, exist_ok=True)
    (machine / "data" / name).write_bytes(content)
    return {"path": name, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}


def test_data_are_sent_once_to_a_machine_and_kept_there_by_their_content(tmp_path, cluster, machine):
    home = machine("coordinator")
    file = with_data(home)
    sender = Sender(cluster.put)
    first, second = (
        sender.parcel(a_run(home / "cell", name, task_arguments={"files": [file]})) for name in ("t0", "t1")
    )
    away = machine("node")
    sent(first, away / "cell", cluster)
    assert cluster.fetched == 3  # chunks
    assert locate(DataFile(**file)).read_bytes() == b"0123456789" * 300
    sent(second, away / "cell", cluster)
    sent(Sender(cluster.put).parcel(a_run(away / "again", "t2")), away / "other", cluster)
    assert cluster.fetched == 3


def test_what_a_machine_has_is_not_sent_and_another_version_is_not_used(cluster, machine):
    home = machine("coordinator")
    file = with_data(home)
    parcel = Sender(cluster.put).parcel(a_run(home / "cell", "t0", task_arguments={"files": [file]}))
    same = machine("same")
    with_data(same)
    sent(parcel, same / "cell", cluster)
    assert cluster.fetched == 0
    other = machine("other")
    with_data(other, content=b"9876543210" * 300)
    sent(parcel, other / "cell", cluster)
    assert cluster.fetched == 3
    assert locate(DataFile(**file)).read_bytes() == b"0123456789" * 300


def test_a_folder_of_data_is_sent_with_all_its_files(cluster, machine):
    home = machine("coordinator")
    with_data(home, "birds/owl/1.wav", b"1" * 2000)
    with_data(home, "birds/owl/2.wav", b"2")
    folder = {"path": "birds", "sha256": "0" * 64, "size_bytes": 2001, "listing": "birds.tsv"}
    parcel = Sender(cluster.put).parcel(a_run(home / "cell", "t0", task_arguments={"files": [folder]}))
    away = machine("node")
    sent(parcel, away / "cell", cluster)
    there = locate(DataFile(**folder))
    assert there.is_relative_to(away)
    assert (there / "owl" / "1.wav").read_bytes() == b"1" * 2000
    assert (there / "owl" / "2.wav").read_bytes() == b"2"


def test_data_that_are_damaged_on_the_way_are_refused(cluster, machine):
    home = machine("coordinator")
    file = with_data(home)
    parcel = Sender(cluster.put).parcel(a_run(home / "cell", "t0", task_arguments={"files": [file]}))
    cluster.kept["ref 1"] = b"flipped" + cluster.kept["ref 1"][7:]
    away = machine("node")
    with pytest.raises(DataError, match=r"load\.csv: damaged on its way"):
        sent(parcel, away / "cell", cluster)
    assert not list((away / "cache").rglob("load.csv"))


def test_your_own_model_is_sent_by_its_content_and_may_run_there(tmp_path, cluster, machine):
    home = machine("coordinator")
    model = tmp_path / "mine.py"
    model.write_text("class Model:\n    number = 42\n")
    sha256 = own_code.allow(model)
    parcel = Sender(cluster.put).parcel(a_run(home / "cell", "t0", model=str(model), source_hash=sha256))
    model.unlink()
    away = machine("node")
    sent(parcel, away / "cell", cluster)
    assert plugins.load("models", str(model), sha256).Model.number == 42


def test_folders_that_killed_processes_left_are_removed_and_others_are_kept(tmp_path):
    (tmp_path / "left").mkdir()
    with own_folder(tmp_path) as first:
        assert [path.name for path in tmp_path.iterdir()] == [first.name]
        with own_folder(tmp_path) as second:
            assert sorted(tmp_path.iterdir()) == sorted([first, second])
    assert list(tmp_path.iterdir()) == []
