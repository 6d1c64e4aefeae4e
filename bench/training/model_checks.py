"""What every encoder promises (bench/contracts.py), as checks that the tests and `bench check FILE.py` share.

A check is a function of a search space. It says what it found as an AssertionError, or lets pass what the model raises.
All models are checked in double precision, on the CPU, without their dropout; training mode where that matters.

B batch, L length, D input width, H hidden width.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.config import plugins
from bench.config.search_spaces import SearchSpace
from bench.config.settings import TUNABLE

D, L = 5, 12
LONG = 200
"""Steps of a sequence that is longer than what most models are told to look back at."""


def make(space: SearchSpace, seed: int = 0, length: int = L, **values: Any) -> Any:
    """Return the model at the space's default, with the knobs `values` laid over it."""
    torch.manual_seed(seed)
    arguments = space.split(space.default | values)[0]
    model = plugins.load("models", space.model).Model(D, length, **arguments)
    assert isinstance(model, nn.Module), f"Model is no torch.nn.Module, but {type(model).__mro__[1].__name__}"
    return model.double().eval()


def sequences(batch: int, length: int, seed: int = 1) -> Tensor:
    """Return sequences of random numbers."""
    return torch.randn(batch, length, D, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def shapes_are_as_declared(space: SearchSpace) -> None:
    """The outputs are (B, L, output_size) and the summary (B, summary_size) at any length; causal is True or False."""
    model = make(space)
    assert isinstance(model.causal, bool), f"causal: True or False expected, but found {model.causal!r}"
    for length in (1, L, 2 * L):
        length_B = torch.tensor([1, length, max(1, length // 2)])
        found = model(sequences(3, length), length_B)
        assert isinstance(found, tuple) and len(found) == 2, (  # noqa: PT018
            f"forward returns a {type(found).__name__}; the pair (outputs, state) expected"
        )
        _is(found[0], (3, length, model.output_size), "the outputs of forward", "output_size")
        _is(model.summary(found[0], length_B), (3, model.summary_size), "the summaries", "summary_size")


def padding_never_changes_an_output(
    space: SearchSpace, lengths: Sequence[int] = (1, 5, L), padding: int = 4, garbage: int = 1
) -> None:
    """What stands to the right of a sequence's length changes none of its steps, nor its summary."""
    model = make(space)
    for length in lengths:
        x_BLD, length_B = sequences(1, length), torch.tensor([length, length + padding])
        alone_BLH, _ = model(x_BLD, length_B[:1])
        padded = torch.cat([x_BLD, 100 * sequences(1, padding, garbage)], dim=1)
        # In a batch with a longer sequence too, as it happens in training.
        both = torch.cat([padded, sequences(1, length + padding, 7)])
        h_BLH, _ = model(both, length_B)
        found = f"of a sequence of {length} steps, alone and with {padding} of padding"
        _same(h_BLH[:1, :length], alone_BLH, 1e-10, f"the outputs {found}")
        _same(
            model.summary(h_BLH, length_B)[:1], model.summary(alone_BLH, length_B[:1]), 1e-10, f"the summaries {found}"
        )
        # What a batch shares in training (BatchNorm) may not look at padding either.
        other = both.clone()
        other[0, length:] = 0
        trained, expected = (_in_training(model, x, length_B) for x in (both, other))
        found = f"of a sequence of {length} steps in training, by what its padding holds,"
        _same(trained[0][:1, :length], expected[0][:1, :length], 1e-10, f"the outputs {found}")
        _same(trained[1], expected[1], 1e-10, f"the summaries {found}")


def the_future_changes_the_past_only_where_that_is_declared(space: SearchSpace) -> None:
    """No step depends on a later one if `causal` is True, and some do if it is False."""
    model, before, after = _two_futures(space)
    if model.causal:
        assert _is_past_same(before, after), _LEAK
    else:
        assert not _is_past_same(before, after), "causal is False, but no step depends on a later one"
        assert space.bidirectional, _UNTOLD
    assert not torch.allclose(before[:, L // 2 :], after[:, L // 2 :]), "the outputs do not depend on the input"


_LEAK = f"causal is True, but the first {L // 2} steps change with what comes after them"
_UNTOLD = "causal is False, which a plan cannot tell: write it into the body of the class, where it is read without "
_UNTOLD += "importing torch"


def _two_futures(space: SearchSpace) -> tuple[Any, Tensor, Tensor]:
    """Return a model, and its outputs for sequences that differ in their second half only."""
    model, x_BLD, length_B = make(space), sequences(2, L), torch.tensor([L, L])
    changed = x_BLD.clone()
    changed[:, L // 2 :] += 1
    return model, model(x_BLD, length_B)[0], model(changed, length_B)[0]


def _is_past_same(before: Tensor, after: Tensor) -> bool:
    """Return whether the first half is the same to the last bit; what is no number tells nothing of the future."""
    return torch.allclose(before[:, : L // 2], after[:, : L // 2], rtol=0, atol=0, equal_nan=True)


PIECES = {"steps": [1] * L, "pieces": [3, 1, 4, L - 8], "all but one": [L - 1, 1]}


def going_on_from_a_state_gives_the_outputs_of_the_whole(
    space: SearchSpace, pieces: Sequence[Sequence[int]] = tuple(PIECES.values())
) -> None:
    """A causal model that is fed in pieces, each with the state of the one before, answers as if fed at once."""
    model, x_BLD = make(space), sequences(2, L)
    if not model.causal:
        return
    whole, _ = model(x_BLD, torch.tensor([L, L]))
    for sizes in pieces:
        state, outputs = None, []
        for part in torch.split(x_BLD, list(sizes), dim=1):
            h_BLH, state = model(part, torch.full((2,), part.shape[1]), state)
            outputs.append(h_BLH)
        _same(torch.cat(outputs, dim=1), whole, 1e-9, f"the outputs of {L} steps fed at once and in pieces of {sizes}")


def the_state_is_as_large_as_declared(space: SearchSpace) -> None:
    """state_size counts the numbers of the state that a causal model carries on."""
    model = make(space)
    if not model.causal:
        return
    _, state = model(sequences(1, L), torch.tensor([L]))
    declared, found = model.state_size(L), _count(state)
    assert found == declared, f"state_size({L}) is {declared}, but the state after {L} steps holds {found} numbers"


def a_gradient_reaches_every_parameter(space: SearchSpace) -> None:
    """No parameter is left out, whether the steps are read or the summary."""
    for read in ("summary", "steps"):
        model, length_B = make(space).train(), torch.tensor([L, L - 3])
        parameters = {name: one for name, one in model.named_parameters() if one.requires_grad}
        if not parameters:
            return
        h_BLH, _ = model(sequences(2, L), length_B)
        out = model.summary(h_BLH, length_B) if read == "summary" else h_BLH
        (out * torch.randn_like(out)).sum().backward()
        ignored = [name for name, one in parameters.items() if one.grad is None or not one.grad.abs().sum() > 0]
        assert not ignored, f"no gradient from the {read} to {', '.join(ignored)}"


def every_knob_of_the_model_counts(space: SearchSpace) -> None:
    """At the ends of each tuned range weights, outputs or gradients differ: no argument is ignored."""
    for knob, entry in space.tuned.items():
        if knob in TUNABLE:
            continue
        counted = {other: choices[0] for other, choices in entry.get("when", {}).items()}
        first, *others = entry["choices"] if entry["type"] == "categorical" else [entry["low"], entry["high"]]
        expected = _trace(space, counted | {knob: first})
        for other in others:
            found = _trace(space, counted | {knob: other})
            same = len(found) == len(expected) and all(map(torch.equal, found, expected))
            assert not same, f"{knob} is ignored: {first!r} and {other!r} give the same weights, outputs and gradients"


def the_seed_decides_the_weights(space: SearchSpace) -> None:
    """Models of one seed begin with the same weights, those of another with others."""
    first, again, other = (list(make(space, seed).state_dict().values()) for seed in (0, 0, 1))
    assert all(map(torch.equal, first, again)), "two models of one seed begin with different weights"
    assert not first or not all(map(torch.equal, first, other)), "models of different seeds begin with the same weights"


def every_point_of_the_space_builds(space: SearchSpace) -> None:
    """The model takes what the search space may draw, also for short sequences."""
    model = plugins.load("models", space.model).Model
    for number in range(12):
        arguments = space.split(space.sobol_point(number, 0))[0]
        try:
            model(D, 2, **arguments)
        except Exception as error:
            found = plugins.told(plugins.source("models", space.model), error)
            raise AssertionError(f"{found}, with {arguments} and a length of 2") from error


def operations_are_counted_without_data(space: SearchSpace) -> None:
    """Forward and backward run on the meta device, where shapes are known and no values, as FLOPs are counted."""
    model = make(space).float().to("meta").train()
    for length in (1, 2, 3):
        length_B = torch.empty(1, dtype=torch.long, device="meta")
        h_BLH, _ = model(torch.empty(1, length, D, device="meta"), length_B)
        out = h_BLH.sum() + model.summary(h_BLH, length_B).sum()
        if out.requires_grad:
            out.backward()


def eight_examples_can_be_learnt_by_heart(space: SearchSpace) -> None:
    """Labels that follow from the sequence as a whole, at random: an order-blind net can do it too."""
    model, x_BLD, length_B = make(space).train(), sequences(8, L), torch.full((8,), L)
    head = nn.Linear(model.summary_size, 2).double()
    y_B = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(400):
        loss = nn.functional.cross_entropy(head(model.summary(model(x_BLD, length_B)[0], length_B)), y_B)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss.item() < 0.1, f"a loss of {loss.item():.2g} after 400 steps on eight examples; below 0.1 expected"


Check = Callable[[SearchSpace], None]

CHECKS: tuple[Check, ...] = (
    shapes_are_as_declared,
    padding_never_changes_an_output,
    the_future_changes_the_past_only_where_that_is_declared,
    going_on_from_a_state_gives_the_outputs_of_the_whole,
    the_state_is_as_large_as_declared,
    a_gradient_reaches_every_parameter,
    every_knob_of_the_model_counts,
    the_seed_decides_the_weights,
    every_point_of_the_space_builds,
    operations_are_counted_without_data,
    eight_examples_can_be_learnt_by_heart,
)


def problems(space: SearchSpace) -> Iterator[tuple[str, str | None]]:
    """Make all checks and yield each promise with what broke it, in one line; None if nothing did.

    Raises BenchError if the file of the model cannot be imported.
    """
    plugins.load("models", space.model)
    for check in CHECKS:
        yield check.__name__.replace("_", " "), _problem(check, space)


def leak(space: SearchSpace) -> str | None:
    """Return how a model sees the future without saying so; None where it does not, or breaks before it can be told."""
    try:
        model, before, after = _two_futures(space)
        is_same = _is_past_same(before, after)
    except Exception:  # noqa: BLE001 - model code may raise anything; its run will tell what
        return None
    if not model.causal:
        return _UNTOLD
    return None if is_same else _LEAK


def _problem(check: Check, space: SearchSpace) -> str | None:
    try:
        check(space)
    except Exception as error:  # noqa: BLE001 - model code may raise anything, and each check is told by itself
        return plugins.told(plugins.source("models", space.model), error)
    return None


def _is(found: Any, shape: tuple[int, ...], what: str, declared: str) -> None:
    assert isinstance(found, Tensor), f"{what}: a tensor expected, but found a {type(found).__name__}"
    assert found.shape == shape, f"{what} have the shape {tuple(found.shape)}; {shape} expected from {declared}"


def _same(found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    assert found.shape == expected.shape, f"{what} have shapes {tuple(found.shape)} and {tuple(expected.shape)}"
    difference = (found - expected).abs().max().item()
    assert difference <= tolerance, f"{what} differ by {difference:.2g}"  # also where that is no number


def _count(state: Any) -> int:
    """Return how many numbers a state holds."""
    if state is None:
        return 0
    if isinstance(state, Tensor):
        return state.numel()
    if isinstance(state, int | float):
        return 1
    if isinstance(state, dict):
        return _count(list(state.values()))
    assert isinstance(state, list | tuple), (
        f"the state holds a {type(state).__name__}: tensors in lists or tuples expected"
    )
    return sum(map(_count, state))


def _in_training(model: Any, x_BLD: Tensor, length_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs and summary of the first sequence in training mode, with the same draws of dropout each time."""
    torch.manual_seed(0)
    model.train()
    h_BLH, _ = model(x_BLD, length_B)
    summary = model.summary(h_BLH, length_B)[:1]
    model.eval()
    return h_BLH, summary


def _trace(space: SearchSpace, values: dict[str, Any]) -> list[Tensor]:
    """Return all that a knob may change: weights, outputs and gradients of a training step."""
    model = make(space, length=LONG, **values).train()
    x_BLD, length_B = sequences(2, LONG), torch.tensor([LONG, LONG - 3])
    torch.manual_seed(0)
    h_BLH, _ = model(x_BLD, length_B)
    summary = model.summary(h_BLH, length_B)
    out = (h_BLH * torch.randn_like(h_BLH)).sum() + (summary * torch.randn_like(summary)).sum()
    if out.requires_grad:
        out.backward()
    gradients = [one.grad for one in model.parameters() if one.grad is not None]
    return [*model.state_dict().values(), h_BLH, summary, *gradients]
