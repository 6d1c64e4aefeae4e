"""Your own file as a dataset: how it may be written, its name and splits, what is remarked and what is refused."""

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bench.cli.commands import main
from bench.config import datasets
from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from bench.errors import BenchError
from tests.data.own_files import make
from tests.makers import hourly, long_table, recordings, series, tagged

ROOT = Path(__file__).parents[2]


def test_how_a_file_is_written_can_be_said(tmp_path):
    path = tmp_path / "kritik.csv"
    path.write_bytes(("text|label\n" + "žádný, ne; nic, ne|neg\ndobrý, ano; ano|pos\n" * 20).encode("cp1250"))
    own = make(path, delimiter="|", encoding="cp1250")
    assert "žádný" in own.card.at(8).meta["vocabulary"]
    assert "delimiter '|', cp1250" in own.remarks[0]
    path.write_bytes(("text,label\n" + "öde,neg\nschön,pos\n" * 20).encode("cp1252"))
    assert " ".join(make(path).remarks).count("is not UTF-8") == 1
    book = tmp_path / "kniha.txt"
    book.write_bytes(("žádný dobrý\r\n" * 99).encode("cp1250"))
    assert "ž" in make(book, encoding="cp1250").card.at(8).meta["vocabulary"]


def test_an_archive_of_texts_is_as_its_folder(tmp_path):
    for number in range(30):
        path = tmp_path / "mails" / ("ham", "spam")[number % 2] / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of number {number}")
    shutil.make_archive(str(tmp_path / "mails"), "gztar", tmp_path, "mails")
    folder, archive = make(tmp_path / "mails"), make(tmp_path / "mails.tar.gz")
    assert archive.card.name == "mails"
    assert archive.remarks[0].removeprefix("mails.tar.gz") == folder.remarks[0].removeprefix("mails")


def test_a_spreadsheet_is_told_how_to_be_saved(tmp_path):
    path = tmp_path / "load.xlsx"
    path.write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(BenchError, match="load.xlsx: not a text file but an Excel or zip file; save the table as CSV"):
        make(path)


def test_a_target_with_gaps_leaves_their_windows_out_and_says_how_many(tmp_path):
    first, second = hourly(tmp_path / "a.csv"), hourly(tmp_path / "b.csv")
    second.write_text(second.read_text().replace("2026-01-", "2026-03-").replace("00:00:00,0.000", "00:00:00,", 1))
    own = make(first, second)
    task = own.card.at(24)
    assert sum(task.meta["left_out"].values()) > 0
    counts = ", ".join(f"{part} {count:,}" for part, count in task.meta["left_out"].items())
    assert any(line.startswith("a.csv: windows skipped because a target is missing: ") for line in own.remarks)
    assert f"windows skipped because a target is missing: {counts}" in " ".join(map(str, task.meta["remarks"]))


def test_a_file_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    path = hourly(tmp_path / "load.csv")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BenchError, match=r"load\.csv: Permission denied$"):
        make(path)


@pytest.mark.parametrize("kind", ["tones", "mails"])
def test_files_that_a_file_manager_left_in_a_folder_are_ignored_and_named(tmp_path, kind):
    folder = tmp_path / kind
    if kind == "tones":
        recordings(folder)
    else:
        for number in range(30):
            path = folder / ("ham", "spam")[number % 2] / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"text of number {number}")
    clean = make(folder)
    inside = next(path for path in sorted(folder.iterdir()) if path.is_dir())
    suffix = ".wav" if kind == "tones" else ".txt"
    for name in (f"._0{suffix}", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (inside / name).write_bytes(b"\0\5\x16\7")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / f"0{suffix}").write_bytes(b"\0\5\x16\7")
    own = make(folder)
    assert own.card.fingerprint == clean.card.fingerprint  # a look into a folder does not change the dataset
    assert own.card.at(5).counts == clean.card.at(5).counts
    assert [line for line in own.remarks if "ignored" in line] == [
        f"{kind}: hidden files and those of file managers are ignored: .DS_Store, ._0{suffix}, 0{suffix} … and 2 more"
    ]


