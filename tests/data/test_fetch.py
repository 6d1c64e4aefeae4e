"""Downloads from a real server on this machine: resumed, checked, and never outside the cache."""

import hashlib
import http.server
import threading

import pytest

from bench.config import datasets
from bench.config.cache import cache
from bench.config.datasets import DataFile
from bench.data import fetch
from bench.data.files import locate, prepare
from bench.errors import BenchError, DataError, DataMissingError, StoreError

CONTENT = bytes(range(256)) * 4_000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, with ranges; /short and /chunks cut off at half, /deaf ignores ranges, /wrong sends something else.

    /babble is no answer at all.
    """

    asked: list[str | None] = []

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/babble":
            self.wfile.write(b"220 ready\r\n")
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.path != "/deaf" else 0
        body = (bytes(len(CONTENT)) if self.path == "/wrong" else CONTENT)[start:]
        if self.path == "/chunks":  # of an unknown length: a piece of half of it, and never the last one
            self.protocol_version = "HTTP/1.1"
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            half = body[: len(body) // 2]
            self.wfile.write(b"%x\r\n%s\r\n%x\r\n" % (len(half), half, len(half)))
            self.close_connection = True
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/short" else body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("BENCH_DATA_DIR", raising=False)
    Handler.asked.clear()


def file(url: str | None, **changes) -> DataFile:
    return DataFile(**{"path": "set/data.bin", "sha256": SHA, "size_bytes": len(CONTENT), "url": url} | changes)


def test_a_file_is_fetched_once_and_found(server):
    told: list[int] = []
    path = fetch.fetch(file(f"{server}/whole"), told.append)
    assert path.read_bytes() == CONTENT
    assert sum(told) == len(CONTENT)
    assert locate(file(None)) == path
    fetch.fetch(file(f"{server}/whole"))
    assert Handler.asked == [None]


def test_a_download_that_was_cut_off_goes_on(server):
    with pytest.raises(DataMissingError, match="bytes are kept, run the same command to resume"):
        fetch.fetch(file(f"{server}/short"))
    assert fetch.fetch(file(f"{server}/whole")).read_bytes() == CONTENT
    assert Handler.asked[1].startswith("bytes=")
    assert Handler.asked[1] != "bytes=0-"


def test_an_answer_of_unknown_length_that_was_cut_off_is_told_and_goes_on(server):
    with pytest.raises(DataMissingError, match="IncompleteRead.*run the same command to resume"):
        fetch.fetch(file(f"{server}/chunks"))
    assert fetch.fetch(file(f"{server}/whole")).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_told(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="Not a directory; free some space, or name another folder in BENCH_CACHE_DIR"):
        fetch.fetch(file(f"{server}/whole"))


def test_a_full_disk_is_told_and_the_download_resumes(server, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fetch, "_download", full)
        with pytest.raises(StoreError, match="No space left on device; free some space, or name another folder"):
            fetch.fetch(file(f"{server}/whole"))
    with monkeypatch.context() as patch:
        patch.setattr(fetch.os, "replace", full)
        with pytest.raises(
            StoreError, match=r"No space left on device.*bytes are kept, run the same command to resume"
        ):
            fetch.fetch(file(f"{server}/whole"))
    assert fetch.fetch(file(f"{server}/whole")).read_bytes() == CONTENT


def test_a_damaged_listing_is_told_in_one_line(tmp_path):
    for line in ("x", "a\tb\t1\tu", "../a\t" + "0" * 64 + "\t1\tu", "a\t" + "0" * 64 + "\t-1\tu"):
        (tmp_path / "things.tsv").write_text(f"path\tsha256\tsize_bytes\turl\n{line}\n")
        with pytest.raises(BenchError, match="things.tsv: line 2 must be path, sha256, size in bytes and URL"):
            list(fetch._listed(tmp_path / "things.tsv"))
    (tmp_path / "things.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(BenchError, match="things.tsv: "):
        list(fetch._listed(tmp_path / "things.tsv"))


def test_a_server_that_knows_no_ranges_sends_it_all_again(server):
    with pytest.raises(DataMissingError):
        fetch.fetch(file(f"{server}/short"))
    assert fetch.fetch(file(f"{server}/deaf")).read_bytes() == CONTENT


def test_what_has_another_hash_is_not_kept(server):
    with pytest.raises(DataMissingError, match="has sha256 .*, but the card says .*; nothing was kept"):
        fetch.fetch(file(f"{server}/wrong"))
    assert not [path for path in cache().rglob("*") if path.is_file()]


def test_more_than_expected_is_refused(server):
    with pytest.raises(DataMissingError, match="more than the 1,000 bytes that its card says"):
        fetch.fetch(file(f"{server}/whole", size_bytes=1_000))


@pytest.mark.parametrize(
    "url", ["/missing", "/babble", "/a b", "http://127.0.0.1:1/x", None, "ftp://127.0.0.1/x", "file:///etc/hostname"]
)
def test_what_cannot_be_had_is_told_in_one_line(server, url):
    with pytest.raises(DataMissingError) as error:
        fetch.fetch(file(f"{server}{url}" if url and url.startswith("/") else url))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["../outside", "/tmp/outside-bench", "a/../../outside"])
def test_nothing_is_written_outside_the_cache(server, path):
    with pytest.raises((BenchError, ValueError), match="below the data folder"):
        fetch.fetch(file(f"{server}/whole", path=path))


def test_a_file_on_disk_is_not_fetched(server, tmp_path, monkeypatch):
    (tmp_path / "mine" / "set").mkdir(parents=True)
    (tmp_path / "mine" / "set" / "data.bin").write_bytes(CONTENT)
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "mine"))
    assert fetch.fetch(file(f"{server}/whole")) == tmp_path / "mine" / "set" / "data.bin"
    assert not Handler.asked


def test_a_file_of_another_size_is_named(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "data.bin").write_bytes(b"half")
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    with pytest.raises(DataMissingError, match="the file has 4 bytes, but its card says 1,024,000"):
        locate(file(None))


def test_a_file_of_another_content_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "data.bin").write_bytes(CONTENT[::-1])
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match="has sha256 .*, but its card says .*; it was changed, or is another version"):
        prepare("x", [file(None)], 0, lambda _: ({}, {}))


def test_what_is_missing_says_how_to_get_it():
    card = datasets.Dataset(
        name="things", title="t", task="forecasting", kind="real", lengths=[4], length_meaning="m", source="s",
        licence="l", arguments={"files": [file(None).model_dump()], "target": ["v"]},
    )  # fmt: skip
    with pytest.raises(
        DataMissingError, match=r"things: set/data.bin: not in .*; get the files: python -m bench fetch things"
    ):
        card.at(4)


def test_prepared_arrays_are_made_once(tmp_path):
    calls: list[int] = []
    path = tmp_path / "data.bin"
    path.write_bytes(CONTENT)
    mine = file(None, path=str(path))

    def make(paths):
        import numpy as np

        calls.append(1)
        return {"x": np.frombuffer(paths[0].read_bytes(), dtype=np.uint8)}, {"count": 3}

    first, again = (prepare("set", [mine], {"how": 1}, make) for _ in range(2))
    assert len(calls) == 1
    assert bytes(again.arrays["x"]) == CONTENT
    assert again.meta == {"count": 3}
    assert not first.arrays["x"].flags.writeable
    prepare("set", [mine], {"how": 2}, make)
    assert len(calls) == 2


def test_prepared_arrays_that_cannot_be_kept_are_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="Not a directory; .* another folder in BENCH_CACHE_DIR"):
        prepare("x", [], 0, lambda _: ({}, {}))


def test_every_card_lists_files_that_can_be_fetched():
    from bench.config import plugins

    for name in plugins.declarations("datasets"):
        card = datasets.read(name)
        for one in fetch.wanted(card):
            assert one.url is not None, name
            assert one.url.startswith("https://"), name
