"""Verdicts on records whose answers are known: supported, refuted, undecided, and every gate."""

import json

import pytest

from bench.claims import declaration, evidence, page, verdicts
from bench.claims.rules import Verdict
from bench.results.record import Epoch, RunRecord, Seconds, write_json
from tests.claims.test_declaration import mine
from tests.makers import SETTINGS, record

SEEDS = 5


def cell(folder, arm, scores, length=8, dataset="latch", **facts):
    """Write the runs of an arm: a trial, a confirm run for each score, and the test run that opened their split.

    None is a run that failed.
    """
    name = f"{dataset}/L{length}/{arm}"
    shared = {"dataset": dataset, "length": length, "space": arm}
    asked, settings = facts.pop("asked", {}), facts.pop("settings", {})
    solved = asked.get("solved", 0.99)
    write(folder, record(shared | {"run": f"{name}/t0", "settings": settings}, asked, val={"accuracy": 0.9}))
    tests = {}
    for number, score in enumerate(scores):
        run = f"{name}/t0-s{number}"
        config = shared | {"run": run, "phase": "confirm", "number": number, "seed": 1 + number, "settings": settings}
        if score is None:
            write(folder, record(config, asked, state="failed", cause="diverged", **facts))
            continue
        tests[run] = {"accuracy": score}
        outcome = {"val": {"accuracy": score}, "solved": None if solved is None else score >= solved}
        write(folder, record(config, asked, **outcome | facts))
    if tests:
        test = shared | {"run": f"{name}/t0-test", "phase": "test", "opens_test_of": tuple(tests)}
        write(folder, record(test | {"settings": settings}, asked, tests=tests))


def write(folder, run):
    path = folder / "runs" / run.config.run
    path.mkdir(parents=True)
    run.write(path)


def sweep(results, name="claim-mine-one", constant=0.5):
    folder = results / "sweeps" / name
    folder.mkdir(parents=True)
    spec = {"spec": {"cells": []}, "trials": 1, "top_k": 1, "confirm_seeds": SEEDS}
    write_json(folder / "sweep.json", spec)
    config = {"run": "latch/L8/_baselines", "phase": "baselines"}
    write(folder, record(config | {"settings": {"num_test": 1000}}, baselines={"constant answer": constant}))
    return folder


def decided(tmp_path, *changes):
    claim = declaration.read(mine(tmp_path, *changes))
    (found,) = verdicts.decide_all([claim], 1800.0, tmp_path / "results")
    return found


def test_without_records_a_claim_is_undecided(tmp_path):
    found = decided(tmp_path)
    assert found.verdict is Verdict.UNDECIDED
    assert found.subs[0].reason == "no run of its experiment yet"
    assert "UNDECIDED" in page.text([found])


@pytest.mark.parametrize(
    ("lstm", "rnn", "verdict"),
    [
        ([1.0, 0.99, 1.0, 0.98, 1.0], [0.5, 0.52, 0.49, 0.5, 0.51], Verdict.SUPPORTED),
        ([1.0, 0.99, 1.0, 0.98, 1.0], [1.0, 0.98, 1.0, 0.99, 1.0], Verdict.REFUTED),
        ([1.0, 0.5, 1.0, 0.5, 1.0], [0.5, 1.0, 0.5, 0.9, 0.5], Verdict.UNDECIDED),
        ([1.0, 1.0], [0.5, 0.5], Verdict.UNDECIDED),
        ([0.5, 0.51, 0.5, 0.49, 0.5], [0.5, 0.5, 0.51, 0.5, 0.5], Verdict.UNDECIDED),  # neither learns
    ],
)
def test_the_scores_of_paired_seeds_decide(lstm, rnn, verdict, tmp_path):
    folder = sweep(tmp_path / "results")
    cell(folder, "lstm", lstm)
    cell(folder, "rnn", rnn)
    assert decided(tmp_path).verdict is verdict


