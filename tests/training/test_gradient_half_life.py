"""How far a gradient reaches at the start, before any training (N2).

Set-up: float64, 64 units, one-hot inputs of 12 random symbols, 128 steps, batch 32, three seeds. The objective is a
random projection of the last hidden state; g(k) is the norm of its gradient by the state k steps before the end (of an
LSTM by the cell). The half-life follows from a straight line through log2 g(k) for k from 2 to 64.
"""

import math
import statistics

import numpy as np
import pytest
import torch

from bench.models import gru, lstm, rnn
from bench.training.diagnosis import half_life

H, T, B, SYMBOLS = 64, 128, 32, 12


def gradients(model, seed: int) -> np.ndarray:
    """Return g(k) for k from 0 to T - 1; g(0) is not a number: the last state is an output, and leads to none."""
    generator = torch.Generator().manual_seed(seed)
    symbol_BL = torch.randint(0, SYMBOLS, (B, T), generator=generator)
    x_BLD = torch.nn.functional.one_hot(symbol_BL, SYMBOLS).double()
    state, kept = None, []
    for step in range(T):
        h_BLH, state = model(x_BLD[:, step : step + 1], torch.ones(B, dtype=torch.long), state)
        tensor = state[0][1] if isinstance(state, list) else state  # an LSTM's cell
        tensor.retain_grad()
        kept.append(tensor)
    projection = torch.randn(H, dtype=torch.double, generator=generator)
    (h_BLH[:, 0] @ projection).sum().backward()
    return np.array([math.nan, *(tensor.grad.norm().item() for tensor in reversed(kept[:-1]))])


VARIANTS = {
    "rnn": (lambda: rnn.Model(SYMBOLS, T, hidden_size=H), 1.25),
    "rnn orthogonal": (lambda: rnn.Model(SYMBOLS, T, hidden_size=H, recurrent_init="orthogonal"), 10.4),
    "gru": (lambda: gru.Model(SYMBOLS, T, hidden_size=H), 1.56),
    "lstm": (lambda: lstm.Model(SYMBOLS, T, hidden_size=H), 1.52),
    "lstm +1": (lambda: lstm.Model(SYMBOLS, T, hidden_size=H, forget_bias=1.0), 4.23),
    "lstm chrono": (lambda: lstm.Model(SYMBOLS, T, hidden_size=H, forget_bias="chrono"), 55.8),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_half_life_is_that_of_the_pilot(name):
    make, expected = VARIANTS[name]
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        found.append(half_life(gradients(make().double(), seed)))
    assert statistics.mean(found) == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("bias", [3.0, 5.0])
def test_a_large_forget_bias_leaves_no_decay(bias):
    torch.manual_seed(0)
    g = gradients(lstm.Model(SYMBOLS, T, hidden_size=H, forget_bias=bias).double(), 0)
    assert half_life(g) > 50  # of +1 it is 4; the gradient falls a little and then grows
    assert g[100] > 0.5 * g[1]


@pytest.mark.parametrize(
    ("bias", "expected"),
    list(enumerate([1.00, 2.21, 5.46, 14.27, 38.19, 103.2, 280.0, 760.5])),
)
def test_the_direct_path_forgets_by_the_formula(bias, expected):
    """What a cell keeps by itself: the product of forget gates with inputs and recurrence silenced, ln 2 / -ln σ(b)."""
    assert math.log(2) / math.log1p(math.exp(-bias)) == pytest.approx(expected, rel=0.005)
    model = lstm.Model(1, T, hidden_size=8, forget_bias=float(bias)).double()
    layer = model.forward_layers[0]
    with torch.no_grad():
        for weight in (layer.weight_ih_l0, layer.weight_hh_l0):
            weight.zero_()
        layer.bias_ih_l0[:8] = -1e3  # the input gate is shut
    state = [(torch.zeros(1, 1, 8).double(), torch.ones(1, 1, 8).double())]
    steps = 20
    _, [(_, cell)] = model(torch.zeros(1, steps, 1).double(), torch.tensor([steps]), state)
    measured = steps / -math.log2(cell.mean().item())
    assert measured == pytest.approx(expected, rel=0.15)
