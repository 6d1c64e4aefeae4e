"""The commands that show the results of sweeps: leaderboard, report, compare, merge, ui and sync."""

import shlex
from pathlib import Path

import click

from bench.cli.options import JSON, RESULTS, Number, SweepName, UsablePath, note
from bench.config.bounds import Between

SWEEPS = click.argument("sweeps", nargs=-1)


@click.command()
@SWEEPS
@RESULTS
@click.option("--csv", type=UsablePath(is_new_file=True), metavar="FILE", help="Write all columns to this CSV file.")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@JSON
def leaderboard(sweeps: tuple[str, ...], results: Path, csv: Path | None, markdown: bool, as_json: bool) -> None:
    """Show the leaderboard of the latest sweep.

    Name SWEEPS to see others; `python -m bench list sweeps` shows their names. The command also works while a sweep
    runs.
    """
    from bench.results import sweeps as stored

    folders = stored.find(results, sweeps, note)  # before the slow imports
    import pandas as pd

    from bench.cli.screen import print_board
    from bench.results import leaderboard as rows
    from bench.results import tables

    boards = [rows.build(folder) for folder in folders]
    if csv is not None:
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
            print_board(board)


@click.command()
@SWEEPS
@RESULTS
@click.option("--quality", type=Number(Between(-1e12, 1e12, "a validation score"), whole=False),
              help="Validation score whose cost the report compares.  [default: the threshold of the task, or nine "
                   "tenths of the way from chance to the best trial]")  # fmt: skip
def report(sweeps: tuple[str, ...], results: Path, quality: float | None) -> None:
    """Write the report of the latest sweep as one HTML page.

    Name SWEEPS to write the reports of others. The page contains tables, charts and answers, and needs no network.
    """
    from bench.results import sweeps as stored

    folders = stored.find(results, sweeps, note)  # before the slow imports
    from bench.report import report as reports
    from bench.tracking import models

    for folder in folders:
        path = reports.write(folder, quality)
        click.echo(path)
        problem = models.log_report(results, folder, path)
        if problem:
            note(f"the report is written, but not logged to MLflow: {problem}")


@click.command()
@SWEEPS
@RESULTS
@click.option("--out", type=UsablePath(is_new_file=True), metavar="FILE", default=Path("across.html"),
              show_default=True, help="HTML page to write.")  # fmt: skip
@click.option("--csv", type=UsablePath(is_new_file=True), metavar="FILE",
              help="Write places and gaps of all models and questions to this CSV file.")  # fmt: skip
def compare(sweeps: tuple[str, ...], results: Path, out: Path, csv: Path | None) -> None:
    """Compare models across the datasets of several sweeps.

    Without SWEEPS, all sweeps of the results folder are compared. The page shows average ranks, wins, performance
    profiles and costs, with intervals over datasets and tests corrected for the number of pairs.
    """
    from bench.results import sweeps as stored

    folders = stored.find(results, sweeps) if sweeps else stored.every(results)
    import pandas as pd

    from bench.errors import DeclarationError
    from bench.report import across_datasets
    from bench.results import across, leaderboard, tables
    from bench.results.record import all_records, write_atomically

    boards: dict[str, pd.DataFrame] = {}
    kinds: dict[str, str] = {}
    for folder in folders:
        records = all_records(folder)
        if records:
            boards[folder.name] = leaderboard.build(folder, records)
            kinds |= {record.config.dataset: across.kind_of(record.config) for record in records}
    found = across.results_of(pd.concat(boards.values())) if boards else None
    if found is None or found.empty:
        raise DeclarationError(f"{results}: no sweep here has a confirmed model yet; wait, or name other sweeps")
    write_atomically(out, across_datasets.render(boards, kinds))
    if csv is not None:
        tables.write_csv(found, csv)
    click.echo(across.sentence(found))
    click.echo(f"wrote {out}", err=True)


