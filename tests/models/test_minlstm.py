"""minLSTM agrees with its equations, step by step."""

import pytest
import torch

from bench.models import minlstm


def sequential(mixer, x_BLH, h_BE):
    """Return the hidden states of Feng et al. 2024, section 3.2.4, with f / (f + i) and i / (f + i) as gates."""
    parts = zip(mixer.project.weight.chunk(3), mixer.project.bias.chunk(3), strict=True)
    candidate, input_gate, forget_gate = ((x_BLH @ weight.T + bias) for weight, bias in parts)
    states = []
    for step in range(x_BLH.shape[1]):
        i, f = (1 / (1 + torch.exp(-gate[:, step])) for gate in (input_gate, forget_gate))
        value = candidate[:, step]
        positive = torch.where(value >= 0, value + 0.5, 1 / (1 + torch.exp(-value)))
        h_BE = f / (f + i) * h_BE + i / (f + i) * positive
        states.append(h_BE)
    return torch.stack(states, 1)


@pytest.mark.parametrize("length", [1, 2, 40])
def test_a_layer_equals_the_equations_step_by_step(length):
    torch.manual_seed(0)
    mixer = minlstm._Mixer(4, 2, 1.0, length).double()
    x_BLH, start_BE = 3 * torch.randn(2, length, 4, dtype=torch.double), torch.rand(2, 8, dtype=torch.double)
    expected_BLE = sequential(mixer, x_BLH, start_BE)
    out_BLH, last_BE = mixer(x_BLH, start_BE)
    torch.testing.assert_close(out_BLH, mixer.out(expected_BLE), atol=1e-12, rtol=0)
    torch.testing.assert_close(last_BE, expected_BLE[:, -1], atol=1e-12, rtol=0)


def test_two_closed_gates_share_the_state_in_single_precision():
    """Where both sigmoids round to zero, their quotient is 0 / 0; the difference of their logarithms is exact."""
    mixer = minlstm._Mixer(4, 1, 0.0, 9)
    gates = torch.tensor([-200.0, -200.0, -198.0]), torch.tensor([-200.0, -198.0, -200.0])
    torch.testing.assert_close(mixer.update(*gates), torch.tensor([0.0, -2.0, 2.0]))


@pytest.mark.parametrize("memory_bias", [0.0, 1.0, 3.0])
def test_the_memory_bias_is_the_logit_of_what_is_kept(memory_bias):
    mixer = minlstm._Mixer(4, 1, memory_bias, 9)
    _, *gates = mixer.project.bias.chunk(3)
    torch.testing.assert_close(mixer.update(*gates), torch.full((4,), -memory_bias))


@pytest.mark.parametrize(("expansion", "percent"), [(1, 38), (2, 25), (3, 19), (4, 15)])
def test_gates_and_candidates_have_the_published_share_of_the_weights_of_an_lstm(expansion, percent):
    """Feng et al. 2024, section 3.2.4: 38, 25, 19 and 15 % of an LSTM's at one to four times the input width."""
    ours = minlstm._Mixer(16, expansion, 0.0, 9).project.weight.numel()
    lstm = torch.nn.LSTM(16, 16 * expansion, bias=False)
    assert round(100 * ours / sum(weight.numel() for weight in lstm.parameters()) + 1e-9) == percent
