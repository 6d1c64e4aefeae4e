"""Models agree with independent implementations and have exactly the expected numbers of parameters."""

import math

import pytest
import torch
from torch import nn

from bench.config import datasets
from bench.errors import DataMissingError
from bench.models import cnn, gru, lstm, lstm_ablated, rnn, transformer
from bench.training.datamodule import to_tensors


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize(("model", "kind"), [(lstm, nn.LSTM), (gru, nn.GRU), (rnn, nn.RNN)])
def test_both_directions_equal_packed_pytorch(model, kind, num_layers):
    torch.manual_seed(0)
    ours = model.Model(3, 9, hidden_size=4, num_layers=num_layers, bidirectional=True)
    theirs = kind(3, 4, num_layers, batch_first=True, bidirectional=True)
    for layer in range(num_layers):
        for suffix, cell in (("", ours.forward_layers[layer]), ("_reverse", ours.backward_layers[layer])):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(theirs, f"{name}_l{layer}{suffix}").data.copy_(getattr(cell, f"{name}_l0"))
    x_BLD, length_B = torch.randn(3, 9, 3), torch.tensor([9, 4, 1])
    packed = nn.utils.rnn.pack_padded_sequence(x_BLD, length_B, batch_first=True, enforce_sorted=False)
    expected, last = theirs(packed)
    last = last[0] if kind is nn.LSTM else last  # without the cells
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


def test_a_transformer_in_both_directions_equals_that_of_pytorch():
    torch.manual_seed(0)
    arguments = {"num_layers": 2, "num_heads": 2, "head_size": 4, "position": "none", "bidirectional": True}
    ours = transformer.Model(3, 6, **arguments).eval()
    layer = nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(8), enable_nested_tensor=False).eval()
    names = {
        "qkv": "self_attn.in_proj_", "attention_out": "self_attn.out_proj.", "feedforward_in": "linear1.",
        "feedforward_out": "linear2.", "norm_1": "norm1.", "norm_2": "norm2.",
    }  # fmt: skip
    weights = dict(ours.norm.named_parameters(prefix="norm"))
    for number, block in enumerate(ours.blocks):
        for name, their_name in names.items():
            for kind, parameter in getattr(block, name).named_parameters():
                weights[f"layers.{number}.{their_name}{kind}"] = parameter
    theirs.load_state_dict(weights)
    x_BLD, length_B = torch.randn(3, 6, 3), torch.tensor([6, 4, 1])
    padding_BL = torch.arange(6) >= length_B[:, None]
    expected = theirs(ours.embed(x_BLD), src_key_padding_mask=padding_BL)
    h_BLH, _ = ours(x_BLD, length_B)
    torch.testing.assert_close(h_BLH[~padding_BL], expected[~padding_BL], atol=1e-6, rtol=0)
    means = torch.stack([row[:length].mean(0) for row, length in zip(expected, length_B, strict=True)])
    torch.testing.assert_close(ours.summary(h_BLH, length_B), means, atol=1e-6, rtol=0)