@click.command()
@click.argument("folders", nargs=-1, required=True, type=UsablePath())
@RESULTS
@click.option("--name", type=SweepName(), default="merged", show_default=True, help="Name of the merged sweep.")
def merge(folders: tuple[Path, ...], results: Path, name: str) -> None:
    """Merge sweeps of several machines into one leaderboard.

    FOLDERS are folders of sweeps, or results folders with all their sweeps. The sweeps must agree in rules, budget,
    seed, search spaces and data. Each row keeps its hardware, and times of different hardware are not compared. The
    merged sweep has no weights and cannot be resumed; merge again after you have resumed the others.
    """
    from bench.results import leaderboard, tables
    from bench.results import merge as merging

    target = results / "sweeps" / name
    sweeps = merging.sources(folders, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    words = ["python", "-m", "bench", "merge", *map(str, folders), "--results", str(results), "--name", name]
    for line in merging.merge(sweeps, target, shlex.join(words)):
        note(line)
    board = leaderboard.build(target)
    tables.write_csv(board, target / "leaderboard.csv")
    click.echo(target)
    from bench.cli.screen import print_board

    print_board(board)


@click.command()
@RESULTS
@click.option("--port", type=Number(Between(1, 65_535, "a port of TCP")), default=5000, show_default=True,
              help="Port of the pages.")  # fmt: skip
def ui(results: Path, port: int) -> int:
    """Serve the MLflow pages of all sweeps on this machine.

    The pages are at http://127.0.0.1:PORT until you stop the command with Ctrl-C.
    """
    from bench.tracking import pages

    pages.check(results)
    click.echo(f"http://127.0.0.1:{port}/?workflowType=machine_learning   (starts in a few seconds; Ctrl-C stops it)")
    return pages.serve(results, port)


@click.command()
@SWEEPS
@RESULTS
def sync(sweeps: tuple[str, ...], results: Path) -> None:
    """Write the records of SWEEPS to MLflow again.

    Use the command when a sweep reports that runs are missing in MLflow. Without SWEEPS, it writes the latest sweep
    and every other sweep that may be incomplete in MLflow. No run is written twice. A damaged mlflow.db is renamed and
    rebuilt.
    """
    from bench.errors import SweepLockedError
    from bench.sweeps import coordinator
    from bench.tracking import projection

    for folder in projection.to_sync(results, sweeps, note):
        try:
            count = coordinator.sync(folder, results, note)
        except SweepLockedError as error:  # its coordinator writes it
            if sweeps:
                raise
            note(str(error))
            continue
        click.echo(f"{folder.name}: {count} runs are in MLflow")


@click.command()
@click.argument("sweeps", nargs=-1, required=True)
@RESULTS
@click.option("--out", type=UsablePath(), metavar="FOLDER", required=True,
              help="Folder of search spaces; the files go into its folder portfolios.")  # fmt: skip
def portfolio(sweeps: tuple[str, ...], results: Path, out: Path) -> None:
    """Choose the configurations that new sweeps try after the default, from recorded SWEEPS.

    A configuration is a candidate if it was tried on every dataset of a kind: run the sweeps with the same --seed and
    --trials. Validation scores decide. The output compares the portfolio with random order on datasets left out.
    """
    from bench.errors import StoreError
    from bench.results import sweeps as stored
    from bench.results.record import write_atomically

    folders = stored.find(results, sweeps, note)
    from bench.sweeps import portfolio as choice

    chosen = choice.make(folders)
    for line in choice.summary(chosen):
        click.echo(line)
    try:
        (out / "portfolios").mkdir(parents=True, exist_ok=True)
        for kind, text in choice.to_toml(chosen):
            write_atomically(out / "portfolios" / f"{kind}.toml", text)
    except OSError as error:
        raise StoreError(f"--out {out}: {error.strerror or error}; choose another folder") from None
    click.echo(f"wrote {out / 'portfolios'}", err=True)
