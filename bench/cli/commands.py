"""The command line. Heavy modules are imported inside the commands: `--help` needs none of them."""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import DATA_DIR, JSON, RESULTS, SettingsCommand, UsablePath
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.sweep.coordinator import Outcome
    from bench.sweep.prepare import Plan

LISTS = ("models", "datasets", "budgets", "metrics", "prices", "sweeps")
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
SPEED = ("datasets", "lengths", "models", "match", "gpus", "precision", "results")


class _Group(click.Group):
    """Turns errors a user can mend into one line, and Ctrl-C into exit code 130."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BenchError as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"bench: {error}", err=True)
            ctx.exit(error.exit_code)
        except click.UsageError as error:
            click.echo(f"bench: {error.format_message()}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(128 + signal.SIGINT)
        except BrokenPipeError:
            # The reader, `head` say, has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            os._exit(128 + signal.SIGHUP)  # the terminal was closed

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from bench.errors import UnknownNameError

        if args and not args[0].startswith("-") and args[0] not in self.commands:
            error = UnknownNameError("command", args[0], self.commands)
            click.echo(f"bench: {error}", err=True)
            ctx.exit(error.exit_code)
        return super().resolve_command(ctx, args)


def _note(line: str) -> None:
    click.echo(f"bench: {line}", err=True)


@click.group(cls=_Group, context_settings=CONTEXT)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="sequence-model-bench", prog_name="bench")
def main(debug: bool) -> None:
    """Which sequence model should I use for my data, at this length, under this budget?

    Start with `python -m bench sweep`.
    """


@main.command(cls=SettingsCommand)
@click.argument("file", required=False, type=UsablePath())
@DATA_DIR
@JSON
def sweep(file: Path | None, as_json: bool, **options: Any) -> None:
    """Tune, train, confirm and rank models; go on with a sweep that was stopped.

    FILE is a sweep file (TOML) with the same keys as the options: datasets, lengths, models, budget, and so on.
    """
    from bench.cli.screen import Screen

    screen = Screen()
    screen.say("bench: reading search spaces and datasets")
    from bench.config.sweep_settings import SweepConfig
    from bench.sweep import coordinator as sweeps
    from bench.sweep import prepare as plans

    plan = plans.make(SweepConfig.build(file, options))
    screen.say(_plan_line(plan))
    for line in plans.remarks(plan):
        screen.say(line)
    _save_card(plan, screen.say)
    with screen:
        outcome = sweeps.run(plan, screen)
    _show_end(plan, outcome, as_json)
    sweeps.leave(outcome.exit_code)


def _save_card(plan: "Plan", say: Callable[[str], None]) -> None:
    from bench.data import own_data

    if plan.own is not None and plan.config.save_card:
        say(own_data.save(plan.own))


def _plan_line(plan: "Plan") -> str:
    from bench.wording import count

    budget = plan.budget
    search = count(budget.trials, "trial")
    if budget.confirm_seeds:
        best = "the best and the default" if budget.top_k == 1 else f"the best {budget.top_k} and the default"
        search += f", then {count(budget.confirm_seeds, 'fresh seed')} for {best}"
    where = f"{len(plan.slots)} at a time on {plan.device}"
    sequences = f"{budget.max_sequences:,} training sequences a run at most"
    return (
        f"sweep {plan.name}: {count(len(plan.cells), 'cell')} x ({search}) = at most {count(plan.num_runs, 'run')}, "
        f"{where}; {sequences}; {plan.folder}"
    )


def _show_end(plan: "Plan", outcome: "Outcome", as_json: bool) -> None:
    from bench.errors import StoreError
    from bench.results import answers, leaderboard, tables

    results, name = plan.config.results, plan.name
    if outcome.exit_code >= 128:
        click.echo(f"interrupted; the same command goes on with sweep {name}", err=True)
        return
    try:
        board = leaderboard.build(plan.folder)
    except StoreError as error:
        click.echo(f"bench: {error}", err=True)
        return
    tables.write_csv(board, plan.folder / "leaderboard.csv")
    if as_json:
        click.echo(board.to_json(orient="records"))
        return
    from bench.cli.screen import print_tables

    print_tables(tables.for_people(board), list(tables.SHOWN.values()))
    click.echo()
    for line in answers.lines(board):
        click.echo(f"* {line}")
    if plan.config.budget == "smoke":
        click.echo("(budget smoke: shows that it runs, and says nothing about models)")
    if outcome.ended_by:
        click.echo(f"(ended early: {outcome.ended_by})")
    click.echo(f"\nleaderboard  {plan.folder / 'leaderboard.csv'}")
    if not outcome.tracked:
        click.echo(f"MLflow       not all runs were written; see {plan.folder / 'mlflow.log'}, then: bench sync {name}")
    from bench.tracking.pages import links

    here = "" if results == Path("results") else f" --results {results}"
    for title, link in links(plan.folder, outcome.experiments):
        click.echo(f"MLflow       {link}\n             {title}")
    click.echo(f"next         python -m bench report{here}   (one page with all of it)")
    click.echo(f"             python -m bench ui{here}   (serves the pages above)")
    click.echo(f"             python -m bench export {name}{_of_one(plan)}{here} --out best   (the winner, to be used)")


def _of_one(plan: "Plan") -> str:
    """Return the options that name one winner, the first, where a sweep has several."""
    first = plan.cells[0]
    several = {(cell.dataset.name, cell.length) for cell in plan.cells} != {(first.dataset.name, first.length)}
    return f" --dataset {first.dataset.name} --length {first.length}" if several else ""


@main.command(cls=SettingsCommand)
@click.argument("file", required=False, type=UsablePath())
@DATA_DIR
@JSON
@click.option("--frontier", is_flag=True, help="Find the longest trainable length of each model instead.")
@click.option("--memory-gb", type=float, help="Of one run, for what fits and for --frontier; default: what is free.")
def plan(file: Path | None, as_json: bool, frontier: bool, memory_gb: float | None, **options: Any) -> None:
    """Predict what a sweep will take before anything is spent; takes the arguments of `sweep`.

    Trains a few steps of every cell and predicts time, memory, money and disk; what cannot fit is marked. The report
    later prints the prediction beside what it was.
    """
    from bench.cli.screen import Screen, print_tables

    screen = Screen()
    screen.say("bench: reading search spaces and datasets")
    from bench.config.sweep_settings import SweepConfig
    from bench.sweep import estimate
    from bench.sweep import frontier as frontiers
    from bench.sweep import prepare as plans

    made = plans.make(SweepConfig.build(file, options))
    screen.say(_plan_line(made))
    for line in plans.remarks(made):
        screen.say(line)
    _save_card(made, screen.say)
    found = (frontiers.make if frontier else estimate.make)(made, memory_gb, screen.say)
    if as_json:
        click.echo(found.model_dump_json(indent=1))
        return
    print_tables({found.title: found.table()}, list(found.SHOWN))
    click.echo()
    for line in found.sentences():
        click.echo(f"* {line}")


@main.command(cls=SettingsCommand, only=SPEED)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Sequences a batch.")
@JSON
def speed(
    files: tuple[Path, ...],
    batch_size: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure speed by length: where does attention become slower than an LSTM on this machine?

    Training step, batch inference, one sequence, one step of a stream, and memory, one run at a time. With FILES, shows
    speed.csv of earlier calls instead; rows of different hardware are not compared by time.
    """
    from bench.cli.screen import Screen, print_tables
    from bench.config.sweep_settings import SweepConfig
    from bench.report import speed_charts
    from bench.sweep import speed as speeds

    screen = Screen()
    if files:
        frame = speeds.read(files)
    else:
        screen.say("bench: measuring one run at a time; nothing else should run on this machine")
        options["datasets"] = options["datasets"] or ["adding"]
        options["lengths"] = options["lengths"] or speeds.LENGTHS
        frame, folder = speeds.measure(SweepConfig.build(None, options), batch_size, screen.say)
        for path in speed_charts.write(frame, folder):
            screen.say(str(path))
    if as_json:
        click.echo(frame.to_json(orient="records"))
        return
    headings = ["model", *(f"{steps} steps" for steps in sorted(frame["steps"].unique()))]
    print_tables(speed_charts.tables(frame), headings)
    click.echo()
    for sentence in speed_charts.sentences(frame):
        click.echo(f"* {sentence}")