def test_the_page_has_effect_interval_seeds_gates_scope_and_what_would_change_it(tmp_path):
    folder = sweep(tmp_path / "results")
    cell(folder, "lstm", [1.0, 0.99, 1.0, 0.98, 1.0])
    cell(folder, "rnn", [0.5, 0.52, 0.49, 0.5, 0.51])
    found = decided(tmp_path)
    text = page.text([found])
    assert "SUPPORTED: 1 of 1 core part supported, 0 refuted; gates 4 of 4" in text
    assert "Holds: The LSTM is better." in text
    assert "latch at 8: +0.490 [+0.4" in text
    assert "n = 5" in text
    assert "defaults, not tuned, up to 640 sequences a run" in text
    assert "What would change it: More data." in text
    assert "sweeps/claim-mine-one" in text
    (row,) = page.rows([found])
    assert list(row) == list(page.COLUMNS)
    assert (row["verdict"], row["seeds"], row["gates_passed"]) == ("supported", 5, 4)
    assert json.loads(json.dumps(row)) == row
    assert page.as_csv([found]).splitlines()[0] == ",".join(page.COLUMNS)
    assert "| A claim | supported |" in page.markdown([found], "python -m bench claims")


def test_a_refuted_claim_says_what_does_not_hold(tmp_path):
    folder = sweep(tmp_path / "results")
    for arm in ("lstm", "rnn"):
        cell(folder, arm, [1.0] * SEEDS)
    text = page.text([decided(tmp_path)])
    assert "REFUTED as worded" in text
    assert "Does not hold: The LSTM is not better." in text


# Gates: each alone makes a claim undecided that is supported without it.

GOOD, BAD = [1.0] * SEEDS, [0.5, 0.52, 0.49, 0.5, 0.51]


def failing(found):
    assert found.verdict is Verdict.UNDECIDED
    return [gate.id for sub in found.subs for gate in sub.gates if not gate.holds]


def test_a_constant_answer_that_is_off_chance_fails_gate_g1(tmp_path):
    folder = sweep(tmp_path / "results", constant=0.6)
    cell(folder, "lstm", GOOD)
    cell(folder, "rnn", BAD)
    assert failing(decided(tmp_path)) == ["g1"]


def test_a_task_that_no_arm_learns_fails_gate_g3(tmp_path):
    folder = sweep(tmp_path / "results")
    cell(folder, "lstm", BAD)
    cell(folder, "rnn", BAD)
    assert failing(decided(tmp_path)) == ["g3"]


def test_a_network_of_another_size_fails_gate_g4(tmp_path):
    folder = sweep(tmp_path / "results")
    cell(folder, "lstm@parameters=1k", GOOD, parameters={"encoder": 990, "head": 20, "embedding": 500})
    cell(folder, "rnn@parameters=1k", BAD, parameters={"encoder": 700, "head": 20, "embedding": 500})
    found = decided(tmp_path, ("lengths = [8]", 'lengths = [8]\nmatch = "parameters=1k"'))
    assert failing(found) == ["g4"]


def test_unequal_training_fails_gate_g5(tmp_path):
    folder = sweep(tmp_path / "results")
    cell(folder, "lstm", GOOD, settings={"max_sequences": 2 * SETTINGS["max_sequences"]})
    cell(folder, "rnn", BAD)
    assert failing(decided(tmp_path)) == ["g5"]


def test_diverged_runs_fail_gate_g8_and_count_as_unsolved(tmp_path):
    folder = sweep(tmp_path / "results")
    cell(folder, "lstm", GOOD)
    cell(folder, "rnn", [0.5, None, 0.5, None, 0.5])
    found = decided(tmp_path)
    assert failing(found) == ["g8"]
    assert found.subs[0].tasks[0].decision.n == 5


# Measures


def ladder(*changes):
    rule = ('measure = "score"', 'measure = "horizon"'), ("margin = 0.1", "margin = 1.0")
    return (*rule, ("lengths = [8]", "lengths = [8, 16, 32]"), *changes)


@pytest.mark.parametrize(
    ("longest", "verdict"),
    [({"lstm": 32, "rnn": 8}, Verdict.SUPPORTED), ({"lstm": 16, "rnn": 16}, Verdict.REFUTED),
     ({"lstm": 32, "rnn": 32}, Verdict.UNDECIDED)],
)  # fmt: skip
def test_horizons_are_compared_in_octaves(longest, verdict, tmp_path):
    folder = sweep(tmp_path / "results")
    for arm, longest_solved in longest.items():
        for length in (8, 16, 32):
            cell(folder, arm, [1.0 if length <= longest_solved else 0.5] * SEEDS, length=length)
    found = decided(tmp_path, *ladder())
    assert found.verdict is verdict
    if verdict is Verdict.SUPPORTED:
        assert "latch: at least ×4.00 in length" in page.text([found])


