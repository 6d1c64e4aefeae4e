"""Checks of the contract of models (bench/config/contracts.py), shared by the tests and `bench check FILE.py`.

A check is a function of a search space, and its name is the promise that it checks. It raises an AssertionError with
what is wrong; errors of the model pass through. Models are checked in double precision, on the CPU, without dropout.

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
"""Steps of a sequence that is longer than the window or context of most models."""


def make(space: SearchSpace, seed: int = 0, length: int = L, **values: Any) -> Any:
    """Return the model at the space's default configuration, changed by `values`."""
    torch.manual_seed(seed)
    arguments = space.split(space.default | values)[0]
    model = plugins.load("models", space.model).Model(D, length, **arguments)
    assert isinstance(model, nn.Module), (
        f"Model must be a torch.nn.Module, but it derives from {type(model).__mro__[1].__name__}"
    )
    return model.double().eval()


def sequences(batch: int, length: int, seed: int = 1) -> Tensor:
    """Return sequences of random numbers."""
    return torch.randn(batch, length, D, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def outputs_have_the_declared_shapes(space: SearchSpace) -> None:
    """The outputs are (B, L, output_size) and the summary (B, summary_size) at any length; causal is True or False."""
    model = make(space)
    assert isinstance(model.causal, bool), f"causal must be True or False, but it is {model.causal!r}"
    for length in (1, L, 2 * L):
        length_B = torch.tensor([1, length, max(1, length // 2)])
        result = model(sequences(3, length), length_B)
        assert isinstance(result, tuple) and len(result) == 2, (  # noqa: PT018
            f"forward must return the pair (outputs, state), but it returns a {type(result).__name__}"
        )
        _check_shape(result[0], (3, length, model.output_size), "the outputs of forward", "output_size")
        _check_shape(model.summary(result[0], length_B), (3, model.summary_size), "the summaries", "summary_size")


def padding_changes_no_output(
    space: SearchSpace, lengths: Sequence[int] = (1, 5, L), padding: int = 4, garbage: int = 1
) -> None:
    """What follows after a sequence's length changes neither its outputs nor its summary."""
    model = make(space)
    for length in lengths:
        x_BLD, length_B = sequences(1, length), torch.tensor([length, length + padding])
        alone_BLH, _ = model(x_BLD, length_B[:1])
        padded = torch.cat([x_BLD, 100 * sequences(1, padding, garbage)], dim=1)
        # Beside a longer sequence, as in a training batch.
        both = torch.cat([padded, sequences(1, length + padding, 7)])
        h_BLH, _ = model(both, length_B)
        summary, alone = model.summary(h_BLH, length_B)[:1], model.summary(alone_BLH, length_B[:1])
        case = f"of a sequence of {length} steps, alone and with {padding} of padding,"
        _check_equal(h_BLH[:1, :length], alone_BLH, 1e-10, f"the outputs {case}")
        _check_equal(summary, alone, 1e-10, f"the summaries {case}")
        # Statistics of a batch in training (BatchNorm) must ignore padding too.
        other = both.clone()
        other[0, length:] = 0
        trained, expected = (_in_training(model, x, length_B) for x in (both, other))
        case = f"of a sequence of {length} steps in training, with different padding,"
        _check_equal(trained[0][:1, :length], expected[0][:1, :length], 1e-10, f"the outputs {case}")
        _check_equal(trained[1], expected[1], 1e-10, f"the summaries {case}")


def outputs_depend_on_later_steps_only_if_causal_is_false(space: SearchSpace) -> None:
    """No output depends on a later step if `causal` is True, and some do if it is False."""
    model, before, after = _two_futures(space)
    if model.causal:
        assert _is_past_check_equal(before, after), _LEAK
    else:
        assert not _is_past_check_equal(before, after), "causal is False, but no step depends on a later one"
        assert space.bidirectional, _UNDECLARED
    assert not torch.allclose(before[:, L // 2 :], after[:, L // 2 :]), "the outputs do not depend on the input"


_LEAK = f"causal is True, but the first {L // 2} steps change with the steps after them"
_UNDECLARED = "causal is False, but only after __init__: set it in the body of the class, which is read without torch"


def _two_futures(space: SearchSpace) -> tuple[Any, Tensor, Tensor]:
    """Return a model, and its outputs for sequences that differ in their second half only."""
    model, x_BLD, length_B = make(space), sequences(2, L), torch.tensor([L, L])
    changed = x_BLD.clone()
    changed[:, L // 2 :] += 1
    return model, model(x_BLD, length_B)[0], model(changed, length_B)[0]


def _is_past_check_equal(before: Tensor, after: Tensor) -> bool:
    """Return whether the first half is equal but for rounding; NaN counts as equal to NaN.

    A convolution by Fourier transforms is causal, but every step takes part in its rounding.
    """
    return torch.allclose(before[:, : L // 2], after[:, : L // 2], rtol=0, atol=1e-12, equal_nan=True)


PIECES = {"steps": [1] * L, "pieces": [3, 1, 4, L - 8], "all but one": [L - 1, 1]}


def a_sequence_in_pieces_gives_the_same_outputs(
    space: SearchSpace, pieces: Sequence[Sequence[int]] = tuple(PIECES.values())
) -> None:
    """A causal model fed in pieces, each with the state after the one before, gives the outputs of a single call."""
    model, x_BLD = make(space), sequences(2, L)
    if not model.causal:
        return
    whole_BLH, _ = model(x_BLD, torch.tensor([L, L]))
    for sizes in pieces:
        state, outputs = None, []
        for part in torch.split(x_BLD, list(sizes), dim=1):
            h_BLH, state = model(part, torch.full((2,), part.shape[1]), state)
            outputs.append(h_BLH)
        _check_equal(
            torch.cat(outputs, dim=1), whole_BLH, 1e-9, f"the outputs of {L} steps at once and in pieces of {sizes}"
        )


def the_state_has_the_declared_size(space: SearchSpace) -> None:
    """state_size returns how many numbers the state of a causal model holds."""
    model = make(space)
    if not model.causal:
        return
    _, state = model(sequences(1, L), torch.tensor([L]))
    declared, actual = model.state_size(L), _count(state)
    assert actual == declared, f"state_size({L}) is {declared}, but the state after {L} steps holds {actual} numbers"


def every_parameter_gets_a_gradient(space: SearchSpace) -> None:
    """Every parameter gets a gradient, from the outputs and from the summary."""
    for read in ("summary", "steps"):
        model, length_B = make(space).train(), torch.tensor([L, L - 3])
        parameters = {name: one for name, one in model.named_parameters() if one.requires_grad}
        if not parameters:
            return
        h_BLH, _ = model(sequences(2, L), length_B)
        out = model.summary(h_BLH, length_B) if read == "summary" else h_BLH
        (out * torch.randn_like(out)).sum().backward()
        ignored = [name for name, one in parameters.items() if one.grad is None or not one.grad.abs().sum() > 0]
        assert not ignored, f"{', '.join(ignored)} get no gradient from the {read}"


def every_tuned_argument_has_an_effect(space: SearchSpace) -> None:
    """Weights, outputs or gradients differ between the ends of each tuned range."""
    for name, entry in space.tuned.items():
        if name in TUNABLE:
            continue
        conditions = {other: choices[0] for other, choices in entry.get("when", {}).items()}
        first, *others = entry["choices"] if entry["type"] == "categorical" else [entry["low"], entry["high"]]
        before = _trace(space, conditions | {name: first})
        for other in others:
            after = _trace(space, conditions | {name: other})
            is_ignored = len(after) == len(before) and all(map(torch.equal, after, before))
            values = f"{first!r} and {other!r}"
            assert not is_ignored, f"{name} has no effect: {values} give the same weights, outputs and gradients"


def the_seed_determines_the_initial_weights(space: SearchSpace) -> None:
    """Two models of the same seed start with equal weights, models of different seeds with different ones."""
    first, again, other = (list(make(space, seed).state_dict().values()) for seed in (0, 0, 1))
    assert all(map(torch.equal, first, again)), "two models of the same seed start with different weights"
    assert not first or not all(map(torch.equal, first, other)), "models of different seeds start with the same weights"


def every_configuration_builds(space: SearchSpace) -> None:
    """The model accepts the configurations that the search space can draw, also for short sequences."""
    model = plugins.load("models", space.model).Model
    for number in range(12):
        arguments = space.split(space.sobol_point(number, 0))[0]
        try:
            model(D, 2, **arguments)
        except Exception as error:
            message = plugins.told(plugins.source("models", space.model), error)
            raise AssertionError(f"{message}, with {arguments} and a length of 2") from error


def the_model_runs_without_data(space: SearchSpace) -> None:
    """Forward and backward run on the meta device, which has shapes but no values: FLOPs are counted there."""
    model = make(space).float().to("meta").train()
    for length in (1, 2, 3):
        length_B = torch.empty(1, dtype=torch.long, device="meta")
        h_BLH, _ = model(torch.empty(1, length, D, device="meta"), length_B)
        out = h_BLH.sum() + model.summary(h_BLH, length_B).sum()
        if out.requires_grad:
            out.backward()


def eight_examples_can_be_memorised(space: SearchSpace) -> None:
    """Random labels of eight sequences can be learned; a model that ignores order can do it too."""
    model, x_BLD, length_B = make(space).train(), sequences(8, L), torch.full((8,), L)
    head = nn.Linear(model.summary_size, 2).double()
    y_B = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(400):
        loss = nn.functional.cross_entropy(head(model.summary(model(x_BLD, length_B)[0], length_B)), y_B)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss.item() < 0.1, (
        f"the loss must fall below 0.1 in 400 steps on eight examples, but it is {loss.item():.2g}"
    )


Check = Callable[[SearchSpace], None]

CHECKS: tuple[Check, ...] = (
    outputs_have_the_declared_shapes,
    padding_changes_no_output,
    outputs_depend_on_later_steps_only_if_causal_is_false,
    a_sequence_in_pieces_gives_the_same_outputs,
    the_state_has_the_declared_size,
    every_parameter_gets_a_gradient,
    every_tuned_argument_has_an_effect,
    the_seed_determines_the_initial_weights,
    every_configuration_builds,
    the_model_runs_without_data,
    eight_examples_can_be_memorised,
)


def problems(space: SearchSpace) -> Iterator[tuple[str, str | None]]:
    """Run all checks and yield each promise with what is wrong, in one line, or None if it is kept.

    Raises BenchError if the file of the model cannot be imported.
    """
    plugins.load("models", space.model)
    for check in CHECKS:
        yield check.__name__.replace("_", " "), _problem(check, space)


def leak(space: SearchSpace) -> str | None:
    """Return how a model uses later steps without declaring it; None if it does not, or if it fails before that."""
    try:
        model, before, after = _two_futures(space)
        is_same = _is_past_check_equal(before, after)
    except Exception:  # noqa: BLE001 - model code may raise anything; its run will report it
        return None
    if not model.causal:
        return _UNDECLARED
    return None if is_same else _LEAK


def _problem(check: Check, space: SearchSpace) -> str | None:
    try:
        check(space)
    except Exception as error:  # noqa: BLE001 - model code may raise anything, and each check has its own result
        return plugins.told(plugins.source("models", space.model), error)
    return None


def _check_shape(output: Any, shape: tuple[int, ...], what: str, declared: str) -> None:
    assert isinstance(output, Tensor), f"{what} must be a tensor, but a {type(output).__name__} is returned"
    actual = tuple(output.shape)
    assert actual == shape, f"{what} must have the shape {shape}, by {declared}, but it is {actual}"


def _check_equal(actual: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    assert actual.shape == expected.shape, f"{what} have shapes {tuple(actual.shape)} and {tuple(expected.shape)}"
    difference = (actual - expected).abs().max().item()
    assert difference <= tolerance, f"{what} differ by {difference:.2g}"  # NaN fails too


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
        f"the state may hold tensors, numbers, lists, tuples and dictionaries, but not a {type(state).__name__}"
    )
    return sum(map(_count, state))


def _in_training(model: Any, x_BLD: Tensor, length_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs and summary of the first sequence in training mode, with equal draws of dropout each time."""
    torch.manual_seed(0)
    model.train()
    h_BLH, _ = model(x_BLD, length_B)
    summary = model.summary(h_BLH, length_B)[:1]
    model.eval()
    return h_BLH, summary


def _trace(space: SearchSpace, values: dict[str, Any]) -> list[Tensor]:
    """Return all that an argument may change: weights, outputs and gradients of a training step."""
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