@main.command()
@click.argument("sweeps", nargs=-1)
@RESULTS
@click.option("--quality", type=float, help="Validation score for `cost to reach`; default: the task's threshold.")
def report(sweeps: tuple[str, ...], results: Path, quality: float | None) -> None:
    """Write the report of the latest sweep, or of those named: one HTML file that needs no network."""
    from bench.report import report as reports
    from bench.results import sweeps as stored
    from bench.tracking import models

    for folder in stored.find(results, sweeps, _note):
        path = reports.write(folder, quality)
        click.echo(path)
        problem = models.log_report(results, folder, path)
        if problem:
            click.echo(f"bench: the report is written, but not logged to MLflow: {problem}", err=True)


@main.command()
@click.argument("sweep", required=False)
@click.option("--dataset", metavar="NAME", help="Whose winner; default: the sweep's only one.")
@click.option("--length", type=click.IntRange(1), help="Likewise.")
@click.option("--model", metavar="NAME", help="Export the best run of this one; default: the best on validation.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new folder.")
@RESULTS
def export(
    sweep: str | None, dataset: str | None, length: int | None, model: str | None, out: Path, results: Path
) -> None:
    """Write the winner of SWEEP, or of the latest, as a folder that needs no sweep, and register it in MLflow.

    Weights (safetensors), config, preprocessing, an MLflow model and ONNX, each checked to give the answers of the
    training code. `bench predict` answers new files with it.
    """
    from bench.export import winner
    from bench.results import sweeps

    (folder,) = sweeps.find(results, [sweep] if sweep else [], _note)
    click.echo("bench: loading torch and MLflow", err=True)
    for line in winner.export(folder, results, dataset, length, model, out):
        click.echo(line)
    click.echo(f"{out}: python -m bench predict {out} FILE --out predictions.csv", err=True)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A CSV file; default: standard output.")