def test_what_is_handled_is_remarked(tmp_path):
    file = hourly(tmp_path / "load.csv", more=",1", first="timestamp,load,one")
    lines = file.read_text().splitlines()
    del lines[100:103]
    lines[50] = lines[50][: -len("1")]
    file.write_text("\n".join(lines) + "\n")
    told = "\n".join(make(file, target=["load"], features=["one"], task="forecasting").remarks)
    assert "column 'one': constant" in told
    assert "steps in time differ from the usual 1 h" in told
    assert "column 'one': 1 missing value filled" in told
    told = "\n".join(make(long_table(tmp_path / "s.csv", "target"), task="regression", group="id").remarks)
    assert "sequences of unequal length, 5 to 8 steps" in told


# Names and numbers


def swept(results: Path, own: own_data.Own) -> None:
    """Leave in a results folder what a sweep of a file leaves."""
    folder = results / "sweeps" / f"{own.card.name}-smoke-{len(list(results.glob('sweeps/*')))}"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps({"card": own.card.model_dump(mode="json")}))


def test_two_files_of_one_name_are_two_datasets(tmp_path):
    results = tmp_path / "results"
    first, second, third = (
        tmp_path / folder / name for folder, name in (("a", "my.csv"), ("b", "my.csv"), ("c", "MY.csv"))
    )
    for number, path in enumerate((first, second, third)):
        path.parent.mkdir()
        hourly(path, rows=600 + number)
    swept(results, make(first, results=results))
    names = [make(path, results=results).card.name for path in (first, second, third)]
    assert names[0] == "my"
    assert len(set(names)) == 3
    assert all(name.startswith("my-") for name in names[1:])
    swept(results, make(second, results=results))
    (results / "sweeps/damaged").mkdir()
    (results / "sweeps/damaged/sweep.json").write_text("[")
    assert [make(path, results=results).card.name for path in (first, second, third)] == names


def test_a_copy_of_a_file_is_the_same_dataset(tmp_path):
    results = tmp_path / "results"
    swept(results, make(hourly(tmp_path / "my.csv"), results=results))
    (tmp_path / "moved").mkdir()
    assert make(hourly(tmp_path / "moved/my.csv"), results=results).card.name == "my"


def test_a_file_named_as_a_shipped_dataset_is_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert make(hourly(tmp_path / "latch.csv")).card.name.startswith("latch-")


@pytest.mark.parametrize("name", ["../..csv", "ä'b\"c.csv", "x" * 250 + ".csv", "....csv", "__.csv", "-rf.csv"])
def test_a_file_name_becomes_the_safe_name_of_a_dataset(name):
    datasets.check_name(own_data.slug(Path(name)))


