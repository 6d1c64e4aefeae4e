"""The wheel works outside the checkout."""

import csv
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAME_NAMES = ("bench.py", "datasets/__init__.py", "mlflow.py", "torch.py")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a fresh environment with the wheel in it.

    Dependencies are those of the test environment, made visible by a .pth file; but not its own `bench`, which is
    installed in place: a .pth file's path comes after the environment's own packages.
    """
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-c", f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=True)
    wheel = folder / done.stdout.split()[-1]
    venv.create(folder / "venv")  # without a pip of its own, which takes seconds to install
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", wheel], check=True, capture_output=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "test_environment.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def run(python: Path, folder: Path, *words: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}  # it comes before the wheel
    done = subprocess.run([python, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_brings_its_data_and_is_what_is_imported(python, tmp_path):
    code = "import bench, bench.config.plugins as p; print(bench.__file__); print(len(p.declarations('datasets'))); print(len(list((p.shipped('search_spaces') / 'recipes').iterdir())))"
    place, count, recipes = run(python, tmp_path, "-c", code).split()
    assert str(python.parents[1]) in place
    assert int(count) == len(list((ROOT / "datasets").glob("*.toml")))
    assert int(recipes) == len(list((ROOT / "search_spaces" / "recipes").glob("*.toml")))
    assert (Path(place).parent / "py.typed").exists()


def test_the_source_distribution_makes_the_same_wheel(python, tmp_path):
    wheel = next(python.parents[2].glob("*.whl"))
    build = "from hatchling.build import build_{0}; print(build_{0}({1!r}))"
    name = run(Path(sys.executable), ROOT, "-c", build.format("sdist", str(tmp_path))).split()[-1]
    with tarfile.open(tmp_path / name) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    run(Path(sys.executable), source, "-c", build.format("wheel", str(tmp_path)))
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(tmp_path / wheel.name) as second:
        assert {each.filename: each.CRC for each in first.infolist()} == {
            each.filename: each.CRC for each in second.infolist()
        }
    assert not {"results", "tests"} & {path.name for path in source.iterdir()}


@pytest.fixture(scope="module")
def swept(python, tmp_path_factory) -> tuple[Path, str]:
    """Return a folder with files that are named as what is imported, in which a sweep has run, and its output.

    By the command `bench`; `python -m bench` would start the bench.py of the folder, as the README says.
    """
    folder = tmp_path_factory.mktemp("swept")
    (folder / "datasets").mkdir()
    for name in SAME_NAMES:
        (folder / name).write_text("raise SystemExit('the wrong one')")
    words = ("sweep", "--dataset", "latch", "--length", "8", "--models", "gru,mlp", "--budget", "smoke")
    return folder, run(python, folder, str(python.with_name("bench")), *words, "--name", "tiny")


def test_files_of_the_same_names_are_in_nobodys_way(swept):
    folder, output = swept
    assert "latch at 8" in output
    assert {path.name for path in folder.iterdir()} == {"results", *(name.split("/")[0] for name in SAME_NAMES)}


def test_the_leaderboard_of_a_sweep_is_shown_in_an_empty_folder(swept, python, tmp_path):
    results = str(swept[0] / "results")
    run(python, tmp_path, "-m", "bench", "leaderboard", "--results", results, "--csv", "out.csv")
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows if row["rank"]] != []
    assert {row["model"] for row in rows} >= {"gru", "mlp", "(chance)"}
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
