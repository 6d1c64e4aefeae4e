"""The MLflow pages that a sweep prints, as a person sees them: driven in Chromium. `-m browser` runs these."""

import csv
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MODELS = ("gru", "mlp")
ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


class Server:
    """`bench ui` on a free port, in a session of its own, so that what it leaves behind can be found."""

    def __init__(self, folder: Path, results: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        with (folder / "ui.log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bench", "ui", "--port", str(self.port), "--results", results],
                cwd=folder,
                env=environment(),
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + 90
        while not self.answers():
            assert self.process.poll() is None, (folder / "ui.log").read_text()
            assert time.monotonic() < end, "the pages did not come up"
            time.sleep(0.2)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as page:
                return page.status == 200
        except OSError:
            return False

    def family(self) -> dict[int, str]:
        """All processes of this server that are alive, with their command lines: those given its port."""
        found = {}
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().decode(errors="ignore").split("\0")
            except OSError:
                continue
            if "--port" in words and str(self.port) in words:
                found[int(path.parent.name)] = " ".join(words)
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> tuple[Path, list[str]]:
    """A folder with a tiny sweep in `elsewhere`, and the links that it printed."""
    folder = tmp_path_factory.mktemp("pages")
    words = "--dataset latch --length 8 --models gru,mlp --budget smoke --trials 2 --confirm-seeds 2 --name demo"
    command = [sys.executable, "-m", "bench", "sweep", *words.split(), "--results", "elsewhere"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "INFO mlflow" not in done.stdout + done.stderr
    links = re.findall(r"http://127\.0\.0\.1:5000/\S+", done.stdout)
    assert 1 <= len(links) <= 3
    return folder, links


@pytest.fixture(scope="module")
def server(swept):
    server = Server(swept[0], "elsewhere")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium here; on Debian: apt-get install --no-install-recommends chromium fonts-dejavu-core")
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra `test` brings playwright")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, server, tmp_path):
    """Open a printed link as someone who has been on MLflow's pages before and closed the assistant."""
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    context.set_default_timeout(30_000)
    context.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
    pages = []

    def open_link(link: str):
        page = context.new_page()
        pages.append(page)
        page.goto(link.replace(":5000", f":{server.port}"))
        return page

    yield open_link
    for number, page in enumerate(pages):
        page.screenshot(path=tmp_path / f"page{number}.png")
    context.close()


def row(page, name: str):
    return page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))


def chosen_trial(folder: Path, model: str) -> str:
    with (folder / "elsewhere" / "sweeps" / "demo" / "leaderboard.csv").open(newline="") as file:
        (found,) = (line["config_file"] for line in csv.DictReader(file) if line["model"] == model)
    return Path(found).parent.name.removesuffix("-test")


def link_with(links: list[str], words: str) -> str:
    return next(link for link in links if words in link)


def test_runs_nest(visit, swept):
    page = visit(link_with(swept[1], "compareRunsMode=TABLE"))
    row(page, "demo").wait_for()
    for column in ("device_seconds", "num_trials"):
        page.get_by_role("columnheader", name=column).first.wait_for()
    sweep = row(page, "demo").get_attribute("row-id")  # the columns that scroll are a row of their own
    page.locator(f"[row-id='{sweep}'] [col-id='metrics.`device_seconds`']").filter(
        has_text=re.compile(r"\d")
    ).wait_for()
    assert row(page, "gru L8").count() == 0
    row(page, "demo").get_by_role("button").first.click()
    for model in MODELS:
        row(page, f"{model} L8").wait_for()
    row(page, "gru L8").get_by_role("button").first.click()
    chosen = chosen_trial(swept[0], "gru")
    for name in ("t0", "t1"):
        row(page, f"{name} gru L8").wait_for()
    assert row(page, f"{chosen}-s0 gru L8").count() == 0
    row(page, f"{chosen} gru L8").get_by_role("button").first.click()
    for seed in range(2):
        row(page, f"{chosen}-s{seed} gru L8").wait_for()
    assert row(page, "t0 mlp L8").count() == 0
    run = row(page, f"{chosen}-s0 gru L8").get_attribute("row-id")
    score = page.locator(f"[row-id='{run}'] [col-id='metrics.`score`']")
    score.filter(has_text=re.compile(r"\d")).wait_for()
    row(page, "demo").get_by_text("demo", exact=True).click()
    page.get_by_text("python -m bench sweep --dataset latch").wait_for()  # the run's description


def test_charts_show_models_side_by_side(visit, swept):
    page = visit(link_with(swept[1], "-charts"))
    for model in MODELS:
        row(page, f"{model} L8").wait_for()
    page.get_by_text("Test accuracy, higher is better").first.wait_for()
    for title in ("95 percent interval", "score", "solved_share"):
        page.get_by_text(title, exact=True).first.wait_for()
    # Bars carry their models in the legend, each in a colour of its own.
    page.locator(".js-plotly-plot .bars .point").first.wait_for()
    plot = page.locator(".js-plotly-plot").filter(has=page.locator(".bars")).first
    assert plot.locator(".bars .point").count() == len(MODELS)
    colours = plot.locator(".bars .point path").evaluate_all("bars => bars.map(bar => getComputedStyle(bar).fill)")
    assert len(set(colours)) == len(MODELS)
    # And it is the training part of MLflow, which has runs.
    assert page.get_by_text("Judges", exact=True).count() == 0


def test_trials_are_drawn_with_their_settings(visit, swept):
    page = visit(link_with(swept[1], "-trials"))
    row(page, "t0 gru L8").wait_for()
    page.get_by_text("Trials: settings and validation accuracy").first.wait_for()
    for axis in ("model", "val_screening"):
        page.locator(".parcoords").get_by_text(axis, exact=True).first.wait_for()
    assert row(page, "gru L8").count() == 0


def test_compare_page_is_two_clicks_away(visit, swept):
    page = visit(link_with(swept[1], "-charts"))
    row(page, "gru L8").wait_for()
    page.locator(".ag-header input[type=checkbox]").first.click()
    page.get_by_role("button", name="Compare").or_(page.get_by_role("link", name="Compare")).first.click()
    page.get_by_text("Comparing 2 Runs from 1 Experiment").wait_for()
    for model in MODELS:
        page.get_by_text(f"{model} L8", exact=True).first.wait_for()
    # Parallel coordinates begin with the score.
    page.locator(".js-plotly-plot").first.wait_for()
    assert "score" in page.locator(".js-plotly-plot").first.inner_text()


def test_a_filter_of_the_last_visit_does_not_hide_the_sweep(visit, swept):
    other = link_with(swept[1], "compareRunsMode=TABLE").split("&")[0]
    page = visit(f"{other}&searchFilter=tags.none%20%3D%20%27x%27")
    page.get_by_text("0 matching runs").wait_for()
    row(visit(link_with(swept[1], "compareRunsMode=TABLE")), "demo").wait_for()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ui_leaves_nothing_behind(swept, number):
    server = Server(swept[0], "elsewhere")
    assert len(server.family()) >= 2  # MLflow's server is two processes below ours
    code = server.stop(number)
    end = time.monotonic() + 15
    while server.family() and time.monotonic() < end:
        time.sleep(0.1)
    left = server.family()
    for process in left:
        os.kill(process, signal.SIGKILL)
    assert not left
    assert code == 128 + number