def test_a_hole_in_the_ladder_of_a_seed_leaves_that_seed_out(tmp_path):
    folder = sweep(tmp_path / "results")
    for length in (8, 16, 32):
        cell(folder, "lstm", [1.0] * (5 if length < 32 else 3), length=length)
        cell(folder, "rnn", [1.0 if length == 8 else 0.5] * SEEDS, length=length)
    assert decided(tmp_path, *ladder()).subs[0].tasks[0].decision.n == 3


def test_shares_of_solved_seeds(tmp_path):
    folder = sweep(tmp_path / "results")
    cell(folder, "lstm", GOOD)
    cell(folder, "rnn", BAD)
    found = decided(tmp_path, ('measure = "score"', 'measure = "solved"'), ('rule = "superiority"', 'rule = "solves"'))
    assert found.verdict is Verdict.SUPPORTED
    assert "+100 % of seeds" in page.text([found]) or "100 % of seeds" in page.text([found])


def test_training_time_to_the_threshold_counts_runs_that_miss_it_with_all_their_time(tmp_path):
    folder = sweep(tmp_path / "results")
    epochs = [Epoch(steps=1, sequences=16, train_seconds=8.0, train_loss=1.0, val={"accuracy": 0.6})]
    cell(folder, "lstm", BAD, epochs=epochs)
    cell(folder, "rnn", GOOD, epochs=epochs, seconds_to_solve=2.0)
    found = decided(
        tmp_path, ('measure = "score"', 'measure = "seconds_to_target"'), ('rule = "superiority"', 'rule = "exceeds"'),
        ("margin = 0.1", "margin = 2.0"),
    )  # fmt: skip
    assert found.verdict is Verdict.SUPPORTED
    assert "at least ×4.00" in page.text([found])


def speeds(folder, arm, times, encoder, spread=0.02, disturbed=0.0):
    for number, milliseconds in enumerate(times):
        run = f"latch/L8/{arm}/t{number}-speed"
        speed = {"train_step_milliseconds": milliseconds, "train_spread": spread, "train_disturbed": disturbed}
        config = {"run": run, "phase": "speed", "number": number, "space": arm}
        found = record(config, speed=speed, parameters={"encoder": encoder}, seconds=Seconds(total=2.0))
        path = folder / run
        path.mkdir(parents=True)
        found.write(path)


