"""The commands that take the settings of a sweep: sweep, plan and speed."""

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import DATA_DIR, JSON, Number, SectionOption, SettingsCommand, UsablePath, wait
from bench.config.bounds import Between

if TYPE_CHECKING:
    from bench.cli.screen import Screen
    from bench.config.sweep_settings import SweepConfig
    from bench.sweeps.prepare import Plan
    from bench.sweeps.status import Outcome

FILE = click.argument("file", required=False, type=UsablePath())
SPEED = ("models", "search_spaces", "match", "gpus", "precision", "results")
"""The settings that `speed` takes besides those of the data."""

SWEEP_EXAMPLES = """\b
Examples:
  python -m bench sweep --data load.csv --target load --horizon 24
  python -m bench sweep --dataset adding --length 50,100 --models lstm,gru
  python -m bench sweep --budget standard --wall-time 8h
"""


@click.command(cls=SettingsCommand, epilog=SWEEP_EXAMPLES)
@FILE
@DATA_DIR
@JSON
def sweep(file: Path | None, as_json: bool, **options: Any) -> None:
    """Tune, train, confirm and rank models.

    Without arguments, a small default sweep compares the built-in models. Give your own file with --data, or choose
    datasets with --dataset. Run the same command again to resume a sweep that was stopped.

    A cell is one model on one dataset at one length. A sweep tries several configurations of each cell, and confirms
    the best ones on fresh seeds.

    FILE is a sweep file (TOML). Its keys are the names of the options with underscores, such as max_run_seconds = 60.
    Two keys have the plural name: datasets = ["adding"] and lengths = [25, 50]. Options override the file. On the
    command line, separate the entries of a list by commas, or repeat the option.
    """
    from bench.cli.screen import Screen

    screen = Screen()
    plan = _prepare(file, options, screen)
    from bench.sweeps import coordinator, timed
    from bench.sweeps.stop import leave

    with screen:
        outcome = coordinator.run(plan, screen, began=time.monotonic() - timed.process_seconds())
    findings: list[str] = []
    if plan.config.diagnose and not outcome.exit_code:
        wait("loading torch")
        from bench.export.diagnose import of_winners

        findings = of_winners(plan.config.results, plan.folder)
    _show_end(plan, outcome, as_json, findings)
    leave(outcome.exit_code)


@click.command(cls=SettingsCommand)
@FILE
@DATA_DIR
@JSON
@click.option("--frontier", is_flag=True, help="Find the longest length that each model can be trained at.",
              cls=SectionOption, section="Models and search")  # fmt: skip
@click.option("--memory-gb", type=Number(Between(1e-6, 1e6, "in units of 2^30 bytes"), whole=False),
              help="Memory that one run may use, in units of 2^30 bytes.  [default: the free memory]",
              cls=SectionOption, section="Machine")  # fmt: skip
def plan(file: Path | None, as_json: bool, frontier: bool, memory_gb: float | None, **options: Any) -> None:
    """Predict the time, memory and cost of a sweep before you run it.

    The command takes the same arguments as `sweep`. It trains a few steps of every cell (one model on one dataset at
    one length), predicts time, memory, cost and disk space, and marks the cells that do not fit. The report of the
    sweep later compares the prediction with the actual values.
    """
    from bench.cli.screen import Screen, print_answers, print_tables

    screen = Screen()
    prepared = _prepare(file, options, screen)
    from bench.sweeps import estimate
    from bench.sweeps import frontier as frontiers

    prediction = (frontiers.make if frontier else estimate.make)(prepared, memory_gb, screen.say)
    if as_json:
        click.echo(prediction.model_dump_json(indent=1))
        return
    print_tables({prediction.title: prediction.table()}, list(prediction.SHOWN))
    print_answers(prediction.sentences())


SPEED_EXAMPLES = """\b
Examples:
  python -m bench speed --models transformer,lstm
  python -m bench speed --data load.csv --target load --length 96,192
"""


