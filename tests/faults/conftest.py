"""Sweeps of stub runs as processes that can be killed, and what must hold of a sweep afterwards."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import URL

from bench.config import datasets, search_spaces
from bench.results.cell_runs import CellRuns
from bench.results.record import outcome, records

# Coordinators are forked from a process that has loaded Optuna and MLflow, which takes seconds.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.faults.driver"])


class Coordinator:
    """The process of a coordinator, with the methods of Popen that tests need."""

    def __init__(self, folder: Path, words: tuple[str, ...], environment: dict[str, str], output: Path) -> None:
        from tests.faults import driver

        self._output = output
        arguments = (folder.parents[1], folder.name, words, environment, output)
        self._process = FORKS.Process(target=driver.main, args=arguments, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float = 300) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("coordinator", timeout, self._text())
        return self._process.exitcode

    def communicate(self, timeout: float = 300) -> tuple[str, None]:
        """Wait for the end; return what was printed."""
        self.wait(timeout)
        return self._text(), None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _text(self) -> str:
        return self._output.read_text() if self._output.exists() else ""


def leads_session(pid: int) -> bool:
    """Return whether a process leads a session, as the fork server and the runs do; one that has just ended does not."""
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


class Sweep:
    """One sweep of stubs: starts coordinators on it and checks what they leave."""

    def __init__(self, results: Path, name: str = "s") -> None:
        self.results = results
        self.folder = results / "sweeps" / name
        self.token = uuid.uuid4().hex
        self.coordinators: list[Coordinator] = []

    def start(self, *words: str, **environment: str) -> Coordinator:
        """Start a coordinator; words are KEY=JSON of SweepConfig."""
        env = os.environ | {"BENCH_TESTING": "1", "BENCH_TOKEN": self.token} | environment
        output = self.results.parent / f"output-{uuid.uuid4().hex}.txt"
        self.coordinators.append(process := Coordinator(self.folder, words, env, output))
        return process

    def finish(self, *words: str, **environment: str) -> tuple[int, str]:
        """Run a coordinator to its end; return its exit code and what it printed."""
        process = self.start(*words, **environment)
        output, _ = process.communicate()
        return process.returncode, output

    def wait_for(self, pattern: str, seconds: float = 60) -> None:
        """Wait until a file below the sweep's folder matches."""
        end = time.monotonic() + seconds
        while not list(self.folder.glob(pattern)):
            assert time.monotonic() < end, f"{pattern} did not appear"
            time.sleep(0.01)

    def wait_until(self, condition: Callable[[], object], what: str, seconds: float = 120) -> Any:
        """Wait until a condition holds, and return its value."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, f"{what} did not appear"
            time.sleep(0.01)
        return value

    def server(self, coordinator: Coordinator) -> int:
        """Return the process from which a coordinator's runs are forked."""
        (pid,) = (pid for pid in self.alive() if leads_session(pid) and parent(pid) == coordinator.pid)
        return pid

    def runs(self, coordinator: Coordinator) -> list[int]:
        """Return the processes of the runs under way; none before the fork server is there."""
        parents = {pid: parent(pid) for pid in self.alive()}
        servers = {pid for pid, above in parents.items() if above == coordinator.pid}
        with_run = [pid for pid, above in parents.items() if above in servers and leads_session(pid)]
        started = {int(pid) for path in self.folder.rglob("starts.txt") for pid in path.read_text().split()}
        return [pid for pid in with_run if pid in started]

    def alive(self) -> list[int]:
        """Return the processes of this sweep that are alive, coordinators and all they started."""
        found = []
        coordinators = {process.pid for process in self.coordinators if process.poll() is None}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words = (path / "environ").read_text(errors="ignore") + (path / "cmdline").read_text(errors="ignore")
                if self.token in words or int(path.name) in coordinators:
                    state = (path / "stat").read_text().rsplit(")", 1)[1].split()[0]
                    if state not in "ZX":
                        found.append(int(path.name))
            except OSError:
                continue
        return found

    def check_dead(self) -> None:
        """Assert that no process is left. It takes hundredths of a second on an idle machine."""
        end = time.monotonic() + 60
        while self.alive():
            assert time.monotonic() < end, f"alive after 60 s: {self.alive()}"
            time.sleep(0.01)

    def trials(self) -> dict[str, list[optuna.trial.FrozenTrial]]:
        """Return the trials of every study."""
        url = URL.create("sqlite", database=str(self.folder / "study.db")).render_as_string()
        storage = optuna.storages.RDBStorage(url)
        return {s.study_name: s.get_trials() for s in optuna.get_all_study_summaries(storage) for s in [
            optuna.load_study(study_name=s.study_name, storage=storage)]}  # fmt: skip

    def check_complete(self, trials: int, confirm_seeds: int, seed: int = 0) -> None:
        """Assert that nothing is lost, nothing is there twice, and that study, records and MLflow agree."""
        found = list(records(self.folder))
        for name, study in self.trials().items():
            dataset, length, model = name.split("/")
            kind = datasets.read(dataset).at(int(length.removeprefix("L"))).kind
            space = search_spaces.read(model, kind=kind)
            assert [trial.number for trial in study] == list(range(trials)), name
            for trial in study:
                assert trial.state.is_finished(), f"{name} trial {trial.number} is {trial.state.name}"
                drawn = space.sobol_point(trial.number - 1, seed) if trial.number else space.default
                assert trial.params == drawn
                mine = [record for record in found if record.config.run == f"{name}/t{trial.number}"]
                assert len(mine) == 1
                if trial.state == optuna.trial.TrialState.COMPLETE:
                    assert trial.value == mine[0].val_score
            mine = [record for record in found if record.config.run.startswith(name + "/")]
            cell = CellRuns(tuple(mine), 1)
            for trial in cell.to_confirm:
                assert len(cell.confirmations(trial)) == confirm_seeds
            # The test split met the chosen configuration's weights, each once, and no others.
            opened = sorted(run for record in mine for run in record.config.opens_test_of)
            complete = [run for run in cell.confirmed if run.state == "complete"]
            assert opened == sorted(run.config.run for run in complete)
            assert all(run.test for run in complete)
        assert not list(self.folder.rglob(".record.json.*"))
        self.check_tracked()

    def check_tracked(self) -> None:
        """Assert that MLflow has each record once, ended as the record says."""
        runs = self.mlflow_runs()
        ids = Counter(run.data.tags.get("bench.id") for run in runs)
        assert max(ids.values()) == 1, ids
        by_id = {run.data.tags["bench.id"]: run for run in runs}
        for run in runs:
            if run.data.tags["bench.kind"] in ("cell", "sweep"):
                assert run.info.status in ("FINISHED", "FAILED"), run.info.run_name
        for record in records(self.folder):
            if record.config.phase in ("screen", "confirm"):
                run = by_id[f"{self.folder.name}/{record.config.run}"]
                assert run.data.tags["bench.status"] == outcome(record)
                assert run.info.status == ("FAILED" if record.state == "failed" else "FINISHED")

    def mlflow_runs(self) -> list:
        """Return all runs in MLflow."""
        from mlflow import MlflowClient

        from bench.tracking.store import store_uri

        client = MlflowClient(tracking_uri=store_uri(self.results))
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(client.search_runs(experiments, max_results=5000))


