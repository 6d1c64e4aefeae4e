"""What a sweep will do: what is checked, frozen and said before anything is spent."""

import json
import shutil
from pathlib import Path

import pytest

from bench.config.ids import CellId
from bench.config.settings import BASELINES
from bench.config.sweep_settings import DEFAULT_MODELS, DEFAULT_SWEEP, SweepConfig
from bench.data import own_data
from bench.errors import BenchError
from bench.results.cell_runs import CellRuns
from bench.results.record import Asked, RunRecord, records
from bench.sweeps import prepare as plans
from bench.sweeps import terms, warm_starts
from tests.makers import hourly


def make(tmp_path: Path, **options) -> plans.Plan:
    values = {"datasets": ["digits"], "lengths": [8], "models": ["lstm"], "results": tmp_path}
    return plans.make(SweepConfig.build(None, values | options))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"objectives": ["latency"]}, "--objectives latency: quality and others, each once"),
        ({"objectives": ["quality", "quality"]}, "quality and others, each once"),
        ({"max_usd": 1.0}, "need --price-per-hour"),
        ({"max_cost_usd": 1.0}, "need --price-per-hour"),
        ({"price_per_hour": "no-such-machine"}, "no-such-machine"),
        ({"match": ["width=3"]}, "--match: must be parameters=N, flops=N or state=N"),
        ({"match": ["parameters=0"]}, "--match: must be parameters=N"),
        ({"match": ["parameters=1.2.3"]}, "--match: must be parameters=N"),
        ({"datasets": ["digits", "digits"]}, "--dataset: must name each entry once, but found 'digits' twice"),
        ({"lengths": [8, 8]}, "--length: must name each entry once, but found 8 twice"),
        ({"test_lengths": [64]}, "--test-lengths: needs synthetic tasks, whose sequences can be drawn at any length"),
        ({"datasets": ["adding"], "lengths": [20], "test_lengths": [1]}, "adding: length: at least 2 for tcn"),
        (
            {"max_sequences": 639},
            "--max-sequences 639: at least 864: a batch of 32 before each of the 27 validations of budget quick on digits",
        ),
        ({"gpus_per_run": 2}, "--gpus"),
        ({"runs_per_gpu": 2}, "--gpus"),
        (
            {"on_out_of_memory": "halve", "gpus_per_run": 2},
            "--on-out-of-memory halve with --gpus-per-run 2: the GPUs of",
        ),
        ({"warm_start": ["never"]}, "never"),
        ({"warm_start": ["never"]}, "unknown sweep 'never'"),
        ({"wall_time": "20sec"}, "--wall-time: must be a number of seconds, or such as 90s"),
        ({"sampler": "tep"}, "but found 'tep'; did you mean 'tpe'?"),
        ({"budget": "huge"}, "huge"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(tmp_path, options, complaint):
    with pytest.raises(BenchError) as error:
        make(tmp_path, **options)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172_800), (60, 60)])
def test_times_are_read_with_their_units(text, seconds):
    assert SweepConfig.build(None, {"wall_time": text}).wall_time == seconds


def test_fake_gpus_make_real_slots(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in make(tmp_path, gpus="all").slots] == ["0", "1", "2", "3"]
    shared = make(tmp_path, gpus="2", runs_per_gpu=3)
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in shared.slots] == ["0", "1"] * 3
    pairs = make(tmp_path, gpus="all", gpus_per_run=2)
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in pairs.slots] == ["0,1", "2,3"]
    config = plans.run_config(pairs, pairs.cells[0], pairs.cells[0].id, "screen", pairs.cells[0].space.default)
    assert (config.num_devices, config.device) == (2, "cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,-1,0")  # none is visible from the -1 on
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in make(tmp_path, gpus="all").slots] == ["1"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"gpus": "all", "gpus_per_run": 3}, "does not divide 4 GPUs"),
        ({"gpus": "all", "gpus_per_run": 2, "runs_per_gpu": 2}, "give one of them"),
        ({"gpus": "5"}, "4 are visible"),
        ({"gpus": "2", "workers": 5}, "2 GPUs make room for 2 runs at a time: add --runs-per-gpu 3"),
    ],
)
def test_gpus_that_cannot_be_divided_are_refused(tmp_path, monkeypatch, options, complaint):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    with pytest.raises(BenchError, match=complaint):
        make(tmp_path, **options)


def test_every_run_knows_what_happens_if_memory_runs_out(tmp_path):
    for policy in ("fail", "halve"):
        plan = make(tmp_path, on_out_of_memory=policy)
        cell = plan.cells[0]
        run = plans.run_config(plan, cell, cell.id.trial(0), "screen", cell.space.default)
        assert run.on_out_of_memory == policy


