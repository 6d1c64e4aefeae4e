"""The choice of portfolios from recorded sweeps."""

import json

import pytest

from bench.config import portfolios, search_spaces
from bench.errors import DeclarationError
from bench.sweeps import portfolio
from tests.makers import record

RATES = {"a": 0.003, "b": 0.006, "c": 0.012}
"""Three configurations by their learning rates; the default has another one."""


def store(results, name: str, dataset: str, scores: dict[str, float], kind: str | None = "text") -> None:
    """Write the trials of a sweep: validation accuracies of the default, "default", and of configurations."""
    for number, (key, score) in enumerate(scores.items()):
        run = f"{dataset}/L10/lstm/t{number}"
        # The default of the space reads all; the others read the summary, which is the default of training.
        settings = {"learning_rate": RATES[key]} if key in RATES else {"readout": "all"}
        made = record(
            {"sweep": name, "run": run, "dataset": dataset, "length": 10, "number": number,
             "model_arguments": {"hidden_size": 64}, "settings": settings},
            {"kind": kind}, val={"accuracy": score},
        )  # fmt: skip
        folder = results / name / "runs" / run
        folder.mkdir(parents=True)
        made.write(folder)


def rates(chosen) -> list[float]:
    return [entry.values["learning_rate"] for entry in chosen.entries]


@pytest.fixture
def sweeps(tmp_path):
    store(tmp_path, "one", "x", {"default": 0.6, "a": 0.9, "b": 0.7, "c": 0.5})
    store(tmp_path, "two", "y", {"default": 0.6, "a": 0.55, "b": 0.7, "c": 0.9})
    return [tmp_path / "one", tmp_path / "two"]


def test_the_next_is_the_one_that_helps_most_beside_those_before(sweeps):
    (chosen,) = portfolio.make(sweeps)
    assert (chosen.kind, chosen.model) == ("text", "lstm")
    # Alone, b is as good as a and c on average; beside the default, one of the two specialists helps most.
    assert rates(chosen) == [RATES["a"], RATES["c"]] or rates(chosen) == [RATES["c"], RATES["a"]]
    assert chosen.entries[0].runs[0].startswith("one: x/L10/lstm/t")


def test_a_configuration_that_helps_nowhere_is_not_taken(tmp_path):
    store(tmp_path, "one", "x", {"default": 0.9, "a": 0.6, "b": 0.95})
    store(tmp_path, "two", "y", {"default": 0.9, "a": 0.6, "b": 0.8})
    (chosen,) = portfolio.make([tmp_path / "one", tmp_path / "two"])
    assert rates(chosen) == [RATES["b"]]


def test_where_the_default_is_best_everywhere_there_is_nothing_to_choose(tmp_path):
    store(tmp_path, "one", "x", {"default": 1.0, "a": 0.6, "b": 1.0})
    store(tmp_path, "two", "y", {"default": 1.0, "a": 0.6, "b": 0.8})
    with pytest.raises(DeclarationError, match="no configuration is better than the default on any dataset"):
        portfolio.make([tmp_path / "one", tmp_path / "two"])


def test_datasets_left_out_are_compared_with_random_order(sweeps):
    (chosen,) = portfolio.make(sweeps)
    assert chosen.check[0] == "Mean regret on a dataset left out (x, y), portfolio against random order:"
    # Of x: regrets .75, 0, .5 and 1 of default, a, b and c; of y the same with a and c exchanged, but .875 for a.
    assert chosen.check[1] == "  after 1 trial: 0.750 against 0.547"


def test_what_was_tried_on_one_dataset_only_is_no_candidate(tmp_path):
    store(tmp_path, "one", "x", {"default": 0.6, "a": 0.9, "b": 0.7})
    store(tmp_path, "two", "y", {"default": 0.6, "b": 0.7})
    (chosen,) = portfolio.make([tmp_path / "one", tmp_path / "two"])
    assert rates(chosen) == [RATES["b"]]


@pytest.mark.parametrize("kind", [None, "synthetic"])
def test_sweeps_without_two_datasets_of_a_kind_are_refused(tmp_path, kind):
    store(tmp_path, "one", "x", {"default": 0.6, "a": 0.9}, kind)
    store(tmp_path, "two", "y", {"default": 0.6, "a": 0.9}, kind)
    with pytest.raises(DeclarationError, match="at least two datasets of a kind"):
        portfolio.make([tmp_path / "one", tmp_path / "two"])


def test_the_file_is_read_back(sweeps, tmp_path):
    ((kind, text),) = portfolio.to_toml(portfolio.make(sweeps))
    (tmp_path / "portfolios").mkdir()
    (tmp_path / "portfolios" / f"{kind}.toml").write_text(text)
    points = portfolios.read(search_spaces.read("lstm", kind="text"), tmp_path)
    assert {point["learning_rate"] for point in points} == {RATES["a"], RATES["c"]}
    assert {point["readout"] for point in points} == {"summary"}  # not the default of the space
    assert "hidden_size" not in text  # the same in all trials
    assert "# Mean regret on a dataset left out" in text


def test_the_summary_names_every_configuration(sweeps):
    lines = list(portfolio.summary(portfolio.make(sweeps)))
    assert lines[0] == "text, lstm: 2 beside the default"
    assert json.loads(lines[1].strip())["learning_rate"] in RATES.values()
