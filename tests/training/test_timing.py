"""Speed, kernels and operations: against known workloads and hand calculations."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.config import search_spaces
from bench.config.datasets import make_task
from bench.config.settings import BASELINES
from bench.training import timing
from bench.training.datamodule import to_tensors
from bench.training.module import SequenceModule
from tests.makers import run_config

SETTINGS = {"max_sequences": 64, "batch_size": 8, "num_epochs": 2, "num_val": 8, "num_test": 8}

TWO_WAY = {"bilstm", "cnn", "bitransformer"}


def make(name: str, dataset: str = "latch", length: int = 23, meta: bool = False, **changes):
    space = search_spaces.read(name)
    arguments, train = space.split(space.default)
    config = run_config(
        "speed",
        dataset=dataset,
        length=length,
        space=name,
        model=space.model,
        model_arguments=arguments | changes,
        settings=SETTINGS | train,
    )
    task = make_task(dataset, length, {})
    with torch.device("meta" if meta else "cpu"):
        return SequenceModule(task, config), task, config


def batch(task):
    return to_tensors(task.train_batch(0, 0, 8))


def test_seconds_are_taken_after_a_warm_up(clock):
    pauses = iter([60.0, 60.0, 60.0, *[0.05, 0.05, 9.0, 0.05, 0.05]])
    repeats = timing.repeat(lambda: clock(next(pauses)), "cpu", 30)
    assert repeats.seconds == pytest.approx([0.05, 0.05, 9.0, 0.05, 0.05])
    assert not repeats.is_disturbed


def test_speed_is_of_steps_of_the_batch_given():
    module, task, config = make("gru", "parity", 8)
    speed = timing.speed(module, batch(task), config)
    assert speed["batch_size"] == 8
    for name in ("train", "inference"):
        milliseconds = speed[f"{name}_step_milliseconds"]
        assert milliseconds > 0
        assert speed[f"{name}_sequences_per_second"] == pytest.approx(8 * 1000 / milliseconds)
        assert speed[f"{name}_spread"] >= 0
        assert speed[f"{name}_disturbed"] in (0, 1)
        assert 5 <= speed[f"{name}_repeats"] <= timing.MAX_REPEATS
    for name in ("latency", "streaming"):
        assert 0 < speed[f"{name}_p50_milliseconds"] <= speed[f"{name}_p95_milliseconds"]
        assert timing.MIN_SINGLE_REPEATS <= speed[f"{name}_repeats"] <= timing.MAX_SINGLE_REPEATS


@pytest.mark.parametrize("name", BASELINES)
def test_only_what_can_stream_is_timed_streaming(name):
    module, task, config = make(name)
    found = timing.speed(module, batch(task), config)
    assert ("streaming_p50_milliseconds" in found) == (name not in TWO_WAY)


@pytest.mark.parametrize("name", ["lstm", "transformer", "mlp"])
@pytest.mark.parametrize("most", [100, 1])
def test_every_step_of_a_stream_is_the_last_of_the_longest_sequence(monkeypatch, name, most):
    module, task, config = make(name, "adding")
    x, lengths, *_ = batch(task)
    lengths = lengths.clamp(max=most)
    longest, steps = int(lengths.argmax()), int(lengths.max())
    forward, calls = module.encoder.forward, []

    def spy(x_BLD, length_B, state=None):
        h_BLH, after = forward(x_BLD, length_B, state)
        calls.append((*x_BLD.shape[:2], int(length_B), state, after, h_BLH))
        return h_BLH, after

    monkeypatch.setattr(module.encoder, "forward", spy)
    step = timing._one_step(module, x, lengths, config)
    prefix = calls.pop() if steps > 1 else None
    step()
    step()
    whole, _ = forward(x[longest : longest + 1, :steps], torch.tensor([steps]))
    if prefix is not None:
        assert prefix[:3] == (1, steps - 1, steps - 1)
    for *shape, state, _, h_BLH in calls:
        assert shape == [1, 1, 1]
        assert state is (prefix[4] if prefix else None)  # never the longer one that the step before left
        torch.testing.assert_close(h_BLH[:, 0], whole[:, -1], atol=1e-5, rtol=1e-5)


def test_a_known_workload_is_measured_exactly_and_only_training_pays_for_the_backward_pass(clock, monkeypatch):
    """An encoder whose forward pass takes 4 ms of the fake clock, and whose backward pass takes 6 ms."""
    module, task, config = make("lstm")
    forward = module.encoder.forward

    def slow(*arguments):
        clock(0.004)
        h_BLH, state = forward(*arguments)
        if h_BLH.requires_grad:
            h_BLH.register_hook(lambda gradient: clock(0.006))
        return h_BLH, state

    monkeypatch.setattr(module.encoder, "forward", slow)
    measured = timing.speed(module, batch(task), config)
    assert measured["train_step_milliseconds"] == pytest.approx(10)
    for name in ("inference_step", "latency_p50", "streaming_p50", "latency_p95", "streaming_p95"):
        assert measured[f"{name}_milliseconds"] == pytest.approx(4)
    assert measured["train_repeats"] in (25, 26)  # 0.25 s at 10 ms, which floats add up to or just miss
    assert timing.latency(module, batch(task), config) == (pytest.approx(4), False)


def test_inference_is_timed_for_each_batch_size(clock, monkeypatch):
    """An encoder that takes 1 ms, and 2 ms more for each sequence of its batch."""
    module, task, config = make("lstm")
    config = config.model_copy(update={"batch_sizes": (1, 2, 16)})
    forward = module.encoder.forward

    def slow(x_BLD, *arguments):
        clock(0.001 + 0.002 * len(x_BLD))
        return forward(x_BLD, *arguments)

    monkeypatch.setattr(module.encoder, "forward", slow)
    measured = timing.speed(module, batch(task), config)
    values = [measured[f"inference_b{number}_milliseconds"] for number in (1, 2, 16)]
    assert values == pytest.approx([3, 5, 33])  # the batch of 8 is repeated
    assert measured["inference_b16_spread"] == pytest.approx(0, abs=1e-9)
    assert measured["inference_b16_disturbed"] == 0


def test_the_latency_leaves_the_module_as_it_was():
    module, task, config = make("lstm")
    module.train()
    timing.latency(module, batch(task), config)
    assert module.training


@pytest.mark.parametrize("dataset", ["latch", "parity", "adding"])
@pytest.mark.parametrize("name", [*BASELINES, "tcn", "s4d"])
def test_extrapolated_operations_are_those_of_a_direct_count(name, dataset):
    if name in TWO_WAY and dataset == "parity":
        pytest.skip("may not see the future")
    module, task, _ = make(name, dataset, 14 if dataset == "parity" else 23, meta=True)
    direct = timing.count_flops(module, task, task.num_steps)
    assert tuple(timing.flops(module, task).values()) == direct
    assert direct[1] > 2 * direct[0]


@pytest.mark.parametrize("name", ["mingru", "mamba2", "gated_deltanet"])
def test_operations_of_many_chunks_are_those_of_a_direct_count(name):
    module, task, _ = make(name, length=150, meta=True)
    direct = timing.count_flops(module, task, task.num_steps)
    assert tuple(timing.flops(module, task).values()) == direct
    assert direct[1] > 2 * direct[0]


def test_a_triangular_system_counts_as_many_operations_as_its_substitution():
    system, right = torch.eye(5).expand(3, 5, 5), torch.ones(3, 5, 7)
    with FlopCounterMode(display=False, custom_mapping=timing._UNCOUNTED) as counter:
        torch.linalg.solve_triangular(system, right, upper=False)
    assert counter.get_total_flops() == 3 * 7 * 5**2


def test_the_operations_of_an_lstm_by_hand():
    module, task, _ = make("lstm", hidden_size=16, meta=True)
    inputs = module.embedding.embedding_dim
    step = 2 * 4 * 16 * (inputs + 16)  # a multiplication and an addition for each weight of four gates
    head = 2 * 16 * task.output_size
    assert timing.flops(module, task)["inference_flops_per_sequence"] == task.num_steps * step + head


def test_the_operations_of_attention_grow_with_the_square():
    _, short, _ = make("transformer", length=100)
    counts = []
    for length in (100, 200, 400):
        module, task, _ = make("transformer", length=length, meta=True)
        counts.append((task.num_steps, timing.flops(module, task)["inference_flops_per_sequence"]))
    (a, fa), (b, fb), (c, fc) = counts
    second = ((fc - fb) / (c - b) - (fb - fa) / (b - a)) / (c - a)
    # Two products of (L, 16) by (16, L) a head, two heads, two layers: 2 * 2 * 16 * 2 * 2 L squared.
    assert second == pytest.approx(256)


def test_what_the_fused_kernel_hides_is_counted():
    module, task, _ = make("lstm")
    with FlopCounterMode(display=False) as counter:
        module.loss(batch(task))
    assert counter.get_total_flops() < timing.flops(module, task)["inference_flops_per_sequence"]


@pytest.mark.parametrize(
    ("name", "kernel"),
    [("lstm", "oneDNN LSTM"), ("bilstm", "oneDNN LSTM"), ("gru", "unfused RNN steps"), ("rnn", "unfused RNN steps")],
)
def test_the_kernels_of_recurrent_encoders(name, kernel):
    if not torch.backends.mkldnn.is_available():
        pytest.skip("PyTorch was built without oneDNN")
    module, task, config = make(name)
    assert timing.kernels(module, batch(task), config) == [kernel]


def test_attention_runs_fused():
    module, task, config = make("transformer")
    assert timing.kernels(module, batch(task), config) == ["SDPA flash (CPU)"]


@pytest.mark.parametrize("slow", [{True}, {False}, {True, False}], ids=["training", "inference", "both"])
def test_attention_that_runs_unfused_is_seen_in_training_and_in_inference(monkeypatch, slow):
    module, task, config = make("transformer")
    forward = module.encoder.forward

    def chosen(*arguments):
        backends = [SDPBackend.MATH] if module.training in slow else [SDPBackend.FLASH_ATTENTION]
        with sdpa_kernel(backends):
            return forward(*arguments)

    monkeypatch.setattr(module.encoder, "forward", chosen)
    fused = [] if len(slow) == 2 else ["SDPA flash (CPU)"]
    assert timing.kernels(module, batch(task), config) == [*fused, "SDPA math"]


@pytest.mark.parametrize("training", [True, False])
def test_a_recurrence_that_loses_its_kernel_in_one_mode_is_seen(monkeypatch, training):
    if not torch.backends.mkldnn.is_available():
        pytest.skip("PyTorch was built without oneDNN")
    module, task, config = make("lstm")
    forward = module.encoder.forward

    def chosen(*arguments):
        before = torch.backends.mkldnn.set_flags(_enabled=module.training == training)
        try:
            return forward(*arguments)
        finally:
            torch.backends.mkldnn.set_flags(_enabled=before[0])

    monkeypatch.setattr(module.encoder, "forward", chosen)
    assert timing.kernels(module, batch(task), config) == ["oneDNN LSTM", "unfused RNN steps"]


def test_a_feed_forward_net_has_no_kernel_of_note():
    module, task, config = make("mlp")
    assert timing.kernels(module, batch(task), config) == []