def test_the_price_of_the_machine_is_shared_by_its_slots(tmp_path):
    plan = make(tmp_path, workers=4, price_per_hour=2.0)
    assert (
        plans.run_config(plan, plan.cells[0], plan.cells[0].id, "screen", {**plan.cells[0].space.default}).usd_per_hour
        == 0.5
    )


def test_matched_cells_say_their_width(tmp_path):
    plan = make(tmp_path, models=["lstm", "mlp"], match=["parameters=20k", "state=128"])
    assert [cell.space.name for cell in plan.cells] == [
        "lstm@parameters=20k", "lstm@state=128", "mlp@parameters=20k",
    ]  # fmt: skip
    assert plan.cells[1].space.fixed["hidden_size"] == 64
    assert [(cell.space.name, reason) for cell, reason in plan.not_applicable] == [
        ("mlp@state=128", "has no state to match")
    ]
    assert "matched: digits/L8/lstm@state=128: hidden_size = 64" in plans.remarks(plan)


def earlier(results: Path, name: str, length: int, score: float, **values) -> None:
    """A sweep that found a configuration of an LSTM on latch."""
    plan = make(results, datasets=["latch"], lengths=[length], name=name, trials=2)
    plans_folder = plan.folder
    plans_folder.mkdir(parents=True)
    terms.freeze(plan)
    cell = plan.cells[0]
    for number, (point, found) in enumerate([(cell.space.default, score - 0.1), (cell.space.default | values, score)]):
        config = plans.run_config(plan, cell, cell.id.trial(number), "screen", point, number=number)
        folder = plans_folder / "runs" / config.run
        folder.mkdir(parents=True)
        asked = Asked.model_validate(cell.task)
        RunRecord(config=config, asked=asked, state="complete", val={"accuracy": found}).write(folder)


def test_a_warm_start_tries_what_earlier_sweeps_found(tmp_path):
    earlier(tmp_path, "near", 32, 0.8, learning_rate=2e-3, forget_bias=1.0, input_bias=-1.0)
    earlier(tmp_path, "far", 512, 0.8, learning_rate=4e-3)
    plan = make(tmp_path, datasets=["latch"], lengths=[16], warm_start=["far", "near"], trials=8)
    points = plan.first_points(plan.cells[0])
    assert [origin for origin, _ in points] == [
        "default", "warm start from far/latch/L512/lstm/t1", "warm start from near/latch/L32/lstm/t1",
    ]  # fmt: skip
    assert points[2][1] == plan.cells[0].space.default | {
        "learning_rate": 2e-3, "forget_bias": 1.0, "input_bias": -1.0,
    }  # fmt: skip
    assert any("2 from far, near" in line for line in plans.remarks(plan))
    same = "warm start: far chose its configurations on the same seeds; another --seed confirms them on fresh ones"
    assert same in plans.remarks(plan)
    other = make(tmp_path, datasets=["latch"], lengths=[16], warm_start=["far"], seed=1)
    assert not any("same seeds" in line for line in plans.remarks(other))


def test_a_warm_start_works_across_datasets_and_models(tmp_path):
    earlier(tmp_path, "latch", 32, 0.8, learning_rate=2e-3, forget_bias=1.0)
    lstm = make(tmp_path, datasets=["parity"], lengths=[16], models=["lstm"], warm_start=["latch"])
    assert [origin for origin, _ in lstm.first_points(lstm.cells[0])] == [
        "default", "warm start from latch/latch/L32/lstm/t1",
    ]  # fmt: skip
    assert lstm.first_points(lstm.cells[0])[1][1]["forget_bias"] == 1.0
    gru = make(tmp_path, datasets=["latch"], lengths=[16], models=["gru"], warm_start=["latch"])
    # A GRU has no forget gate: it takes the training settings, and keeps its own arguments.
    assert gru.first_points(gru.cells[0])[1][1] == gru.cells[0].space.default | {"learning_rate": 2e-3}


def test_the_same_model_goes_before_other_models_and_the_same_dataset_before_others(tmp_path):
    earlier(tmp_path, "latch", 32, 0.8, learning_rate=2e-3)
    cell = make(tmp_path, datasets=["latch"], lengths=[16]).cells[0]
    best = next(records(tmp_path / "sweeps" / "latch"))

    def known(dataset: str, length: int, space: str) -> tuple[CellId, CellRuns]:
        config = best.config.model_copy(update={"run": f"{dataset}/L{length}/{space}/t0", "number": 0})
        return CellId(dataset, length, space), CellRuns((best.model_copy(update={"config": config}),), 1)

    order = [("latch", 32, "lstm"), ("latch", 512, "lstm"), ("parity", 16, "lstm"), ("latch", 16, "gru")]
    found = warm_starts.nearest(dict(known(*names) for names in reversed(order)), cell)
    assert [run.config.run for run in found] == [f"{dataset}/L{length}/{space}/t0" for dataset, length, space in order]


