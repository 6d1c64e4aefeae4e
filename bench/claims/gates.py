"""The gates of an experiment: what must hold of its records before it may decide anything.

A gate that fails makes a sub-claim undecided, never refuted: the experiment was not able to show it.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from bench.claims.declaration import CHEAP, KINDS, MEMORY, SubClaim
from bench.claims.evidence import NUMBERS, Evidence, Question
from bench.claims.measures import Unit, is_learned
from bench.config import search_spaces
from bench.config.contracts import Kind
from bench.config.sweep_settings import MatchRule
from bench.results.cell_runs import CellRuns
from bench.results.disturbance import of_speed
from bench.results.selection import counted_val

MOST_Z = 3.0  # deviations by which a constant answer may be off the chance of its task
MATCHED = 0.1  # relative difference of a capacity from its target; attention has no width between some sizes
LEAST_RIGHT = 0.95  # share of unchanged answers, on sequences that are built to examine a memory
MOST_OFF = 0.1  # of an area under the ROC curve from chance
EDGE = 0.05  # of the range of a learning rate, on a logarithmic scale where it is searched on one
MOST_FAILED = 0.2  # share of the confirm runs of an arm
MOST_SPREAD = 0.1  # interquartile range of repeated times over their median
MOST_DISTURBED = 0.5  # share of the measurements
SCORES = ("score", "mean_score", "growth")
"""Measures whose margin is in the unit of the validation score."""

TUNED = {"g6": "tuning has converged", "g7": "learning rates are inside their ranges"}
TIMES = {"train_step": "train", "latency": "latency", "streaming": "streaming"}
"""The word by which records name the repeats behind a measure."""


class Gate(NamedTuple):
    """A gate, whether it holds, and what was found."""

    id: str
    holds: bool
    text: str


def check(sub: SubClaim, found: Evidence, units: Sequence[Unit], spaces: Path | None = None) -> list[Gate]:
    """Return the gates that apply to a sub-claim and that its records can show, each once.

    `spaces` is the folder of search spaces of the claim file.
    """
    asked = list(dict.fromkeys(question for unit in units for question in unit.questions))
    arms = [arm for arm in (sub.arm, sub.against) if arm and arm not in CHEAP]
    kind = KINDS.get(sub.measure, "sweep")
    if kind == "speed":
        return list(_noise(sub, found, asked, arms)) if sub.measure in TIMES else []
    if kind in NUMBERS:
        return []
    gates = [*_chance(found, asked), *_alive(found, units, arms), *_matched(found, asked, arms)]
    gates += [*_controls(sub, found, asked, arms), *_equal(found, asked, arms), *_all_tuned(sub, found, units, spaces)]
    return [*gates, *_failures(found, asked, arms)]


def _chance(found: Evidence, asked: Sequence[Question]) -> Iterator[Gate]:
    """g1: a constant answer, measured on the test split, scores what the task declares as chance."""
    worst, where = 0.0, None
    for question in asked:
        run = found.cheap.get(question)
        measured = (run.baselines or {}).get("constant answer") if run is not None else None
        if run is None or measured is None or run.asked.metric != "accuracy" or run.asked.solved is None:
            continue
        chance = run.asked.chance
        z = abs(measured - chance) / math.sqrt(chance * (1 - chance) / run.config.train.num_test)
        if where is None or z > worst:
            worst, where = z, question
    if where is not None:
        yield Gate("g1", worst < MOST_Z, f"a constant answer is {worst:.1f} deviations off chance ({where})")


def _controls(sub: SubClaim, found: Evidence, asked: Sequence[Question], arms: Sequence[str]) -> Iterator[Gate]:
    """g2: what is measured of weights could have shown an effect.

    Networks whose memory is examined answer correctly if unchanged, and probes of shuffled bits fail. Of two networks
    that are compared by their use of distant context, one makes use of it.
    """
    examined = [found.examined.get((question, arm), {}).values() for question in asked for arm in arms]
    if sub.measure in MEMORY and any(examined):
        values = [value for of_arm in examined for value in of_arm]
        right = statistics.fmean(value["right"] for value in values)
        shuffled = statistics.fmean(value["shuffled_probe"] for value in values)
        text = f"{right:.0%} of unchanged answers are right; probes of shuffled bits reach {shuffled:.2f} (chance .5)"
        yield Gate("g2", right >= LEAST_RIGHT and abs(shuffled - 0.5) < MOST_OFF, text)
    elif sub.measure == "context_gain" and any(examined):
        most = max(statistics.fmean(value["context_gain"] for value in of_arm) for of_arm in examined if of_arm)
        yield Gate("g2", most > sub.margin, f"distant context saves a network up to {most:.3f} nats")


def _alive(found: Evidence, units: Sequence[Unit], arms: Sequence[str]) -> Iterator[Gate]:
    """g3: at least one arm learns the easiest length of a task."""
    easiest: dict[str, Question] = {}
    for question in (question for unit in units for question in unit.questions):
        known = easiest.get(question.dataset)
        if known is None or question.length < known.length:
            easiest[question.dataset] = question
    tried = [question for question in easiest.values() if any(found.confirmed(question, arm) for arm in arms)]
    if tried:
        dead = [str(question) for question in tried if not is_learned(found, question, arms)]
        text = f"no arm learns {', '.join(dead)}" if dead else "the easiest length of every task is learned"
        yield Gate("g3", len(dead) < len(tried), text)


def _matched(found: Evidence, asked: Sequence[Question], arms: Sequence[str]) -> Iterator[Gate]:
    """g4: every network has the number of parameters that the experiment asks for."""
    text = found.experiment.match
    if text is None or MatchRule.parse(text).measure != "parameters":
        return
    target, worst = MatchRule.parse(text).target, 0.0
    runs = [run for question in asked for arm in arms for run in found.confirmed(question, arm) if run.parameters]
    for run in runs:
        size = run.parameters.get("encoder", 0) + run.parameters.get("head", 0)
        worst = max(worst, abs(size / target - 1))
    if runs:
        yield Gate("g4", worst <= MATCHED, f"parameters within {100 * worst:.1f} % of the target")


def _equal(found: Evidence, asked: Sequence[Question], arms: Sequence[str]) -> Iterator[Gate]:
    """g5: both arms had as many trials, and as many training sequences in a run."""
    unequal = []
    compared = False
    for question in asked:
        cells = [found.cells.get((question, arm)) for arm in arms]
        work = {
            (len(cell.screened), cell.confirmed[0].config.train.max_sequences)
            for cell in cells
            if cell is not None and cell.confirmed and not cell.is_halved
        }
        compared = compared or len(work) > 0
        if len(work) > 1:
            unequal.append(str(question))
    if compared and len(arms) > 1:
        text = f"unequal trials or sequences: {', '.join(unequal)}" if unequal else "equal trials and sequences"
        yield Gate("g5", not unequal, text)


def tuning(sub: SubClaim, found: Evidence, unit: Unit, spaces: Path | None) -> list[Gate]:
    """Return g6 and g7 of one task, whose arms were tuned: it decides nothing if one of them fails.

    g6: the second half of the trials improved the validation score by less than half of the margin.
    g7: the chosen learning rate is not at the edge of its range.
    """
    keys = [(question, arm) for question in unit.questions for arm in (sub.arm, sub.against or "")]
    cells = {key: cell for key in keys if (cell := found.cells.get(key)) is not None}
    tuned = [(arm, cell) for (_, arm), cell in cells.items() if len(cell.screened) > 1 and not cell.is_halved]
    gates = []
    gains = [gain for _, cell in tuned if (gain := _late_gain(cell, sub.measure)) is not None]
    if gains and sub.measure in SCORES and sub.margin:
        text = f"the second half of the trials improved validation by {max(gains):.3g}"
        gates.append(Gate("g6", max(gains) < sub.margin / 2, text))
    ranges = [(arm, cell, entry) for arm, cell in tuned if (entry := _rates(arm, cell, spaces)) is not None]
    if ranges:
        at_edge = [arm for arm, cell, entry in ranges if _is_at_edge(cell, entry)]
        text = f"the learning rate of {', '.join(dict.fromkeys(at_edge))} is at the edge of its range"
        gates.append(Gate("g7", not at_edge, text if at_edge else TUNED["g7"]))
    return gates


def _all_tuned(sub: SubClaim, found: Evidence, units: Sequence[Unit], spaces: Path | None) -> Iterator[Gate]:
    """g6 and g7 of a sub-claim: they hold for a task at least; single tasks for which they fail are undecided."""
    of_tasks = [(unit.task, gate) for unit in units for gate in tuning(sub, found, unit, spaces)]
    for name, text in TUNED.items():
        own = [(task, gate) for task, gate in of_tasks if gate.id == name]
        failed = [f"{task}: {gate.text}" for task, gate in own if not gate.holds]
        if own:
            yield Gate(name, len(failed) < len(own), "; ".join(failed) or text)


def _late_gain(cell: CellRuns, measure: str) -> float | None:
    """Return by how much the second half of the trials of a cell improved on the first; None if that is unknown."""
    asked = cell.records[0].asked
    scores = [asked.sign * score for run in cell.screened if (score := counted_val(run)) is not None]
    if len(scores) < 2 or asked.test_metric is not None:  # then validation has another metric than the margin
        return None
    scale = abs((1.0 if asked.solved is None else asked.solved) - asked.chance) if measure == "mean_score" else 1.0
    return (max(scores) - max(scores[: len(scores) // 2])) / scale


def _rates(arm: str, cell: CellRuns, spaces: Path | None) -> dict[str, Any] | None:
    """Return the range of the learning rate of an arm; None if it was not tuned."""
    kind = cast(Kind, cell.records[0].asked.kind or "synthetic")  # records of earlier versions lack it
    return search_spaces.read(arm, spaces, kind).tuned.get("learning_rate")


def _is_at_edge(cell: CellRuns, entry: dict[str, Any]) -> bool:
    if cell.chosen is None:
        return False
    scale = math.log if entry.get("log") else float
    low, high, rate = (scale(value) for value in (entry["low"], entry["high"], cell.chosen.config.train.learning_rate))
    return not low + EDGE * (high - low) < rate < high - EDGE * (high - low)


def _failures(found: Evidence, asked: Sequence[Question], arms: Sequence[str]) -> Iterator[Gate]:
    """g8: few confirm runs of each arm failed; a failed run counts as not solved, and is never dropped."""
    worst, where = 0.0, ""
    has_runs = False
    for arm in arms:
        runs = [run for question in asked for run in found.confirmed(question, arm)]
        has_runs = has_runs or bool(runs)
        share = sum(run.state == "failed" for run in runs) / max(1, len(runs))
        if share > worst:
            worst, where = share, f" of {arm}"
    if has_runs:
        yield Gate("g8", worst < MOST_FAILED, f"{worst:.0%} of the runs{where} failed")


def _noise(sub: SubClaim, found: Evidence, asked: Sequence[Question], arms: Sequence[str]) -> Iterator[Gate]:
    """g10: repeated times agree, and other processes disturbed few of them; disturbed ones are left out."""
    name, spreads, disturbed = TIMES[sub.measure], [], 0
    for run in (run for question in asked for arm in arms for run in found.speed.get((question, arm), ())):
        if run.speed is not None:
            disturbed += sub.measure in (of_speed(run.speed) or [])
            spreads.append(run.speed.get(f"{name}_spread", 0.0))
    if not spreads:
        return
    spread = statistics.median(spreads)
    text = f"times spread by {spread:.0%} in the median; {disturbed} of {len(spreads)} disturbed by other processes"
    yield Gate("g10", spread < MOST_SPREAD and disturbed <= MOST_DISTURBED * len(spreads), text)
