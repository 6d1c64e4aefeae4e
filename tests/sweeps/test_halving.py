"""Successive halving over all models of a question, told step by step, and played to its end with made-up scores."""

import math
import random

import pytest

from bench.config.ids import CellId
from bench.results.cell_runs import CellRuns
from bench.results.record import RunRecord
from bench.sweeps import halving
from bench.sweeps.halving import Bracket, Continue, Draw, Entrant, Rules, TakeOver, next_step, rungs, score_at
from bench.sweeps.next_step import Confirm, Done, Wait
from bench.sweeps.next_step import Test as OpenTest
from tests.halved import confirm, opened, trial

A, B, C = (CellId("names", 8, name) for name in ("lstm", "gru", "rnn"))
RULES = Rules(configurations=3, most_seeds=4)


def entrants(records: list[RunRecord], running: tuple[str, ...] = (), cells=(A, B, C), **of_all) -> list[Entrant]:
    known = {cell: CellRuns(tuple(run for run in records if run.config.id.cell == cell), 1) for cell in cells}
    under_way = {cell: frozenset(cell.trial(0)._replace(name=r.split("/")[1]) for r in running if r.startswith(cell.space)) for cell in cells}  # fmt: skip
    return [Entrant(cell, known[cell], under_way[cell], **of_all) for cell in cells]


def words(step: halving.Step) -> str:
    """Return a step in a few words."""
    match step:
        case Draw(cell, number):
            return f"draw {cell.space}" + ("" if number is None else f" t{number} again")
        case Continue(run, epochs):
            return f"continue {run.config.space} {run.config.id.name} to {epochs}"
        case Confirm(run, index, old):
            return f"confirm {run.config.space} {run.config.id.name} on seed {index}" + (" again" if old else "")
        case TakeOver(run):
            return f"take over {run.config.space} {run.config.id.name}"
        case OpenTest(chosen, runs):
            return f"test {chosen.config.space} {chosen.config.id.name} on {len(runs)} seeds"
        case Wait():
            return "wait"
        case Done():
            return "done"


def step(records, running=(), fits=lambda step: not isinstance(step, Bracket), rules=RULES, **options) -> str:
    has_weights = options.pop("has_weights", lambda run: True)
    return words(next_step(entrants(records, running, **options), rules, fits, has_weights))


FIRST = [trial(cell, number, [0.1 * number + base]) for number in range(3) for cell, base in ((A, 0.5), (B, 0.3), (C, 0.1))]  # fmt: skip
"""After the first rung: lstm t2 .7, t1 .6, t0 .5; gru t2 .5, …; rnn t2 .3, …"""


def replaced(records: list[RunRecord], *new: RunRecord) -> list[RunRecord]:
    runs = {run.config.run for run in new}
    return [*(run for run in records if run.config.run not in runs), *new]


SECOND = replaced(FIRST, trial(A, 2, [0.7] * 3), trial(A, 1, [0.6] * 3), trial(A, 0, [0.5] * 3), trial(B, 2, [0.5, 0.8, 0.8]), trial(C, 2, [0.3] * 3))  # fmt: skip
THIRD = replaced(SECOND, trial(B, 2, [0.5] + [0.8] * 8), trial(A, 2, [0.7] * 9), trial(A, 1, [0.6] * 9))
ENDED = replaced(THIRD, trial(B, 2, [0.5] + [0.8] * 26), trial(A, 2, [0.7] * 27), trial(A, 1, [0.6] * 27))
OF_GRU, OF_LSTM = (next(run for run in ENDED if run.config.run == str(cell.trial(2))) for cell in (B, A))
CONFIRMED = [*ENDED, *(confirm(run, seed) for run in (OF_GRU, OF_LSTM) for seed in range(3))]


