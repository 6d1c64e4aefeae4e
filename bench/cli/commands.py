"""The command line as a whole: its commands, and how each way of failing ends in one line and an exit code.

Heavy modules are imported inside the commands: `--help` needs none of them.
"""

import errno
import os
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from typing import Any

import click

from bench.cli import check, listing, results, sweeping, winner
from bench.errors import BenchError, UnknownNameError, did_you_mean

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
INTERRUPTED = 130

_FIXES = {
    errno.ENOSPC: "free some space, or choose a folder on another disk",
    errno.EDQUOT: "your quota is used up; free some space, or choose a folder on another disk",
    errno.EROFS: "choose a folder that can be written, for example with --results",
    errno.EACCES: "check its owner and permissions, or choose another path",
    errno.EPERM: "check its owner and permissions, or choose another path",
    errno.ENAMETOOLONG: "choose a shorter name or path",
    errno.EMFILE: "raise the limit of open files: ulimit -n 4096",
    errno.ENOTDIR: "a part of the path is a file; choose another path",
    errno.EEXIST: "choose another path, or remove it",
}


class _Main(click.Group):
    """The group of all commands; every error ends in one line and an exit code."""

    def main(self, args: Any = None, prog_name: str | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run a command and leave the process with its exit code."""
        _open_closed_streams()
        try:
            try:
                code = super().main(args, prog_name, **extra | {"standalone_mode": False})
            except SystemExit as stop:
                code = stop.code
            sys.stdout.flush()  # a full disk is an error here, and not a warning of the interpreter
        except Exception as error:  # noqa: BLE001 the only place that decides how errors are shown
            code = _report(error)
        sys.exit(code if isinstance(code, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which you need them."""
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the command that is named first. Raises UnknownNameError."""
        if not args[0].startswith("-") and args[0] not in self.commands:
            raise UnknownNameError("command", args[0], self.commands)
        return super().resolve_command(ctx, args)


def _set_debug(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        os.environ["BENCH_DEBUG"] = "1"  # run processes inherit it


@click.group(cls=_Main, context_settings=CONTEXT)
@click.option("--debug", is_flag=True, expose_value=False, callback=_set_debug,
              help="Show the traceback of an error; the same as BENCH_DEBUG=1.")  # fmt: skip
@click.version_option(package_name="sequence-model-bench", prog_name="bench")
def main() -> None:
    """Find the sequence model for your data, at your sequence length and budget.

    Start with `python -m bench sweep`. It tunes, trains and ranks the models; `python -m bench report` shows the
    result as a page. Use `python -m bench COMMAND --help` for the options of a command.
    """


main.epilog = """\b
Exit codes:
  0  the command did its work
  1  unexpected error; the line names the file with the traceback
  2  wrong option or file, or an error of the operating system
  3  no run succeeded
  75  another process works on this sweep
  129, 130, 143  stopped by SIGHUP, Ctrl-C or SIGTERM; run the same command to resume
"""

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
    sys.exit(outcome.exit_code)


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
    from bench.export.export import export as write_export
    from bench.results import sweeps

    (folder,) = sweeps.find(results, [sweep] if sweep else [], _note)
    click.echo("bench: loading torch and MLflow", err=True)
    for line in write_export(folder, results, dataset, length, model, out):
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
    from bench.config.contracts import Sampling
    from bench.errors import DeclarationError
    from bench.export.predictor import ExportedModel, write_table

    if out is not None and not out.absolute().parent.is_dir():
        raise DeclarationError(f"--out {out}: {out.absolute().parent} is not a directory")
    found = ExportedModel.load(folder).predict(file, Sampling(num_tokens, temperature, seed))
    for remark in found.attrs["remarks"]:
        click.echo(remark, err=True)
    if out is None:
        click.echo(found.to_csv(index=False, lineterminator="\n"), nl=False)
        return
    write_table(found, out)
    click.echo(f"wrote {out}: {len(found):,} rows, columns {', '.join(map(str, found.columns[:8]))}", err=True)


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as JSON.")
def run(config: Path, as_json: bool) -> None:
    """Carry out one run again from its CONFIG.json and print what came out; nothing is stored."""
    from bench.config.settings import RunConfig

    settings = RunConfig.read(config)
    click.echo(f"bench: {settings.run}, seed {settings.seed}; loading torch", err=True)
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
        facts |= {f"test {Path(run_id).name}": scores for run_id, scores in record.tests.items()}
        for key, value in facts.items():
            if value:
                click.echo(f"{key:12} " + ", ".join(f"{name} {number:.4g}" for name, number in value.items()))
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
for command in COMMANDS:
    main.add_command(command)


def _open_closed_streams() -> None:
    """Open the null device for standard streams that are closed: else a file of the sweep gets their number.

    Characters that the terminal's encoding lacks are shown as `?`.
    """
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115
        elif name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _report(error: Exception) -> int:
    """Print an error as one line and return the exit code."""
    if os.environ.get("BENCH_DEBUG") and not isinstance(error, click.exceptions.Exit):
        traceback.print_exception(error)
    if isinstance(error, OSError) and error.errno == errno.EIO:  # the terminal was closed
        os._exit(128 + signal.SIGHUP)
    if isinstance(error, BrokenPipeError):  # the reader, for example `head`, has seen enough
        return _drop_output(0)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    line, code = _explain(error)
    with suppress(OSError):  # standard error itself may be full
        click.echo(f"bench: {' '.join(line.split())}", err=True)
    return _drop_output(code)


def _drop_output(code: int) -> int:
    """Point a standard output that cannot be written at the null device, so that the interpreter can close it."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _explain(error: Exception) -> tuple[str, int]:
    """Return what to say about an error, and the exit code."""
    if isinstance(error, BenchError):
        return str(error), error.exit_code
    if isinstance(error, click.Abort):
        return "interrupted", INTERRUPTED
    if isinstance(error, click.ClickException):
        return _wrong_use(error), error.exit_code
    if isinstance(error, UnicodeEncodeError):
        found = f"{error.encoding} cannot write {error.object[error.start : error.start + 1]!r}"
        return f"{found}; set PYTHONIOENCODING=utf-8", 2
    if isinstance(error, OSError):
        return _system_error(error), 2
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return "the home directory is unknown; set HOME, or BENCH_CACHE_DIR to a folder for prepared data", 2
    if isinstance(error, MemoryError):
        return "out of memory; use a smaller dataset, shorter sequences or fewer --workers", 1
    if (broken := _database_error(error)) is not None:
        return f"database of the sweep: {broken}; check free space, permissions and other processes that use it", 2
    return _crash(error), 1


def _wrong_use(error: click.ClickException) -> str:
    """Return what is wrong with the words of a command, and how to fix it."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    line = error.format_message().rstrip(".")
    line = f"{line[:1].lower()}{line[1:]}"
    if isinstance(error, click.NoSuchOption):
        options = [name for param in ctx.command.get_params(ctx) for name in param.opts] if ctx else []
        line = f"no such option '{error.option_name}'{did_you_mean(error.option_name, options)}"
    elif isinstance(error, click.BadParameter) and error.param is not None and error.message:
        is_option = isinstance(error.param, click.Option)
        return f"{error.param.opts[0] if is_option else error.param.human_readable_name}: {error.message}"
    return f"{line}; see {ctx.command_path if ctx else 'python -m bench COMMAND'} --help"


def _system_error(error: OSError) -> str:
    """Return an error of the operating system with the file it is about and what to do."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        shown = os.fsdecode(error.filename) if isinstance(error.filename, bytes | str) else str(error.filename)
        return f"{shown}: {reason}; {_FIXES.get(error.errno or 0, 'check the path')}"
    if isinstance(error, FileNotFoundError):
        return f"the working directory: {reason}; change to a folder that exists"
    return f"{reason}; {_FIXES.get(error.errno or 0, 'check the disk and the paths')}"


def _database_error(error: BaseException) -> str | None:
    """Return what SQLite says, where it is the cause of an error."""
    sqlite = sys.modules.get("sqlite3")
    cause: BaseException | None = error
    while sqlite is not None and cause is not None:
        if isinstance(cause, sqlite.DatabaseError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def _crash(error: Exception) -> str:
    """Write the traceback of an unexpected error to a file and return the line that names both."""
    text = "".join(traceback.format_exception(error))
    said = f"unexpected error: {type(error).__name__}: {str(error)[:200]}"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="bench-", suffix=".txt", delete=False, encoding="utf-8") as file:
            file.write(text)
    except OSError:
        return f"{said}; this is a defect: run the command with BENCH_DEBUG=1 to see the traceback, and report it"
    return f"{said}; this is a defect: please report it with the traceback in {file.name}"
