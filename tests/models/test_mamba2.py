"""Mamba-2 agrees with its recurrence, step by step, across chunks and in single precision."""

import pytest
import torch
from torch import nn

from bench.models import _mixing, mamba2

DOUBLE = torch.double
LENGTHS = [1, _mixing.CHUNK, _mixing.CHUNK + 1, 3 * _mixing.CHUNK - 5]


def recurrence(v_BLNP, log_decay_BLN, write_BLS, read_BLS, state_BNSP):
    """Return y(t) = S(t)' C(t) with S(t) = a(t) S(t-1) + B(t) v(t)', equations 1 and 2 of Dao & Gu 2024."""
    outputs = []
    for t in range(v_BLNP.shape[1]):
        decay = log_decay_BLN[:, t, :, None, None].exp()
        state_BNSP = decay * state_BNSP + torch.einsum("bs,bnp->bnsp", write_BLS[:, t], v_BLNP[:, t])
        outputs.append(torch.einsum("bs,bnsp->bnp", read_BLS[:, t], state_BNSP))
    return torch.stack(outputs, 1), state_BNSP


def draws(length, fastest=1.0):
    torch.manual_seed(0)
    v, log_decay = torch.randn(2, length, 2, 3, dtype=DOUBLE), -fastest * torch.rand(2, length, 2, dtype=DOUBLE)
    return (
        v,
        log_decay,
        *(torch.randn(*shape, dtype=DOUBLE) for shape in ((2, length, 4),) * 2),
        torch.randn(2, 2, 4, 3, dtype=DOUBLE),
    )


@pytest.mark.parametrize("length", LENGTHS)
def test_the_matrix_form_is_the_recurrence(length):
    y_BLNP, state_BNSP = mamba2._dual(*draws(length))
    expected_BLNP, last_BNSP = recurrence(*draws(length))
    torch.testing.assert_close(y_BLNP, expected_BLNP, atol=1e-10, rtol=0)
    torch.testing.assert_close(state_BNSP, last_BNSP, atol=1e-10, rtol=0)


@pytest.mark.parametrize("fastest", [0.01, 1.0, 100.0])
def test_the_matrix_form_keeps_single_precision(fastest):
    expected_BLNP, _ = recurrence(*draws(500, fastest))
    y_BLNP, _ = mamba2._dual(*(part.float() for part in draws(500, fastest)))
    assert (y_BLNP - expected_BLNP).abs().max() < 2e-5 * expected_BLNP.abs().max()


def test_a_layer_equals_its_equations_step_by_step():
    """Figure 6 and section 7 of Dao & Gu 2024: projections side by side, convolution, recurrence, gate, norm."""
    torch.manual_seed(0)
    mixer, x_BLH = mamba2._Mixer(4, 6, 2, 5).double(), torch.randn(1, 40, 4, dtype=DOUBLE)
    z, mixed, time = (x_BLH[0] @ mixer.project.weight.T).split((6, 16, 2), dim=-1)
    kernel, bias = mixer.convolution.convolution.weight[:, 0], mixer.convolution.convolution.bias
    state, rows = torch.zeros(2, 5, 3, dtype=DOUBLE), []
    for t in range(40):
        window = torch.stack([mixed[t - 3 + k] if t - 3 + k >= 0 else torch.zeros(16, dtype=DOUBLE) for k in range(4)])
        x, b, c = nn.functional.silu((window * kernel.T).sum(0) + bias).split((6, 5, 5))
        step = torch.log(1 + torch.exp(time[t] + mixer.decay.bias))
        for n, part in enumerate(x.view(2, 3)):
            decay = torch.exp(-step[n] * mixer.decay.log_rate[n].exp())
            state[n] = (decay * state[n] + torch.outer(b, step[n] * part)).detach()
        y = torch.cat([c @ state[n] + mixer.skip[n] * part for n, part in enumerate(x.view(2, 3))])
        gated = y * z[t] * torch.sigmoid(z[t])
        rows.append(mixer.out(gated / (gated.square().mean() + 1e-5).sqrt() * mixer.norm.scale))
    torch.testing.assert_close(mixer(x_BLH, None)[0][0], torch.stack(rows), atol=1e-10, rtol=0)


def test_a_sequence_in_pieces_that_cut_chunks_gives_the_same_outputs():
    torch.manual_seed(0)
    mixer, x_BLH = mamba2._Mixer(4, 6, 2, 5).double(), torch.randn(2, 100, 4, dtype=DOUBLE)
    whole_BLH, last = mixer(x_BLH, None)
    state, outputs = None, []
    for part in x_BLH.split([1, 45, 2, 52], dim=1):
        out_BLH, state = mixer(part, state)
        outputs.append(out_BLH)
    torch.testing.assert_close(torch.cat(outputs, 1), whole_BLH, atol=1e-10, rtol=0)
    for one, other in zip(state, last, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=0)


def test_memories_begin_between_one_and_a_thousand_steps():
    torch.manual_seed(0)
    time, log_decay = _mixing.Decay(5_000)(torch.zeros(1, 1, 5_000))
    assert 1e-3 <= time.min() < 1.1e-3 < 0.09 < time.max() <= 0.1001
    assert 0.6 < (-1 / log_decay).min() < 1
    assert 500 < (-1 / log_decay).max() <= 1_001


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(ValueError, match="must be a multiple of num_heads 4 over expansion 2, but found 33"):
        mamba2.Model(4, 9, hidden_size=33)
