"""Every model, in the shape of every search space, keeps the contract of bench/contracts.py.

B batch, L length, D input width, H hidden width.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import plugins, search_spaces

D, L = 5, 12
SPACES = sorted(plugins.declarations("search_spaces"))
CAUSAL = [name for name in SPACES if not search_spaces.read(name).bidirectional]


def make(name: str, seed: int = 0, length: int = L, **changes):
    space = search_spaces.read(name)
    torch.manual_seed(seed)
    arguments = space.split(space.default | changes)[0]
    return plugins.load("models", space.model).Model(D, length, **arguments).double()


def sequences(batch: int, length: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, length, D, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def test_every_model_has_a_search_space():
    assert {search_spaces.read(name).model for name in SPACES} == set(plugins.names("models"))


@pytest.mark.parametrize("name", SPACES)
def test_shapes_are_as_declared(name):
    model = make(name)
    for length in (1, L, 2 * L):
        h_BLH, _ = model(sequences(3, length), torch.tensor([1, length, max(1, length // 2)]))
        assert h_BLH.shape == (3, length, model.output_size)
        assert model.summary(h_BLH, torch.tensor([1, length, 1])).shape == (3, model.summary_size)


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=12, deadline=None)
@given(
    lengths=st.lists(st.integers(1, L), min_size=1, max_size=4), padding=st.integers(1, 9), garbage=st.integers(1, 5)
)
def test_padding_never_changes_an_output(name, lengths, padding, garbage):
    model = make(name)
    for length in lengths:
        x_BLD = sequences(1, length)
        h_BLH, _ = model(x_BLD, torch.tensor([length]))
        padded = torch.cat([x_BLD, 100 * sequences(1, padding, garbage)], dim=1)
        # In a batch with a longer sequence too, as it happens in training.
        both = torch.cat([padded, sequences(1, length + padding, 7)])
        length_B = torch.tensor([length, length + padding])
        p_BLH, _ = model(both, length_B)
        torch.testing.assert_close(p_BLH[:1, :length], h_BLH, atol=1e-10, rtol=0)
        torch.testing.assert_close(
            model.summary(p_BLH, length_B)[:1], model.summary(h_BLH, torch.tensor([length])), atol=1e-10, rtol=0
        )


@pytest.mark.parametrize("name", SPACES)
def test_the_future_changes_the_past_only_where_that_is_declared(name):
    model, x_BLD, length_B = make(name), sequences(2, L), torch.tensor([L, L])
    changed = x_BLD.clone()
    changed[:, L // 2 :] += 1
    before, after = model(x_BLD, length_B)[0], model(changed, length_B)[0]
    same = torch.equal(before[:, : L // 2], after[:, : L // 2])
    assert same == model.causal
    assert not torch.allclose(before[:, L // 2 :], after[:, L // 2 :])


@pytest.mark.parametrize("pieces", [[1] * L, [3, 1, 4, L - 8], [L - 1, 1]], ids=["steps", "pieces", "all but one"])
@pytest.mark.parametrize("name", CAUSAL)
def test_going_on_from_a_state_gives_the_outputs_of_the_whole(name, pieces):
    model, x_BLD = make(name), sequences(2, L)
    whole, _ = model(x_BLD, torch.tensor([L, L]))
    state, outputs = None, []
    for part in x_BLD.split(pieces, dim=1):
        h_BLH, state = model(part, torch.full((2,), part.shape[1]), state)
        outputs.append(h_BLH)
    torch.testing.assert_close(torch.cat(outputs, dim=1), whole, atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", CAUSAL)
def test_the_state_is_as_large_as_declared(name):
    model = make(name)
    _, state = model(sequences(1, L), torch.tensor([L]))

    def count(part) -> int:
        if part is None:
            return 0
        return part.numel() if isinstance(part, torch.Tensor) else sum(map(count, part))

    assert count(state) == model.state_size(L)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("read", ["summary", "steps"])
def test_a_gradient_reaches_every_parameter(name, read):
    model, length_B = make(name), torch.tensor([L, L - 3])
    h_BLH, _ = model(sequences(2, L), length_B)
    out = model.summary(h_BLH, length_B) if read == "summary" else h_BLH
    (out * torch.randn_like(out)).sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", SPACES)
def test_the_seed_decides_the_weights(name):
    first, second, other = (torch.cat([p.flatten() for p in make(name, seed).parameters()]) for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", SPACES)
def test_every_point_of_the_space_builds(name):
    space = search_spaces.read(name)
    for number in range(12):
        arguments = space.split(space.sobol_point(number, 0))[0]
        plugins.load("models", space.model).Model(D, 2, **arguments)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
def test_eight_examples_can_be_learnt_by_heart(name):
    """Labels that follow from the sequence as a whole, at random: an order-blind net can do it too."""
    model, x_BLD, length_B = make(name), sequences(8, L), torch.full((8,), L)
    head = torch.nn.Linear(model.summary_size, 2).double()
    y_B = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(400):
        loss = torch.nn.functional.cross_entropy(head(model.summary(model(x_BLD, length_B)[0], length_B)), y_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