@click.option("--num-tokens", type=click.IntRange(1), default=200, show_default=True, help="Language models: how many.")
@click.option("--temperature", type=click.FloatRange(0), default=0.8, show_default=True, help="Likewise; 0: likeliest.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Likewise, of the draws.")
def predict(folder: Path, file: Path, out: Path | None, num_tokens: int, temperature: float, seed: int) -> None:
    """Answer a new FILE with an exported model in FOLDER.

    Forecasts go on from the last rows of a table, with their times; classes come with probabilities, numbers in the
    unit of the target, labels for each step, and texts that go on from prompts (a line each, or column `prompt`).
    """
    from bench.errors import DeclarationError
    from bench.export import winner

    if out is not None and not out.absolute().parent.is_dir():
        raise DeclarationError(f"--out {out}: {out.absolute().parent} is not a directory")
    found = winner.Winner.load(folder).predict(file, num_tokens, temperature, seed)
    for remark in found.attrs.get("remarks", []):
        click.echo(remark if remark.startswith(file.name) else f"{file.name}: {remark}", err=True)
    text = found.to_csv(index=False, lineterminator="\n")
    if out is None:
        click.echo(text, nl=False)
        return
    out.write_text(text, encoding="utf-8")
    click.echo(f"wrote {out}: {len(found):,} rows, columns {', '.join(map(str, found.columns[:8]))}", err=True)


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as JSON.")
def run(config: Path, as_json: bool) -> None:
    """Carry out one run again from its CONFIG.json and print what came out; nothing is stored."""
    from bench.config.settings import RunConfig

    settings = RunConfig.read(config)
    click.echo(f"bench: {settings.run}, seed {settings.seed}; loading torch", err=True)
    from bench.results import scores
    from bench.training import ledger, train

    ledger.prepare_process(settings.threads)
    # A test run finds the weights beside its own folder; all others leave nothing there.
    record = train.run(settings, folder=config.absolute().parent if settings.phase == "test" else None)
    if as_json:
        click.echo(record.model_dump_json(indent=1))
    else:
        for key, text in {"state": record.state, "cause": record.cause, "message": record.message}.items():
            if text:
                click.echo(f"{key:12} {text}")
        facts = {"validation": record.val, "speed": record.speed, "baselines": record.baselines}
        facts |= {f"test {Path(run_id).name}": test for run_id, test in record.tests.items()}
        for key, value in facts.items():
            if value:
                click.echo(f"{key:12} " + ", ".join(f"{name} {number:.4g}" for name, number in value.items()))
        if record.tests and settings.phase == "test":
            click.echo(f"{'score':12} {scores.of_test_run(record, config.absolute().parent)}")
        if record.solved is not None:
            click.echo(f"{'solved':12} {record.sequences_to_solve or 'not'} (sequences)")
        click.echo(f"{'seconds':12} {record.seconds.total:.1f}")
    if record.state == "failed":
        sys.exit(3)


