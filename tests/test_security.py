"""What somebody else's results, exports, archives and cards cannot do; docs/security.md points here."""

import gzip
import http.server
import io
import json
import pickle
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from bench.config import own_code, plugins
from bench.config.datasets import DataFile
from bench.data import arrays, encodings, fetch, texts
from bench.data.remarks import Remark
from bench.errors import BenchError, DataError, DataMissingError, DeclarationError, StoreError
from bench.export.predictor import ExportedModel, write_table
from bench.sweeps import optuna_adapter
from bench.tracking import pages
from tests.cli.calls import call
from tests.makers import run_config

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "security.md"
BOMB = "raise SystemExit('it ran')"


def test_every_line_of_the_page_points_to_a_test_that_exists():
    named = re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8"))
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\| (?!What (some|is))", line)]
    assert len(rows) >= 15
    assert all("`test_" in row for row in rows)
    servers = (ROOT / "tests" / "faults" / "test_shared_studies.py").read_text(encoding="utf-8")
    assert set(named) <= globals().keys() | set(re.findall(r"^def (test_\w+)", servers, re.MULTILINE))


# Code


@pytest.fixture
def hostile(exported, tmp_path):
    """An exported folder whose config claims an own model, with code that must not run."""
    folder = Path(shutil.copytree(exported("text")[2], tmp_path / "theirs", ignore=shutil.ignore_patterns("mlflow*")))
    (folder / "model.py").write_text(f"{BOMB}  # {tmp_path}")  # code that no other test has named
    settings = json.loads((folder / "config.json").read_text())
    settings["run"] |= {"model": "/somewhere/model.py", "source_hash": ""}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def test_a_model_file_in_an_exported_folder_is_not_run(hostile):
    with pytest.raises(DeclarationError, match=r"model.py: this code was never named .* add --trust .*model.py"):
        ExportedModel.load(hostile)


def test_a_named_model_file_is_run(hostile):
    own_code.allow(hostile / "model.py")
    with pytest.raises(BenchError, match="it ran"):
        ExportedModel.load(hostile)


def test_predict_names_the_option_that_allows_the_code(hostile, tmp_path):
    (tmp_path / "new.txt").write_text("good film\n")
    words = ["predict", str(hostile), str(tmp_path / "new.txt")]
    status, _, errors = call(*words)
    assert status == 2
    assert f"--trust {hostile / 'model.py'}" in errors
    assert "it ran" not in errors
    assert "it ran" in call(*words, "--trust", str(hostile / "model.py"))[2]


def test_a_config_that_points_to_code_does_not_run_it(tmp_path):
    (tmp_path / "theirs.py").write_text(BOMB + f"  # {tmp_path}")
    config = run_config(model=str(tmp_path / "theirs.py"))
    (tmp_path / "config.json").write_text(config.model_dump_json())
    record = json.loads(call("run", str(tmp_path / "config.json"), "--json")[1])
    assert record["state"] == "failed"
    assert "never named on this machine" in record["message"]