@pytest.mark.parametrize(
    ("records", "running", "expected"),
    [
        # The first rung: the default of every model, then the same number of configurations of each.
        ([], (), "draw lstm"),
        ([], ("lstm/t0",), "draw gru"),
        ([], ("lstm/t0", "gru/t0", "rnn/t0"), "draw lstm"),
        (FIRST[:8], (), "draw rnn"),
        (FIRST[:8], ("rnn/t2",), "wait"),
        # A third continues to 1/9: the best three, and the best of the models that are not among them.
        (FIRST, (), "continue lstm t2 to 3"),
        (FIRST, ("lstm/t2", "lstm/t1"), "continue lstm t0 to 3"),
        (FIRST, ("lstm/t2", "lstm/t1", "lstm/t0"), "continue gru t2 to 3"),
        (FIRST, ("lstm/t2", "lstm/t1", "lstm/t0", "gru/t2"), "continue rnn t2 to 3"),
        (FIRST, ("lstm/t2", "lstm/t1", "lstm/t0", "gru/t2", "rnn/t2"), "wait"),
        # At least three continue to 1/3 and to the end; a model may now be out.
        (SECOND, (), "continue gru t2 to 9"),
        (SECOND, ("gru/t2", "lstm/t2"), "continue lstm t1 to 9"),
        (SECOND, ("gru/t2", "lstm/t2", "lstm/t1"), "wait"),
        (THIRD, (), "continue gru t2 to 27"),
        (THIRD, ("gru/t2", "lstm/t2", "lstm/t1"), "wait"),
        # The best model and the runner-up are confirmed and tested first, then the others.
        (ENDED, (), "confirm gru t2 on seed 0"),
        (ENDED, ("gru/t2-s0", "gru/t2-s1"), "confirm gru t2 on seed 2"),
        (ENDED, ("gru/t2-s0", "gru/t2-s1", "gru/t2-s2"), "confirm lstm t2 on seed 0"),
        (CONFIRMED, (), "test gru t2 on 3 seeds"),
        (CONFIRMED, ("gru/t2-test",), "test lstm t2 on 3 seeds"),
        (CONFIRMED, ("gru/t2-test", "lstm/t2-test"), "confirm rnn t2 on seed 0"),
    ],
)
def test_a_question_step_by_step(records, running, expected):
    assert step(records, running) == expected


def test_after_all_models_come_more_seeds_and_one_last_test():
    of_rnn = next(run for run in ENDED if run.config.run == str(C.trial(2)))
    records = [*CONFIRMED, *(confirm(of_rnn, seed) for seed in range(3))]
    assert step(records, ("gru/t2-test", "lstm/t2-test")) == "test rnn t2 on 3 seeds"
    for run in (OF_GRU, OF_LSTM, of_rnn):
        records.append(opened(run, *(confirm(run, seed) for seed in range(3))))
    assert step(records) == "confirm gru t2 on seed 3"
    more = [confirm(run, 3) for run in (OF_GRU, OF_LSTM, of_rnn)]
    assert step([*records, *more[:2]]) == "confirm rnn t2 on seed 3"
    assert step([*records, *more[:2]], fits=lambda step: False) == "test gru t2 on 1 seeds"
    assert step([*records, *more[:2]], ("rnn/t2-s3",)) == "wait"
    assert step([*records, *more], ("rnn/t2-test",)) == "wait"


def test_a_further_bracket_begins_only_if_a_whole_one_fits():
    of_rnn = next(run for run in ENDED if run.config.run == str(C.trial(2)))
    records = [*CONFIRMED, *(confirm(of_rnn, seed) for seed in range(3))]
    for run in (OF_GRU, OF_LSTM, of_rnn):
        records.append(opened(run, *(confirm(run, seed) for seed in range(3))))
    assert step(records, fits=lambda step: True) == "draw lstm"
    assert step(records, fits=lambda step: not isinstance(step, Bracket)) == "confirm gru t2 on seed 3"
    # The trials of the second bracket are compared among themselves.
    second = [trial(cell, number, [0.1], bracket=1) for number in (3, 4, 5) for cell in (A, B, C)]
    assert step([*records, *second]) == "continue lstm t3 to 3"
    # A model whose search space is exhausted begins nothing.
    assert step(records, fits=lambda step: True, num_configurations=3) == "confirm gru t2 on seed 3"


def test_further_brackets_come_before_the_first_confirmation_while_their_time_lasts():
    asked = []

    def fits(step):
        asked.append(step)
        return step == Bracket(is_early=True)

    assert step(ENDED, fits=fits) == "draw lstm"
    assert asked == [Bracket(is_early=True)]
    assert step(ENDED, fits=lambda step: step != Bracket(is_early=True)) == "confirm gru t2 on seed 0"
    # A confirm run that has begun ends the search; what time is left then is for later brackets.
    assert step(ENDED, ("gru/t2-s0",), fits=lambda step: True) == "confirm gru t2 on seed 1"
    assert step([*ENDED, confirm(OF_GRU, 0)], fits=lambda step: True) == "confirm gru t2 on seed 1"


