"""Gated DeltaNet agrees with its recurrence, step by step, across chunks and in single precision."""

import pytest
import torch
from torch import nn

from bench.models import _mixing, gated_deltanet

DOUBLE = torch.double
LENGTHS = [1, _mixing.CHUNK, _mixing.CHUNK + 1, 3 * _mixing.CHUNK - 5]


def recurrence(q, k, v, log_decay, share, state_BNQV):
    """Return o(t) = S(t) q(t) with S(t) = S(t-1) (a(t) (1 - b(t) k k')) + b(t) v k', equation 10 of Yang et al. 2024."""
    s_BNVQ, outputs = state_BNQV.mT, []
    identity = torch.eye(k.shape[-1], dtype=k.dtype)
    for t in range(q.shape[1]):
        a, b = log_decay[:, t, :, None, None].exp(), share[:, t, :, None, None]
        key = k[:, t, :, :, None]
        s_BNVQ = s_BNVQ @ (a * (identity - b * key @ key.mT)) + b * v[:, t, :, :, None] @ key.mT
        outputs.append((s_BNVQ @ q[:, t, :, :, None])[..., 0])
    return torch.stack(outputs, 1), s_BNVQ.mT


def draws(length, most=1.0, keys="random"):
    torch.manual_seed(0)
    q, k = torch.randn(2, 2, length, 2, 8, dtype=DOUBLE)
    if keys == "equal":
        k = k[:, :1] + 0.01 * k
    q, k = (nn.functional.normalize(part, dim=-1) for part in (q, k))
    log_decay, share = -0.1 * torch.rand(2, length, 2, dtype=DOUBLE), most * torch.rand(2, length, 2, dtype=DOUBLE)
    if keys == "equal":
        share = torch.full_like(share, 0.999 * most)
    v, state = torch.randn(2, length, 2, 3, dtype=DOUBLE), torch.randn(2, 2, 8, 3, dtype=DOUBLE)
    return q, k, v, log_decay, share, state


@pytest.mark.parametrize("form", [gated_deltanet._delta_rule, gated_deltanet._step_by_step])
@pytest.mark.parametrize("length", LENGTHS)
def test_the_chunked_form_and_the_loop_of_onnx_are_the_recurrence(form, length):
    o_BLNV, state_BNQV = form(*draws(length))
    expected_BLNV, last_BNQV = recurrence(*draws(length))
    torch.testing.assert_close(o_BLNV, expected_BLNV, atol=1e-10, rtol=0)
    torch.testing.assert_close(state_BNQV, last_BNQV, atol=1e-10, rtol=0)


@pytest.mark.parametrize("most", [1.0, 2.0])
@pytest.mark.parametrize("keys", ["random", "equal"])
def test_the_chunked_form_keeps_single_precision(keys, most):
    """Also where the system of equations is hardest: all keys are nearly the same, and all of a key is replaced."""
    expected_BLNV, _ = recurrence(*draws(300, most, keys))
    o_BLNV, _ = gated_deltanet._delta_rule(*(part.float() for part in draws(300, most, keys)))
    assert (o_BLNV - expected_BLNV).abs().max() < 5e-5 * expected_BLNV.abs().max()


def test_a_layer_equals_its_equations_step_by_step():
    """Section 3.4 of Yang et al. 2024: convolution and SiLU, unit queries and keys, the rule, a norm, and a gate."""
    torch.manual_seed(0)
    mixer, x_BLH = gated_deltanet._Mixer(4, 2, 2, 1.0).double(), torch.randn(1, 40, 4, dtype=DOUBLE)
    mixed, gate, time, share = (x_BLH[0] @ mixer.project.weight.T).split((16, 8, 2, 2), dim=-1)
    kernel = mixer.convolution.convolution.weight[:, 0]
    state, rows = torch.zeros(2, 4, 2, dtype=DOUBLE), []
    for t in range(40):
        window = torch.stack([mixed[t - 3 + k] if t - 3 + k >= 0 else torch.zeros(16, dtype=DOUBLE) for k in range(4)])
        q, k, v = nn.functional.silu((window * kernel.T).sum(0)).split((4, 4, 8))
        heads = []
        for n in range(2):
            query, key, value = (part.view(2, -1)[n] for part in (q, k, v))
            query, key = query / query.norm() / 2**0.5, key / key.norm()
            a = torch.exp(-mixer.decay.log_rate[n].exp() * torch.log(1 + torch.exp(time[t, n] + mixer.decay.bias[n])))
            b = 1 / (1 + torch.exp(-share[t, n]))
            step = a * (torch.eye(2, dtype=DOUBLE) - b * torch.outer(key, key))
            state[n] = (state[n] @ step + b * torch.outer(value, key)).detach()
            o, g = state[n] @ query, gate[t].view(2, -1)[n]
            heads.append(o / (o.square().mean() + 1e-5).sqrt() * mixer.norm.scale * g * torch.sigmoid(g))
        rows.append(mixer.out(torch.cat(heads)))
    torch.testing.assert_close(mixer(x_BLH, None)[0][0], torch.stack(rows), atol=1e-10, rtol=0)


def test_a_sequence_in_pieces_that_cut_chunks_gives_the_same_outputs():
    torch.manual_seed(0)
    mixer, x_BLH = gated_deltanet._Mixer(4, 2, 2, 2.0).double(), torch.randn(2, 100, 4, dtype=DOUBLE)
    whole_BLH, last = mixer(x_BLH, None)
    state, outputs = None, []
    for part in x_BLH.split([1, 45, 2, 52], dim=1):
        out_BLH, state = mixer(part, state)
        outputs.append(out_BLH)
    torch.testing.assert_close(torch.cat(outputs, 1), whole_BLH, atol=1e-10, rtol=0)
    for one, other in zip(state, last, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=0)


def test_what_a_key_stored_is_replaced_and_read_again():
    """The delta rule as associative memory: orthogonal keys recall their last values exactly."""
    keys = torch.eye(4)[[0, 1, 2, 3, 1]]
    values = torch.arange(5.0)[:, None] + torch.tensor([[10.0, 20.0]])
    shape = (1, 5, 1, -1)
    no_decay, all_of_it = torch.zeros(1, 5, 1), torch.ones(1, 5, 1)
    _, state_BNQV = gated_deltanet._delta_rule(
        keys.view(shape), keys.view(shape), values.view(shape), no_decay, all_of_it, torch.zeros(1, 1, 4, 2)
    )
    torch.testing.assert_close(state_BNQV[0, 0], values[[0, 4, 2, 3]])


def test_negative_eigenvalues_count_modulo_two():
    """Grazzi et al. 2024: a share of 2 turns what is stored for a key into its negative, thus parity; 1 erases it."""
    bits = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    key, no_decay = torch.ones(1, 7, 1, 1), torch.zeros(1, 7, 1)
    reads, _ = gated_deltanet._delta_rule(
        key, key, torch.zeros(1, 7, 1, 1), no_decay, 2 * bits.view(1, 7, 1), torch.ones(1, 1, 1, 1)
    )
    torch.testing.assert_close(reads.flatten(), (-1.0) ** bits.cumsum(0))
