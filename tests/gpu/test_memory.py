"""The memory of a GPU runs out for real: the outcome, the next run on the slot, and batches that are divided."""

import pytest

from bench.config import own_code
from tests.gpu.runs import CAP, HERE, carry_out, first_gpu, losses, on_gpu, with_a_cap

MIB = 2**20

GREEDY = """
import torch
from torch import nn

class Model(nn.Module):
    causal = True

    def __init__(self, input_size, length, *, hidden_size=8):
        super().__init__()
        self.rnn = nn.GRU(input_size, hidden_size, batch_first=True)
        self.output_size = self.summary_size = hidden_size
        self.kept = []

    def forward(self, x_BLD, length_B, state=None):
        while x_BLD.is_cuda:  # until nothing is left
            self.kept.append(torch.empty(2**29, dtype=torch.uint8, device=x_BLD.device))
        return self.rnn(x_BLD, state)

    def summary(self, h_BLH, length_B):
        return h_BLH[torch.arange(len(h_BLH)), length_B - 1]

    def state_size(self, length):
        return self.output_size
"""


def used_bytes() -> int:
    """Return how much of the memory of the first GPU is in use, by all processes."""
    import pynvml

    pynvml.nvmlInit()
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(int(first_gpu().index))).used)
    finally:
        pynvml.nvmlShutdown()


@pytest.mark.gpu
def test_a_run_that_fills_the_gpu_is_out_of_memory_and_harms_no_other(tmp_path, slot, record_property):
    path = tmp_path / "greedy.py"
    path.write_text(GREEDY)
    greedy = on_gpu("greedy", model=str(path), source_hash=own_code.allow(path))
    before = used_bytes()
    (first, full, last), _ = carry_out(tmp_path / "runs", [on_gpu("first"), greedy, on_gpu("last")], [slot])
    assert (full.state, full.cause) == ("failed", "out_of_memory")
    assert "CUDA out of memory" in full.message
    assert full.message.startswith("greedy.py, line ")
    assert full.peak_memory_bytes > 1024 * MIB
    assert losses(last) == pytest.approx(losses(first), abs=0.02)
    assert last.peak_memory_bytes == pytest.approx(first.peak_memory_bytes, rel=0.1)
    assert used_bytes() - before < 256 * MIB, "memory of an ended run is still in use"
    record_property("held when memory ran out, MiB", f"{full.peak_memory_bytes / MIB:,.0f}")
    record_property("peak memory of the next run, MiB", f"{last.peak_memory_bytes / MIB:,.1f}")


LARGE = {"batch_size": 512, "max_sequences": 512 * 8, "num_epochs": 2, "num_val": 64, "learning_rate": 1e-2}


@pytest.mark.gpu
def test_a_batch_that_does_not_fit_is_divided_and_teaches_the_same(tmp_path, slot, monkeypatch, record_property):
    """Parity has sequences of many lengths and answers at every step, which a mask selects."""
    shared = {"dataset": "parity", "length": 512, "model_arguments": {"hidden_size": 128}, "settings": LARGE}
    ((whole,), _) = carry_out(tmp_path / "whole", [on_gpu("whole", **shared)], [slot])
    assert whole.accumulate_grad_batches == 1
    assert losses(whole)
    cap = int(0.75 * whole.peak_memory_bytes)
    monkeypatch.setenv(CAP, str(cap))
    configs = [on_gpu(policy, on_out_of_memory=policy, **shared) for policy in ("fail", "halve")]
    (failed, halved), _ = carry_out(tmp_path / "capped", configs, [slot], run=f"{HERE}:{with_a_cap.__name__}")
    assert (failed.state, failed.cause) == ("failed", "out_of_memory")
    assert losses(halved) == pytest.approx(losses(whole), rel=0.02)
    assert halved.accumulate_grad_batches in (2, 4, 8)
    assert halved.train_steps == whole.train_steps == 8
    assert halved.peak_memory_bytes <= cap
    record_property("peak memory undivided, MiB", f"{whole.peak_memory_bytes / MIB:,.0f}")
    record_property("peak memory under the cap, MiB", f"{halved.peak_memory_bytes / MIB:,.0f}")
    record_property("micro-batches of a step", str(halved.accumulate_grad_batches))
    for name, record in (("undivided", whole), ("divided, with the failed attempts", halved)):
        record_property(f"8 training steps {name}, s", f"{record.seconds.burn_in + record.seconds.train:.2f}")
