"""The report of sweeps written by hand, read as text, as HTML, and in Chromium."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.config.settings import BASELINES, RunConfig, TrainSettings
from bench.errors import StoreError
from bench.report import report
from bench.report.sections import generated_text
from bench.results import answers, leaderboard
from bench.results.cell_runs import CellRuns
from bench.results.record import Asked, Epoch, RunRecord, Seconds
from bench.sweeps.estimate import CellEstimate, Estimate

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ROOT = Path(__file__).parents[2]
SETTINGS = TrainSettings(max_sequences=6_400, batch_size=16, num_epochs=4, num_val=8, num_test=8)
ENVIRONMENT = {"hardware": "a machine (2 cores)", "python": "3.13", "torch": "2.12"}
ASKED = {
    "latch": {"metric": "accuracy", "goal": "maximize", "chance": 0.5, "solved": 0.99},
    "digits": {"metric": "accuracy", "goal": "maximize", "chance": 0.1, "solved": None},
    "drift": {"metric": "mse", "goal": "minimize", "chance": 4.0, "solved": None},
}
SECTIONS = [
    "decision",
    "scores",
    "validation",
    "outcomes",
    "bill",
    "expected",
    "tuning",
    "importance",
    "curves",
    "pareto",
    "plan",
    "speed",
    "reading",
]


class Builder:
    """Writes the records of a sweep, as its coordinator would; all figures follow from one seed."""

    def __init__(self, folder: Path, questions, models=("lstm", "gru", "mlp"), trials=4, seeds=3, **terms) -> None:
        self.folder, self.questions, self.models = folder, questions, models
        self.trials, self.seeds, self.random = trials, seeds, random.Random(0)
        self.more = {}  # of every run's configuration
        self.epochs = []
        cells = [f"{dataset}/L{length}/{model}" for dataset, length in questions for model in models]
        spec = {"budget": "quick", "sampler": "sobol", "pruner": "none", "objectives": ["quality"], "seed": 0}
        self.spec = {
            "spec": {"cells": cells, "max_sequences": 6_400} | spec | terms,
            "trials": trials, "top_k": 1, "confirm_seeds": seeds, "not_applicable": {}, "cpu_watts": None, "slots": 2,
            "command": "python -m bench sweep --dataset latch", "created": "2026-11-23T10:00:00+00:00",
        }  # fmt: skip

    def write(self, dataset: str, length: int, space: str, run: str, phase: str, number: int, **facts) -> RunRecord:
        path = f"{dataset}/L{length}/{space}/{run}"
        config = RunConfig(
            sweep=self.folder.name, run=path, phase=phase, number=number, dataset=dataset, task=dataset, length=length,
            task_arguments={}, space=space, model=space, model_arguments={"hidden_size": 4}, train=SETTINGS,
            seed=100 + number, origin="default" if number == 0 else "sobol", **self.more,
            **({"opens_test_of": tuple(facts["tests"])} if phase == "test" else {}),
        )  # fmt: skip
        total = facts.pop("total", 1.0 + self.random.random())
        values = {
            "state": "complete",
            "seconds": Seconds(total=total),
            "environment": ENVIRONMENT,
            "cpu_seconds": total,
        }
        values |= {"started_at": "2026-11-23T10:00:00+00:00", "epochs": self.epochs}
        asked = Asked(num_steps=2 * length, **ASKED[dataset])
        record = RunRecord(config=config, asked=asked, **(values | facts))
        (self.folder / "runs" / path).mkdir(parents=True)
        record.write(self.folder / "runs" / path)
        return record

    def score(self, dataset: str, length: int, model: str) -> float:
        skill = 1 - 0.05 * self.models.index(model) - length / 400 + self.random.gauss(0, 0.02)
        return 4 * (1.2 - skill) if dataset == "drift" else min(1.0, skill)

    def facts(self, dataset: str, length: int, model: str) -> dict:
        score = self.score(dataset, length, model)
        found = {"val": {ASKED[dataset]["metric"]: score}, "train_steps": 400, "train_sequences": 6_400}
        found |= {
            "inference_milliseconds": self.random.uniform(0.5, 4),
            "parameters": {"encoder": 1_000 + self.random.randrange(9_000)},
        }
        if ASKED[dataset]["solved"] is not None:
            solved = score > 0.9
            found |= {
                "solved": solved,
                "sequences_to_solve": 3_200 if solved else None,
                "seconds_to_solve": 0.5 if solved else None,
            }
        return found

    def cell(self, dataset: str, length: int, model: str) -> None:
        where = (dataset, length, model)
        runs = [self.write(*where, f"t{n}", "screen", n, **self.facts(*where)) for n in range(self.trials)]
        for trial in CellRuns(tuple(runs), 1).to_confirm:
            name = f"t{trial.config.number}"
            runs += [self.write(*where, f"{name}-s{s}", "confirm", s, **self.facts(*where)) for s in range(self.seeds)]
        chosen = CellRuns(tuple(runs), 1).chosen
        tests = {run.config.run: run.val for run in runs if run.config.run.startswith(f"{chosen.config.run}-s")}
        self.write(*where, f"t{chosen.config.number}-test", "test", 0, tests=tests)
        speed = dict.fromkeys(("train_sequences_per_second", "inference_sequences_per_second"), 1e5 / length)
        speed["train_step_milliseconds"] = length / 10
        name = f"t{chosen.config.number}-speed"
        self.write(*where, name, "speed", 0, speed=speed, peak_memory_bytes=length * 2**20)

    def build(self) -> Path:
        for dataset, length in self.questions:
            for model in self.models:
                self.cell(dataset, length, model)
            baselines = {"most frequent answer": 0.2, "logistic regression": 0.6}
            self.write(dataset, length, "_baselines", "baselines", "baselines", 0, baselines=baselines)
        return self.close()

    def close(self) -> Path:
        (self.folder / "sweep.json").write_text(json.dumps(self.spec))
        return self.folder


class Page(HTMLParser):
    """The elements of a page, and whether they close in order."""

    VOID = {"meta", "br", "link", "img", "input", "hr"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.ids, self.texts, self.section = [], [], [], {}, None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if "id" in dict(attributes):
            self.ids.append(dict(attributes)["id"])
        if tag == "section":
            self.section = dict(attributes)["id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "section":
            self.section = None

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts[self.section] = f"{self.texts.get(self.section, '')} {data}"

    def words(self, section: str | None) -> str:
        return " ".join(self.texts[section].split())


QUESTIONS = [("latch", 16), ("latch", 32), ("latch", 64), ("digits", 8), ("drift", 10), ("drift", 20)]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    """Three datasets, four causes of failure, a limit, crashes, and a name that is no name."""
    builder = Builder(tmp_path_factory.mktemp("results") / "sweeps" / "<b>bold & $x_1$", QUESTIONS)
    for number, cause in enumerate(("non_finite", "out_of_memory", "signal 11", "a new cause"), start=10):
        facts = {"state": "failed", "cause": cause, "message": f"<i>{cause}</i>", "crashes": ["killed"]}
        builder.write("latch", 16, "gru", f"t{number}", "screen", number, **facts)
    builder.write("digits", 8, "gru", "t9", "screen", 9, state="pruned", cause="limit")
    builder.write("latch", 64, "odd", "t0", "screen", 0, **builder.facts("latch", 64, "mlp"))
    builder.spec["spec"]["cells"].append("latch/L64/odd")
    return builder.build()


@pytest.fixture(scope="module")
def text(sweep) -> str:
    return report.render(sweep)


@pytest.fixture(scope="module")
def page(text) -> Page:
    return Page(text)


def test_the_page_is_well_formed(page):
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert [attributes["id"] for tag, attributes in page.tags if tag == "section"] == SECTIONS


def test_every_file_of_a_section_is_on_the_page():
    files = {path.stem for path in (ROOT / "bench" / "report" / "sections").glob("[a-z]*.py")}
    assert files == {section.__name__.rpartition(".")[2] for section in report.SECTIONS}


def test_texts_are_shown_with_their_measures(tmp_path):
    folder = tmp_path / "texts"
    Builder(folder, [("drift", 16)], models=("lstm",)).build()
    measures = dict(zip(generated_text.MEASURES, (0.81, 0.02, 0.99, 0.04, 1.5), strict=True))
    (path,) = folder.glob("runs/drift/L16/lstm/*-test/record.json")
    record = RunRecord.read(path.parent)
    (first, scores), *others = record.tests.items()
    scores = scores | {f"{name}_t{t}": value for name, value in measures.items() for t in (0.5, 0.8)}
    record.model_copy(update={"tests": {first: scores} | dict(others)}).write(path.parent)
    page = Page(report.render(folder))
    assert "The text is no longer there" in page.texts["texts"]
    texts = {"0.5": ["cold"], "0.8": ["KING:\nHear <b>me</b>.\n\nFOOL:\n" + "Nay, " * 99]}
    (folder / "runs" / first / "samples.json").write_text(json.dumps(texts))
    page = Page(report.render(folder))
    assert [id for id in page.ids if id in SECTIONS or id == "texts"] == [*SECTIONS[:-1], "texts", "reading"]
    shown = page.texts["texts"]
    assert "KING: / Hear <b>me</b>. / FOOL: / Nay, Nay," in shown
    assert "cold" not in shown
    for cell in ("0.810", "0.020", "0.990", "0.040", "1.500"):
        assert shown.count(cell) == 2


def test_translations_are_shown_by_search_and_by_length_of_the_source(tmp_path):
    folder = tmp_path / "translated"
    Builder(folder, [("drift", 16)], models=("lstm",)).build()
    (path,) = folder.glob("runs/drift/L16/lstm/*-test/record.json")
    record = RunRecord.read(path.parent)
    tests = {}
    for number, (run, scores) in enumerate(record.tests.items()):
        more = {"bleu": 20.0 + number, "chrf": 45.0, "length_ratio": 0.97, "bleu_1_to_10": 31.0, "bleu_from_31": 9.0}
        beam = {f"beam_{name}": value + 1.5 for name, value in more.items()} if number == 0 else {}
        tests[run] = scores | more | beam
    record.model_copy(update={"tests": tests}).write(path.parent)
    stored = {"signatures": {"bleu": "tok:13a", "chrf": "nc:6"}, "source": ["ein <b>Hund</b>"]}
    (folder / "runs" / next(iter(tests)) / "translations.json").write_text(
        json.dumps(stored | {"reference": ["a dog"], "greedy": ["a cat"], "beam": ["a dog"]})
    )
    shown = Page(report.render(folder)).texts["translations"]
    assert "BLEU, 1 to 10 tokens BLEU, from 31 tokens" in shown
    assert "lstm no greedy, 3 seeds 21.000 45.000 0.970 31.000 9.000" in shown  # the mean of 20, 21 and 22
    assert "lstm no beam of 5, 1 seed 21.500 46.500 2.470 32.500 10.500" in shown
    assert "ein <b>Hund</b> a cat (reference: a dog)" in shown
    assert "signatures are tok:13a and nc:6" in shown


def test_the_page_loads_nothing(text, page):
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert set(re.findall(r"url\(([^)]*)\)", text)) <= {f"#{name}" for name in page.ids}
    targets = {attributes["href"] for _, attributes in page.tags if "href" in attributes}
    assert targets <= {f"#{name}" for name in page.ids}


def test_names_are_text(text, page):
    assert "<b>bold" not in text
    assert "<i>" not in text
    assert "<b>bold & $x_1$" in page.words(None)
    assert "<i>non_finite</i>" in page.words("outcomes")


def test_the_same_folder_gives_the_same_bytes(sweep, text):
    # In another process too, where sets have another order.
    code = (
        "import sys; from pathlib import Path; from bench.report import report; print(report.write(Path(sys.argv[1])))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, str(sweep)], env=environment, check=True, capture_output=True)
    assert (sweep / "report.html").read_text(encoding="utf-8") == text


def test_write_returns_the_path_of_the_page(tmp_path):
    builder = Builder(tmp_path / "small", [("digits", 8)], models=("lstm",), trials=1)
    path = report.write(builder.build())
    assert path == tmp_path / "small" / "report.html"
    assert path.read_text(encoding="utf-8") == report.render(tmp_path / "small")
    assert not list(path.parent.glob(".report*"))


def test_nothing_is_said_to_be_nan_or_none(page):
    said = " ".join(page.texts.values()) + " ".join(a.get("aria-label", "") for _, a in page.tags)
    assert not re.search(r"\b(nan|NaN|None(?! of the)|NaT|inf|<NA>)\b|<NA>", said)


def test_the_page_forbids_what_it_does_not_need(text):
    assert text.index("Content-Security-Policy") < text.index("<style>")
    assert "default-src 'none'; style-src 'unsafe-inline'" in text


def test_one_sentence_on_top_sums_up_all_lengths(sweep, page):
    found = answers.summaries(leaderboard.build(sweep))
    assert [sentence.partition(":")[0] for sentence in found] == ["latch at 16 to 64", "drift at 10 to 20"]
    found += answers.answers(leaderboard.build(sweep))[:1]
    places = [page.words(None).index(sentence.partition(": ")[2][1:]) for sentence in found]
    assert places == sorted(places)


def test_every_answer_is_on_top(sweep, page):
    for answer in answers.answers(leaderboard.build(sweep)):
        question, _, sentence = answer.partition(": ")
        assert f"{question} {sentence[:1].upper()}{sentence[1:]}" in page.words(None)


def test_the_head_says_what_was_run_where(page):
    head = page.words(None)
    for words in (
        "python -m bench sweep --dataset latch",
        "2026-11-23 10:00:00 UTC",
        "a machine (2 cores)",
        "torch 2.12",
    ):
        assert words in head


def test_every_figure_says_what_it_shows(page):
    figures = [a for tag, a in page.tags if tag == "figure"]
    assert len(figures) == len([tag for tag, _ in page.tags if tag == "figcaption"]) >= 5
    charts = [a for _, a in page.tags if a.get("class") == "chart"]
    assert charts
    assert all(a["role"] == "img" and len(a["aria-label"]) > 20 for a in charts)


def test_every_model_is_in_the_figures_of_its_dataset(page):
    (label,) = [a["aria-label"] for _, a in page.tags if a.get("aria-label", "").startswith("latch, share")]
    assert "16, 32 and 64" in label
    assert all(model in label for model in ("lstm", "gru", "mlp"))


def test_outcomes_are_counted_and_explained(page):
    words = page.words("outcomes")
    assert "4 failed" in words
    assert "4 attempts died" in words
    rule = r"Of (\d+) trials and confirm runs, (\d+) ended complete, (\d+) \w+ pruned, (\d+) \w+ over a limit, and 4 failed"
    counts = re.search(rule, words)
    assert counts
    assert int(counts[1]) == sum(map(int, counts.groups()[1:])) + 4  # those that failed
    assert "The process died of signal 11." in words
    assert "This cause has no description" in words
    assert "runs/latch/L16/gru/t10/log.txt" in words


def test_cells_that_are_not_applicable_have_a_reason(tmp_path):
    builder = Builder(tmp_path / "left-out", [("digits", 8)])
    builder.spec["not_applicable"] = {"digits/L8/mine": "sees the future, which the task forbids"}
    words = Page(report.render(builder.build())).words("outcomes")
    assert "digits/L8/mine sees the future, which the task forbids" in words


def test_tasks_of_degree_have_no_columns_on_what_is_solved(tmp_path, page):
    assert "default solved" in page.words("tuning")
    assert "solved" not in Page(report.render(Builder(tmp_path / "d", [("digits", 8)]).build())).words("tuning")


def test_the_bill_says_what_it_does_not_know(page):
    words = page.words("bill")
    assert "Energy was not measured." in words
    assert "No price was given (--price-per-hour)." in words
    assert re.search(r"not reached in \d trials", words)


def test_money_and_energy_are_on_the_bill(tmp_path):
    builder = Builder(tmp_path / "priced", [("digits", 8)])
    builder.more = {"usd_per_hour": 36.0}
    builder.spec["cpu_watts"] = 10.0
    words = Page(report.render(builder.build(), quality=0.5)).words("bill")
    assert "estimated from CPU time at 10 W a busy core" in words
    assert "no evidence of its own" in words
    assert "no price given" not in words
    assert re.search(r"It cost [\d.]+ USD", words)
    assert "accuracy 0.500" in words


def test_scores_beyond_the_training_length_are_drawn_and_listed(tmp_path, page):
    assert "beyond" not in page.ids
    builder = Builder(tmp_path / "sweeps" / "s", [("latch", 16)], models=("lstm", "gru"))
    folder = builder.build()
    scores = {"lstm": {16: (1.0, 1.0, 0.97), 64: (0.9, 0.8, 0.7)}, "gru": {16: (0.9, 0.9, 0.9), 64: (0.5, 0.5, 0.5)}}
    for path in folder.glob("runs/latch/L16/*/t*-test"):
        record = RunRecord.read(path)
        by_seed = zip(*scores[record.config.space].values(), strict=True)
        measures = [{16: {"accuracy": short}, 64: {"accuracy": long}} for short, long in by_seed]
        record.model_copy(update={"by_length": dict(zip(record.tests, measures, strict=True))}).write(path)
    words = Page(report.render(folder)).words("beyond")
    assert "lstm 0.990 (0.970 to 1.000) 0.800 (0.700 to 0.900)" in words
    assert "gru 0.900 (0.900 to 0.900) 0.500 (0.500 to 0.500)" in words
    board = leaderboard.build(folder)
    assert json.loads(board.loc[board["model"] == "lstm", "score_by_length"].item()) == pytest.approx(
        {"16": 0.99, "64": 0.8}
    )
    assert board.loc[board["status"] == "baseline", "score_by_length"].isna().all()


def test_a_sampler_that_learns_has_no_expected_performance(tmp_path):
    words = Page(report.render(Builder(tmp_path / "tpe", [("digits", 8)], sampler="tpe").build())).words("expected")
    assert "Nothing to show: the sampler tpe chooses by earlier scores" in words


def test_expected_performance_is_quoted_both_ways(page):
    words = page.words("expected")
    assert "plug-in" in words
    assert "unbiased" in words


def test_default_and_tuned_are_compared(page):
    words = page.words("tuning")
    assert "winner's curse" in words
    assert "tuned solved" in words


def test_several_objectives_have_a_front_each(tmp_path):
    builder = Builder(tmp_path / "two", [("digits", 8), ("drift", 10)], objectives=["quality", "latency", "parameters"])
    builder.more = {"objectives": ("quality", "latency", "parameters")}
    page = Page(report.render(builder.build()))
    words = page.words("pareto")
    assert "The objectives of this sweep: quality, latency and parameters" in words
    assert "Hypervolume" in words
    labels = [a["aria-label"] for _, a in page.tags if "the front:" in a.get("aria-label", "")]
    assert len(labels) == 4


def test_a_sweep_without_a_plan_says_how_to_make_one(page):
    assert "Nothing to show: there is no plan; to compare, run `python -m bench plan`" in page.words("plan")


def test_a_prediction_is_compared(tmp_path):
    folder = Builder(tmp_path / "planned", [("digits", 8), ("digits", 16)]).build()
    cells = [
        CellEstimate(dataset="digits", length=length, model=model, runs=7, run_seconds=2.0, device_seconds=14.0)
        for length in (8, 16)
        for model in ("lstm", "gru", "mlp")
    ]
    rest = {"made": "", "hardware": "", "slots": 1, "memory_bytes": 0, "usd": None}
    plan = Estimate(sweep="planned", wall_seconds=90.0, cells=cells, **rest)
    (folder / "plan.json").write_text(plan.model_dump_json())
    page = Page(report.render(folder))
    assert "The prediction was 90.0 s of wall time" in page.words("plan")
    assert "predicted / actual" in page.words("plan")
    (folder / "plan.json").write_text("{")
    assert "plan.json cannot be read" in Page(report.render(folder)).words("plan")


def test_sizes_are_said_to_differ_only_where_they_do(tmp_path, page):
    assert re.search(
        r"configurations have [\d,]+ to [\d,]+ parameters, so this compares what was chosen", page.words("speed")
    )
    builder = Builder(tmp_path / "fixed", [("digits", 8)])
    facts = builder.facts
    builder.facts = lambda *where: facts(*where) | {"parameters": {"encoder": 4_000, "head": 96}}
    words = Page(report.render(builder.build())).words("speed")
    assert "All chosen configurations have 4,096 parameters." in words
    assert "differ" not in words


def test_speed_is_drawn_over_lengths(page):
    labels = [a["aria-label"] for _, a in page.tags if a.get("aria-label", "").startswith("latch, training step")]
    assert len(labels) == 1
    assert "lstm 1.60 at 32, 6.40 at 128" in labels[0]


def test_different_hardware_is_not_compared_by_time(tmp_path, monkeypatch):
    builder = Builder(tmp_path / "two_machines", [("digits", 8), ("digits", 16)])
    for length, hardware in ((8, "one"), (16, "another")):
        monkeypatch.setitem(ENVIRONMENT, "hardware", hardware)
        for model in builder.models:
            builder.cell("digits", length, model)
    page = Page(report.render(builder.close()))
    for section in (None, "speed"):
        words = page.words(section)
        assert "The runs differ in hardware (one; another), so times are not compared across them." in words
    assert not [a for _, a in page.tags if a.get("aria-label", "").startswith("digits, training step")]


def test_a_sweep_that_has_just_begun(tmp_path):
    builder = Builder(tmp_path / "begun", [("digits", 8)], budget="smoke")
    builder.write("digits", 8, "lstm", "t0", "screen", 0, **builder.facts("digits", 8, "lstm"))
    page = Page(report.render(builder.close()))
    assert "No model has been confirmed yet." in page.words(None)
    assert "are unfinished; run the same command to resume" in page.words(None)
    assert "It says nothing about the models." in page.words(None)
    assert "no exclusive pass has been made yet" in page.words("speed")
    assert "only default configurations were tried" in page.words("expected")


def test_a_sweep_in_which_all_failed(tmp_path):
    builder = Builder(tmp_path / "failed", [("digits", 8)], trials=1)
    for model in builder.models:
        builder.write("digits", 8, model, "t0", "screen", 0, state="failed", cause="error", total=0.0)
    page = Page(report.render(builder.close()))
    assert "3 failed" in page.words("outcomes")
    assert "no complete trial within the limits has two objectives measured" in page.words("pareto")


def test_only_baselines_have_ended(tmp_path):
    builder = Builder(tmp_path / "early", [("digits", 8)])
    builder.write("digits", 8, "_baselines", "baselines", "baselines", 0, baselines={"majority": 0.1})
    page = Page(report.render(builder.close()))
    assert "no run has ended yet" in page.words("bill")


def test_a_sweep_without_records_is_refused(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(StoreError, match="no finished run yet"):
        report.render(Builder(folder, [("digits", 8)]).close())


def test_models_matched_by_capacity_are_compared_apart(tmp_path):
    models = ("lstm", "gru", "lstm@parameters=70k", "gru@parameters=70k")
    page = Page(report.render(Builder(tmp_path / "matched", [("digits", 8)], models=models).build()))
    assert "digits at 8 with parameters=70k" in page.words(None)
    legend = re.findall(r"[\w@=]+", page.words("scores"))[:12]
    assert "lstm" in legend


LARGE = """
import resource, sys, time
from pathlib import Path
from bench.report import report
report.write(Path(sys.argv[1]))
print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def write_large(folder: Path) -> Path:
    """A sweep of 10,000 runs: all models, six questions, the full budget's 60 trials, seeds and epochs."""
    builder = Builder(folder, QUESTIONS, models=BASELINES, trials=60, seeds=29)
    builder.epochs = [
        Epoch(steps=i, sequences=16 * i, train_seconds=0.1 * i, train_loss=1.0, val={"accuracy": 0.5})
        for i in range(100)
    ]
    for dataset, length in QUESTIONS:
        for model in BASELINES:
            builder.cell(dataset, length, model)
            for n in range(1, 5):  # as many confirmed configurations as the budget has
                for s in range(29):
                    if not (folder / "runs" / dataset / f"L{length}" / model / f"t{n}-s{s}").exists():
                        builder.write(
                            dataset, length, model, f"t{n}-s{s}", "confirm", s, **builder.facts(dataset, length, model)
                        )
    return builder.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_runs_take_ten_seconds(tmp_path):
    folder = write_large(tmp_path / "large")
    command = [sys.executable, "-c", LARGE, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, mebibytes = map(float, done.stdout.split())
    assert seconds < 10
    assert mebibytes < 500


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_overflows_and_nothing_is_complained_about(sweep, tmp_path, width, scheme):
    if CHROMIUM is None:
        pytest.skip("no Chromium here; on Debian: apt-get install --no-install-recommends chromium fonts-dejavu-core")
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra `test` brings playwright")
    path = tmp_path / "report.html"
    path.write_text(report.render(sweep), encoding="utf-8")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        complaints, requests = [], []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        wide = page.evaluate(
            "[...document.querySelectorAll('main *:not(.scroll *):not(svg *)')]"
            ".filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
        )
        assert wide == []
        # All text in the charts lies on its chart.
        outside = page.evaluate(
            "[...document.querySelectorAll('.chart')].flatMap(c => [...c.querySelectorAll('text')].filter(t => {"
            "const a = c.getBoundingClientRect(), b = t.getBoundingClientRect();"
            "return b.left < a.left - 2 || b.right > a.right + 2 || b.top < a.top - 2 || b.bottom > a.bottom + 2;"
            "}).map(t => c.getAttribute('aria-label').slice(0, 40) + ': ' + t.textContent))"
        )
        assert outside == []
        browser.close()
    assert complaints == []
    assert requests == [path.as_uri()]


def test_transcripts_are_shown_by_kind_of_error_and_number_of_words(tmp_path):
    folder = tmp_path / "transcribed"
    Builder(folder, [("drift", 16)], models=("lstm",)).build()
    (path,) = folder.glob("runs/drift/L16/lstm/*-test/record.json")
    record = RunRecord.read(path.parent)
    more = {"substitutions": 0.15, "deletions": 0.05, "insertions": 0.0, "exact": 0.4}
    more |= {"word_error_rate_1_to_2": 0.1, "word_error_rate_of_3": 0.25, "word_error_rate_from_16": 0.5}
    tests = {
        run: scores | more | {"word_error_rate": 0.2 + number / 10}
        for number, (run, scores) in enumerate(record.tests.items())
    }
    record.model_copy(update={"tests": tests}).write(path.parent)
    stored = {"written": ["1 <b>7</b>", ""], "reference": ["1 7", "2"]}
    (folder / "runs" / next(iter(tests)) / "transcripts.json").write_text(json.dumps(stored))
    shown = Page(report.render(folder)).texts["transcripts"]
    assert "1 to 2 words 3 words from 16 words" in shown
    assert "lstm 0.300 0.150 0.050 0.000 0.400 0.100 0.250 0.500" in shown  # the mean of 0.2, 0.3 and 0.4
    assert "lstm: 1 7 1 <b>7</b>" in shown
    assert "lstm: 2 (nothing)" in shown