def test_nothing_is_started_that_does_not_fit():
    assert step([], fits=lambda step: False) == "done"
    assert step(FIRST, fits=lambda step: False) == "done"
    assert step(ENDED, fits=lambda step: False, has_weights=lambda run: False) == "done"
    only_gru = step(THIRD, fits=lambda step: isinstance(step, Continue) and step.trial.config.space == "gru")
    assert only_gru == "continue gru t2 to 27"
    # What is confirmed already is tested all the same.
    assert step(CONFIRMED, fits=lambda step: False) == "test gru t2 on 3 seeds"
    some = [*ENDED, confirm(OF_GRU, 0)]
    assert step(some, fits=lambda step: False, has_weights=lambda run: run.config.phase == "confirm") == (
        "test gru t2 on 1 seeds"
    )


def test_a_trial_stands_for_its_confirm_run_if_no_time_is_left_for_one():
    def only_lstm(step):
        return isinstance(step, Confirm) and step.trial.config.space == "lstm"

    assert step(ENDED, fits=only_lstm) == "take over gru t2"
    taken = [*ENDED, confirm(OF_GRU, 0)]
    assert step(taken, fits=only_lstm) == "confirm lstm t2 on seed 0"
    assert step(taken, fits=lambda step: False) == "take over lstm t2"
    # A trial that was dropped on its way has no weights of a full run.
    both = [*taken, confirm(OF_LSTM, 0)]
    assert step(both, fits=lambda step: False) == "test gru t2 on 1 seeds"
    assert step(ENDED, fits=lambda step: False, rules=Rules(configurations=3, most_seeds=0)) == "done"
    assert step([trial(A, 0, [0.5])], fits=lambda step: False) == "done"


def test_a_trial_that_failed_is_replaced_by_the_next():
    failed = replaced(SECOND, trial(B, 2, [0.5, 0.8, 0.8, 0.1], "failed"))
    assert step(failed) == "continue lstm t2 to 9"
    assert step(failed, ("lstm/t2", "lstm/t1")) == "continue lstm t0 to 9"
    assert step([trial(cell, n, [], "failed") for cell in (A, B, C) for n in range(3)]) == "done"


def test_a_run_that_ended_early_counts_on_every_rung():
    """Patience ends a run: its score stands, and it needs no further stretch."""
    early = replaced(SECOND, trial(B, 2, [0.9] * 12, "complete"))
    assert step(early) == "continue lstm t2 to 9"
    assert [run.config.space for run in rungs(entrants(early), 0, RULES)[1].promoted] == ["gru", "lstm", "lstm"]


def test_scores_are_compared_at_equal_numbers_of_validations_and_ties_by_loss():
    late = trial(A, 0, [0.5, 0.6, 0.9])
    assert score_at(late, 1) == (0.5, -0.5)
    assert score_at(late, 2) == (0.6, pytest.approx(-0.4))
    tied = [trial(A, 0, [0.5]), trial(A, 1, [0.5])]
    better = tied[1].model_copy(update={"epochs": [tied[1].epochs[0].model_copy(update={"val_loss": 0.1})]})
    promoted = rungs(entrants([tied[0], better], cells=(A,)), 0, Rules(2, 1))[0].promoted
    assert [run.config.number for run in promoted] == [1, 0]


def test_a_trial_without_its_record_runs_again():
    missing = [run for run in FIRST if run.config.run != str(A.trial(1))]
    known = entrants(missing)
    known[0] = Entrant(A, known[0].runs, missing=(1,))
    assert words(next_step(known, RULES, lambda step: True)) == "draw lstm t1 again"


def test_seeds_whose_weights_are_gone_are_trained_again_before_the_test():
    assert step(CONFIRMED, has_weights=lambda run: False) == "confirm gru t2 on seed 0 again"


