"""Contract of metrics: each has a unit, a goal, a title and a pure function of a stored record."""

import math

import pytest

from bench.results.metrics import METRICS
from bench.results.record import RunRecord, Seconds
from tests.makers import record


def golden(phase: str, **facts) -> RunRecord:
    return record({"phase": phase}, **facts)


CONFIRM = golden(
    "confirm",
    solved=True,
    sequences_to_solve=480,
    seconds_to_solve=1.5,
    parameters={"encoder": 40, "embedding": 20, "head": 2},
    state_size=16,
    seconds=Seconds(setup=0.5, train=2.0, evaluate=0.25, total=3.0),
    peak_memory_bytes=7 * 2**20,
)
SPEED = golden(
    "speed",
    parameters={"encoder": 40, "embedding": 20, "head": 2},
    peak_memory_bytes=3 * 2**20,
    seconds=Seconds(total=1.0),
    speed={
        "batch_size": 16,
        "train_step_milliseconds": 4.0,
        "train_spread": 0.0625,
        "inference_spread": 0.125,
        "latency_spread": 0.25,
        "streaming_spread": 0.5,
        "train_sequences_per_second": 4_000.0,
        "inference_step_milliseconds": 1.0,
        "inference_sequences_per_second": 16_000.0,
        "latency_p50_milliseconds": 0.5,
        "latency_p95_milliseconds": 0.75,
        "streaming_p50_milliseconds": 0.125,
        "streaming_p95_milliseconds": 0.25,
        "inference_flops_per_sequence": 1_000.0,
        "train_flops_per_sequence": 3_000.0,
    },
)
EMPTY = golden("confirm", state="failed", cause="killed")

BY_HAND = {  # of the confirm run, and of the exclusive pass
    "inference_flops_per_sequence": (None, 1_000),
    "inference_sequences_per_second": (None, 16 / 0.001),
    "inference_spread": (None, 0.125),
    "latency_p50_milliseconds": (None, 0.5),
    "latency_p95_milliseconds": (None, 0.75),
    "latency_spread": (None, 0.25),
    "num_parameters": (40 + 20 + 2, 40 + 20 + 2),
    "peak_memory_mib": (None, 3),
    "seconds_to_solve": (1.5, None),
    "sequences_to_solve": (480, None),
    "state_size": (16, None),
    "streaming_p50_milliseconds": (None, 0.125),
    "streaming_p95_milliseconds": (None, 0.25),
    "streaming_spread": (None, 0.5),
    "train_flops_per_sequence": (None, 3_000),
    "train_seconds": (2, None),
    "train_sequences_per_second": (None, 16 / 0.004),
    "train_spread": (None, 0.0625),
    "train_step_milliseconds": (None, 4),
    "train_tokens_per_second": (None, 16 / 0.004 * 8),
}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_has_a_unit_a_goal_and_a_sentence(name):
    metric = METRICS[name]
    assert metric.title[0].isupper()
    assert metric.title.endswith(".")
    assert metric.unit
    assert metric.goal in ("minimize", "maximize")


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("record", [CONFIRM, SPEED, EMPTY], ids=["confirm", "speed", "failed"])
def test_a_metric_is_a_finite_number_or_none(name, record):
    value = METRICS[name].compute(record)
    assert value is None or math.isfinite(value)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_equals_the_value_computed_by_hand(name):
    compute = METRICS[name].compute
    assert (compute(CONFIRM), compute(SPEED)) == BY_HAND[name]


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_does_not_change_when_its_record_is_stored_and_read(tmp_path, name):
    compute = METRICS[name].compute
    for run in (CONFIRM, SPEED):
        run.write(tmp_path)
        assert compute(RunRecord.read(tmp_path)) == compute(run)
