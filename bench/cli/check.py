"""The commands that look after the parts of a sweep: check, run and fetch."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import CARDS, JSON, TRUST, UsablePath, wait
from bench.errors import BenchError, DataMissingError

if TYPE_CHECKING:
    from bench.results.record import RunRecord


@click.command()
@click.argument("models", nargs=-1)
@click.option("--search-spaces", type=UsablePath(), metavar="FOLDER",
              help="Folder of search spaces, searched before the built-in one.")  # fmt: skip
@CARDS
@JSON
def check(models: tuple[str, ...], search_spaces: Path | None, dataset_cards: Path | None, as_json: bool) -> int:
    """Check your own models, search spaces and dataset cards.

    MODELS are names or files, such as ./my_model.py. Each is tested against the rules for models: shapes, gradients,
    padding, causality and so on. Without MODELS, the command checks all search spaces and dataset cards, and shows
    the hardware and the versions of the libraries.
    """
    if models:
        return _check_models(models, search_spaces, as_json)
    counts, problems = _check_declarations(search_spaces, dataset_cards)
    machine = _machine()
    if as_json:
        click.echo(json.dumps({"ok": counts, "problems": problems, "machine": machine}))
    else:
        for key, value in machine.items():
            click.echo(f"{key:20} {value}")
        for kind, count in counts.items():
            click.echo(f"{kind:20} {count} valid")
        for problem in problems:
            click.echo(f"bench: {problem}", err=True)
    return 2 if problems else 0


def _check_declarations(spaces: Path | None, cards: Path | None) -> tuple[dict[str, int], list[str]]:
    """Return how many search spaces and dataset cards are valid, and what is wrong with the others."""
    from bench.config import datasets, plugins, search_spaces

    counts, problems = {"search_spaces": 0, "datasets": 0}, []
    for kind, folder in (("search_spaces", spaces), ("datasets", cards)):
        for name in plugins.declarations(kind, folder):
            try:
                if kind == "datasets":
                    _check_card(datasets.read(name, folder))
                else:
                    search_spaces.read(name, folder).distributions()
                counts[kind] += 1
            except BenchError as error:
                problems.append(str(error))
    return counts, problems


def _check_card(card: Any) -> None:
    for length in card.lengths:
        try:
            card.at(length)
        except DataMissingError:  # nothing is wrong with the card
            return


def _machine() -> dict[str, str]:
    from importlib.metadata import version

    from bench.sweeps.engines.machine import usable_cores, visible_gpus

    packages = ("torch", "pytorch-lightning", "optuna", "mlflow")
    found = {"python": sys.version.split()[0], **{name: version(name) for name in packages}}
    return found | {"cores": str(usable_cores()), "gpus": str(len(visible_gpus()))}


def _check_models(names: tuple[str, ...], folder: Path | None, as_json: bool) -> int:
    """Check models against the contract and print a line for each check; return the exit code."""
    from bench.config import search_spaces

    spaces = [search_spaces.read(name, folder) for name in names]
    wait("loading torch")
    from bench.training import ledger, model_checks

    ledger.prepare_process(threads=1)  # on tensors this small, more threads only wait for each other
    rows = []
    for space in spaces:
        for promise, problem in model_checks.problems(space):
            rows.append({"model": space.model, "promise": promise, "problem": problem})
            if not as_json:
                click.echo(f"{space.name}: {promise}: {'ok' if problem is None else f'FAILED: {problem}'}")
    broken = sum(row["problem"] is not None for row in rows)
    if as_json:
        click.echo(json.dumps(rows))
    elif broken:
        where = "bench/config/contracts.py explains the rules for models"
        click.echo(f"bench: {broken} of {len(rows)} checks failed; {where}", err=True)
    else:
        models = shlex.quote(",".join(dict.fromkeys(["lstm", *names])))
        click.echo(f"next         python -m bench sweep --models {models}")
    return 2 if broken else 0


@click.command()
@click.argument("config", type=UsablePath())
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as JSON.")
@TRUST
def run(config: Path, as_json: bool) -> int:
    """Repeat one run from its config.json and print the result.

    Use it to reproduce a score or to debug a failed run. CONFIG is in the folder of the run; the column config_file of
    the leaderboard shows its path. The folder of the sweep does not change.
    """
    from bench.config.settings import RunConfig

    settings = RunConfig.read(config)
    wait(f"{settings.run}, seed {settings.seed}; loading torch")
    from bench.results import scores
    from bench.training import ledger, train

    ledger.prepare_process(settings.threads)
    # A test run needs the weights beside its own folder.
    folder = config.absolute().parent if settings.phase == "test" else None
    record = train.run(settings, folder=folder, changes_files=False)
    if as_json:
        click.echo(record.model_dump_json(indent=1))
    else:
        _show_record(record)
        if record.tests and settings.phase == "test":
            click.echo(f"{'score':12} {scores.of_test_run(record, config.absolute().parent)}")
    return 3 if record.state == "failed" else 0


def _show_record(record: "RunRecord") -> None:
    facts = {"state": record.state, "cause": record.cause, "message": record.message}
    scores = {"validation": record.val, "speed": record.speed, "baselines": record.baselines}
    scores |= {f"test {Path(run_id).name}": test for run_id, test in record.tests.items()}
    for key, part in scores.items():
        facts[key] = ", ".join(f"{name} {value:.4g}" for name, value in (part or {}).items())
    if record.solved is not None:
        facts["solved"] = f"after {record.sequences_to_solve:,} sequences" if record.sequences_to_solve else "no"
    facts["seconds"] = f"{record.seconds.total:.1f}"
    for key, text in facts.items():
        if text:
            click.echo(f"{key:12} {text}")


@click.command()
@click.argument("names", nargs=-1, required=True)
@CARDS
def fetch(names: tuple[str, ...], dataset_cards: Path | None) -> None:
    """Download the files of datasets and check their hashes.

    `python -m bench list datasets` shows the NAMES. An interrupted download is resumed. Files are stored in the cache
    (the folder in BENCH_CACHE_DIR). Files that are already in the folder BENCH_DATA_DIR are not downloaded.
    """
    from bench.cli.screen import Screen
    from bench.config import datasets
    from bench.data import fetch as fetching
    from bench.wording import count

    for card in [datasets.read(name, dataset_cards) for name in names]:
        files = fetching.wanted(card, dataset_cards)
        if not files:
            click.echo(f"{card.name}: nothing to fetch; it is {card.licence} or comes with bench")
            continue
        with Screen().download(card.name, sum(file.size_bytes for file in files)) as advance:
            paths = [fetching.fetch(file, advance) for file in files]
        click.echo(f"{card.name}: {count(len(paths), 'file')} here, hashes checked; licence: {card.licence}")