@main.command()
@click.argument("sweeps", nargs=-1)
@RESULTS
@click.option("--csv", type=click.Path(path_type=Path, dir_okay=False), help="Write all columns to this file.")
@click.option("--markdown", is_flag=True, help="Print as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print all columns as JSON.")
def leaderboard(sweeps: tuple[str, ...], results: Path, csv: Path | None, markdown: bool, as_json: bool) -> None:
    """Show the leaderboard of the latest sweep, or of the SWEEPS named; also while one runs."""
    import pandas as pd

    from bench.cli.screen import print_tables
    from bench.errors import DeclarationError
    from bench.results import answers, tables
    from bench.results import leaderboard as rows
    from bench.results import sweeps as stored

    folders = stored.find(results, sweeps, _note)
    boards = [rows.build(folder) for folder in folders]
    if csv is not None:
        if not csv.absolute().parent.is_dir():
            raise DeclarationError(f"--csv {csv}: {csv.absolute().parent} is not a directory")
        tables.write_csv(pd.concat(boards), csv)
        click.echo(f"wrote {csv}: {sum(map(len, boards))} rows, {len(rows.COLUMNS)} columns", err=True)
    if as_json:
        click.echo(pd.concat(boards).to_json(orient="records"))
        return
    for folder, board in zip(folders, boards, strict=True):
        if markdown:
            click.echo(f"## {folder.name}\n\n{tables.to_markdown(board)}")
        elif csv is None:
            click.echo(f"sweep {folder.name}")
            print_tables(tables.for_people(board), list(tables.SHOWN.values()))
            click.echo()
            for line in answers.lines(board):
                click.echo(f"* {line}")


@main.command()
@click.argument("names", nargs=-1, required=True)
@click.option(
    "--datasets", "dataset_cards", type=click.Path(path_type=Path), help="Folder of cards before the shipped."
)
def fetch(names: tuple[str, ...], dataset_cards: Path | None) -> None:
    """Download the files of datasets, go on where a download was cut off, and check their hashes.

    Into the cache (BENCH_CACHE_DIR); files in a folder of BENCH_DATA_DIR are used where they lie.
    """
    from bench.cli.screen import Screen
    from bench.config import datasets
    from bench.data import fetch as fetching
    from bench.wording import count

    for card in [datasets.read(name, dataset_cards) for name in names]:
        files = fetching.wanted(card, dataset_cards)
        if not files:
            click.echo(f"{card.name}: nothing to fetch; it is {card.licence} or comes with the bench")
            continue
        with Screen().download(card.name, sum(file.size_bytes for file in files)) as told:
            paths = [fetching.fetch(file, told) for file in files]
        click.echo(f"{card.name}: {count(len(paths), 'file')} here, checked; licence: {card.licence}")


