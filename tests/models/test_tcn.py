"""The temporal convolutional network has the sizes of the paper and equals a plain implementation of its equations."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.models import tcn

# Bai et al. 2018: input channels, blocks, hidden_size, kernel_size, outputs, and the published thousands of parameters.
PAPER = {
    "adding at 600": (2, 8, 24, 8, 1, 70),
    "sequential digits": (1, 8, 25, 7, 10, 66),
    "copying over 1000": (1, 8, 10, 8, 10, 13),
}


def seen(num_blocks: int, kernel_size: int) -> int:
    """Return the steps that the last step sees: each convolution adds its look back (section 3.2)."""
    return 1 + sum(2 * (kernel_size - 1) * 2**number for number in range(num_blocks))


@pytest.mark.parametrize("setting", PAPER)
def test_the_sizes_are_those_of_the_paper(setting):
    inputs, num_blocks, hidden_size, kernel_size, outputs, published = PAPER[setting]
    model = tcn.Model(inputs, seen(num_blocks, kernel_size), hidden_size=hidden_size, kernel_size=kernel_size)
    assert len(model.blocks) == num_blocks
    head = (hidden_size + 1) * outputs
    size = sum(parameter.numel() for parameter in model.parameters()) + head
    assert abs(size / 1000 - published) < 1


@pytest.mark.parametrize("kernel_size", [2, 3, 8])
@pytest.mark.parametrize("length", [1, 2, 15, 16, 200])
def test_the_last_step_sees_the_first_one_with_no_more_blocks_than_needed(length, kernel_size):
    torch.manual_seed(0)
    model = tcn.Model(1, length, hidden_size=4, kernel_size=kernel_size).double()
    num_blocks = len(model.blocks)
    assert seen(num_blocks, kernel_size) >= length
    assert num_blocks == 1 or seen(num_blocks - 1, kernel_size) < length
    # No further than the equation says: the step before the first one of these has no influence.
    longer = seen(num_blocks, kernel_size) + 1
    reach = torch.zeros(longer, dtype=torch.bool)
    for seed in range(20):  # ReLUs block some paths
        x_BLD = torch.randn(1, longer, 1, dtype=torch.double, generator=torch.Generator().manual_seed(seed))
        x_BLD.requires_grad_()
        model(x_BLD, torch.tensor([longer]))[0][0, -1].sum().backward()
        reach |= x_BLD.grad[0, :, 0] != 0
    assert not reach[0]
    assert reach[1 + seen(num_blocks, kernel_size) - length]


def plain(model: tcn.Model, x_LD: torch.Tensor) -> list[torch.Tensor]:
    """Return the outputs of each step by the sums of section 3, one step at a time, from the model's parameters."""

    def convolve(convolution, steps, dilation):
        scale, direction = convolution.parametrizations.weight.original0, convolution.parametrizations.weight.original1
        size = direction.shape[2]
        outputs = []
        for t in range(len(steps)):
            total = convolution.bias.clone()
            for i in range(size):
                past = t - dilation * (size - 1 - i)
                if past >= 0:
                    length = direction.square().sum((1, 2)).sqrt()  # of the weights of one output channel
                    total = total + scale[:, 0, 0] / length * (direction[:, :, i] @ steps[past])
            outputs.append(total.clamp(min=0))
        return outputs

    steps = list(x_LD)
    for number, block in enumerate(model.blocks):
        inner = convolve(block.second, convolve(block.first, steps, 2**number), 2**number)
        shortcut = steps
        if isinstance(block.shortcut, torch.nn.Conv1d):
            shortcut = [block.shortcut.weight[:, :, 0] @ step + block.shortcut.bias for step in steps]
        steps = [(a + b).clamp(min=0) for a, b in zip(inner, shortcut, strict=True)]
    return steps


@pytest.mark.parametrize("width", [3, 5])
def test_the_outputs_are_those_of_the_equations(width):
    torch.manual_seed(0)
    model = tcn.Model(width, 13, hidden_size=5, kernel_size=3).double()
    with torch.no_grad():
        for block in model.blocks:  # scales as they are after training
            block.first.parametrizations.weight.original0.uniform_(0.5, 1.5)
            block.second.parametrizations.weight.original0.uniform_(0.5, 1.5)
    x_BLD = torch.randn(1, 13, width, dtype=torch.double)
    h_BLH, _ = model(x_BLD, torch.tensor([13]))
    torch.testing.assert_close(h_BLH[0], torch.stack(plain(model, x_BLD[0])), rtol=0, atol=1e-12)


def test_the_operations_by_hand():
    model = tcn.Model(2, 13, hidden_size=4, kernel_size=3).to("meta")
    assert len(model.blocks) == 2
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 13, 2, device="meta"), torch.empty(1, dtype=torch.long, device="meta"))
    weights = 4 * 2 * 3 + 3 * 4 * 4 * 3 + 4 * 2  # of four convolutions and the shortcut of the first block
    assert counter.get_total_flops() == 2 * 13 * weights