def timed(measure, margin):
    return (
        ("max_sequences = 640", 'kind = "speed"'), ('measure = "score"', f'measure = "{measure}"'),
        ('rule = "superiority"', 'rule = "exceeds"'), ("margin = 0.1", f"margin = {margin}"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("margin", "verdict"), [(1.2, Verdict.SUPPORTED), (1.8, Verdict.REFUTED), (1.5, Verdict.UNDECIDED)]
)
def test_times_are_compared_by_their_ratio(margin, verdict, tmp_path):
    folder = tmp_path / "results" / "claims" / "claim-mine-one"
    speeds(folder, "lstm", [3.0, 3.1, 2.9], 400)
    speeds(folder, "rnn", [2.0, 2.0, 2.0], 100)
    assert decided(tmp_path, *timed("train_step", margin)).verdict is verdict


@pytest.mark.parametrize("facts", [{"spread": 0.4}, {"disturbed": 1.0}])
def test_noisy_times_fail_gate_g10(facts, tmp_path):
    folder = tmp_path / "results" / "claims" / "claim-mine-one"
    speeds(folder, "lstm", [3.0, 3.1, 2.9], 400, **facts)
    speeds(folder, "rnn", [2.0, 2.0, 2.0], 100, **facts)
    assert failing(decided(tmp_path, *timed("train_step", 1.2))) == ["g10"]


def test_parameters_are_counted(tmp_path):
    folder = tmp_path / "results" / "claims" / "claim-mine-one"
    speeds(folder, "lstm", [3.0], 400)
    speeds(folder, "rnn", [2.0], 300)
    found = decided(tmp_path, *timed("parameters", 1.3))
    assert found.verdict is Verdict.SUPPORTED
    assert "×1.33, exact" in page.text([found])


def test_half_lives_are_compared_with_a_number_of_steps(tmp_path):
    path = tmp_path / "results" / "claims" / "claim-mine-one.json"
    path.parent.mkdir(parents=True)
    row = {"dataset": "latch", "length": 8, "model": "rnn", "seconds": 3.0}
    write_json(path, [row | {"half_lives": [1.1, 1.2, 1.3, 1.2]}])
    changes = (
        ("max_sequences = 640", 'kind = "gradients"'), ('measure = "score"', 'measure = "half_life"'),
        ('arm = "lstm"\nagainst = "rnn"', 'arm = "rnn"'), ('rule = "superiority"', 'rule = "below"'),
        ("margin = 0.1", "margin = 4"),
    )  # fmt: skip
    found = decided(tmp_path, *changes)
    assert found.verdict is Verdict.SUPPORTED
    assert "1.20 steps [" in page.text([found])


def test_what_is_not_significant_after_the_correction_is_undecided(tmp_path):
    folder = sweep(tmp_path / "results")
    scores = [0.6, 0.65, 0.9, 0.8, 0.95]  # p = .015 alone
    lengths = list(range(8, 28))
    for length in lengths:
        cell(folder, "lstm", scores, length=length)
        cell(folder, "rnn", [0.5] * SEEDS, length=length)
    assert decided(tmp_path).verdict is Verdict.SUPPORTED
    found = decided(tmp_path, ("lengths = [8]", f"lengths = {lengths}"), ("margin = 0.1", "margin = 0.1\nquorum = 1"))
    assert found.verdict is Verdict.UNDECIDED
    assert "after the correction for 20 tests" in found.subs[0].reason


def test_the_floor_is_the_best_answer_that_ignores_the_input(tmp_path):
    from bench.claims.measures import cheap_score
    from bench.results.record import FittedBaseline

    def fitted(title, val, test):
        return FittedBaseline(title=title, val={"accuracy": val}, test={"accuracy": test})

    cheap = record(
        fitted={"constant": fitted("constant", 0.4, 0.42), "nb_svm": fitted("NB-SVM", 0.8, 0.7)},
        asked={"solved": None},
    )
    assert cheap_score(cheap, is_floor=True) == 0.42
    assert cheap_score(cheap, is_floor=False) == 0.7


def test_evidence_that_searches_within_its_time_is_kept_by_that_time(tmp_path):
    claim = declaration.read(mine(tmp_path, ("max_sequences = 640\n", "")))
    assert evidence.key_of(claim, "one", 1800.0, 600.0) == "claim-mine-one-600s"
    claim = declaration.read(mine(tmp_path, ("max_sequences = 640", "max_sequences = 640\nlong = { seeds = 9 }")))
    assert evidence.key_of(claim, "one", 1800.0, 600.0) == "claim-mine-one"
    assert evidence.key_of(claim, "one", 28800.0, 600.0) == "claim-mine-one-long"


def test_models_are_compared_beyond_their_training_length(tmp_path):
    folder = sweep(tmp_path / "results")
    for arm, beyond in (("lstm", [0.9, 0.95, 0.92, 0.9, 0.91]), ("rnn", [0.5, 0.52, 0.5, 0.51, 0.5])):
        cell(folder, arm, GOOD)
        path = folder / "runs" / f"latch/L8/{arm}/t0-test"
        test = RunRecord.read(path)
        by_length = {run: {16: {"accuracy": score}} for run, score in zip(test.tests, beyond, strict=True)}
        test.model_copy(update={"by_length": by_length}).write(path)
    changes = ("lengths = [8]", "lengths = [8]\ntest_lengths = [16]")
    assert decided(tmp_path, changes).verdict is Verdict.REFUTED
    assert decided(tmp_path, changes, ("margin = 0.1", "margin = 0.1\ntest_length = 16")).verdict is Verdict.SUPPORTED
