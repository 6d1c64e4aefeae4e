"""Damaged exports, unusable inputs and outputs: one line each, which says what to do."""

import json
import math
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.config.contracts import Sampling
from bench.config.datasets import read
from bench.errors import BenchError, DataError, DeclarationError, StoreError, UnknownNameError
from bench.export import export as exporting
from bench.export.export import export
from bench.export.predictor import ExportedModel, write_table
from tests.export.kinds import swept

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(exported, tmp_path):
    """Return a copy of an exported folder, without its MLflow model."""
    return Path(shutil.copytree(exported("text")[2], tmp_path / "out", ignore=shutil.ignore_patterns("mlflow_model")))


def one_line(error, action, *arguments):
    with pytest.raises(error) as refused:
        action(*arguments)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", ["config.json", "preprocessing.json", "weights.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "cut off", "a folder", "a list", "deep"])
def test_a_damaged_file_of_an_export_is_named(copy, name, damage):
    path = copy / name
    data = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "missing":
        content = {"empty": b"", "garbage": b"\xff\0" * 99, "cut off": data[: len(data) // 2], "a list": b"[]"}
        path.write_bytes(content.get(damage, b"[" * 100_000))
    told = one_line(StoreError, ExportedModel.load, copy)
    assert name in told
    assert "bench export" in told
    assert ("has no" in told) == (damage == "missing")
    assert (": damaged" in told) == (damage not in ("missing", "a folder"))


@pytest.mark.parametrize("key", ["classes", "vocabulary", "tokens"])
def test_preprocessing_without_a_key_is_refused(copy, key):
    """An earlier version stored no checksums, so that only the content shows the damage."""
    for name, change in (("config.json", {"sha256": {}}), ("preprocessing.json", {key: None})):
        (copy / name).write_text(json.dumps(json.loads((copy / name).read_text()) | change))
    told = one_line(StoreError, ExportedModel.load, copy)
    assert f"'{key}' must be" in told
    assert "preprocessing.json" in told


def test_a_damaged_onnx_file_is_remarked_and_predictions_are_kept(copy):
    (copy / "model.onnx").write_bytes(b"x")
    new = copy / "new.txt"
    new.write_text("good film\n")
    (remark,) = ExportedModel.load(copy).predict(new).attrs["remarks"]
    assert "model.onnx: damaged" in remark
    (copy / "model.onnx").unlink()
    assert ExportedModel.load(copy).predict(new).attrs["remarks"] == []


@pytest.mark.parametrize("kind", ["forecast", "regression", "numbers", "ts", "arrays", "wav", "text", "tagging", "language"])  # fmt: skip
def test_inputs_that_cannot_be_read_are_refused(exported, tmp_path, kind):
    model = ExportedModel.load(exported(kind)[2])
    assert "neither a file nor a folder" in one_line(DataError, model.predict, Path("/dev/null"))
    assert "no such file" in one_line(DataError, model.predict, tmp_path / "none.csv")
    suffix = exported(kind)[0].suffix
    empty = tmp_path / f"empty{suffix}"
    empty.touch()
    assert f"{empty}: empty" in one_line(DataError, model.predict, empty)
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    assert str(folder) in one_line(DataError, model.predict, folder)
    assert "/proc/self/mem" in one_line(DataError, model.predict, Path("/proc/self/mem"))  # reading fails


@pytest.mark.parametrize("kind", ["forecast", "arrays", "wav", "text", "tagging", "language"])
def test_a_file_that_cannot_be_opened_is_refused(exported, tmp_path, kind, monkeypatch):
    """As root, tests may open any file; so opening is made to fail."""
    import builtins
    import io

    model, path = ExportedModel.load(exported(kind)[2]), tmp_path / f"new{exported(kind)[0].suffix or '.wav'}"
    path.write_text("text,load\na,1\n")

    def refuse(file, *arguments, **options):
        if str(file) == str(path):
            raise PermissionError(13, "Permission denied", str(file))
        return opened(file, *arguments, **options)

    opened = io.open
    monkeypatch.setattr(io, "open", refuse)
    monkeypatch.setattr(builtins, "open", refuse)
    assert "Permission denied" in one_line(DataError, model.predict, path)


@pytest.mark.parametrize("sampling", [Sampling(temperature=math.nan), Sampling(num_tokens=10**9), Sampling(seed=-1)])
def test_absurd_sampling_is_refused(exported, tmp_path, sampling):
    (tmp_path / "p.txt").write_text("the\n")
    model = ExportedModel.load(exported("language")[2])
    assert "must be a" in one_line(DeclarationError, model.predict, tmp_path / "p.txt", sampling)


def test_predictions_that_cannot_be_written_are_refused(tmp_path):
    import pandas as pd

    for path in (Path("/dev/full"), tmp_path, tmp_path / "none" / "p.csv"):
        assert f"--out {path}" in one_line(StoreError, write_table, pd.DataFrame({"a": [1]}), path)


# Exporting


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return swept(tmp_path_factory.mktemp("adding"), read("adding"), 12)


@pytest.mark.parametrize("out", ["file/out", "/proc/none/out"])
def test_a_folder_that_cannot_be_made_is_refused(sweep, tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("x")
    assert "--out" in one_line(StoreError, export, sweep, tmp_path, None, None, None, Path(out))


@pytest.mark.slow
def test_a_full_disk_leaves_no_part_of_an_export(sweep, tmp_path):
    """Files may not grow beyond 2 KiB in a process of its own."""
    code = (
        "import resource, sys; from pathlib import Path; from bench.export.export import export\n"
        "from bench.errors import StoreError\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (2048, {resource.RLIM_INFINITY}))\n"
        f"try: export(Path({str(sweep)!r}), Path({str(tmp_path)!r}), None, None, None, Path({str(tmp_path / 'out')!r}))\n"
        "except StoreError as error: sys.stdout.write(str(error))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=500)
    assert f"--out {tmp_path / 'out'}: " in done.stdout, done.stderr
    assert not list(tmp_path.iterdir())


def test_what_a_sweep_does_not_hold_is_named_with_a_suggestion(sweep, tmp_path):
    for words, rule in (
        (("addign", 12, None), "unknown dataset of this sweep 'addign'; did you mean 'adding'?"),
        (("adding", 13, None), "unknown length of this sweep '13' (there are: 12)"),
        (("adding", 12, "grru"), "unknown model of this sweep 'grru'; did you mean 'gru'?"),
    ):
        told = one_line(UnknownNameError, export, sweep, tmp_path, *words, tmp_path / "out")
        assert told.startswith(rule)


@pytest.mark.parametrize("damage", ["overwritten", "a flipped bit"])
def test_a_damaged_weights_file_of_a_run_is_refused(sweep, tmp_path, damage):
    folder = Path(shutil.copytree(sweep, tmp_path / "s"))
    for path in (folder / "runs").rglob("weights.pt"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data if damage == "a flipped bit" else b"x" * 40)
    told = one_line(StoreError, export, folder, tmp_path, None, None, None, tmp_path / "out")
    assert "weights.pt: damaged" in told
    assert "resume the sweep" in told


def test_an_export_is_kept_if_mlflow_fails(exported, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ValueError("no MLflow\ntoday")

    monkeypatch.setattr(exporting.models, "save_model", fail)
    sweep = exported("text")[2].parent / "results" / "sweeps" / "s"
    lines = export(sweep, tmp_path, None, None, None, tmp_path / "out")
    assert lines[-1] == "mlflow_model: not written: ValueError: no MLflow"
    assert (tmp_path / "out" / "weights.safetensors").exists()


def test_an_export_is_kept_if_it_cannot_be_registered(exported, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    (results / "mlflow.db").write_text("garbage")
    sweep = exported("text")[2].parent / "results" / "sweeps" / "s"
    lines = export(sweep, results, None, None, None, tmp_path / "out")
    assert "not registered" in lines[-1]
    assert "\n" not in lines[-1]
    assert (tmp_path / "out" / "mlflow_model").exists()


def test_outputs_that_are_not_numbers_are_no_export():
    with pytest.raises(BenchError, match="differ by nan"):
        exporting._compare("m", np.array([np.nan]), np.zeros(1), 1e-4)