@click.command(cls=SettingsCommand, only=SPEED, sections=("Your data",), epilog=SPEED_EXAMPLES)
@click.argument("files", nargs=-1, type=UsablePath())
@click.option("--batch-size", type=Number(Between(1, 1_000_000, "sequences of one batch")), default=32,
              help="Sequences in a batch.", show_default=True,
              cls=SectionOption, section="Models and search")  # fmt: skip
@DATA_DIR
@JSON
def speed(files: tuple[Path, ...], batch_size: int, as_json: bool, **options: Any) -> None:
    """Measure the speed of models by sequence length.

    The answer shows, for example, at which length attention becomes slower than an LSTM on this machine. The command
    measures a training step, inference by batch size and of one sequence, one step of a stream, and memory. It carries
    out one run at a time; run nothing else on the machine until it ends. Times that other processes disturbed are
    marked. By default, it uses the dataset adding at lengths from 32 to 1024. Use your own file with --data; without
    --length, the lengths then follow from the file.

    FILES are speed.csv files of earlier calls. They are then shown together, and nothing is measured. Files from
    different hardware cannot be compared.
    """
    from bench.cli.screen import Screen, print_answers, print_tables
    from bench.config.sweep_settings import SweepConfig
    from bench.errors import DeclarationError

    if options["data"] and files:
        raise DeclarationError("give speed.csv files to show them, or --data to measure, not both")
    if not options["data"]:
        options["datasets"] = options["datasets"] or ["adding"]
    config = SweepConfig.build(None, options)  # before the slow imports
    from bench.report import speed_charts
    from bench.sweeps import speed as speeds

    screen = Screen()
    if files:
        frame = speeds.read(files)
    else:
        config, remarks = speeds.with_lengths(config)
        for remark in remarks:
            screen.say(remark)
        screen.say("bench: measuring one run at a time; nothing else should run on this machine")
        frame, folder = speeds.measure(config, batch_size, screen.say)
        for path in speed_charts.write(frame, folder):
            screen.say(str(path))
    if as_json:
        click.echo(frame.to_json(orient="records"))
        return
    headings = ["model", *(f"{steps} steps" for steps in sorted(frame["steps"].unique()))]
    print_tables(speed_charts.tables(frame), headings)
    print_tables(
        speed_charts.batch_tables(frame), ["model", *(f"{size:,}" for size in speed_charts.batch_columns(frame))]
    )
    print_answers([*speed_charts.sentences(frame), *speed_charts.remarks(frame)])


def _prepare(file: Path | None, options: dict[str, Any], screen: "Screen") -> "Plan":
    """Check what a sweep will do, and show it."""
    from bench.config.sweep_settings import SweepConfig

    config = SweepConfig.build(file, options)
    wait("reading search spaces and datasets")
    return checked_plan(config, screen.say)


def checked_plan(config: "SweepConfig", say: Callable[[str], None]) -> "Plan":
    """Return what a sweep will do; `say` gets lines about it. Raises BenchError."""
    from bench.data import own_data
    from bench.sweeps import prepare

    plan = prepare.make(config)
    say(_plan_line(plan))
    for line in (*_work_lines(plan), *prepare.remarks(plan)):
        say(line)
    if plan.own is not None and config.save_card:
        say(own_data.save(plan.own))
    return plan


def _plan_line(plan: "Plan") -> str:
    from bench.wording import count, duration

    budget, threads = plan.budget, count(plan.config.threads, "thread")
    where = f"{len(plan.slots)} at a time on {plan.device}, {threads} each; results in {plan.folder}"
    if plan.seconds is not None:
        return f"sweep {plan.name}: {count(len(plan.cells), 'cell')} in {duration(plan.seconds)}; runs {where}"
    search = count(budget.trials, "trial")
    if budget.confirm_seeds:
        best = "the best and the default" if budget.top_k == 1 else f"the best {budget.top_k} and the default"
        search += f", then {count(budget.confirm_seeds, 'fresh seed')} for {best}"
    runs = count(plan.num_runs or 0, "run")
    return f"sweep {plan.name}: {count(len(plan.cells), 'cell')} x ({search}) = at most {runs}, {where}"


