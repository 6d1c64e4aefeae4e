"""Training on a GPU: bf16-mixed, streaming, several ranks (DDP), and energy."""

import pytest
import torch

from bench.sweeps.engines import machine
from bench.sweeps.engines.engine import RUN
from tests.gpu.runs import HERE, carry_out, first_gpu, losses, on_gpu, on_one_device

LONGER = {"max_sequences": 32 * 100, "batch_size": 32, "learning_rate": 1e-2}


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("model", "arguments"), [("lstm", {"hidden_size": 32}), ("transformer", {"num_layers": 1, "num_heads": 2})]
)
def test_mixed_precision_learns_as_single_precision_does(tmp_path, slot, record_property, model, arguments):
    shared = {"dataset": "digits", "space": model, "model_arguments": arguments, "settings": LONGER}
    configs = [on_gpu(precision, precision=precision, **shared) for precision in ("32-true", "bf16-mixed")]
    (single, mixed), _ = carry_out(tmp_path / "runs", configs, [slot])
    assert losses(mixed) != losses(single), "nothing was computed in bfloat16"
    assert mixed.epochs[-1].train_loss == pytest.approx(single.epochs[-1].train_loss, rel=0.2)
    assert mixed.epochs[-1].train_loss < 0.8 * mixed.epochs[0].train_loss
    for record in (single, mixed):
        step = (record.seconds.train + record.seconds.data) / record.train_steps
        record_property(
            f"{model}, {record.config.precision}: last training loss", f"{record.epochs[-1].train_loss:.3f}"
        )
        record_property(f"{model}, {record.config.precision}: training step, ms", f"{1e3 * step:.2f}")


@pytest.mark.gpu
def test_a_step_of_a_stream_takes_less_than_a_sequence(tmp_path, slot, record_property):
    config = on_gpu("speed", "speed", dataset="adding", length=1024, model_arguments={"hidden_size": 64})
    (record,), _ = carry_out(tmp_path / "runs", [config], [slot])
    assert record.state == "complete", record.message
    speed = record.speed
    assert 0 < speed["streaming_p50_milliseconds"] < speed["latency_p50_milliseconds"] / 2
    assert speed["streaming_p50_milliseconds"] <= speed["streaming_p95_milliseconds"]
    assert "cuDNN RNN" in record.kernels
    assert record.accumulate_grad_batches == 1
    for name in ("train_step", "latency_p50", "latency_p95", "streaming_p50", "streaming_p95"):
        record_property(f"lstm, 1,024 steps, {name}, ms", f"{speed[f'{name}_milliseconds']:.3f}")
    record_property("lstm, 1,024 steps, peak memory, MiB", f"{record.peak_memory_bytes / 2**20:,.1f}")


@pytest.mark.gpu
def test_two_ranks_learn_what_one_process_learns(tmp_path, record_property):
    """On two GPUs if there are two; else both ranks on one, which NCCL may refuse."""
    is_pair = len(machine.visible_gpus()) > 1
    slot = machine.make_slots(None, "2" if is_pair else "1", gpus_per_run=1 + is_pair)[0][0]
    shared = {"dataset": "parity", "settings": LONGER}
    (one,), _ = carry_out(tmp_path / "one", [on_gpu("one", "confirm", **shared)], machine.make_slots(None, "1")[0])
    run = RUN if is_pair else f"{HERE}:{on_one_device.__name__}"
    (two,), _ = carry_out(tmp_path / "two", [on_gpu("two", "confirm", num_devices=2, **shared)], [slot], run)
    log = (tmp_path / "two" / two.config.run / "log.txt").read_text()
    if not is_pair and two.state == "failed" and "NCCL" in log:
        pytest.skip(f"one GPU is visible, and NCCL refuses two ranks on it: {two.message}")
    assert losses(two) == pytest.approx(losses(one), abs=0.02)
    assert (two.train_steps, two.train_tokens) == (one.train_steps, one.train_tokens)
    weights = [torch.load(tmp_path / name / "d" / name / "weights.pt", weights_only=True) for name in ("one", "two")]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=0.05, atol=0.02)
    for record in (one, two):
        step = (record.seconds.train + record.seconds.data) / record.train_steps
        record_property(f"training step of {record.config.num_devices} process(es), ms", f"{1e3 * step:.2f}")


@pytest.mark.gpu
def test_the_energy_of_a_run_is_what_nvml_counts(tmp_path, slot, record_property):
    import pynvml

    gpu = first_gpu()
    if gpu.slices:
        pytest.skip(f"{gpu.name} is divided into slices (MIG), which have no meter")
    pynvml.nvmlInit()
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(int(gpu.index))
        try:
            before = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except pynvml.NVMLError as error:
            pytest.skip(f"NVML: {gpu.name}: {error}")
        config = on_gpu("run", length=64, settings={"max_sequences": 32 * 600, "batch_size": 32})
        (record,), _ = carry_out(tmp_path / "runs", [config], [slot])
        around = (pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) - before) / 1e3
    finally:
        pynvml.nvmlShutdown()
    assert losses(record)
    assert record.energy_from == "nvml"
    assert 0 < record.energy_joules <= around
    watts = record.energy_joules / (record.seconds.total - record.seconds.waiting)
    assert 1 < watts < 2_000
    record_property("energy of a run, J", f"{record.energy_joules:,.1f}")
    record_property("mean power of the GPU during it, W", f"{watts:,.0f}")
