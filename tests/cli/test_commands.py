"""The command line: what a user types, rightly and wrongly."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from bench.cli import sweeping
from bench.cli.commands import main
from bench.config import plugins
from bench.config.measures import MEASURES
from bench.config.sweep_settings import SweepConfig, join_names, split_names
from bench.results.metrics import METRICS
from bench.sweeps import prepare as plans
from bench.tracking import store
from tests.cli.calls import call

SWEEP = ["sweep", "--dataset", "latch", "--length", "8", "--models", "gru,mlp", "--budget", "smoke"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, quick_tables):
    """A results folder with one small sweep in it."""
    folder = tmp_path_factory.mktemp("cli") / "results"
    status, output, errors = call(*SWEEP, "--diagnose", "--results", str(folder), "--name", "one")
    assert status == 0, output + errors
    (folder / "printed.txt").write_text(output)
    return folder


WRONG = {
    ("swep",): "unknown command 'swep'; did you mean 'sweep'?",
    ("sweep", "--dataset", "latsch"): "unknown dataset 'latsch'; did you mean 'latch'?",
    ("sweep", "--models", "lstmm"): "unknown model 'lstmm'; did you mean 'lstm'?",
    ("sweep", "--budget", "quik"): "unknown budget 'quik'; did you mean 'quick'?",
    ("sweep", "--length", "8"): "--length needs --dataset",
    (
        "sweep",
        "--dataset",
        "latch",
        "--length",
        "0",
    ): "--length: must be a whole number from 1 to 10,000,000, but found 0",
    (
        "sweep",
        "--dataset",
        "latch",
        "--length",
        "x",
    ): "--length: must be a whole number from 1 to 10,000,000, but found 'x'",
    ("sweep", "--dataset", "digits", "--length", "9"): "digits: length: 8 (rows) or 64 (pixels), but found 9",
    ("sweep", "--dataset", "parity", "--models", "bilstm"): "not applicable to these datasets",
    ("sweep", "--trails", "3"): "no such option '--trails'; did you mean '--trials'?",
    ("sweep", "--trials", "x"): "--trials: must be a whole number from 1 to 10,000, but found 'x'",
    ("sweep", "--trials", "0"): "--trials: must be a whole number from 1 to 10,000, but found 0",
    ("sweep", "--name", "../x"): "--name: must have 1 to 64 letters",
    ("sweep", "--gpus", "many"): "--gpus: must be a number from 0 to 1,024, or 'all', but found 'many'",
    ("sweep", "--gpus", "99"): "--gpus 99, but",
    ("sweep", "no.toml"): "no.toml: No such file or directory",
    ("sweep", "--search-spaces", "nowhere"): "--search-spaces: nowhere is not a directory",
    ("run", "no.json"): "no.json: No such file or directory",
    ("leaderboard", "--results", "nowhere"): "no sweep here yet",
    ("ui", "--results", "nowhere"): "no such file; run: python -m bench sweep",
    ("sync", "--results", "nowhere"): "no sweep here yet",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    status, output, errors = call(*words)
    assert status == 2
    assert WRONG[words] in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert not (tmp_path / "results").exists()


def test_a_broken_sweep_file_is_told_with_file_and_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "s.toml"
    for text, complaint in {
        "datasets = ['latch']\nmodls = ['gru']": "s.toml: modls: not a known key; did you mean 'models'?",
        "trials = 'three'": "s.toml: trials: must be a whole number from 1 to 10,000, but found 'three'",
        "datasets = [": "s.toml: not valid TOML",
    }.items():
        file.write_text(text)
        status, _, errors = call("sweep", str(file))
        assert status == 2
        assert complaint in errors


def test_lists_are_given_by_commas_or_by_repeating(results):
    words = ["sweep", "--dataset", "latch", "--length", "8", "--models", "gru", "--models", "mlp", "--budget", "smoke"]
    status, output, errors = call(*words, "--results", str(results), "--name", "one")
    assert status == 0, errors  # the same sweep: nothing to do again
    assert "Resuming one: 4 of at most 4 runs are done" in errors


# A name that begins with a double quote is in quotes, so that it may hold a comma.
name = st.text(st.characters(exclude_characters=',"', exclude_categories=["Z", "C"]), min_size=1, max_size=8)


@given(groups=st.lists(st.lists(name, min_size=1, max_size=3), max_size=4), blank=st.sampled_from(["", " "]))
def test_a_list_is_the_same_however_it_is_given(groups, blank):
    written = [f"--models={f',{blank}'.join(group)}" for group in groups]
    context = main.commands["sweep"].make_context("sweep", written)
    assert context.params["models"] == ([each for group in groups for each in group] or None)


@given(lengths=st.lists(st.integers(1, 10**6), min_size=1, max_size=6), at=st.integers(0, 6))
def test_lengths_are_the_same_however_they_are_given(lengths, at):
    written = [f"--length={','.join(map(str, part))}" for part in (lengths[:at], lengths[at:]) if part]
    assert main.commands["sweep"].make_context("sweep", written).params["lengths"] == lengths


def test_a_sweep_file_holds_the_same_keys(results, tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(
        f'datasets = ["latch"]\nlengths = [8]\nmodels = ["gru", "mlp"]\nbudget = "smoke"\n'
        f'results = "{results}"\nname = "one"\n'
    )
    status, _, errors = call("sweep", str(file))
    assert status == 0, errors
    assert "4 runs are done" in errors


def test_a_sweep_ends_with_an_answer_and_the_next_command(results):
    output = (results / "printed.txt").read_text()
    assert "* latch at 8: " in output
    assert "leaderboard.csv" in output
    assert "next " in output


def test_a_sweep_diagnoses_its_winner_and_logs_report_table_and_charts(results):
    printed = (results / "printed.txt").read_text()
    names = sorted(path.name for path in (results / "sweeps/one/diagnoses").iterdir())
    assert [name.partition(".")[2] for name in names] == ["csv", "svg"]
    model = names[0].removeprefix("latch-L8-").removesuffix(".csv")
    assert f"{model} on latch at 8: the gradient of the input halves" in printed
    assert "Diagnosis" in (results / "sweeps/one/report.html").read_text()
    client = MlflowClient(store.store_uri(results))
    (experiment,) = (found for found in client.search_experiments() if found.name == "latch")
    (run,) = client.search_runs([experiment.experiment_id], "tags.`bench.kind` = 'sweep'")
    paths = [item.path for folder in ("", "diagnoses") for item in client.list_artifacts(run.info.run_id, folder)]
    assert {"report.html", *(f"diagnoses/{name}" for name in names)} <= set(paths)


def test_the_leaderboard_comes_as_table_markdown_json_and_csv(results, tmp_path):
    where = ("--results", str(results))
    assert "(chance)" in call("leaderboard", *where)[1]
    assert re.search(r"\| gru +\| +1 \|", call("leaderboard", "--markdown", *where)[1])
    rows = json.loads(call("leaderboard", "--json", *where)[1])
    assert {"gru", "mlp", "(chance)"} <= {row["model"] for row in rows}
    status, _, errors = call("leaderboard", "--csv", str(tmp_path / "b.csv"), *where)
    assert status == 0
    assert "columns" in errors
    status, _, errors = call("leaderboard", "--csv", str(tmp_path / "no" / "b.csv"), *where)
    assert (status, "is not a directory" in errors) == (2, True)
    status, _, errors = call("leaderboard", "onne", *where)
    assert "unknown sweep 'onne'; did you mean 'one'?" in errors


def test_a_row_can_be_run_again_to_the_same_scores(results):
    folder = results / "sweeps/one/runs/latch/L8/gru/t0"
    status, output, errors = call("run", str(folder / "config.json"), "--json")
    assert status == 0, errors
    again, stored = json.loads(output), json.loads((folder / "record.json").read_text())
    assert again["val"] == stored["val"]
    assert [epoch["train_loss"] for epoch in again["epochs"]] == [epoch["train_loss"] for epoch in stored["epochs"]]


@pytest.mark.parametrize("command", main.commands)
def test_the_help_of_a_command_fits_80_columns_and_shows_its_examples_line_by_line(monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    status, output, _ = call(command, "--help")
    assert status == 0
    assert "\\b" not in output
    assert max(map(len, output.splitlines())) <= 80
    examples = re.findall(r"^ *(.*)python -m bench \w+ .*--", output.partition("Examples:")[2], re.MULTILINE)
    assert (command in ("sweep", "speed", "claims")) == bool(examples)
    assert set(examples) <= {""}


def test_list_and_check_speak_json():
    listing = json.loads(call("list", "--json")[1])
    assert {entry["name"] for entry in listing["datasets"]} == set(plugins.declarations("datasets"))
    assert {entry["name"] for entry in listing["metrics"]} == set(METRICS) | set(MEASURES)
    assert call("list")[0] == 0
    status, output, _ = call("check", "mlp", "--json")  # tests/contracts check all of them
    assert status == 0
    assert {row["problem"] for row in json.loads(output)} == {None}


def test_check_names_every_problem(tmp_path, monkeypatch):
    declared = plugins.declarations
    one = {"datasets": {"latch": declared("datasets")["latch"]}}  # `make check` reads the data of all cards
    monkeypatch.setattr(plugins, "declarations", lambda kind, *folder: one.get(kind) or declared(kind, *folder))
    (tmp_path / "bad.toml").write_text('title = "x"\nmodel = "gru"\n[tune]\nhiden_size = {}\n')
    (tmp_path / "worse.toml").write_text('title = "x"\nmodel = "grru"\n[tune]\na = {}\n')
    status, _, errors = call("check", "--search-spaces", str(tmp_path))
    assert status == 2
    assert "did you mean 'hidden_size'?" in errors
    assert "unknown model 'grru'; did you mean 'gru'?" in errors


OWN = """
from torch import nn

