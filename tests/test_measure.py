"""What a run costs: what is measured is what was spent."""

import subprocess
import sys
import time

import pytest

from bench import measure
from bench.config import RunConfig, TrainSettings
from bench.datamodule import to_tensors
from bench.datasets import make_task
from bench.module import SequenceModule


def in_process(code: str) -> str:
    """Run code in a fresh Python and return what it printed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


SUBNORMALS = """
import torch
from bench.measure import prepare_process
{prepare}
# Large enough for all threads to take a part; 1e-40 is below the least normal float, 1.2e-38.
part = torch.full((4_000_000,), 1e-20) * 1e-20
print(torch.get_num_threads(), int((part != 0).sum()))
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_subnormals_are_flushed_in_every_thread(threads):
    assert in_process(SUBNORMALS.format(prepare=f"prepare_process({threads})")) == f"{threads} 0"


def test_subnormals_are_there_without_preparation():
    # Or the test above would test nothing.
    assert in_process(SUBNORMALS.format(prepare="torch.set_num_threads(1)")) == "1 4000000"


def test_subnormal_gradients_are_flushed():
    """The backward pass may run in a thread of the autograd engine."""
    code = """
import torch
from bench.measure import prepare_process
prepare_process(1)
x = torch.ones(1000, requires_grad=True)
((x * 1e-20) * 1e-20).sum().backward()
print(int((x.grad != 0).sum()))
"""
    assert in_process(code) == "0"


PEAK = """
import torch
from bench.measure import PeakMemory, prepare_process
prepare_process(1)
{before}
memory = PeakMemory("cpu")
{after}
print(memory.bytes())
"""
ALLOCATION = "block = torch.ones(200, 1 << 20, dtype=torch.uint8); del block"


def peak_mib(before: str = "", after: str = "") -> float:
    told = in_process(PEAK.format(before=before, after=after))
    if told == "None":
        pytest.skip("the peak cannot be reset here")
    return int(told) / 2**20


def test_the_peak_includes_memory_given_back():
    assert peak_mib(after=ALLOCATION) == pytest.approx(200, rel=0.1)


def test_the_peak_leaves_out_what_was_there_before():
    assert peak_mib(before="kept = torch.ones(200, 1 << 20, dtype=torch.uint8)") < 20


@pytest.fixture
def clock(monkeypatch):
    """A clock that is put forward by hand."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_time_of_an_inner_purpose_is_not_counted_for_the_outer(clock):
    ledger = measure.Ledger("cpu")
    clock(1)  # booked nowhere
    with ledger.spent_on("train"):
        clock(2)
        with ledger.spent_on("evaluate"):
            clock(4)
        clock(8)
    clock(16)
    assert ledger.seconds == {"train": 10, "evaluate": 4}


def test_time_adds_up_over_blocks(clock):
    ledger = measure.Ledger("cpu")
    for seconds in (1, 2):
        with ledger.spent_on("train"):
            clock(seconds)
    assert ledger.seconds == {"train": 3}


def test_time_is_booked_while_a_block_is_open(clock):
    ledger = measure.Ledger("cpu")
    ledger.switch("train")
    clock(3)
    assert ledger.so_far("train") == 3
    assert ledger.so_far("evaluate") == 0
    clock(1)
    ledger.back()
    assert ledger.seconds == {"train": 4}


def fail_in(ledger: measure.Ledger, clock) -> None:
    with ledger.spent_on("train"), ledger.spent_on("evaluate"):
        clock(3)
        raise ValueError("stop")


def test_a_block_that_fails_is_booked_and_left(clock):
    ledger = measure.Ledger("cpu")
    with pytest.raises(ValueError, match="stop"):
        fail_in(ledger, clock)
    clock(5)
    with ledger.spent_on("setup"):
        clock(1)
    assert ledger.seconds == {"train": 0, "evaluate": 3, "setup": 1}


def test_the_environment_is_complete():
    found = measure.environment("cpu")
    assert found.keys() == {
        "hardware", "platform", "python", "torch", "pytorch_lightning", "optuna", "mlflow", "numpy"
    }  # fmt: skip
    assert all(isinstance(value, str) and value.strip() for value in found.values())


def test_speed_is_of_steps_of_the_batch_given():
    settings = TrainSettings(max_sequences=64, batch_size=8, num_epochs=2, num_val=8, num_test=8, schedule="cosine")
    config = RunConfig(
        sweep="s", run="r", phase="speed", number=0, dataset="parity", task="parity", length=8, task_arguments={},
        space="gru", model="gru", model_arguments={"hidden_size": 4}, train=settings, seed=0,
    )  # fmt: skip
    task = make_task("parity", 8, {})
    module = SequenceModule(task, config)
    speed = measure.speed(module, to_tensors(task.train_batch(0, 0, 8)), config)
    assert speed["batch_size"] == 8
    for name in ("train", "inference"):
        milliseconds = speed[f"{name}_step_milliseconds"]
        assert milliseconds > 0
        assert speed[f"{name}_sequences_per_second"] == pytest.approx(8 * 1000 / milliseconds)
        assert speed[f"{name}_spread"] >= 0
        assert 5 <= speed[f"{name}_repeats"] <= measure.MAX_REPEATS
    assert speed["train_step_milliseconds"] > speed["inference_step_milliseconds"]


def test_seconds_are_medians_after_a_warm_up(monkeypatch, clock):
    pauses = iter([60.0, 60.0, 60.0, *[0.05, 0.05, 9.0, 0.05, 0.05]])
    assert measure._repeat(lambda: clock(next(pauses)), "cpu") == pytest.approx([0.05, 0.05, 9.0, 0.05, 0.05])