def _work_lines(plan: "Plan") -> list[str]:
    """Return what a run trains on at each dataset and length."""
    from bench.config.budgets import passes

    lines = {}
    for cell in plan.cells:
        settings = plan.settings(cell)
        number = passes(cell.task, settings)
        of = (
            f"{settings.max_sequences:,} sequences" if number is None else f"{number:.3g} passes over the training data"
        )
        lines[cell.dataset.name, cell.length] = (
            f"{cell.dataset.name} at {cell.length}: a run makes at most {settings.max_steps:,} steps of "
            f"{settings.batch_size} sequences, {of}, with {settings.num_epochs} validations"
        )
    return list(lines.values())


def _show_end(plan: "Plan", outcome: "Outcome", as_json: bool, findings: list[str]) -> None:
    """Print the leaderboard of a sweep that ended, what to know about it, its diagnosis, and the next commands."""
    from bench.cli.screen import print_answers, print_board
    from bench.errors import StoreError
    from bench.results import decisions, leaderboard, tables
    from bench.results.record import all_records

    if outcome.exit_code >= 128:
        click.echo(f"interrupted; run the same command to resume sweep {plan.name}", err=True)
        return
    try:
        records = all_records(plan.folder)
        board = leaderboard.build(plan.folder, records)
    except StoreError as error:
        click.echo(f"bench: {error}", err=True)
        return
    tables.write_csv(board, plan.folder / "leaderboard.csv")
    if as_json:
        click.echo(board.to_json(orient="records"))
        return
    print_board(board)
    card = decisions.lines(decisions.questions_of(plan.folder, records, plan.budget.top_k))
    if card:
        print_answers(card)
    for line in findings:
        click.echo(line)
    if plan.config.budget == "smoke":
        click.echo("(budget smoke only shows that everything runs; it does not compare models)")
    if outcome.ended_by:
        click.echo(f"(ended early: {outcome.ended_by})")
    for title, line in _next_steps(plan, outcome):
        click.echo(f"{title:12} {line}")


def _next_steps(plan: "Plan", outcome: "Outcome") -> list[tuple[str, str]]:
    """Return where the results are and which commands come next, each with its title."""
    from bench.tracking.pages import links

    results, name = plan.config.results, shlex.quote(plan.name)
    where = "" if results == Path("results") else f" --results {shlex.quote(str(results))}"
    steps = [("", ""), ("leaderboard", str(plan.folder / "leaderboard.csv"))]
    if not outcome.tracked:
        log = plan.folder / "mlflow.log"
        why = f"are missing, see {log}; then" if log.exists() else "were not written before the end;"
        steps.append(("MLflow", f"some runs {why} run: python -m bench sync {name}{where}"))
    pages = links(plan.folder, outcome.experiments)
    if len(outcome.experiments) > 1:
        pages = [(title, link) for title, link in pages if link.endswith("-charts")]
    for title, link in pages:
        steps += [("MLflow", link), ("", title)]
    if len(outcome.experiments) > 1:
        steps.append(("", "(with -trials instead of -charts at the end of a link: trials and their settings)"))
    return [
        *steps,
        ("next", f"python -m bench report{where}   (everything on one page)"),
        ("", f"python -m bench ui{where}   (serves the MLflow pages)"),
        ("", f"python -m bench export {name}{winner_options(plan)}{where} --out best   (the best model, ready to use)"),
    ]


def winner_options(plan: "Plan") -> str:
    """Return the options that select one winner, the first, where a sweep has several."""
    first = plan.cells[0]
    if {(cell.dataset.name, cell.length) for cell in plan.cells} == {(first.dataset.name, first.length)}:
        return ""
    return f" --dataset {shlex.quote(first.dataset.name)} --length {first.length}"
