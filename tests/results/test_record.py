"""Records on disk: whole or not at all."""

import gc
import json
import os
import threading
from contextlib import nullcontext

import pytest

from bench.config.datasets import make_task
from bench.errors import StoreError
from bench.results import record
from bench.results.record import Asked, Epoch, RunRecord, Seconds
from tests import makers


def made(**changes) -> RunRecord:
    values = {
        "epochs": [Epoch(steps=4, sequences=32, train_seconds=0.1 + 0.2, train_loss=1 / 3, val={"accuracy": 0.75})],
        "val": {"accuracy": 0.75},
        "parameters": {"encoder": 40, "embedding": 0, "head": 2},
        "seconds": Seconds(train=0.3, total=1.0),
    }
    return makers.record({"model_arguments": {"forget_bias": "chrono"}, "seed": 3}, **values | changes)


def test_what_is_written_is_read(tmp_path):
    written = made(message="ümlaut\nand line", environment={"torch": "2.12"})
    written.write(tmp_path)
    assert RunRecord.read(tmp_path) == written
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_a_folder_without_a_record_has_none(tmp_path):
    assert RunRecord.read(tmp_path) is None


def test_derived_facts():
    assert made().num_parameters == 42
    assert made().val_score == 0.75
    assert made().test_score is None
    assert made(test={"accuracy": 0.5}).test_score == 0.5
    assert made(val={}).val_score is None


@pytest.mark.parametrize(("goal", "sign"), [("maximize", 1), ("minimize", -1)])
def test_the_sign_of_a_goal(goal, sign):
    assert Asked(metric="m", goal=goal, chance=0, solved=None, num_steps=1).sign == sign


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"state": "complete"}', b'{"schema_version": 2}'], ids=repr
)
def test_a_damaged_record_is_told_in_one_line(tmp_path, damage):
    (tmp_path / "record.json").write_bytes(damage)
    with pytest.raises(StoreError, match="^[^\n]*record.json: not a run record [^\n]*delete it[^\n]*$"):
        RunRecord.read(tmp_path)


def test_a_record_cut_off_anywhere_is_refused(tmp_path):
    made().write(tmp_path)
    path = tmp_path / "record.json"
    data = path.read_bytes()
    for size in range(0, len(data) - 1, 97):
        path.write_bytes(data[:size])
        with pytest.raises(StoreError):
            RunRecord.read(tmp_path)


def test_a_field_that_is_not_known_is_refused(tmp_path):
    made().write(tmp_path)
    path = tmp_path / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "red"}))
    with pytest.raises(StoreError):
        RunRecord.read(tmp_path)


def test_a_reader_finds_the_old_text_or_the_new_one(tmp_path):
    path = tmp_path / "file"
    texts = {"a" * 100_000, "b" * 50_000}
    record.write_atomically(path, "a" * 100_000)
    done = threading.Event()

    def write() -> None:
        for _ in range(20):
            for text in texts:
                record.write_atomically(path, text)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(path.read_text())
    writer.join()
    assert seen <= texts


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_text(tmp_path, monkeypatch, call):
    def fail(*_):
        raise OSError("no space left on device")

    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="no space"):
        record.write_atomically(path, "new")
    assert path.read_text() == "old"


