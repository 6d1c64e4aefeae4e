"""minGRU agrees with its equations, step by step, and the scan below it with the recurrence and its gradient."""

import pytest
import torch

from bench.models import _scan, mingru

DOUBLE = torch.double


def sequential(mixer, x_BLH, h_BE):
    """Return the hidden states of Feng et al. 2024, section 3.1.3, with the positive candidates of appendix B."""
    w_candidate, w_gate = mixer.project.weight.chunk(2)
    b_candidate, b_gate = mixer.project.bias.chunk(2)
    states = []
    for x_BH in x_BLH.unbind(1):
        z_BE = 1 / (1 + torch.exp(-(x_BH @ w_gate.T + b_gate)))
        value_BE = x_BH @ w_candidate.T + b_candidate
        positive_BE = torch.where(value_BE >= 0, value_BE + 0.5, 1 / (1 + torch.exp(-value_BE)))
        h_BE = (1 - z_BE) * h_BE + z_BE * positive_BE
        states.append(h_BE)
    return torch.stack(states, 1)


@pytest.mark.parametrize("length", [1, 2, 40])
def test_a_layer_equals_the_equations_step_by_step(length):
    torch.manual_seed(0)
    mixer = mingru._Mixer(4, 2, 1.0, length).double()
    x_BLH, start_BE = 3 * torch.randn(2, length, 4, dtype=DOUBLE), torch.rand(2, 8, dtype=DOUBLE)
    expected_BLE = sequential(mixer, x_BLH, start_BE)
    out_BLH, last_BE = mixer(x_BLH, start_BE)
    torch.testing.assert_close(out_BLH, mixer.out(expected_BLE), atol=1e-12, rtol=0)
    torch.testing.assert_close(last_BE, expected_BLE[:, -1], atol=1e-12, rtol=0)


@pytest.mark.parametrize("length", [1, 2, 3, 16, 17, 90])
def test_the_scan_is_the_recurrence(length):
    torch.manual_seed(0)
    a_BLH, b_BLH = torch.rand(2, length, 3, dtype=DOUBLE), torch.randn(2, length, 3, dtype=DOUBLE)
    h_BH, states = torch.randn(2, 3, dtype=DOUBLE), []
    start_BH = h_BH
    for step in range(length):
        h_BH = a_BLH[:, step] * h_BH + b_BLH[:, step]
        states.append(h_BH)
    scanned_BLH = _scan.linear_recurrence(a_BLH, b_BLH, start_BH)
    torch.testing.assert_close(scanned_BLH, torch.stack(states, 1), atol=1e-12, rtol=0)


def test_the_gradient_of_the_scan_is_that_of_finite_differences():
    torch.manual_seed(0)
    a_BLH, b_BLH, h_BH = (
        torch.rand(*shape, dtype=DOUBLE, requires_grad=True) for shape in ((2, 7, 2),) * 2 + ((2, 2),)
    )
    assert torch.autograd.gradcheck(_scan.linear_recurrence, (a_BLH, b_BLH, h_BH))


def test_the_scan_is_exact_in_single_precision_where_memory_is_long():
    """In log space, the rounding of float32 grows with the length: at 4,096 steps it is above 1e-4."""
    torch.manual_seed(0)
    a_BLH, b_BLH = 1 - 0.01 * torch.rand(1, 4_096, 4), torch.rand(1, 4_096, 4)
    exact_BLH = _scan.linear_recurrence(a_BLH.double(), b_BLH.double())
    error_BLH = (_scan.linear_recurrence(a_BLH, b_BLH) - exact_BLH) / exact_BLH
    assert error_BLH.abs().max() < 5e-6


@pytest.mark.parametrize(("expansion", "percent"), [(1, 33), (2, 22), (3, 17), (4, 13)])
def test_gates_and_candidates_have_the_published_share_of_the_weights_of_a_gru(expansion, percent):
    """Feng et al. 2024, section 3.1.3: 33, 22, 17 and 13 % of a GRU's at one to four times the input width."""
    ours = mingru._Mixer(16, expansion, 0.0, 9).project.weight.numel()
    gru = torch.nn.GRU(16, 16 * expansion, bias=False)
    assert round(100 * ours / sum(weight.numel() for weight in gru.parameters())) == percent


def test_a_layer_begins_with_the_memory_that_is_set():
    def kept(memory_bias):
        return (-mingru._Mixer(4, 500, memory_bias, 101).project.bias.chunk(2)[1]).sigmoid()

    torch.testing.assert_close(kept(3.0), torch.full((2_000,), 0.9525741), atol=1e-6, rtol=0)
    steps = 1 / (1 - kept("chrono"))  # one more than uniform from 1 to 100: the time constant of a decay
    assert 2 <= steps.min() < 4
    assert 98 < steps.max() <= 101.01
    with pytest.raises(ValueError, match="memory_bias: a number or 'chrono', but found 'x'"):
        mingru._Mixer(4, 1, "x", 9)
