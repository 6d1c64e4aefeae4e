"""The report of sweeps written by hand, read as text, as HTML, and in Chromium."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.config.settings import BASELINES
from bench.errors import StoreError
from bench.report import report
from bench.results import answers, leaderboard
from bench.results.record import Epoch, RunRecord
from tests.report.written import QUESTIONS, SECTIONS, Builder, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ROOT = Path(__file__).parents[2]


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


def test_runs_whose_batches_were_divided_are_counted(tmp_path):
    folder = Builder(tmp_path / "halved", [("digits", 8)]).build()
    assert "Memory ran out" not in Page(report.render(folder)).words("outcomes")
    for path in sorted(folder.rglob("record.json"))[:2]:
        RunRecord.read(path.parent).model_copy(update={"accumulate_grad_batches": 4}).write(path.parent)
    words = Page(report.render(folder)).words("outcomes")
    assert "Memory ran out in 2 runs, whose batches were then divided into micro-batches." in words


def test_tasks_of_degree_have_no_columns_on_what_is_solved(tmp_path, page):
    assert "default solved" in page.words("tuning")
    assert "solved" not in Page(report.render(Builder(tmp_path / "d", [("digits", 8)]).build())).words("tuning")


def test_the_bill_says_what_it_does_not_know(page):
    words = page.words("bill")
    assert "Energy was not measured." in words
    assert "No price was given (--price-per-hour)." in words
    assert re.search(r"not reached in \d trials", words)


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


def test_expected_performance_is_quoted_both_ways(page):
    words = page.words("expected")
    assert "plug-in" in words
    assert "unbiased" in words


def test_default_and_tuned_are_compared(page):
    words = page.words("tuning")
    assert "winner's curse" in words
    assert "tuned solved" in words


def test_a_sweep_without_a_plan_says_how_to_make_one(page):
    assert "Nothing to show: there is no plan; to compare, run `python -m bench plan`" in page.words("plan")


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


def test_a_sweep_without_records_is_refused(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(StoreError, match="no finished run yet"):
        report.render(Builder(folder, [("digits", 8)]).close())


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