def test_the_portfolio_follows_the_warm_starts(tmp_path):
    spaces = tmp_path / "spaces"
    (spaces / "portfolios").mkdir(parents=True)
    (spaces / "portfolios" / "synthetic.toml").write_text("[[lstm]]\nvalues = { learning_rate = 0.004 }\n")
    earlier(tmp_path, "near", 32, 0.8, learning_rate=2e-3)
    plan = make(tmp_path, datasets=["latch"], lengths=[16], warm_start=["near"], search_spaces=spaces, trials=8)
    points = plan.first_points(plan.cells[0])
    assert [(origin.split()[0], values["learning_rate"]) for origin, values in points] == [
        ("default", 1e-2), ("warm", 2e-3), ("portfolio", 4e-3),
    ]  # fmt: skip
    assert any("1 from near" in line for line in plans.remarks(plan))
    without = make(tmp_path, datasets=["latch"], lengths=[16], search_spaces=spaces)
    assert [origin for origin, _ in without.first_points(without.cells[0])] == ["default", "portfolio"]
    assert not any("warm start" in line for line in plans.remarks(without))


def test_a_warm_start_is_frozen_with_the_sweep(tmp_path):
    earlier(tmp_path, "near", 32, 0.8, learning_rate=2e-3)
    plan = make(tmp_path, datasets=["latch"], lengths=[16], warm_start=["near"], name="s")
    plan.folder.mkdir(parents=True)
    terms.freeze(plan)
    for record in (tmp_path / "sweeps" / "near").rglob("record.json"):
        record.unlink()
    again = make(tmp_path, datasets=["latch"], lengths=[16], warm_start=["near"], name="s")
    assert again.first_points(again.cells[0]) == plan.first_points(plan.cells[0])
    terms.freeze(again)


def test_what_lies_outside_the_space_is_not_tried(tmp_path):
    earlier(tmp_path, "near", 32, 0.8, learning_rate=2e-3)
    path = next((tmp_path / "sweeps" / "near" / "runs").rglob("t1/record.json"))
    values = json.loads(path.read_text())
    values["config"]["train"]["learning_rate"] = 0.9
    path.write_text(json.dumps(values))
    plan = make(tmp_path, datasets=["latch"], lengths=[16], warm_start=["near"])
    assert plan.warm_starts == {}
    assert any(line.startswith("warm start: nothing of near fits") for line in plans.remarks(plan))


def test_the_same_question_has_the_same_name_and_another_search_another(tmp_path):
    names = {make(tmp_path, **options).name for options in ({}, {"sampler": "tpe"}, {"max_sequences": 1_000})}
    assert len(names) == 3
    assert make(tmp_path).name == make(tmp_path, workers=1, wall_time="1h").name


def test_without_a_question_the_default_sweep_is_planned(tmp_path):
    plan = plans.make(SweepConfig.build(None, {"results": tmp_path}))
    assert {cell.space.name for cell in plan.cells} == set(DEFAULT_MODELS)
    questions = [(name, length) for name, lengths in DEFAULT_SWEEP for length in lengths]
    assert list(dict.fromkeys((cell.dataset.name, cell.length) for cell in plan.cells)) == questions
    assert {plan.settings(cell).max_steps for cell in plan.cells if cell.dataset.kind == "synthetic"} == {400}
    smoke = plans.make(SweepConfig.build(None, {"results": tmp_path, "budget": "smoke"}))
    assert {smoke.settings(cell).max_steps for cell in smoke.cells} == {20}


def test_with_a_dataset_all_baselines_are_compared(tmp_path):
    plan = plans.make(SweepConfig.build(None, {"results": tmp_path, "datasets": ["latch"]}))
    assert {cell.space.name for cell in plan.cells} == set(BASELINES)


def own(folder: Path, code: str = "") -> str:
    """A model of one's own, as far as a plan reads it."""
    rule = "def __init__(self, input_size, length, *, hidden_size=8): ..."
    (folder / "mine.py").write_text(f"class Model:\n    {rule}\n{code}")
    rate = '{ type = "float", low = 1e-4, high = 1e-2, default = 1e-3 }'
    (folder / "mine.toml").write_text(f'title = "Mine"\n[tune]\nlearning_rate = {rate}\n')
    return str(folder / "mine.py")