def parent(pid: int) -> int:
    """Return the parent of a process; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


@contextlib.contextmanager
def sweep_of_stubs(folder: Path, empty_store: Path) -> Iterator[Sweep]:
    """Give a sweep of stubs in a results folder of its own; whatever it left running is killed at the end."""
    results = folder / "results"
    results.mkdir()
    shutil.copy(empty_store, results / "mlflow.db")
    sweep = Sweep(results)
    yield sweep
    for pid in sweep.alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def stub_sweep(tmp_path: Path, empty_store: Path):
    """A sweep of stubs; whatever it left running is killed at the end."""
    with sweep_of_stubs(tmp_path, empty_store) as sweep:
        yield sweep


@pytest.fixture(scope="session")
def finished_results(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """The results folder of a sweep of two trials and one seed that is done; not to be written to."""
    results = tmp_path_factory.mktemp("finished") / "results"
    results.mkdir()
    shutil.copy(empty_store, results / "mlflow.db")
    status, output = Sweep(results).finish("trials=2", "confirm_seeds=1")
    assert status == 0, output
    return results


@pytest.fixture
def finished_sweep(tmp_path: Path, finished_results: Path) -> Sweep:
    """A finished sweep of two trials and one seed, in a results folder of its own."""
    return Sweep(shutil.copytree(finished_results, tmp_path / "results"))
