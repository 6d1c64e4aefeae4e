"""The time left of a sweep, against the recorded durations of a real one."""

import heapq
from dataclasses import replace
from pathlib import Path

import pytest

from bench.config.ids import CellId
from bench.config.sweep_settings import SweepConfig
from bench.results.cell_runs import CellRuns
from bench.results.record import RunRecord
from bench.sweeps import next_step as steps
from bench.sweeps import prepare
from bench.sweeps.estimate import CellEstimate
from bench.sweeps.next_step import Confirm, Done, Trial, Wait, next_step
from bench.sweeps.status import Status
from bench.sweeps.time_left import TimeLeft
from tests.makers import record

MODELS = ["mlp", "rnn", "lstm", "stacked_lstm", "bilstm", "gru", "transformer"]
RECORDED = """
latch 32: 7.88 1.02 32000 1, 15.60 1.49 32000 2, 2.13 0.19 4800 1, 2.51 0.20 3200 1, 2.75 0.24 3200 1, 6.71 0.40 3200 1, 11.31 0.55 3200 2
latch 64: 16.72 1.48 32000 2, 24.81 2.43 32000 2, 3.37 0.30 4800 1, 4.13 0.42 4800 1, 4.01 0.36 3200 1, 13.35 1.00 4800 1, 18.79 2.88 8000 1
adding 25: 5.88 0.22 9600 2, 11.98 1.13 32000 2, 5.34 0.53 19200 1, 7.51 0.75 14400 1, 7.70 0.72 14400 1, 8.32 1.01 12800 1, 9.28 0.98 6400 1
adding 50: 8.92 0.44 12800 2, 18.65 1.82 32000 2, 7.04 0.84 22400 1, 11.02 1.19 17600 1, 11.31 1.34 19200 1, 17.01 2.09 12800 1, 20.85 2.20 8000 1
copy_memory 10: 8.42 1.06 32000 1, 16.47 1.53 32000 2, 14.04 1.27 32000 2, 19.85 1.88 32000 2, 21.77 2.07 32000 2, 32.24 3.26 32000 2, 33.29 5.66 20800 1
digits 8: 8.73 0.49 32000 2, 9.98 0.66 32000 2, 7.44 0.73 32000 1, 9.53 1.02 32000 1, 10.17 1.17 32000 1, 9.70 1.09 32000 1, 23.84 1.95 32000 2
"""  # noqa: E501
"""Of a sweep with budget quick on two quiet cores (4 min 39 s): for each model in the order of MODELS, the device seconds
of the cell, training seconds and sequences of a confirm run, and how many configurations were confirmed."""

PASS, TEST = 0.76, 0.25  # seconds of an exclusive pass and of a test run in that sweep
TRIALS, SEEDS = 3, 3


def recorded() -> dict[tuple[str, int, str], tuple[float, float, float, float, int]]:
    """Return seconds and share of the steps of a trial and of a confirm run, and the configurations confirmed."""
    durations = {}
    for line in RECORDED.strip().splitlines():
        question, _, cells = line.partition(":")
        dataset, length = question.split()
        for model, cell in zip(MODELS, cells.split(","), strict=True):
            whole, trained, sequences, confirmed = map(float, cell.split())
            runs, left = TRIALS + SEEDS * confirmed, whole - PASS - TEST
            confirm = min(0.15 + 1.25 * trained, left / runs)  # validations, process and data beside the training
            # The confirmed trial is as long as its confirmation; the others take what is left.
            trial = (left - SEEDS * confirmed * confirm - confirm) / (TRIALS - 1)
            share = sequences / 32_000
            of_trial = min(1.0, share * trial / confirm)
            durations[dataset, int(length), model] = (trial, of_trial, confirm, share, int(confirmed))
    return durations


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """The plan of the recorded sweep."""
    folder, plans = tmp_path_factory.mktemp("results"), []
    for dataset, lengths in {"latch": [32, 64], "adding": [25, 50], "copy_memory": [10], "digits": [8]}.items():
        options = {"datasets": [dataset], "lengths": lengths, "models": MODELS, "results": folder, "workers": 2}
        plans.append(prepare.make(SweepConfig.build(None, options)))
    return replace(plans[0], cells=[cell for plan in plans for cell in plan.cells])