class Model(nn.Module):
    causal = True

    def __init__(self, input_size, length, *, hidden_size=8):
        super().__init__()
        self.layer = nn.Linear(input_size, hidden_size)
        self.output_size = self.summary_size = hidden_size

    def forward(self, x_BLD, length_B, state=None):
        return self.layer(x_BLD), None

    def summary(self, h_BLH, length_B):
        return h_BLH[:, 0]

    def state_size(self, length):
        return 0
"""
OWN_SPACE = """
title = "Mine"
width = "hidden_size"
[tune]
learning_rate = { type = "float", low = 1e-4, high = 1e-2, default = 1e-3 }
"""


@pytest.fixture
def own(tmp_path, monkeypatch, quick_tables):
    """A folder, the working directory, with a sound model and one that breaks."""
    for name, code in {"mine": OWN, "broken": OWN.replace("self.layer(x", "self.later(x")}.items():
        (tmp_path / f"{name}.py").write_text(code)
        (tmp_path / f"{name}.toml").write_text(OWN_SPACE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_check_names_the_line_of_your_own_model_that_fails(own):
    status, output, errors = call("check", "./broken.py")
    assert status == 2
    failure = "FAILED: line 13: AttributeError: 'Model' object has no attribute 'later'"
    assert f"broken: outputs have the declared shapes: {failure}" in output.splitlines()
    assert "broken: the seed determines the initial weights: ok" in output.splitlines()
    assert re.search(r"bench: \d+ of 11 checks failed", errors)
    status, output, _ = call("check", "./broken.py", "--json")
    assert status == 2
    assert len(json.loads(output)) == 11


def test_your_own_model_that_fails_is_a_failed_run(own, monkeypatch):
    words = ["sweep", "--dataset", "latch", "--length", "8", "--budget", "smoke", "--name", "own"]
    words += ["--models", "./mine.py,./broken.py"]
    status, output, errors = call(*words, "--json")
    assert status == 0, errors
    states = {row["model"]: (row["status"], row["reason"]) for row in json.loads(output)}
    assert (states["mine"], states["broken"]) == (("complete", None), ("failed", "error"))
    record = json.loads((own / "results/sweeps/own/runs/latch/L8/broken/t0/record.json").read_text())
    assert record["message"] == "broken.py, line 13: AttributeError: 'Model' object has no attribute 'later'"

    monkeypatch.chdir("/")
    again = ["run", str(own / "results/sweeps/own/runs/latch/L8/mine/t0/config.json")]
    assert call(*again)[0] == 0
    (own / "mine.py").write_text(OWN + "# changed")
    status, output, _ = call(*again)
    assert status == 3
    assert f"{own / 'mine.py'}: changed since the sweep read it" in output
    monkeypatch.chdir(own)
    status, _, errors = call(*words)
    assert status == 2
    assert "sweep own: model file mine.py was sha256" in errors


def test_your_own_model_is_matched_and_timed(own):
    words = ["--models", "lstm,./mine.py", "--dataset", "latch", "--length", "8"]
    status, output, errors = call("speed", *words, "--match", "parameters=2k", "--json")
    assert status == 0, errors
    rows = {row["model"]: row for row in json.loads(output)}
    assert rows.keys() == {"lstm@parameters=2k", "mine@parameters=2k"}
    assert rows["mine@parameters=2k"]["train_step_milliseconds"] > 0
    status, output, errors = call("plan", *words, "--budget", "smoke", "--json")
    assert status == 0, errors
    assert [cell["problem"] for cell in json.loads(output)["cells"]] == [None, None]


def test_the_way_to_export_names_one_winner(tmp_path):
    def way(**options):
        return sweeping.winner_options(
            plans.make(SweepConfig(datasets=["latch"], models=["gru"], results=tmp_path, **options))
        )

    assert way(lengths=[8]) == ""
    assert way(lengths=[8, 16]) == " --dataset latch --length 8"


def test_a_name_that_holds_a_comma_is_given_in_double_quotes():
    assert split_names('"temperature, C",load, "5"" pipe"') == ["temperature, C", "load", '5" pipe']
    names = ["temperature, C", "load", '5" pipe']
    context = sweeping.sweep.make_context("sweep", ["--target", '"temperature, C",load', "--features", '5" pipe'])
    assert (context.params["target"], context.params["features"]) == (names[:2], names[2:])
    assert split_names(join_names(names)) == names
    with pytest.raises(ValueError, match="must be names separated by commas, in double quotes if they hold a comma"):
        split_names('"temperature, C')