@main.command("list")
@click.argument("kind", required=False, type=click.Choice(LISTS))
@RESULTS
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_(kind: str | None, results: Path, as_json: bool) -> None:
    """List models, datasets, budgets, metrics, prices and sweeps."""
    from bench.config import datasets, plugins, prices, search_spaces
    from bench.config.budgets import BUDGETS
    from bench.data import fetch as fetching

    listing: dict[str, list[dict[str, Any]]] = {}
    if kind in (None, "models"):
        spaces = [search_spaces.read(name) for name in sorted(plugins.declarations("search_spaces"))]
        listing["models"] = [
            {"name": space.name, "title": space.title, "tuned": ", ".join(space.tuned)} for space in spaces
        ]
    if kind in (None, "datasets"):
        cards = [datasets.read(name) for name in sorted(plugins.declarations("datasets"))]
        listing["datasets"] = [
            {
                "name": card.name,
                "title": card.title,
                "kind": card.kind,
                "lengths": " ".join(map(str, card.lengths)),
                "task": card.task,
                "size": f"{sum(file.size_bytes for file in card.files) / 1e6:.1f} MB" if card.files else "",
                "here": "yes" if fetching.is_here(card) else "no: bench fetch",
                "licence": card.licence,
            }
            for card in cards
        ]
    if kind in (None, "budgets"):
        listing["budgets"] = [
            {"name": name, "title": budget.title}
            | {key: str(getattr(budget, key)) for key in ("trials", "confirm_seeds", "max_sequences")}
            for name, budget in BUDGETS.items()
        ]
    if kind in (None, "metrics"):
        from bench.results.metrics import METRICS

        listing["metrics"] = [
            {"name": name, "unit": metric.unit, "goal": metric.goal, "title": metric.title}
            for name, metric in METRICS.items()
        ]
    if kind in (None, "prices"):
        listing["prices"] = [
            {
                "name": name,
                "USD/h": f"{price.usd_per_hour:g}",
                "hardware": price.hardware,
                "region": price.region,
                "read": str(price.read),
            }
            | ({"source": price.source, "note": price.note} if as_json else {})  # too long for a table
            for name, price in prices.read().items()
        ]
    if kind in (None, "sweeps"):
        folders = sorted((results / "sweeps").glob("*/sweep.json"))
        listing["sweeps"] = [
            {"name": path.parent.name, "command": json.loads(path.read_text())["command"]} for path in folders
        ]
    if as_json:
        click.echo(json.dumps(listing if kind is None else listing[kind]))
        return
    from bench.cli.screen import print_tables

    for title, entries in listing.items():
        if entries:
            title = "prices, each with the day it was read; its source: --json" if title == "prices" else title
            print_tables({title: [list(entry.values()) for entry in entries]}, list(entries[0]))


