"""What a run costs: what is measured is what was spent."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.training.ledger import Ledger, environment

ROOT = Path(__file__).parents[2]

# Run in processes of their own, all forked from one that has torch loaded, as runs are.
SUBNORMALS = """
{prepare}
# Large enough for all threads to take a part; 1e-40 is below the least normal float, 1.2e-38.
part = torch.full((4_000_000,), 1e-20) * 1e-20
answer = [torch.get_num_threads(), int((part != 0).sum())]
"""
BACKWARD = """
prepare_process(1)
x = torch.ones(1000, requires_grad=True)
((x * 1e-20) * 1e-20).sum().backward()
answer = int((x.grad != 0).sum())
"""
BLOCK = "torch.ones(200, 1 << 20, dtype=torch.uint8)"  # 200 MiB
PEAK = """
prepare_process(1)
before = {before}
memory = PeakMemory("cpu")
{after}
answer = memory.bytes()
"""
SNIPPETS = {
    "one thread": SUBNORMALS.format(prepare="prepare_process(1)"),
    "two threads": SUBNORMALS.format(prepare="prepare_process(2)"),
    "unprepared": SUBNORMALS.format(prepare="torch.set_num_threads(1)"),
    "backward": BACKWARD,
    "allocated after": PEAK.format(before="None", after=f"{BLOCK}; None"),
    "allocated before": PEAK.format(before=BLOCK, after=""),
    "given back before": PEAK.format(before=f"{BLOCK}.shape", after=""),
}
SERVER = """
import json, os, sys
import torch
from bench.training.ledger import PeakMemory, prepare_process
for name, code in json.loads(sys.argv[1]).items():
    if os.fork() == 0:
        scope = {"torch": torch, "PeakMemory": PeakMemory, "prepare_process": prepare_process}
        exec(code, scope)
        print(json.dumps([name, scope["answer"]]), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, name
"""


@pytest.fixture(scope="module")
def answers() -> dict:
    """What each snippet answered."""
    command = [sys.executable, "-c", SERVER, json.dumps(SNIPPETS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize(("name", "threads"), [("one thread", 1), ("two threads", 2)])
def test_subnormals_are_flushed_in_every_thread(answers, name, threads):
    assert answers[name] == [threads, 0]


def test_subnormals_are_there_without_preparation(answers):
    # Or the tests beside it would test nothing.
    assert answers["unprepared"] == [1, 4_000_000]


def test_subnormal_gradients_are_flushed(answers):
    assert answers["backward"] == 0


@pytest.mark.parametrize(
    ("name", "mebibytes"), [("allocated after", 200), ("allocated before", 0), ("given back before", 0)]
)
def test_the_peak_is_of_what_was_added(answers, name, mebibytes):
    if answers[name] is None:
        pytest.skip("the kernel does not reset a peak here")
    assert answers[name] / 2**20 == pytest.approx(mebibytes, abs=20)


def test_time_of_an_inner_purpose_is_not_counted_for_the_outer(clock):
    ledger = Ledger("cpu")
    clock(1)  # booked nowhere
    with ledger.spent_on("train"):
        clock(2)
        with ledger.spent_on("evaluate"):
            clock(4)
        clock(8)
    clock(16)
    assert ledger.seconds == {"train": 10, "evaluate": 4}


def test_time_adds_up_over_blocks(clock):
    ledger = Ledger("cpu")
    for seconds in (1, 2):
        with ledger.spent_on("train"):
            clock(seconds)
    assert ledger.seconds == {"train": 3}


def test_time_is_booked_while_a_block_is_open(clock):
    ledger = Ledger("cpu")
    ledger.switch("train")
    clock(3)
    assert ledger.so_far("train") == 3
    assert ledger.so_far("evaluate") == 0
    clock(1)
    ledger.back()
    assert ledger.seconds == {"train": 4}


def fail_in(ledger: Ledger, clock) -> None:
    with ledger.spent_on("train"), ledger.spent_on("evaluate"):
        clock(3)
        raise ValueError("stop")


def test_a_block_that_fails_is_booked_and_left(clock):
    ledger = Ledger("cpu")
    with pytest.raises(ValueError, match="stop"):
        fail_in(ledger, clock)
    clock(5)
    with ledger.spent_on("setup"):
        clock(1)
    assert ledger.seconds == {"train": 0, "evaluate": 3, "setup": 1}


def test_the_environment_is_complete():
    found = environment("cpu")
    assert found.keys() == {
        "hardware", "platform", "python", "torch", "pytorch_lightning", "optuna", "mlflow", "numpy", "bench"
    }  # fmt: skip
    assert all(isinstance(value, str) and value.strip() for value in found.values())
