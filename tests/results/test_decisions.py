"""The decision card, on records whose answers are known."""

import pytest

from bench.config.ids import CellId
from bench.results import decisions
from bench.results.decisions import Crossover, Question
from bench.results.record import Epoch, FittedBaseline, RunRecord
from tests.makers import record, run_config

ACCURACY = {"metric": "accuracy", "goal": "maximize", "solved": None}


def runs(model: str, curve: list[float], seconds: float, seeds: int = 3, length: int = 8, **asked) -> list[RunRecord]:
    """Return confirm runs that are validated after 100, 200, ... sequences, each of `seconds`; seeds differ a little."""
    made = []
    for seed in range(seeds):
        epochs = [
            Epoch(steps=n, sequences=100 * n, train_seconds=seconds * n, train_loss=1.0,
                  val={"accuracy": score + 0.001 * (seed - 1)})
            for n, score in enumerate(curve, 1)
        ]  # fmt: skip
        config = run_config("confirm", run=str(CellId("d", length, model).trial(0).confirmation(seed)), dataset="d",
                            length=length, space=model, number=seed, seed=seed, usd_per_hour=asked.pop("usd", None))  # fmt: skip
        solved = asked.get("solved_after")
        facts = {} if solved is None else {"solved": seed in solved, "sequences_to_solve": solved.get(seed)}
        kind = ACCURACY if solved is None else ACCURACY | {"solved": 0.95}
        test = {"accuracy": curve[-1] + 0.001 * (seed - 1)}
        made.append(record(config, kind, epochs=epochs, val=epochs[-1].val, test=test, **facts))
    return made


def question(cheap: RunRecord | None = None, **models: list[RunRecord]) -> Question:
    return Question("d", 8, models, cheap)


def baselines(score: float, seconds: float = 1.0) -> RunRecord:
    config = run_config("baselines", run=str(CellId("d", 8, "lstm").baselines()), dataset="d")
    fitted = FittedBaseline(title="ridge", val={"accuracy": score}, test={"accuracy": score}, fit_seconds=seconds)
    return record(config, ACCURACY, fitted={"ridge": fitted})


FAST = runs("gru", [0.7, 0.72, 0.73, 0.73, 0.73, 0.73, 0.73, 0.73, 0.73], 1.0)
SLOW = runs("transformer", [0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95], 2.0)


def test_a_fast_model_is_the_answer_for_a_small_budget_and_a_slow_one_for_a_large():
    found = decisions.choices(question(gru=FAST, transformer=SLOW), "seconds")
    assert [(c.budget, c.model, c.score) for c in found] == [
        (2.0, "gru", pytest.approx(0.72)), (18.0, "transformer", pytest.approx(0.95)),
    ]  # fmt: skip
    assert decisions.lines([question(gru=FAST, transformer=SLOW)]) == [
        "d at 8, by validation: within 2.00 s of training use gru; within 18.0 s of training use transformer."
    ]
    by_sequences = decisions.choices(question(gru=FAST, transformer=SLOW), "sequences")
    assert [(c.budget, c.model) for c in by_sequences] == [(100, "gru"), (900, "transformer")]


def test_of_tied_models_the_one_that_trains_fastest_is_used():
    same = runs("lstm", [0.7, 0.72, 0.73, 0.73, 0.73, 0.73, 0.73, 0.73, 0.73], 3.0)
    (choice,) = decisions.choices(question(lstm=same, gru=FAST), "sequences")
    assert (choice.model, choice.tied, choice.is_compared) == ("gru", ("lstm",), True)


def test_one_seed_shows_no_difference():
    found = decisions.choices(question(gru=FAST[:1], transformer=SLOW[:1]), "seconds")
    assert [(choice.model, choice.is_compared) for choice in found] == [("gru", False), ("transformer", False)]
    assert decisions.cells_of(found[-1])[3] == "too few seeds to compare"


def test_a_cheap_baseline_that_is_as_good_comes_first():
    (choice,) = decisions.choices(question(baselines(0.96), gru=FAST, transformer=SLOW), "seconds")
    assert (choice.model, choice.is_cheap) == ("ridge", True)
    # If it takes longer to fit than a budget allows, a network is used there.
    found = decisions.choices(question(baselines(0.96, seconds=10.0), gru=FAST, transformer=SLOW), "seconds")
    assert [(choice.model, choice.is_cheap) for choice in found] == [("gru", False), ("ridge", True)]


def test_money_is_time_at_the_price_of_the_machine():
    assert decisions.choices(question(gru=FAST), "usd") == []
    (choice,) = decisions.choices(question(gru=runs("gru", [0.7] * 9, 1.0, seeds=1, usd=360.0)), "usd")
    assert (choice.model, choice.budget) == ("gru", pytest.approx(0.9 / 9))


def test_tasks_that_can_be_solved_are_compared_by_solved_seeds():
    early = runs("gru", [0.5] * 9, 1.0, solved_after={0: 100, 1: 100, 2: 100})
    never = runs("rnn", [0.6] * 9, 1.0, solved_after={})
    found = decisions.choices(question(gru=early, rnn=never), "sequences")
    assert [(c.model, c.score, c.tied) for c in found] == [("gru", 1.0, ())]
    assert decisions.cells_of(found[0])[-1] == "100 % of seeds solved"
    assert decisions.choices(question(rnn=never), "sequences") == []  # nothing to use


def at(length: int, gru: float, lstm: float) -> Question:
    models = {name: runs(name, [score] * 2, 1.0, length=length) for name, score in (("gru", gru), ("lstm", lstm))}
    return Question("d", length, models)


def test_a_crossover_lies_between_two_lengths():
    questions = [at(8, 0.9, 0.8), at(16, 0.8, 0.8), at(32, 0.7, 0.8), at(64, 0.6, 0.8)]
    assert decisions.crossovers(questions) == [Crossover("d", "gru", "lstm", 8, 32)]
    assert decisions.lines(questions)[-1] == (
        "d: gru is shown to be better up to 8 and lstm from 32 on; the crossover lies between."
    )


def test_without_a_change_there_is_no_crossover():
    assert decisions.crossovers([at(8, 0.9, 0.8), at(16, 0.9, 0.8)]) == []
    assert decisions.crossovers([at(8, 0.9, 0.8), at(16, 0.7, 0.8), at(32, 0.9, 0.8)]) == []
    assert decisions.crossovers([at(8, 0.8, 0.8), at(16, 0.7, 0.8)]) == []