def test_the_records_of_a_sweep_come_in_the_order_of_their_paths(tmp_path):
    for name in ("b/t0", "a/t1", "a/t0"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        made(message=name).write(folder)
    (tmp_path / "runs" / "c").mkdir()
    assert [found.message for found in record.records(tmp_path)] == ["a/t0", "a/t1", "b/t0"]


def test_records_with_shared_parts_say_what_their_files_say(tmp_path):
    arguments = [{"a": 1}, {"a": 1.0}, {"a": True}, {"a": 1}]
    epoch = {"steps": 1, "sequences": 1, "train_seconds": 1.0, "train_loss": 1.0, "val": {}}
    for number, values in enumerate(arguments):
        changes = {"number": number, "task_arguments": values, "settings": {"learning_rate": 1 / (1 + number)}}
        folder = tmp_path / "runs" / f"t{number}"
        folder.mkdir(parents=True)
        facts = {"environment": {"cores": number // 2}, "parameters": {"head": number}, "epochs": [epoch]}
        makers.record(changes, **facts).write(folder)
    found = record.all_records(tmp_path)
    alone = [RunRecord.read(tmp_path / "runs" / f"t{number}", epochs=False) for number in range(4)]
    assert [run.model_dump_json() for run in found] == [run.model_dump_json() for run in alone]
    assert found[0].asked is found[3].asked
    assert found[0].config.task_arguments is found[3].config.task_arguments
    assert found[2].environment is found[3].environment
    assert found[0].config.model_copy(update={"run": "other"}).model_fields_set == found[0].config.model_fields_set


def test_a_record_in_use_is_read_once_and_a_replaced_one_again(tmp_path):
    folder = tmp_path / "runs" / "t0"
    folder.mkdir(parents=True)
    made(message="first").write(folder)
    (first,) = record.records(tmp_path)
    assert next(record.records(tmp_path)) is first
    made(message="other").write(folder)
    assert [run.message for run in record.records(tmp_path)] == ["other"]
    (folder / "record.json").write_text("{}")
    with pytest.raises(StoreError, match="not a run record"):
        record.all_records(tmp_path)
    (folder / "record.json").unlink()
    assert record.all_records(tmp_path) == []


@pytest.mark.parametrize("is_on", [True, False])
def test_the_garbage_collector_is_left_as_it_was(tmp_path, is_on):
    for text, rule in (("{}", "not a run record"), (None, None)):
        (tmp_path / "runs" / "t0").mkdir(parents=True, exist_ok=True)
        made().write(tmp_path / "runs" / "t0")
        if text:
            (tmp_path / "runs" / "t0" / "record.json").write_text(text)
        (gc.enable if is_on else gc.disable)()
        try:
            with pytest.raises(StoreError, match=rule) if rule else nullcontext():
                assert record.all_records(tmp_path) == list(record.records(tmp_path))
            assert gc.isenabled() == is_on
        finally:
            gc.enable()


def test_crashes_add_up(tmp_path):
    assert record.read_crashes(tmp_path) == []
    record.add_crash(tmp_path, "killed", 1.23456)
    record.add_crash(tmp_path, "stall", 2)
    assert record.read_crashes(tmp_path) == [{"cause": "killed", "seconds": 1.235}, {"cause": "stall", "seconds": 2}]


@pytest.mark.parametrize(("text", "rule"), [(None, "sweep.json is missing"), ("{", "damaged"), ("[]", "damaged")])
def test_a_sweep_that_cannot_be_read_is_told_in_one_line(tmp_path, text, rule):
    if text is not None:
        (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(StoreError, match=f"^[^\n]*{rule}[^\n]*$"):
        record.read_spec(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "7", '[{"cause": "killed"}]', "\x00"])
def test_damaged_crashes_count_as_none(tmp_path, text):
    (tmp_path / "crashes.json").write_text(text)
    assert record.read_crashes(tmp_path) == []
    record.add_crash(tmp_path, "stall", 2.5)
    assert record.read_crashes(tmp_path) == [{"cause": "stall", "seconds": 2.5}]


def test_a_run_that_died_has_a_record_of_its_crashes():
    task = make_task("latch", 8, {})
    crashes = [{"cause": "killed", "seconds": 1.5}, {"cause": "stall", "seconds": 2.0}]
    dead = RunRecord.of_dead_run(made().config, task, "stall", "the process ended", crashes)
    assert (dead.state, dead.cause, dead.message) == ("failed", "stall", "the process ended")
    assert (dead.seconds.crashed, dead.seconds.total, dead.crashes) == (3.5, 3.5, ["killed", "stall"])
    assert dead.asked == Asked.model_validate(task)