def test_runs_of_a_model_of_ones_own_find_its_file(tmp_path, monkeypatch):
    own(tmp_path)
    monkeypatch.chdir(tmp_path)
    plan = make(tmp_path, models=["lstm", "./mine.py"])
    assert [str(cell.id) for cell in plan.cells] == ["digits/L8/lstm", "digits/L8/mine"]
    config = plans.run_config(plan, plan.cells[1], plan.cells[1].id, "screen", plan.cells[1].space.default)
    assert (config.space, config.model) == ("mine", str(tmp_path / "mine.py"))
    assert len(config.source_hash) == 64


def test_a_sweep_does_not_go_on_with_a_changed_model(tmp_path):
    plan = make(tmp_path, models=[own(tmp_path)], name="s")
    plan.folder.mkdir(parents=True)
    terms.freeze(plan)
    (tmp_path / "moved").mkdir()
    for name in ("mine.py", "mine.toml"):
        shutil.copy(tmp_path / name, tmp_path / "moved")
    terms.freeze(make(tmp_path, models=[str(tmp_path / "moved" / "mine.py")], name="s"))
    with pytest.raises(BenchError, match=r"model file mine.py was sha256 \w{12}… and is now sha256 .* another --name"):
        terms.freeze(make(tmp_path, models=[own(tmp_path, "# changed")], name="s"))


def test_a_model_of_ones_own_that_looks_ahead_is_left_out_where_that_is_forbidden(tmp_path):
    mine = own(tmp_path, "    causal = False\n")
    plan = make(tmp_path, models=["lstm", mine], datasets=["parity"], lengths=None)
    assert [(cell.space.name, reason) for cell, reason in plan.not_applicable] == [
        ("mine", "sees the future, which the task forbids")
    ]


LOOKS_AHEAD = """
from torch import nn

class Model(nn.Module):
    causal = True

    def __init__(self, input_size, length, *, hidden_size=8):
        super().__init__()
        self.layer = nn.Linear(input_size, hidden_size)

    def forward(self, x_BLD, length_B, state=None):
        return self.layer(x_BLD.flip(1)), None
"""


def test_a_model_of_ones_own_that_denies_to_look_ahead_is_found_out(tmp_path):
    mine = own(tmp_path)
    for code, looks_ahead in ((LOOKS_AHEAD, True), (LOOKS_AHEAD.replace(".flip(1)", ""), False)):
        (tmp_path / "mine.py").write_text(code)
        plan = make(tmp_path, models=["lstm", mine], datasets=["parity", "latch"], lengths=None)
        found = [(cell.id.dataset, reason) for cell, reason in plan.not_applicable]
        rule = "sees the future, which the task forbids: causal is True, but the first 6 steps change with the steps"
        assert found == ([("parity", f"{rule} after them")] if looks_ahead else [])


def test_a_model_of_ones_own_that_breaks_is_not_said_to_look_ahead(tmp_path):
    mine = own(tmp_path)
    causal = LOOKS_AHEAD.replace(".flip(1)", "")
    not_a_number = causal.replace("(x_BLD)", "(x_BLD) * float('nan')")
    without_input = causal.replace("(x_BLD)", "(x_BLD * 0)")
    dying = causal.replace("        return", "        __import__('os')._exit(7)\n        return")
    for code in (not_a_number, without_input, dying):
        assert code != causal
        (tmp_path / "mine.py").write_text(code)
        assert not make(tmp_path, models=["lstm", mine], datasets=["parity"], lengths=None).not_applicable


def test_a_model_of_ones_own_that_ends_its_process_cannot_be_matched(tmp_path):
    mine = own(tmp_path, "    __import__('os')._exit(7)\n")
    (tmp_path / "mine.toml").write_text('width = "hidden_size"\n' + (tmp_path / "mine.toml").read_text())
    with pytest.raises(BenchError, match=r"^--match parameters=4k: mine: the process of .* died, or took longer than"):
        make(tmp_path, models=[mine], match=["parameters=4k"])


def test_a_row_has_one_model(tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(BenchError, match="--models: must name each entry once, but found 'gru' twice"):
        make(tmp_path, models=["gru", "gru"])
    with pytest.raises(BenchError, match="--models: mine is there twice, and a row has one model"):
        make(tmp_path, models=[own(tmp_path), own(tmp_path / "other")])


def test_what_reading_a_card_brought_to_light_is_told(tmp_path):
    own = own_data.make(SweepConfig(data=[hourly(tmp_path / "load.csv", more=",5", first="timestamp,load,five")],
                                    target=["load"], features=["five"], lengths=[12], horizon=2))  # fmt: skip
    own_data.save(own, tmp_path)
    made = plans.make(SweepConfig(datasets=["load"], dataset_cards=tmp_path, lengths=[12], results=tmp_path / "r"))
    assert plans.remarks(made) == ["load: column 'five': constant (5)"]