@main.command()
@click.argument("models", nargs=-1)
@click.option("--search-spaces", type=click.Path(path_type=Path), help="Folder that goes before the shipped one.")
@click.option("--datasets", "dataset_cards", type=click.Path(path_type=Path), help="Likewise, of cards.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def check(models: tuple[str, ...], search_spaces: Path | None, dataset_cards: Path | None, as_json: bool) -> None:
    """Check every search space and dataset card, and what this machine has; trains nothing.

    With MODELS (./my_model.py, or names), checks instead that these keep every promise of a model.
    """
    if models:
        sys.exit(_check_models(models, search_spaces, as_json))
    from importlib.metadata import version

    from bench.config import datasets, plugins
    from bench.config import search_spaces as spaces
    from bench.sweep.engines.machine import usable_cores, visible_gpus

    problems: list[str] = []
    counts = {"search_spaces": 0, "datasets": 0}

    def attempt(kind: str, act: Callable[[], Any]) -> None:
        try:
            act()
            counts[kind] += 1
        except BenchError as error:
            problems.append(str(error))

    for name in plugins.declarations("search_spaces", search_spaces):
        attempt("search_spaces", lambda name=name: spaces.read(name, search_spaces).distributions())  # type: ignore[misc]
    for name in plugins.declarations("datasets", dataset_cards):
        attempt("datasets", lambda name=name: _check_card(datasets.read(name, dataset_cards)))  # type: ignore[misc]
    packages = ("torch", "pytorch-lightning", "optuna", "mlflow")
    machine = {"python": sys.version.split()[0], **{name: version(name) for name in packages}}
    machine |= {"cores": str(usable_cores()), "gpus": str(len(visible_gpus()))}
    if as_json:
        click.echo(json.dumps({"ok": counts, "problems": problems, "machine": machine}))
    else:
        for key, value in machine.items():
            click.echo(f"{key:20} {value}")
        for kind, count in counts.items():
            click.echo(f"{kind:20} {count} in order")
        for problem in problems:
            click.echo(f"bench: {problem}", err=True)
    sys.exit(2 if problems else 0)


def _check_models(names: tuple[str, ...], folder: Path | None, as_json: bool) -> int:
    """Hold models to the contract, a line for each promise; return the exit code."""
    from bench.config import search_spaces as spaces

    read = [spaces.read(name, folder) for name in names]
    click.echo("bench: loading torch", err=True)
    from bench.training import ledger, model_checks

    ledger.prepare_process(threads=1)  # on what is this small, more threads only wait for each other
    rows = []
    for space in read:
        for promise, problem in model_checks.problems(space):
            rows.append({"model": space.model, "promise": promise, "problem": problem})
            if not as_json:
                click.echo(f"{space.name}: {promise}: {'ok' if problem is None else f'FAILED: {problem}'}")
    broken = sum(row["problem"] is not None for row in rows)
    if as_json:
        click.echo(json.dumps(rows))
    elif broken:
        click.echo(f"bench: {broken} of {len(rows)} promises are broken; what each asks: bench/contracts.py", err=True)
    else:
        click.echo(f"next         python -m bench sweep --models {','.join(dict.fromkeys(['lstm', *names]))}")
    return 2 if broken else 0


def _check_card(card: Any) -> None:
    from bench.errors import DataMissingError

    for length in card.lengths:
        try:
            card.at(length)
        except DataMissingError:  # nothing is wrong with the card
            return


@main.command()
@RESULTS
@click.option("--port", type=int, default=5000, show_default=True)
def ui(results: Path, port: int) -> None:
    """Serve MLflow's pages on this machine, at 127.0.0.1; Ctrl-C ends it."""
    from bench.tracking import pages

    pages.check(results)
    click.echo(f"http://127.0.0.1:{port}/?workflowType=machine_learning   (some seconds to start; Ctrl-C ends it)")
    sys.exit(pages.serve(results, port))


@main.command()
@click.argument("sweeps", nargs=-1)
@RESULTS
def sync(sweeps: tuple[str, ...], results: Path) -> None:
    """Write the records of SWEEPS into MLflow again; nothing is written twice.

    By default, these are the latest sweep and all that MLflow may not hold completely. A damaged mlflow.db is renamed
    and made again.
    """
    from bench.errors import SweepLockedError
    from bench.sweep import coordinator
    from bench.tracking import projection

    for folder in projection.to_sync(results, sweeps, _note):
        try:
            count = coordinator.sync(folder, results, _note)
        except SweepLockedError as error:  # its coordinator writes it
            if sweeps:
                raise
            _note(str(error))
            continue
        click.echo(f"{folder.name}: {count} runs are in MLflow")