@pytest.mark.parametrize(
    ("name", "rule"), [("a\nb.csv", r"holds '\\n'; rename"), ("caf\udce9.csv", "not UTF-8; rename")]
)
def test_a_file_name_that_no_card_can_hold_is_refused(tmp_path, name, rule):
    hourly(tmp_path / name)
    with pytest.raises(BenchError, match=rule) as caught:
        make(tmp_path / name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("splits", [[0.9, 0.9, 0.9], [0.5, 0.5], [0, 0.5, 0.5], [1, 0, 0], [0.1, 0.1, 0.1]])
def test_splits_that_divide_nothing_are_refused(splits):
    with pytest.raises(BenchError, match="^--splits: must be three shares that sum to 1"):
        SweepConfig.build(None, {"splits": splits})


@pytest.mark.parametrize(
    ("write", "options", "rule"),
    [
        (
            hourly,
            {"horizon": 10**6},
            r"no window fits into the \w+ part \(rows of train, val and test: \[420, 60, 120\]\)",
        ),
        (hourly, {"season": 420}, "--season must be less than 420, the rows of the training part, but is 420"),
        (hourly, {"lengths": [10**6]}, r"no window fits into the \w+ part \(rows"),
        (series, {"lengths": [13]}, "--length must be at most 12, the longest training sequence, but is 13"),
        (
            tagged,
            {"lengths": [10**6]},
            "--length must be at most 5, the longest training sequence, but is 1,000,000",
        ),
    ],
)
def test_numbers_beyond_the_data_are_refused_by_their_bound(tmp_path, write, options, rule):
    name = {hourly: "x.csv", series: "x.ts", tagged: "x.conllu"}[write]
    with pytest.raises(BenchError, match=rule):
        make(write(tmp_path / name), **options)


# What is no file


def test_a_device_a_pipe_and_a_socket_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s.csv"))
    for path, what in (
        (Path("/dev/zero"), "a device"),
        (tmp_path / "pipe.csv", "a named pipe"),
        (tmp_path / "s.csv", "a socket"),
    ):
        for task in (None, "forecasting", "classification", "language_modelling"):
            with pytest.raises(BenchError, match=f"{what}, not a regular file; write the data to a file first"):
                make(path, task=task)
    listener.close()


def test_what_the_system_refuses_to_open_is_one_line(tmp_path):
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    (tmp_path / "gone.csv").symlink_to("nowhere.csv")
    for path, rule in (
        (tmp_path / ("x" * 300 + ".csv"), "File name too long"),
        (tmp_path / "loop.csv", "symbolic link"),
        (tmp_path / "gone.csv", "a symbolic link to nowhere.csv, which does not exist"),
        (tmp_path / "a/b.csv", "no such file"),
        (Path("/proc/cpuinfo"), "the file is empty"),
    ):
        with pytest.raises(BenchError, match=rule) as caught:
            make(path)
        assert "\n" not in str(caught.value)


def test_a_folder_with_pipes_and_broken_links_is_read_without_them(tmp_path):
    folder = recordings(tmp_path / "tones")
    os.mkfifo(folder / "low/pipe.wav")
    (folder / "low/gone.wav").symlink_to("nowhere.wav")
    assert sum(make(folder).card.at(9).counts.values()) == 20


# Large


@pytest.mark.slow
def test_ten_million_rows_are_read(tmp_path):
    """Measured, not judged closely: a machine's disk and load decide. Printed with -s."""
    file, piece = tmp_path / "large.csv", np.random.default_rng(0).random((10**5, 2), dtype=np.float32)
    text = "".join(f"{a:.6f},{b:.6f}\n" for a, b in piece)
    with file.open("w") as out:
        out.write("load,wind\n")
        for _ in range(100):
            out.write(text)
    code = (
        "import resource, time; from pathlib import Path; from bench.data import own_data; "
        "from bench.config.sweep_settings import SweepConfig; "
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; start = time.perf_counter(); "
        f"own = own_data.make(SweepConfig(data=[Path({str(file)!r})], task='forecasting', target=['load'], "
        "features=['wind'], lengths=[96], horizon=24)); "
        "print(time.perf_counter() - start, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); "
        "print(own.remarks[0])"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    figures, remark = done.stdout.splitlines()[:2]
    seconds, before, peak = map(float, figures.split())
    size = file.stat().st_size / 1e6
    print(f"\n{size:.0f} MB, 10^7 rows: {seconds:.1f} s ({time.perf_counter() - began:.1f} s with Python), "
          f"{peak / 1024:.0f} MiB at the peak, {before / 1024:.0f} of them before")  # fmt: skip
    assert "10,000,000 rows" in remark
    assert peak / 1024 < 2048
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB, as on Linux


def test_splits_are_shares_or_numbers_of_rows(tmp_path):
    path = tmp_path / "load.csv"
    path.write_text("load\n" + "\n".join(str(row % 7 + row / 100) for row in range(600)) + "\n")
    for splits, rows in (([420, 60, 120], [420, 60, 120]), ([0.5, 0.2, 0.3], [300, 120, 180])):
        config = SweepConfig.build(None, {"data": [path], "task": "forecasting", "lengths": [4], "splits": splits})
        assert SweepConfig.model_validate_json(config.model_dump_json()) == config
        as_text = ",".join(map(str, splits))
        assert main.commands["sweep"].make_context("sweep", [f"--splits={as_text}"]).params["splits"] == splits
        card = own_data.make(config).card
        assert card.arguments["splits"] == splits
        assert card.at(4).meta["rows"] == rows
    too_many = SweepConfig.build(None, {"data": [path], "task": "forecasting", "splits": [600, 60, 120]})
    with pytest.raises(BenchError, match=r"load\.csv: .*splits: need 780 rows, but the table has 600"):
        own_data.make(too_many)
