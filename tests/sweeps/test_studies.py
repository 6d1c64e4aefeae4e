"""Who draws the next configuration, and who is ended early; without any training."""

import dataclasses
import time
from pathlib import Path

import optuna
import pytest

from bench.config import search_spaces
from bench.config.sweep_settings import SweepConfig
from bench.errors import DeclarationError
from bench.results.record import Asked, Epoch, RunRecord
from bench.sweeps import prepare as plans
from bench.sweeps.studies import Studies

pytestmark = pytest.mark.usefixtures("quick_databases")


def make(tmp_path: Path, **options) -> plans.Plan:
    values = {"datasets": ["digits"], "lengths": [8], "models": ["lstm"], "trials": 8, "results": tmp_path, "name": "s"}
    plan = plans.make(SweepConfig.build(None, values | options))
    plan.folder.mkdir(parents=True, exist_ok=True)
    return plan


def record(plan: plans.Plan, draw, score: float = 0.5, state: str = "complete", **facts) -> RunRecord:
    cell = plan.cells[0]
    config = plans.run_config(
        plan, cell, cell.id.trial(draw.number), "screen", draw.values, number=draw.number, origin=draw.origin
    )
    steps = plan.settings(plan.cells[0]).max_steps
    curve = [
        Epoch(steps=steps * i // 4, sequences=i, train_seconds=i, train_loss=1, val={"accuracy": score})
        for i in (1, 2, 3, 4)
    ]
    values = {"epochs": curve, "val": {"accuracy": score}, "parameters": {"encoder": 100}} | facts
    return RunRecord(config=config, asked=Asked.model_validate(cell.task), state=state, **values)


def follow(plan: plans.Plan, trials: int, state: str = "complete", known: list | None = None) -> list:
    """Ask and tell some trials; the score is best at a learning rate of 1e-3."""
    studies, cell = Studies(plan), plan.cells[0]
    known = [] if known is None else known
    draws = []
    for _ in range(trials):
        draw = studies.ask(cell, known)
        score = 1 - abs(draw.values.get("learning_rate", 1e-3) - 1e-3)
        known.append(record(plan, draw, score, state, inference_milliseconds=1.0 + draw.number))
        studies.tell(cell, known[-1])
        draws.append(draw)
    return draws


@pytest.mark.parametrize("sampler", ["sobol", "random", "tpe", "gp", "cmaes", "nsga2"])
def test_every_sampler_begins_with_the_default_and_stays_in_range(tmp_path, sampler):
    plan = make(tmp_path, sampler=sampler)
    space = plan.cells[0].space
    draws = follow(plan, 14)
    assert [draw.number for draw in draws] == list(range(14))
    assert (draws[0].values, draws[0].origin) == (space.default, "default")
    assert {draw.origin for draw in draws[1:]} == {sampler}
    assert all(space.values_of(draw.values) == draw.values for draw in draws)
    assert len({draw.values["learning_rate"] for draw in draws}) > 10


def test_a_grid_is_tried_whole_and_each_point_once(tmp_path):
    space = tmp_path / "spaces" / "small.toml"
    space.parent.mkdir()
    rate = '{ type = "float", low = 1e-4, high = 1e-2, log = true, default = 2e-3 }'
    clip = '{ type = "categorical", choices = [0.5, 1.0], default = 1.0 }'
    space.write_text(
        f'title = "Small"\nmodel = "lstm"\n[fixed]\nhidden_size = 8\n'
        f"[tune]\nlearning_rate = {rate}\ngradient_clip = {clip}\n"
    )
    options = {
        "sampler": "grid",
        "models": ["small"],
        "search_spaces": space.parent,
        "trials": None,
        "datasets": ["latch"],
    }
    plan = make(tmp_path, **options)
    assert plan.budget.trials == 12  # 5 points and the default, each with 2 choices
    draws = follow(plan, 5) + follow(plan, 7)  # interrupted in between
    points = {(draw.values["learning_rate"], draw.values["gradient_clip"]) for draw in draws}
    assert len(points) == 12
    rates = sorted({rate for rate, _ in points})
    assert rates == pytest.approx([1e-4, 10**-3.5, 1e-3, 2e-3, 10**-2.5, 1e-2], rel=1e-5)
    assert (draws[0].origin, draws[1].origin) == ("default", "grid")
    assert make(tmp_path, **options | {"trials": 3}).budget.trials == 3


def test_a_grid_that_is_too_large_is_refused(tmp_path):
    space = tmp_path / "spaces" / "large.toml"
    space.parent.mkdir()
    knob = '{ type = "float", low = 1e-4, high = 0.5, log = true, default = 2e-3 }'
    names = ("learning_rate", "weight_decay", "dropout", "warmup_fraction", "embedding_dropout", "gradient_clip")
    space.write_text(
        'title = "Large"\nmodel = "lstm"\n[fixed]\nhidden_size = 8\n[tune]\n'
        + "".join(f"{name} = {knob}\n" for name in names)
    )
    options = {"sampler": "grid", "models": ["large"], "search_spaces": space.parent, "trials": None}
    with pytest.raises(
        DeclarationError, match=r"--sampler grid: the grid of digits/L8/large has more than 10,000 points"
    ):
        make(tmp_path, **options)


@pytest.mark.parametrize("sampler", ["sobol", "random"])
def test_interrupted_draws_are_those_of_an_uninterrupted_sweep(tmp_path, sampler):
    whole = follow(make(tmp_path / "a", sampler=sampler), 6)
    plan = make(tmp_path / "b", sampler=sampler)
    parts = follow(plan, 2) + follow(plan, 1) + follow(plan, 3)
    assert parts == whole


def test_tpe_goes_on_from_what_it_has_learned(tmp_path):
    plan = make(tmp_path, sampler="tpe", trials=40)
    follow(plan, 20)
    rates = [draw.values["learning_rate"] for draw in follow(plan, 20)]
    assert sorted(rates)[10] < 5e-3  # the range goes to 3e-2 in log scale: half of random draws lie above 1.7e-3 …
    assert sum(3e-4 < rate < 4e-3 for rate in rates) >= 12  # … and less than half of them here


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp", "nsga2"])
def test_several_objectives_are_searched(tmp_path, sampler):
    plan = make(tmp_path, sampler=sampler, objectives=["quality", "latency"])
    follow(plan, 13)
    study = optuna.load_study(study_name=str(plan.cells[0].id), storage=f"sqlite:///{plan.folder / 'study.db'}")
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.trials[4].values[1] == 5.0


def test_cmaes_is_refused_several_objectives(tmp_path):
    with pytest.raises(DeclarationError, match="cmaes"):
        make(tmp_path, sampler="cmaes", objectives=["quality", "latency"])


@pytest.mark.parametrize("objectives", [["quality"], ["quality", "latency"]])
@pytest.mark.parametrize("pruner", ["median", "asha", "hyperband"])
def test_a_bad_run_is_pruned_on_quality_also_with_several_objectives(tmp_path, pruner, objectives):
    plan = make(tmp_path, pruner=pruner, objectives=objectives, trials=60)
    studies, cell, known = Studies(plan), plan.cells[0], []
    kept = 0
    for number in range(22):
        draw = studies.ask(cell, known)
        good = number % 2 == 0
        state = "complete"
        for step in range(1, 9):
            if not studies.keep_going(
                cell, draw.number, plan.settings(cell).max_steps * step // 8, 0.9 if good else 0.1
            ):
                state = "pruned"
                break
        kept += good and state == "complete"
        known.append(record(plan, draw, 0.9 if good else 0.1, state, inference_milliseconds=1.0))
        studies.tell(cell, known[-1])
    pruned = [run.config.number for run in known if run.state == "pruned"]
    assert any(number % 2 for number in pruned)
    assert min(pruned) >= 10
    assert kept >= 5
    # A coordinator that comes later knows the curves of the earlier ones.
    later = Studies(plan)
    answers = []
    for _ in range(4):  # hyperband spares some in brackets of their own
        draw = later.ask(cell, known)
        answers += [
            later.keep_going(cell, draw.number, plan.settings(cell).max_steps * step // 8, 0.01) for step in range(1, 9)
        ]
    assert not all(answers)
    assert answers[0]  # not before a quarter


def test_what_exceeds_a_limit_is_told_as_a_constraint(tmp_path):
    plan = make(tmp_path, sampler="tpe", max_parameters=80)
    follow(plan, 1)
    study = optuna.load_study(study_name=str(plan.cells[0].id), storage=f"sqlite:///{plan.folder / 'study.db'}")
    assert study.trials[0].constraints == {"parameters": pytest.approx(0.25)}


def test_solve_type_tasks_are_not_pruned(tmp_path):
    plan = make(tmp_path, datasets=["latch"], pruner="median")
    assert not Studies(plan).prunes(plan.cells[0])
    (remark,) = plans.remarks(plan)  # and the curves of expected performance hold
    assert remark.startswith("not pruned: latch")


def test_a_trial_given_back_comes_first_under_its_number(tmp_path):
    plan = make(tmp_path, sampler="tpe")
    studies, cell = Studies(plan), plan.cells[0]
    first, second = studies.ask(cell, []), studies.ask(cell, [])
    studies.give_back(cell, second.number)
    later = Studies(plan)
    assert later.unfinished(cell) == [0, 1]
    later.give_back(cell, first.number)
    assert [later.ask(cell, []) for _ in range(2)] == [first, second]


CONDITIONAL = """
title = "Five configurations"
model = "gru"
[fixed]
learning_rate = 1e-3
[tune.schedule]
type = "categorical"
choices = ["constant", "cosine"]
default = "constant"
[tune.hidden_size]
type = "int"
low = 8
high = 32
step = 8
default = 8
when = { schedule = ["cosine"] }
"""


@pytest.mark.parametrize("sampler", ["sobol", "random", "tpe", "gp", "cmaes", "nsga2"])
def test_every_configuration_of_a_small_space_is_drawn_once(tmp_path, sampler):
    (tmp_path / "few.toml").write_text(CONDITIONAL)
    values = {"datasets": ["latch"], "models": ["few"], "search_spaces": tmp_path}  # without a recipe of many knobs
    plan = make(tmp_path, sampler=sampler, trials=10, **values)
    cell = plan.cells[0]
    assert (cell.num_configurations, plan.trials_of(cell)) == (5, 5)  # the width does not matter to one schedule
    draws = follow(plan, 2) + follow(plan, 3)
    assert len({repr(cell.space.split(draw.values)) for draw in draws}) == 5
    assert any("it holds 5 configurations" in remark for remark in plans.remarks(plan))


def test_a_space_without_a_free_knob_holds_one_configuration():
    space = search_spaces.read("lstm")
    fixed = dataclasses.replace(space, fixed=space.fixed | space.default, tuned={})
    assert fixed.configurations() == [{}]
    assert fixed.sobol_point(0, 0) == {}
    assert space.configurations() is None
    assert not space.can_repeat


def test_a_trial_whose_record_is_gone_keeps_its_number_and_values(tmp_path):
    plan = make(tmp_path)
    draws, cell = follow(plan, 3), plan.cells[0]
    later = Studies(plan)
    assert later.missing(cell, {0, 1, 2}) == []
    assert later.missing(cell, {0, 2}) == [1]
    assert later.ask_again(cell, 1, []) == draws[1]
    assert later.ask(cell, []).number == 3


def test_a_run_waits_a_few_milliseconds_for_the_pruner(tmp_path):
    """The pruner reads curves in memory: a report to Optuna's database would take tens of milliseconds of disk."""
    plan = make(tmp_path, pruner="median", trials=20)
    cell, studies = plan.cells[0], Studies(plan)
    for _ in range(12):
        studies.ask(cell, [])
    began = time.process_time()
    for step in range(1, 51):
        assert studies.keep_going(cell, 3, step, 0.5)
    assert (time.process_time() - began) / 50 < 0.02


def test_a_point_of_the_portfolio_is_not_drawn_again(tmp_path):
    """Portfolios are chosen from Sobol points, and a sweep with their seed would come to the same ones."""
    plan = make(tmp_path)
    space = plan.cells[0].space
    points = [space.sobol_point(index, 0) for index in (0, 2)]
    plan = dataclasses.replace(plan, warm_starts={plan.cells[0].id: [("portfolio", point) for point in points]})
    draws = follow(plan, 8)
    assert [draw.origin for draw in draws] == ["default", "portfolio", "portfolio", *["sobol"] * 5]
    drawn = [tuple(sorted((name, str(value)) for name, value in draw.values.items())) for draw in draws]
    assert len(set(drawn)) == 8
    assert draws[3].values == space.sobol_point(1, 0)