class Replay:
    """Carries out the runs of a plan on a clock, each for as long as it was recorded, and notes what is predicted."""

    def __init__(self, plan, factor: float = 1.0) -> None:
        self.plan, self.left = plan, TimeLeft(plan)
        self.recorded, self.factor = recorded(), factor
        self.runs = {cell.id: CellRuns((), 1) for cell in plan.cells}
        self.now, self.under_way, self.predictions = 0.0, [], []

    def run(self) -> list[tuple[float, float]]:
        """Return the moments at which runs ended, as a share of the whole, with the error of the prediction there."""
        slots = len(self.plan.slots)
        groups: dict[str, list] = {}
        for cell in self.plan.cells:
            groups.setdefault(prepare.question_of(cell), []).append(cell.id)
        open_cells: list[CellId] = []
        pending = list(groups.values())
        self.predict(slots)
        while True:
            while len(self.under_way) < slots and (job := self.next(open_cells, pending)) is not None:
                cell, run, seconds = job
                heapq.heappush(self.under_way, (self.now + seconds, run.config.run, cell, run, seconds))
            if not self.under_way:
                break
            self.now, _, cell, run, seconds = heapq.heappop(self.under_way)
            self.runs[cell] = self.runs[cell].plus(run)
            self.left.add(run, seconds)
            self.predict(slots)
        for cell in self.plan.cells:
            self.now += PASS * self.factor
            run = record({"run": f"{cell.id}/t0-speed", "phase": "speed", **named(cell.id)})
            self.left.add(run, PASS * self.factor)
            self.predict(1)
        return [(at / self.now, left / (self.now - at) - 1) for at, left in self.predictions if at < self.now]

    def predict(self, concurrency: int) -> None:
        running = sum(job[3].config.phase != "test" for job in self.under_way)
        self.predictions.append((self.now, self.left.seconds(self.runs, running, concurrency)))

    def next(self, open_cells: list[CellId], pending: list[list[CellId]]):
        begun = {job[2] for job in self.under_way}
        for cell in self.plan.cells:  # the first trial of every cell comes first
            if not self.runs[cell.id].records and cell.id not in begun:
                return self.step(cell.id)
        while True:
            for cell in list(open_cells):
                job = self.step(cell)
                if job is None:
                    open_cells.remove(cell)
                elif job != "wait":
                    return job
            if not pending:
                return None
            open_cells += pending.pop(0)

    def step(self, cell: CellId):
        """Return the next run of a cell with its seconds; "wait", or None if the cell is done."""
        trial, of_trial, confirm, of_confirm, number = self.recorded[cell.dataset, cell.length, cell.space]
        running = [job[3].config.id for job in self.under_way if job[2] == cell]
        match next_step(self.runs[cell], running, TRIALS, SEEDS):
            case Trial():
                index = len(self.runs[cell].screened) + len(running)
                # Where two configurations were confirmed, the default is not the best.
                score = 0.9 if index == number - 1 else 0.5
                seconds, share = (confirm, of_confirm) if index == number - 1 else (trial, of_trial)
                return cell, made(cell, f"t{index}", "screen", index, score, share), seconds * self.factor
            case Confirm(best, index):
                name = str(best.config.id.confirmation(index)).rpartition("/")[2]
                return cell, made(cell, name, "confirm", index, best.val_score, of_confirm), confirm * self.factor
            case steps.Test(_, runs):
                opened = tuple(run.config.run for run in runs)
                config = {"run": f"{cell}/{runs[0].config.id.trial.name}-test", "opens_test_of": opened}
                tests = {run: {"accuracy": 0.5} for run in opened}
                run = record({"phase": "test", **config, **named(cell)}, {"solved": None}, tests=tests)
                return cell, run, TEST * self.factor
            case Wait():
                return "wait"
            case Done():
                return None


def named(cell: CellId) -> dict:
    return {"dataset": cell.dataset, "length": cell.length, "space": cell.space, "task": "latch", "model": "lstm"}


def made(cell: CellId, name: str, phase: str, number: int, score: float, share: float) -> RunRecord:
    config = {"run": f"{cell}/{name}", "phase": phase, "number": number, **named(cell)}
    run = record(config, {"solved": None}, val={"accuracy": score})
    return run.model_copy(update={"train_steps": round(share * run.config.train.max_steps), "solved": share < 1})


def error_at(share: float, errors: list[tuple[float, float]]) -> float:
    return min(errors, key=lambda pair: abs(pair[0] - share))[1]


@pytest.mark.parametrize("factor", [1.0, 4.0, 0.3], ids=["as recorded", "a slow machine", "a fast machine"])
def test_halfway_the_time_left_is_within_a_quarter(plan, factor):
    replay = Replay(plan, factor)
    errors = replay.run()
    assert replay.predictions[-1][1] == pytest.approx(0)  # what has ended takes no more time
    for share in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        assert abs(error_at(share, errors)) < 0.25, (share, error_at(share, errors))


@pytest.mark.parametrize("first", ["copy_memory/L10", "digits/L8"])
def test_halfway_it_is_within_a_quarter_whatever_question_comes_first(plan, first):
    """The dearest question, which nobody solves, and the one that cannot be solved."""
    cells = plan.questions
    order = [*cells[first], *(cell for name, group in cells.items() if name != first for cell in group)]
    assert abs(error_at(0.5, Replay(replace(plan, cells=order)).run())) < 0.25


def test_a_prediction_of_plan_is_used(plan):
    """A model of your own of which no step is usual: plan.json knows that its runs take a minute."""
    cell = plan.cells[0]
    estimate = CellEstimate(
        dataset=cell.dataset.name,
        length=cell.length,
        model=cell.space.name,
        runs=6,
        run_seconds=60.0,
        share=0.5,
        learned_from=9,
    )
    runs = {cell.id: CellRuns((), 1) for cell in plan.cells}
    without = TimeLeft(plan).seconds(runs, 0, 2)
    with_it = TimeLeft(plan, [estimate]).seconds(runs, 0, 2)
    assert with_it - without == pytest.approx(8 * 30 / 2, rel=0.1)  # 3 trials and 5 confirm runs of 30 s, and a test


def test_a_cell_without_a_configuration_to_confirm_is_over(plan):
    cell = plan.cells[0]
    lost = replace(plan, cells=[cell])
    failed = [
        record({"run": f"{cell.id}/t{number}", "number": number, **named(cell.id)}, state="failed", cause="error")
        for number in range(TRIALS)
    ]
    assert TimeLeft(lost).seconds({cell.id: CellRuns(tuple(failed), 1)}, 0, 2) == 0


def test_a_status_counts_down_and_ends_with_its_budget(plan, monkeypatch):
    limited = replace(plan, config=plan.config.model_copy(update={"wall_time": 10.0}), folder=Path("/nowhere"))
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    status = Status(limited)
    assert status.seconds_left is None
    status.predict({cell.id: CellRuns((), 1) for cell in plan.cells}, 0, 2)
    assert status.seconds_left == pytest.approx(10)
    now[0] += 4
    assert status.seconds_left == pytest.approx(6)
    now[0] += 60
    assert status.seconds_left == 0