class Opens:
    """As a pickle, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_study_cannot_run_code_by_cma_es(tmp_path):
    sampler = optuna_adapter.CmaEs(seed=0, warn_independent_sampling=False)
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1), n_trials=8)
    states = [trial for trial in study.trials if any(name.startswith("cma:optimizer") for name in trial.system_attrs)]
    assert states  # the state of CMA-ES is read again and again
    frozen = states[-1]
    name = next(name for name in frozen.system_attrs if name.startswith("cma:optimizer"))
    frozen.system_attrs = {name: pickle.dumps(Opens(tmp_path / "ran")).hex()}
    with pytest.raises(StoreError, match="it could run code"):
        sampler._restore_optimizer([frozen])
    assert not (tmp_path / "ran").exists()


def test_arrays_with_python_objects_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([Opens(tmp_path / "ran")], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects"):
        arrays._load(tmp_path / "x.npy")
    assert not (tmp_path / "ran").exists()


def test_weights_cannot_run_code(tmp_path):
    import torch

    from bench.training import weights

    torch.save({"w": Opens(tmp_path / "ran")}, tmp_path / weights.WEIGHTS)
    with pytest.raises(StoreError, match="damaged"):
        weights.read(tmp_path, None)
    assert not (tmp_path / "ran").exists()


def test_weights_with_a_flipped_bit_are_refused(tmp_path):
    import torch

    from bench.training import weights

    sha256 = weights.save({"w": torch.zeros(1_000)}, tmp_path)
    data = bytearray((tmp_path / weights.WEIGHTS).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / weights.WEIGHTS).write_bytes(data)
    assert torch.load(tmp_path / weights.WEIGHTS, weights_only=True)["w"].sum() != 0  # PyTorch does not notice
    with pytest.raises(StoreError, match="SHA-256"):
        weights.read(tmp_path, sha256)


# Archives and files


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(encodings, "FREE_BYTES", 100_000)


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path, small_limits):
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as archive:
        for number in range(4):
            member = tarfile.TarInfo(f"a/{number}.txt")
            member.size = 1_000_000
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(DataError, match=r"unpack to [\d,]+ or more, but at most 200 times"):
        texts.read_text_archive(tmp_path / "bomb.tar.gz")


def test_an_archive_of_very_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "MOST_MEMBERS", 3)
    with tarfile.open(tmp_path / "many.tar", "w") as archive:
        for number in range(4):
            member = tarfile.TarInfo(f"a/{number}.txt")
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(DataError, match="more than 3 files and folders"):
        texts.read_text_archive(tmp_path / "many.tar")


@pytest.mark.parametrize("name", ["/etc/passwd", "../../x", "a/../../x"])
def test_an_archive_cannot_lead_out_of_its_folder(tmp_path, name):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(DataError, match="leads out of the archive"):
        texts.read_text_archive(tmp_path / "x.tar")


@pytest.mark.parametrize("how", ["read", "read1", "readline", "iteration", "all"])
def test_a_packed_file_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path, small_limits, how):
    with gzip.open(tmp_path / "x.csv.gz", "wb") as file:
        file.write(bytes(4_000_000) if how == "readline" else (bytes(999) + b"\n") * 4_000)
    with encodings.opened(tmp_path / "x.csv.gz") as file:
        ways = {"all": file.read, "iteration": lambda: list(file)}
        read = ways.get(how, lambda: list(iter(lambda: getattr(file, how)(10_000), b"")))
        with pytest.raises(DataError, match="at most 200 times"):
            read()


def test_an_npz_file_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path, small_limits):
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((1_000, 1_000)))
    assert zipfile.is_zipfile(tmp_path / "x.npz")
    with pytest.raises(DataError, match="at most 200 times"):
        arrays._load(tmp_path / "x.npz")


def test_an_npz_file_whose_list_of_members_is_damaged_is_refused_in_one_line(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros(9), y=np.zeros(9))
    data = bytearray((tmp_path / "x.npz").read_bytes())
    place = data.index(b"PK\x01\x02")  # the first entry of the directory at its end
    data[place : place + 4] = b"XXXX"
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(DataError, match="not readable as a NumPy file"):
        arrays._load(tmp_path / "x.npz")


@pytest.mark.parametrize("path", ["../x.csv", "a\0b.csv", "x" * 300, ""])
def test_a_card_cannot_name_a_file_outside_the_data_folder(path):
    with pytest.raises(ValueError, match="must be a path below the data folder|at most 249 bytes"):
        DataFile(path=path, sha256="0" * 64, size_bytes=1)


# The network


@pytest.fixture
def server():
    """Return a function that starts a web server which answers as the given function, and returns its address."""
    started = []

    def start(answer) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                answer(self)

            def log_message(self, *arguments):
                pass

        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        started.append(web)
        return f"http://127.0.0.1:{web.server_port}/x"

    yield start
    for web in started:
        web.shutdown()
        web.server_close()


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_a_download_is_not_redirected_away_from_the_web(server, monkeypatch, tmp_path, target):
    def answer(request):
        request.send_response(302)
        request.send_header("Location", target)
        request.end_headers()

    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path))
    file = DataFile(path="x", sha256="0" * 64, size_bytes=10, url=server(answer))
    with pytest.raises(DataMissingError, match=f"[Rr]edirect.* to (url )?'{target}'"):
        fetch.fetch(file)


def test_a_download_that_crawls_is_ended(server, monkeypatch, tmp_path):
    def answer(request):
        request.send_response(200)
        request.end_headers()
        for _ in range(600):
            try:
                request.wfile.write(b"x")
                request.wfile.flush()
            except OSError:
                return
            time.sleep(0.1)

    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(fetch, "TIMEOUT_SECONDS", 1)
    file = DataFile(path="x", sha256="0" * 64, size_bytes=1_000, url=server(answer))
    with pytest.raises(DataMissingError, match=r"slower than 10,000 bytes a second; \d+ bytes are kept"):
        fetch.fetch(file)


def test_the_pages_say_when_their_port_is_taken(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(DeclarationError, match=f"--port {port}: another program uses it; give another port"):
            pages.serve(tmp_path, port)


@pytest.mark.slow
def test_the_pages_answer_to_their_own_name_only_and_end_with_their_command(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "mlflow.db").touch()
    code = f"from pathlib import Path; from bench.tracking import pages; pages.serve(Path({str(tmp_path)!r}), {port})"
    command = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        _wait_for(lambda: _status(port, f"127.0.0.1:{port}") == 200, 400)
        assert _status(port, f"localhost:{port}") == 200
        assert _status(port, "evil.example") == 403
        assert _status(port, f"10.0.0.1:{port}") == 403
    finally:
        command.kill()  # SIGKILL
        command.wait()
    _wait_for(lambda: _status(port, f"127.0.0.1:{port}") is None, 60)


def _status(port: int, host: str) -> int | None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get?experiment_id=0")
    request.add_header("Host", host)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def _wait_for(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


# What a person opens


def test_predictions_hold_no_formulas(tmp_path):
    labels = ["=1+1", "@SUM(A1)", "+cmd", "-2+3", "-1", "+", "-", "good"]
    write_table(pd.DataFrame({"label": labels, "value": range(8)}), tmp_path / "p.csv")
    read = pd.read_csv(tmp_path / "p.csv", dtype=str, keep_default_na=False)
    assert list(read["label"]) == ["'=1+1", "'@SUM(A1)", "'+cmd", "'-2+3", "-1", "+", "-", "good"]
    assert list(read["value"]) == [str(value) for value in range(8)]


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path):
    assert str(DataError("x.csv: column '\x1b[2J\x07'")) == r"x.csv: column '\x1b[2J\x07'"
    assert (
        str(Remark("unknown", "class '\x1b]0;title\x07'", file="a\x9b.csv")) == r"a\x9b.csv: class '\x1b]0;title\x07'"
    )
    words = [sys.executable, "-m", "bench", "predict", "no\x1b[2J", "such"]
    shown = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path).stderr
    assert "\x1b" not in shown


def test_own_models_are_known_by_their_content(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"number = 1  # {tmp_path}")
    own_code.allow(path)
    assert plugins.load("models", str(path)).number == 1
    path.write_text(f"number = 2  # {tmp_path}")
    with pytest.raises(DeclarationError, match="never named"):
        plugins.load("models", str(path))
