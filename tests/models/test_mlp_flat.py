"""The flat feed-forward network reads the last steps of a sequence side by side."""

import pytest
import torch
from torch import nn

from bench.models import mlp_flat


def model(length: int = 6, **changes) -> mlp_flat.Model:
    torch.manual_seed(0)
    return mlp_flat.Model(2, length, **{"hidden_size": 5} | changes).double()


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_the_summary_is_a_feed_forward_network_of_the_flat_sequence(num_layers):
    ours = model(num_layers=num_layers)
    with torch.no_grad():
        ours.step.weight.zero_()  # what steps see of themselves
    parts = [part for layer in ours.layers for part in (layer, nn.ReLU())]
    x_BLD, length_B = torch.randn(3, 6, 2, dtype=torch.double), torch.tensor([6, 6, 6])
    expected = nn.Sequential(nn.Flatten(), *parts)(x_BLD)
    h_BLH, _ = ours(x_BLD, length_B)
    torch.testing.assert_close(ours.summary(h_BLH, length_B), expected, rtol=0, atol=1e-12)


def test_a_shorter_sequence_ends_where_a_longer_one_ends():
    ours = model()
    short = torch.randn(1, 4, 2, dtype=torch.double)
    padded = torch.cat([torch.zeros(1, 2, 2, dtype=torch.double), short], dim=1)
    h_BLH, _ = ours(short, torch.tensor([4]))
    expected, _ = ours(padded, torch.tensor([6]))
    torch.testing.assert_close(h_BLH, expected[:, 2:], rtol=0, atol=1e-12)


def test_of_a_longer_sequence_the_last_steps_count():
    ours = model()
    x_BLD, length_B = torch.randn(1, 9, 2, dtype=torch.double), torch.tensor([9])
    h_BLH, _ = ours(x_BLD, length_B)
    first, last = x_BLD.clone(), x_BLD.clone()
    first[:, 2] += 1
    last[:, 3] += 1
    assert torch.equal(ours(first, length_B)[0][:, 3:], h_BLH[:, 3:])
    assert not torch.equal(ours(last, length_B)[0][:, 4:], h_BLH[:, 4:])


def test_steps_that_are_equal_differ_by_their_position():
    ours = model()
    h_BLH, _ = ours(torch.ones(1, 6, 2, dtype=torch.double), torch.tensor([6]))
    assert all(not torch.allclose(h_BLH[0, a], h_BLH[0, b]) for a in range(6) for b in range(a))


def test_the_order_of_steps_counts():
    ours = model()
    x_BLD, length_B = torch.randn(1, 6, 2, dtype=torch.double), torch.tensor([6])
    swapped = x_BLD[:, [1, 0, 2, 3, 4, 5]]
    summaries = [ours.summary(ours(x, length_B)[0], length_B) for x in (x_BLD, swapped)]
    assert not torch.allclose(*summaries)


def test_the_parameters_by_hand():
    count = sum(parameter.numel() for parameter in model(100, hidden_size=64).parameters())
    assert count == (100 * 2 + 1) * 64 + (64 + 1) * 64 + (2 + 16) * 64
