"""The diagonal state space model: its kernel is the published sum, and its recurrence gives the same outputs."""

import cmath
import math

import pytest
import torch

from bench.config.datasets import make_task
from bench.models import s4d
from bench.training import timing
from bench.training.module import SequenceModule
from tests.makers import run_config

BOTH = pytest.mark.parametrize("initialisation", s4d.INITIALISATIONS)


def space(initialisation: str, width: int = 3, num_states: int = 8) -> s4d._StateSpace:
    torch.manual_seed(0)
    return s4d._StateSpace(width, num_states, initialisation).double()


def published(layer: s4d._StateSpace, channel: int) -> list[tuple[complex, complex, complex]]:
    """Return a, B and C of each state of a channel, by the zero-order hold of the paper, in plain Python."""
    step = math.exp(s4d.SLOW * layer.log_step[channel].item())
    size = layer.output.shape[1]
    states = []
    for n in range(size):
        a = complex(-math.exp(s4d.SLOW * layer.log_decay[channel * size + n].item()))
        c = layer.output[channel, n]
        if layer.is_complex:
            a += 1j * s4d.SLOW * layer.frequency[channel * size + n].item()
        c = complex(*c.tolist()) if layer.is_complex else complex(c.item())
        states.append((cmath.exp(step * a), (cmath.exp(step * a) - 1) / a, c))
    return states


@BOTH
@pytest.mark.parametrize("steps", [2, 3, 10, 16, 50])
def test_the_kernel_is_the_published_sum(initialisation, steps):
    layer = space(initialisation)
    rate, weight = layer.rates()
    kernel = layer._read(weight[None], *s4d._powers(rate, steps))[0, :, :steps]
    factor = 2 if layer.is_complex else 1
    for channel in range(3):
        expected = [sum(factor * (c * a**t * b).real for a, b, c in published(layer, channel)) for t in range(steps)]
        torch.testing.assert_close(kernel[channel], torch.tensor(expected, dtype=torch.double), rtol=0, atol=1e-12)


@BOTH
@pytest.mark.parametrize("pieces", [[30], [1] * 30, [7, 1, 22]], ids=["whole", "steps", "pieces"])
def test_the_outputs_are_those_of_the_recurrence(initialisation, pieces):
    layer = space(initialisation)
    u_BHL = torch.randn(2, 3, 30, dtype=torch.double)
    outputs, state = [], None
    for part in u_BHL.split(pieces, dim=2):
        y_BHL, state = layer(part, state)
        outputs.append(y_BHL)
    y_BHL = torch.cat(outputs, dim=2)
    factor = 2 if layer.is_complex else 1
    for row in range(2):
        for channel in range(3):
            values, constants = [0j] * layer.output.shape[1], published(layer, channel)
            for step, u in enumerate(u_BHL[row, channel].tolist()):
                values = [a * x + b * u for x, (a, b, _) in zip(values, constants, strict=True)]
                y = factor * sum(c * x for x, (_, _, c) in zip(values, constants, strict=True)).real
                y += layer.skip[channel].item() * u
                assert abs(y_BHL[row, channel, step].item() - y) < 1e-11


@BOTH
def test_the_states_start_as_published(initialisation):
    layer = space(initialisation, width=200)
    step = (s4d.SLOW * layer.log_step).exp()
    assert 0.001 <= step.min() < 0.0015
    assert 0.07 < step.max() <= 0.1
    a_HN = layer.rates()[0] / step[:, None]
    n = torch.arange(a_HN.shape[1], dtype=torch.double)
    expected = -0.5 + 1j * math.pi * n if initialisation == "lin" else -(n + 1)
    torch.testing.assert_close(a_HN, expected.expand_as(a_HN), rtol=1e-5, atol=1e-5)  # drawn in single precision


def test_a_long_sequence_in_single_precision_is_as_in_double():
    torch.manual_seed(0)
    model = s4d.Model(2, 2_000, hidden_size=8)
    x_BLD, length_B = torch.randn(1, 2_000, 2), torch.tensor([2_000])
    single, _ = model(x_BLD, length_B)
    double, _ = model.double()(x_BLD.double(), length_B)
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-3)


def test_with_mixed_precision_the_state_space_keeps_full_precision():
    torch.manual_seed(0)
    layer = s4d._StateSpace(8, 64, "lin")
    u_BHL = torch.randn(1, 8, 300)
    expected, expected_state = layer(u_BHL)
    with torch.autocast("cpu", torch.bfloat16):
        y_BHL, state = layer(u_BHL)
    assert torch.equal(y_BHL, expected)
    assert torch.equal(state, expected_state)


def test_the_operations_are_those_of_the_length():
    """Of one layer of width 2 with 4 states on 15 steps (4 rows of 4 steps), counted by hand."""
    arguments = {"hidden_size": 2, "num_layers": 1, "num_states": 4}
    config = run_config("speed", dataset="adding", length=15, space="s4d", model="s4d", model_arguments=arguments)
    task = make_task("adding", 15, {"variant": "tcn"})
    with torch.device("meta"):
        module = SequenceModule(task, config)
    linear = 2 * 15 * (task.input_size * 2 + 2 * 4) + 2 * 2 * task.output_size
    kernel = 2 * 2 * 4 * 4 * 4  # of each channel: 4 rows of 4 numbers by 4 numbers of 4 steps
    rows = 2 * 2 * 4 * 4 * 4
    state = 2 * 2 * 2 * 4  # of each channel: 2 complex numbers of 4 rows, which PyTorch counts as real
    fourier = 3 * 2 * 2.5 * 30 * math.log2(30)  # of the kernel and the inputs of two channels, and back
    counted = timing.flops(module, task)["inference_flops_per_sequence"]
    assert abs(counted - (linear + kernel + rows + state + fourier)) <= 6  # roundings
