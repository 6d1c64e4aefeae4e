"""The metric that selects: what a task knows, and that one sweep keeps one metric."""

import numpy as np
import pytest

from bench.config import measures
from bench.config.datasets import make_task, task_of
from bench.config.measures import MEASURES
from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from bench.errors import DeclarationError
from bench.sweeps import prepare, terms
from bench.training import train
from tests.makers import dictation, hourly, long_table, run_config, tagged

KNOWN = {
    "classification": (
        lambda f: long_table(f / "l.csv", "label"), {"label": "label", "group": "id"},
        ["accuracy", "balanced_accuracy", "macro_f1"],
    ),
    "tagging": (lambda f: tagged(f / "w.conllu"), {}, ["accuracy", "balanced_accuracy", "macro_f1"]),
    "forecasting": (lambda f: hourly(f / "load.csv"), {"horizon": 3}, ["mse", "mae", "mase"]),
    "regression": (
        lambda f: long_table(f / "s.csv", "target"), {"task": "regression", "target": ["target"], "group": "id"},
        ["r2", "mae"],
    ),
    "translation": (lambda f: pairs(f / "p.csv"), {"text": "de", "target": ["en"], "task": "translation"}, ["bleu"]),
    "transcription": (
        lambda f: dictation(f / "words"), {"task": "transcription", "lengths": [90]},
        ["word_error_rate", "character_error_rate"],
    ),
    "language_modelling": (lambda f: text(f / "t.txt"), {}, ["nats", "bits", "perplexity"]),
}  # fmt: skip


def pairs(path):
    rows = [f"ein Hund {n % 7} {n % 5}.,a dog {n % 7} {n % 5}." for n in range(90)]
    path.write_text("\n".join(["de,en", *rows]) + "\n")
    return path


def text(path):
    path.write_text("a text of some words that come again and again\n" * 60)
    return path


@pytest.mark.parametrize("task", KNOWN)
def test_every_measure_of_a_task_can_select(tmp_path, task):
    maker, options, known = KNOWN[task]
    length = options.get("lengths", [5])[0]
    own = own_data.make(SweepConfig(data=[maker(tmp_path)], **{"lengths": [length]} | options))
    assert own.card.task == task
    chances = measures.chances(make_task(task, length, own.card.arguments))
    assert list(chances) == known
    for name, chance in chances.items():
        made = make_task(task, length, own.card.arguments)
        measures.select(made, name)
        assert (made.metric, made.goal, made.chance) == (name, MEASURES[name].goal, chance)
        assert MEASURES[name].least <= chance <= MEASURES[name].most
    if task == "language_modelling":
        assert chances["perplexity"] == pytest.approx(np.exp(chances["nats"]))


def test_the_chance_of_a_measure_is_the_score_of_a_constant_answer():
    task = make_task("digits", 8, {})
    chances = measures.chances(task)
    assert chances["balanced_accuracy"] == pytest.approx(0.1)
    assert chances["macro_f1"] < 0.03


@pytest.mark.parametrize(
    ("dataset", "metric", "rule"),
    [
        ("digits", "macro_f2", "must be one of accuracy, balanced_accuracy, macro_f1 for digits, but found 'macro_f2'; did you mean 'macro_f1'?"),
        ("digits", "mse", "must be one of accuracy, balanced_accuracy, macro_f1 for digits, but found 'mse'"),
        ("latch", "macro_f1", "must be one of accuracy for latch, but found 'macro_f1'"),
    ],
)  # fmt: skip
def test_an_unknown_metric_is_refused_in_one_line_that_names_the_known_ones(tmp_path, dataset, metric, rule):
    with pytest.raises(DeclarationError) as refused:
        plan(tmp_path, datasets=[dataset], metric=metric)
    assert str(refused.value) == f"--metric: {rule}" or str(refused.value).startswith(f"--metric: {rule}")
    assert "\n" not in str(refused.value)


def plan(results, **options):
    values = {"datasets": ["digits"], "lengths": [8], "models": ["lstm"], "results": results, "name": "s"}
    made = prepare.make(SweepConfig.build(None, values | options))
    made.folder.mkdir(parents=True, exist_ok=True)
    return made


def test_a_sweep_cannot_be_resumed_with_another_metric(tmp_path):
    terms.freeze(plan(tmp_path, metric="macro_f1"))
    assert terms.freeze(plan(tmp_path, metric="macro_f1")) == []
    for metric in (None, "balanced_accuracy"):
        with pytest.raises(DeclarationError, match="sweep s: metric was macro_f1 and is now [^\n]*--name$"):
            terms.freeze(plan(tmp_path, metric=metric))


def test_the_metric_of_the_task_may_be_named_and_another_one_is_another_sweep(tmp_path):
    names = {plan(tmp_path, name=None, metric=metric).name for metric in (None, "accuracy", "macro_f1")}
    assert len(names) == 2
    terms.freeze(plan(tmp_path))
    assert terms.freeze(plan(tmp_path, metric="accuracy")) == []


def test_a_run_selects_its_best_epoch_by_the_metric():
    config = run_config(dataset="digits", metric="macro_f1", settings={"num_epochs": 8})
    assert task_of(config).metric == "macro_f1"
    record = train.run(config)
    scores = [(epoch.val["macro_f1"], -epoch.val_loss) for epoch in record.epochs]
    assert (record.asked.metric, record.best_epoch) == ("macro_f1", scores.index(max(scores)))
    assert record.val_score == max(scores)[0]
