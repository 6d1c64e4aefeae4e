"""Sections of a report that depend on what a sweep has, each on a small sweep of its own."""

import json
import re

from bench.report import report
from bench.report.sections import generated_text
from bench.results.record import RunRecord
from bench.sweeps.estimate import CellEstimate, Estimate
from tests.report.written import ENVIRONMENT, SECTIONS, Builder, Page


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


def test_cells_that_are_not_applicable_have_a_reason(tmp_path):
    builder = Builder(tmp_path / "left-out", [("digits", 8)])
    builder.spec["not_applicable"] = {"digits/L8/mine": "sees the future, which the task forbids"}
    words = Page(report.render(builder.build())).words("outcomes")
    assert "digits/L8/mine sees the future, which the task forbids" in words


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


def test_a_sampler_that_learns_has_no_expected_performance(tmp_path):
    words = Page(report.render(Builder(tmp_path / "tpe", [("digits", 8)], sampler="tpe").build())).words("expected")
    assert "Nothing to show: the sampler tpe chooses by earlier scores" in words


def test_several_objectives_have_a_front_each(tmp_path):
    builder = Builder(tmp_path / "two", [("digits", 8), ("drift", 10)], objectives=["quality", "latency", "parameters"])
    builder.more = {"objectives": ("quality", "latency", "parameters")}
    page = Page(report.render(builder.build()))
    words = page.words("pareto")
    assert "The objectives of this sweep: quality, latency and parameters" in words
    assert "Hypervolume" in words
    labels = [a["aria-label"] for _, a in page.tags if "the front:" in a.get("aria-label", "")]
    assert len(labels) == 4


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


def test_models_matched_by_capacity_are_compared_apart(tmp_path):
    models = ("lstm", "gru", "lstm@parameters=70k", "gru@parameters=70k")
    page = Page(report.render(Builder(tmp_path / "matched", [("digits", 8)], models=models).build()))
    assert "digits at 8 with parameters=70k" in page.words(None)
    legend = re.findall(r"[\w@=]+", page.words("scores"))[:12]
    assert "lstm" in legend


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
