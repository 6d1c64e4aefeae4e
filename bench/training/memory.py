"""Where a trained LSTM keeps a bit, and whether its gates act as they are named: probes, swaps and forced gates.

Examined on flip_flop, in sequences that write a bit, overwrite it, ignore what follows, and read at the end. Linear
probes: Alain & Bengio, 2016, https://arxiv.org/abs/1610.01644. Swaps between two inputs: Vig et al., 2020,
https://arxiv.org/abs/2004.12265.

N sequences, L steps, D width of the embedding, H units.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.config.contracts import Task
from bench.errors import DeclarationError
from bench.tasks import flip_flop
from bench.training.module import SequenceModule

SEQUENCES = 512  # half of them fit the probes, the other half is scored
SHORTEST = 23  # steps of a sequence, so that probes can be FAR steps away
FAR = 10  # steps after the write from which the bit counts as remembered
NOISE = 0.01  # added to probed states, which lie in about (-1, 1): what is smaller does not count as known
RIDGE = 1.0  # of a probe, on states that are not scaled


class Sequences(NamedTuple):
    """Two bits one after the other, and where they are written. Neighbours 2n and 2n + 1 differ in the second."""

    x: Tensor  # (N, L)
    bit: Tensor  # (N,), the second one, which the read at the last step asks for
    write: int  # step of the second bit; its instruction is one step earlier

    def ignored(self) -> Tensor:
        """Return which steps are to be ignored after the second write, (L,) bool."""
        steps = torch.arange(self.x.shape[1])
        return (steps > self.write) & (steps < len(steps) - 1)


class Trace(NamedTuple):
    """What an LSTM did at every step, (N, L, H) each."""

    hidden: Tensor
    cell: Tensor
    input: Tensor  # how open the gate was, 0 to 1
    forget: Tensor


def examine(task: Task, module: SequenceModule) -> dict[str, float]:
    """Return measurements of an LSTM of one layer on flip_flop. Raises DeclarationError for any other network.

    right: share of reads that are answered correctly, with nothing changed. Chance is 0.5 here and in all scores below.
    cell_probe, hidden_probe: area under the ROC curve of linear probes that read the bit from the cell, or hidden,
        state, FAR steps or more after the write and before the read; the mean over these steps.
    cell_over_hidden: cell_probe less hidden_probe.
    shuffled_probe: as cell_probe, with bits in random order: a control.
    cell_swap, hidden_swap: share of reads that name the bit of another sequence, whose cell, or hidden, state was put
        in half way between write and read.
    input_gate_contrast: how much further the input gate of a unit opens for a written bit than for an ignored one; of
        the unit where this is most.
    forget_gate_kept: how open the forget gate is at ignored steps, in the unit whose cell separates the bits furthest.
    forget_open_score, forget_shut_score: `right` with all forget gates forced open, or shut, at ignored steps.
    input_shut_score: `right` with all input gates forced shut while the bit is written.
    """
    layer = _layer(task, module)
    if layer is None:
        rule = f"an LSTM of one layer and one direction on flip_flop, at lengths of at least {SHORTEST + 1}"
        raise DeclarationError(f"memory of a bit: needs {rule}")
    made = sequences(task.num_steps)
    with torch.inference_mode():
        x_NLD = module.embed(made.x)
        trace = run(layer, x_NLD)
        half_way = (made.write + made.x.shape[1]) // 2
        steps = torch.arange(made.x.shape[1])
        writing_L = (steps == made.write - 1) | (steps == made.write)
        changed: dict[str, dict[str, Any]] = {
            "right": {},
            "forget_open_score": {"forced": {"forget": (made.ignored(), 1.0)}},
            "forget_shut_score": {"forced": {"forget": (made.ignored(), 0.0)}},
            "input_shut_score": {"forced": {"input": (writing_L, 0.0)}},
            "cell_swap": {"swap": ("cell", half_way)},
            "hidden_swap": {"swap": ("hidden", half_way)},
        }
        found = {}
        for name, how in changed.items():
            wanted_N = 1 - made.bit if "swap" in how else made.bit
            answer_N = module.head(run(layer, x_NLD, **how).hidden[:, -1]).argmax(-1)
            found[name] = float((answer_N == wanted_N).double().mean())
    return found | _probes(trace, made) | _gates(trace, made)


def by_lag(task: Task, module: SequenceModule) -> Iterator[tuple[str, int, float]]:
    """Yield how well probes of the cell and of the hidden state tell the bit: state, steps after the write, and area.

    Nothing is yielded for networks that `examine` refuses.
    """
    layer = _layer(task, module)
    if layer is None:
        return
    made = sequences(task.num_steps)
    with torch.inference_mode():
        trace = run(layer, module.embed(made.x))
    for name, state in (("cell state", trace.cell), ("hidden state", trace.hidden)):
        for lag, value in enumerate(curve(state[:, made.write : -1], made.bit)):
            yield name, lag, value


def _layer(task: Task, module: SequenceModule) -> nn.LSTM | None:
    """Return the layer of a network that can be examined; None for any other."""
    layers = getattr(module.encoder, "forward_layers", [])
    if not isinstance(task, flip_flop.Task) or len(layers) != 1 or not isinstance(layers[0], nn.LSTM):
        return None
    return layers[0] if module.encoder.causal and task.num_steps >= SHORTEST else None


def sequences(num_steps: int) -> Sequences:
    """Return sequences of flip_flop that write at the start and after a third, and read at the last step."""
    rng, pairs = np.random.default_rng(0), (num_steps + 1) // 2
    second = pairs // 3
    x_NL = rng.integers(0, 2, (SEQUENCES, 2 * pairs))
    x_NL[:, ::2] = flip_flop.IGNORE
    x_NL[:, 0] = x_NL[:, 2 * second] = flip_flop.WRITE
    x_NL[:, -2] = flip_flop.READ
    bit_N = np.arange(SEQUENCES) % 2
    x_NL[:, 2 * second + 1] = bit_N
    return Sequences(torch.from_numpy(x_NL[:, :-1]), torch.from_numpy(bit_N), 2 * second + 1)


def run(
    layer: nn.LSTM,
    x_NLD: Tensor,
    forced: Mapping[str, tuple[Tensor, float]] | None = None,
    swap: tuple[str, int] | None = None,
) -> Trace:
    """Return what an LSTM does step by step, as PyTorch's own, with changes.

    Args:
        layer: An LSTM of one layer.
        x_NLD: Its inputs.
        forced: By "input" or "forget": steps at which the gate of all units is given, (L,) bool, and how open it is.
        swap: "cell" or "hidden", and the step after which neighbours (2n, 2n + 1) exchange this state.
    """
    from_input, from_hidden = (
        [getattr(layer, f"{of}_{kind}_l0") for of in ("weight", "bias")] for kind in ("ih", "hh")
    )
    partner_N = torch.arange(len(x_NLD)) ^ 1
    h_NH = c_NH = x_NLD.new_zeros(len(x_NLD), layer.hidden_size)
    parts: list[tuple[Tensor, ...]] = []
    for step, x_ND in enumerate(x_NLD.unbind(1)):
        sum_NG = F.linear(x_ND, *from_input) + F.linear(h_NH, *from_hidden)
        admit_NH, keep_NH, new_NH, show_NH = sum_NG.chunk(4, dim=-1)
        gates = {"input": admit_NH.sigmoid(), "forget": keep_NH.sigmoid()}
        for name, (steps_L, value) in (forced or {}).items():
            if steps_L[step]:
                gates[name] = torch.full_like(gates[name], value)
        c_NH = gates["forget"] * c_NH + gates["input"] * new_NH.tanh()
        h_NH = show_NH.sigmoid() * c_NH.tanh()
        if swap == ("cell", step):
            c_NH = c_NH[partner_N]
        if swap == ("hidden", step):
            h_NH = h_NH[partner_N]
        parts.append((h_NH, c_NH, gates["input"], gates["forget"]))
    return Trace(*(torch.stack(steps, dim=1) for steps in zip(*parts, strict=True)))


# Probes


def _probes(trace: Trace, made: Sequences) -> dict[str, float]:
    steps = slice(made.write + FAR, -1)
    shuffled_N = made.bit[torch.randperm(SEQUENCES, generator=torch.Generator().manual_seed(0))]
    states = {
        "cell_probe": (trace.cell, made.bit),
        "hidden_probe": (trace.hidden, made.bit),
        "shuffled_probe": (trace.cell, shuffled_N),
    }
    found = {name: float(np.mean(curve(state[:, steps], bit_N))) for name, (state, bit_N) in states.items()}
    return found | {"cell_over_hidden": found["cell_probe"] - found["hidden_probe"]}


def curve(state_NLH: Tensor, bit_N: Tensor) -> list[float]:
    """Return how well a linear probe of each step tells the bit: the area under its ROC curve on the second half.

    A probe is ridge regression on the first half of the sequences.
    """
    noise = torch.randn(state_NLH.shape, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    half, areas = len(bit_N) // 2, []
    sign_N = 2.0 * bit_N.double() - 1
    for state_NH in (state_NLH.double() + NOISE * noise).unbind(1):
        centred_NH = state_NH - state_NH[:half].mean(0)
        fit_NH = centred_NH[:half]
        gram_HH = fit_NH.T @ fit_NH + RIDGE * torch.eye(fit_NH.shape[1], dtype=torch.double)
        weight_H = torch.linalg.solve(gram_HH, fit_NH.T @ sign_N[:half])
        areas.append(area(centred_NH[half:] @ weight_H, bit_N[half:]))
    return areas


def area(score_N: Tensor, bit_N: Tensor) -> float:
    """Return the area under the ROC curve: the share of pairs of a 1 and a 0 in the right order; ties count half."""
    ahead = score_N[bit_N == 1][:, None] - score_N[bit_N == 0]
    return float((ahead > 0).double().mean() + (ahead == 0).double().mean() / 2)


# Gates


def _gates(trace: Trace, made: Sequences) -> dict[str, float]:
    c_NH = trace.cell[:, -2]  # before the read
    ones_NH, zeros_NH = c_NH[made.bit == 1], c_NH[made.bit == 0]
    spread_H = (ones_NH.var(0) + zeros_NH.var(0)).sqrt() + NOISE
    memory = int(((ones_NH.mean(0) - zeros_NH.mean(0)).abs() / spread_H).argmax())
    ignored_L = made.ignored()
    bits_L = ignored_L & (torch.arange(len(ignored_L)) % 2 == 1)
    admitted_H = trace.input[:, made.write].mean(0) - trace.input[:, bits_L].mean((0, 1))
    kept = trace.forget[:, ignored_L, memory].mean()
    return {"input_gate_contrast": float(admitted_H.max()), "forget_gate_kept": float(kept)}
