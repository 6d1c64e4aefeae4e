"""Biases and matrices have the declared values at the start."""

import pytest
import torch

from bench.models import gru, lstm, mlp, rnn, transformer

H = 64


@pytest.mark.parametrize("bias", [0.0, 1.0, 3.0, 5.0])
def test_the_forget_bias_is_the_sum_of_both_vectors(bias):
    layer = lstm.Model(4, 50, hidden_size=H, forget_bias=bias).forward_layers[0]
    assert torch.equal(layer.bias_ih_l0[H : 2 * H] + layer.bias_hh_l0[H : 2 * H], torch.full((H,), bias))


def test_chrono_spreads_forget_biases_over_the_length_and_mirrors_them_at_the_input_gate():
    model = lstm.Model(4, 101, hidden_size=2_000, forget_bias="chrono", bidirectional=True)
    for layer in [*model.forward_layers, *model.backward_layers]:
        total = layer.bias_ih_l0 + layer.bias_hh_l0
        input_gate, forget_gate = total[:2_000], total[2_000:4_000]
        assert torch.equal(input_gate, -forget_gate)
        time = forget_gate.exp()  # uniform from 1 to 100
        assert 1 <= time.min() < 3
        assert 98 < time.max() <= 100.01
        assert abs(time.mean() - 50.5) < 3


def test_default_keeps_the_initialisation_of_pytorch():
    torch.manual_seed(3)
    ours = lstm.Model(4, 50, hidden_size=H, forget_bias="default").forward_layers[0]
    torch.manual_seed(3)
    theirs = torch.nn.LSTM(4, H, batch_first=True)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_update_bias_belongs_to_the_gate_that_keeps_the_old_state():
    model = gru.Model(4, 50, hidden_size=H, update_bias=30.0)
    start = torch.randn(1, 2, H)
    h_BLH, _ = model(torch.randn(2, 1, 4), torch.tensor([1, 1]), start)
    torch.testing.assert_close(h_BLH[:, 0], start[0])  # a gate at 1 keeps all of it


def test_chrono_biases_of_a_gru_are_between_zero_and_the_log_of_the_length():
    layer = gru.Model(4, 101, hidden_size=H, update_bias="chrono").rnn
    total = (layer.bias_ih_l0 + layer.bias_hh_l0)[H : 2 * H]
    assert total.min() >= 0
    assert total.exp().max() <= 100.01


@pytest.mark.parametrize("init", ["orthogonal", "identity"])
def test_a_recurrent_matrix_preserves_the_norm(init):
    weight = rnn.Model(4, 50, hidden_size=H, recurrent_init=init).rnn.weight_hh_l0
    torch.testing.assert_close(weight @ weight.T, torch.eye(H), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: lstm.Model(4, 50, hidden_size=4, forget_bias="chronos"),
        lambda: gru.Model(4, 50, hidden_size=4, update_bias="x"),
        lambda: rnn.Model(4, 50, hidden_size=4, recurrent_init="x"),
        lambda: mlp.Model(4, 50, hidden_size=4, activation="x"),
        lambda: transformer.Model(4, 50, position="x"),
        lambda: transformer.Model(4, 50, head_size=3),
    ],
)
def test_the_error_of_a_wrong_setting_shows_what_was_found(make):
    with pytest.raises(ValueError, match="but found"):
        make()
