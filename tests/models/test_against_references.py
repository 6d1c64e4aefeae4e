"""Models agree with independent implementations and have exactly the expected numbers of parameters."""

import math

import pytest
import torch
from torch import nn

from bench.models import gru, lstm, rnn, transformer


@pytest.mark.parametrize("num_layers", [1, 2])
def test_both_directions_equal_packed_pytorch(num_layers):
    torch.manual_seed(0)
    ours = lstm.Model(3, 9, hidden_size=4, num_layers=num_layers, bidirectional=True)
    theirs = nn.LSTM(3, 4, num_layers, batch_first=True, bidirectional=True)
    for layer in range(num_layers):
        for suffix, cell in (("", ours.forward_layers[layer]), ("_reverse", ours.backward_layers[layer])):
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(theirs, f"{kind}_l{layer}{suffix}").data.copy_(getattr(cell, f"{kind}_l0"))
    x_BLD, length_B = torch.randn(3, 9, 3), torch.tensor([9, 4, 1])
    packed = nn.utils.rnn.pack_padded_sequence(x_BLD, length_B, batch_first=True, enforce_sorted=False)
    expected, (last, _) = theirs(packed)
    expected, _ = nn.utils.rnn.pad_packed_sequence(expected, batch_first=True)
    h_BLH, _ = ours(x_BLD, length_B)
    for row, length in enumerate(length_B):
        torch.testing.assert_close(h_BLH[row, :length], expected[row, :length], atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.summary(h_BLH, length_B), torch.cat([last[-2], last[-1]], -1), atol=1e-6, rtol=0)


def test_a_block_equals_attention_in_plain_operations():
    torch.manual_seed(0)
    block = transformer._Block(8, 2, 4)
    h_BLH = torch.randn(2, 5, 8)
    q, k, v = block.qkv(block.norm_1(h_BLH)).chunk(3, dim=-1)
    heads = []
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        score = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(4)
        score = score.masked_fill(torch.ones(5, 5).triu(1).bool(), -math.inf)
        heads.append(score.softmax(-1) @ v[..., part])
    h = h_BLH + block.attention_out(torch.cat(heads, -1))
    expected = h + block.feedforward_out(nn.functional.gelu(block.feedforward_in(block.norm_2(h))))
    torch.testing.assert_close(block(h_BLH, None, None)[0], expected, atol=1e-6, rtol=0)


def test_attention_with_rotary_positions_depends_on_distance_alone():
    torch.manual_seed(0)
    qk = torch.randn(1, 1, 2, 1, 8).expand(1, 40, 2, 1, 8)
    turned = transformer._rotate(qk, *transformer._angles(0, 40, 8, qk))
    q, k = turned[0, :, 0, 0], turned[0, :, 1, 0]
    for distance in (0, 1, 7):
        products = (q[distance:] * k[: 40 - distance]).sum(-1)
        torch.testing.assert_close(products, products[:1].expand_as(products), atol=1e-5, rtol=0)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_cores_have_the_parameters_of_the_formula():
    """At equal width, RNN, GRU and LSTM have parameters in the ratio 1 : 3 : 4, with both bias vectors."""
    sizes = [count(m.Model(128, 9, hidden_size=128)) for m in (rnn, gru, lstm)]
    assert sizes == [33_024, 99_072, 132_096]
    assert [size / sizes[2] for size in sizes] == [0.25, 0.75, 1.0]


def test_a_transformer_block_has_the_parameters_of_the_formula():
    assert count(transformer._Block(128, 4, 4)) == 12 * 128**2 + 13 * 128 == 198_272