def played(seed: int, slots: int, models: int, kill_every: int = 0) -> tuple[list[str], list[RunRecord]]:
    """Play a question with random curves to its end; return its steps and records.

    With `kill_every`, all that is under way is lost after so many ends, as when the machine loses power.
    """
    cells = [CellId("names", 8, f"m{i}") for i in range(models)]
    curves: dict[str, list[float]] = {}
    records: dict[str, RunRecord] = {}
    running: dict[str, halving.Step] = {}
    steps, ends = [], 0
    rules = Rules(3, 4, finalists=4)

    def bracket_fits(step) -> bool:
        return (
            not isinstance(step, Bracket)
            or len([r for r in records.values() if r.config.phase == "screen"]) < 7 * models
        )

    while True:
        known = entrants(list(records.values()), tuple(running), cells)
        now = next_step(known, rules, bracket_fits)
        if isinstance(now, Done):
            return steps, list(records.values())
        if not isinstance(now, Wait) and len(running) < slots:
            if isinstance(now, Draw):
                begun = next(entrant for entrant in known if entrant.cell == now.cell).begun
                name = f"{now.cell.space}/t{begun}"
                lost = [r for r in curves if r.startswith(f"{now.cell.space}/t") and r not in running and f"names/L8/{r}" not in records]  # fmt: skip
                name = lost[0] if lost else name
                scores = random.Random(f"{seed}/{name}")
                curves.setdefault(name, sorted(scores.random() for _ in range(27)))
            elif isinstance(now, OpenTest):
                name = f"{now.chosen.config.space}/{now.chosen.config.id.test(len(known))[1]}"
            else:
                name = f"{now.trial.config.space}/{now.trial.config.id.name}"
                name += f"-s{now.index}" if isinstance(now, Confirm) else ""
            running[name] = now
            continue
        assert running, "a question waits for nothing"
        name = next(iter(running))
        ended = running.pop(name)
        ends += 1
        if kill_every and ends % kill_every == 0:
            running.clear()
            continue
        steps.append(f"{words(ended)} as {name}")
        space, run = name.split("/")
        cell = CellId("names", 8, space)
        if isinstance(ended, Draw | Continue):
            until = 1 if isinstance(ended, Draw) else ended.epochs
            number = int(run[1:])
            made = trial(cell, number, curves[name][:until], bracket=number // rules.configurations)
        elif isinstance(ended, Confirm):
            made = confirm(ended.trial, ended.index, ended.trial.val["accuracy"])
        else:
            made = opened(ended.chosen, *ended.runs)
            made = made.model_copy(update={"config": made.config.model_copy(update={"run": f"names/L8/{name}-{ends}"})})
        records[made.config.run] = made


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("slots", "models"), [(1, 1), (2, 3), (3, 7)])
def test_every_question_comes_to_an_end(seed, slots, models):
    _, records = played(seed, slots, models)
    screened = [run for run in records if run.config.phase == "screen"]
    per_model = {
        space: [r for r in screened if r.config.space == space] for space in {r.config.space for r in screened}
    }
    assert len({len(runs) for runs in per_model.values()}) == 1  # the same number of configurations each
    for bracket in {run.config.bracket for run in screened}:
        here = [run for run in screened if run.config.bracket == bracket]
        assert sum(run.state == "complete" for run in here) == min(4, len(here))
        assert {run.config.space for run in here if len(run.epochs) >= 3} == per_model.keys()  # each keeps one
        planned = 3 * models
        assert sum(len(run.epochs) >= 9 for run in here) == min(planned, max(4, math.ceil(planned / 9)))
    confirmed = [run for run in records if run.config.phase == "confirm"]
    assert {run.config.space for run in confirmed} == per_model.keys()
    tested = {run for record in records for run in record.config.opens_test_of}
    assert tested == {run.config.run for run in confirmed} or len(tested) >= 4 * models


@pytest.mark.parametrize("kill_every", [2, 3, 5])
def test_a_question_that_is_killed_makes_the_same_decisions(kill_every):
    """Scores follow from the configuration, so that the same trials are promoted, confirmed and tested."""

    def outcome(records: list[RunRecord]) -> dict[str, tuple[str, int]]:
        return {r.config.run: (r.state, len(r.epochs)) for r in records if r.config.phase in ("screen", "confirm")}

    whole, parts = played(1, 2, 3)[1], played(1, 2, 3, kill_every)[1]
    assert outcome(parts) == outcome(whole)