class Inception(nn.Module):
    """The module of Fawaz et al. 2020, section 3.1, in the modules of PyTorch."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(width, out // 4, 1, bias=False) if width > 1 else nn.Identity()
        inner = out // 4 if width > 1 else 1
        self.convolutions = nn.ModuleList(
            nn.Conv1d(inner, out // 4, kernel, padding="same", bias=False) for kernel in (39, 19, 9)
        )
        self.after_maximum = nn.Sequential(nn.MaxPool1d(3, 1, 1), nn.Conv1d(width, out // 4, 1, bias=False))
        self.norm = nn.BatchNorm1d(out)

    def forward(self, x):
        narrow = self.bottleneck(x)
        parts = [convolution(narrow) for convolution in self.convolutions]
        return self.norm(torch.cat([*parts, self.after_maximum(x)], dim=1)).relu()


def copy(theirs: nn.Module, ours: nn.Module) -> None:
    """Give a module the weights of another whose parameters and buffers come in the same order."""
    source = [tensor for tensor in ours.state_dict().values()]
    target = [tensor for name, tensor in theirs.state_dict().items() if not name.endswith("num_batches_tracked")]
    assert [tensor.shape for tensor in source] == [tensor.shape for tensor in target]
    for one, other in zip(source, target, strict=True):
        other.copy_(one)


def randomised(model: nn.Module) -> nn.Module:
    """Return a model whose scales and shifts have become those of a trained one."""
    for tensor in model.state_dict().values():
        if tensor.dim() == 1:
            tensor.uniform_(0.5, 1.5)
    return model


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("design", ["fcn", "inception"])
def test_a_convolutional_network_equals_one_in_the_modules_of_pytorch(design, training):
    torch.manual_seed(0)
    ours = randomised(cnn.Model(1, 50, hidden_size=8, design=design).train(training))
    if design == "fcn":
        blocks = [
            nn.Sequential(nn.Conv1d(width, out, kernel, padding="same", bias=False), nn.BatchNorm1d(out), nn.ReLU())
            for width, out, kernel in ((1, 8, 8), (8, 16, 5), (16, 8, 3))
        ]
        theirs = nn.Sequential(*blocks).train(training)
        copy(theirs, ours)
    else:
        inner = nn.Sequential(*(Inception(width, 8) for width in (1, 8, 8))).train(training)
        shortcut = nn.Sequential(nn.Conv1d(1, 8, 1, bias=False), nn.BatchNorm1d(8)).train(training)
        copy(inner, ours.blocks[0].inner)
        copy(shortcut[0], ours.blocks[0].shortcut)
        copy(shortcut[1], ours.blocks[0].norm)

        def theirs(x):
            return (inner(x) + shortcut(x)).relu()

    x_BLD, length_B = torch.randn(5, 50, 1), torch.full((5,), 50)
    h_BLH, _ = ours(x_BLD, length_B)
    with torch.no_grad():
        expected_BLH = theirs(x_BLD.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(h_BLH, expected_BLH, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.summary(h_BLH, length_B), expected_BLH.mean(1), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_a_fully_convolutional_network_solves_gunpoint():
    """Wang et al. 2017, table 1: error 0.000 on GunPoint, whose 150 test series the archive defines."""
    try:
        task = datasets.read("gunpoint").at(150)
    except DataMissingError as error:
        pytest.skip(str(error))
    torch.manual_seed(0)
    model, head = cnn.Model(1, 150, hidden_size=128), nn.Linear(128, 2)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=1e-3)
    for number in range(300):
        x_BLD, length_B, y_B, _ = to_tensors(task.train_batch(0, number, 16))
        loss = nn.functional.cross_entropy(head(model.summary(model(x_BLD, length_B)[0], length_B)), y_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    x_BLD, length_B, y_B, _ = to_tensors(task.split("test", 150))
    with torch.no_grad():
        answers = head(model.summary(model(x_BLD, length_B)[0], length_B)).argmax(1)
    assert (answers == y_B).float().mean() >= 0.99


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


def test_an_lstm_that_lacks_nothing_equals_that_of_pytorch():
    torch.manual_seed(0)
    ours, theirs = lstm_ablated.Model(3, 9, hidden_size=4), nn.LSTM(3, 4, batch_first=True)
    theirs.weight_ih_l0.data.copy_(ours.weight_ih)
    theirs.weight_hh_l0.data.copy_(ours.weight_hh)
    theirs.bias_ih_l0.data.copy_(ours.bias)
    theirs.bias_hh_l0.data.zero_()
    x_BLD = torch.randn(2, 9, 3)
    (h_BLH, [(h_BH, c_BH)]), (expected, (h_1BH, c_1BH)) = ours(x_BLD, torch.tensor([9, 9])), theirs(x_BLD)
    torch.testing.assert_close(h_BLH, expected)
    torch.testing.assert_close((h_BH, c_BH), (h_1BH[0], c_1BH[0]))


@pytest.mark.parametrize("without", ["input", "forget", "output", "coupled"])
def test_a_gate_that_is_removed_is_open(without):
    """An LSTM whose gate is held open by its bias is one without it; a coupled input gate is 1 - f."""
    torch.manual_seed(0)
    ablated = lstm_ablated.Model(3, 9, hidden_size=4, without=without)
    full = lstm_ablated.Model(3, 9, hidden_size=4)
    gates = lstm_ablated.GATES
    removed = "input" if without == "coupled" else without
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias"):
            parts = dict(zip(gates[without], getattr(ablated, name).split(4), strict=True))
            forget = parts.get("forget")
            closed = torch.full_like(getattr(ablated, name)[:4], 50.0 if name == "bias" else 0.0)
            parts[removed] = -forget if without == "coupled" else closed  # sigmoid(-x) = 1 - sigmoid(x)
            getattr(full, name).copy_(torch.cat([parts[gate] for gate in gates["none"]]))
    x_BLD, length_B = torch.randn(2, 9, 3), torch.tensor([9, 9])
    torch.testing.assert_close(ablated(x_BLD, length_B)[0], full(x_BLD, length_B)[0])
