"""The command `claims`: claims about sequence models, decided by experiments."""

import json
import shlex
from pathlib import Path
from typing import Any

import click

from bench.cli.options import DATA_DIR, JSON, RESULTS

EXAMPLES = """\b
Examples:
  python -m bench claims
  python -m bench claims gru vanishing --budget 10m
  python -m bench claims my_claim.toml
"""


class Time(click.ParamType[float]):
    """A time, such as 90s, 30m or 8h."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds. Fails with the rule and what was found."""
        from bench.config.bounds import YEAR
        from bench.config.sweep_settings import SHORTEST_SECONDS, seconds_of

        try:
            seconds = float(seconds_of(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not SHORTEST_SECONDS <= seconds <= YEAR:
            self.fail(f"must be a time from {SHORTEST_SECONDS:.0f} s to a year, but found {value}", param, ctx)
        return seconds


def _written(seconds: float) -> str:
    """Return a time as the option takes it: 30m for 1800."""
    unit, size = next(
        (unit, size) for unit, size in (("h", 3600), ("m", 60), ("s", 1)) if seconds % size == 0 or size == 1
    )
    return f"{seconds / size:g}{unit}"


@click.command(epilog=EXAMPLES)
@click.argument("names", nargs=-1, metavar="[CLAIMS]...")
@click.option("--budget", type=Time(), default="30m", show_default=True, metavar="TIME",
              help="Time of all experiments together, such as 30m or 8h.")  # fmt: skip
@RESULTS
@DATA_DIR
@JSON
def claims(names: tuple[str, ...], budget: float, results: Path, as_json: bool) -> None:
    """Decide common claims about sequence models by experiments.

    Each claim has its question, tasks, gates, an effect size that matters, and the rule that says supported, refuted or
    undecided. CLAIMS are names from `bench list claims`, or your own claim files; without them, all built-in claims are
    decided. The experiments are ordinary sweeps. Run the same command again to resume; what is recorded is kept.

    The page is also written to the folder `claims` of the results, as claims.md and claims.csv.
    """
    from bench.claims import declaration

    chosen = [declaration.read(name) for name in names or declaration.names()]
    from bench.claims import experiments, page, verdicts
    from bench.cli.screen import Screen
    from bench.results.record import write_atomically
    from bench.sweeps.stop import leave

    screen = Screen()
    with screen:
        code = experiments.run(chosen, budget, results, screen)
    if code:
        leave(code)
    found = verdicts.decide_all(chosen, budget, results)
    folder, command = (
        results / "claims",
        shlex.join(["python", "-m", "bench", "claims", *names, "--budget", _written(budget)]),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "claims.md", page.markdown(found, command))
    write_atomically(folder / "claims.csv", page.as_csv(found))
    if as_json:
        click.echo(json.dumps(page.rows(found)))
        return
    click.echo(page.text(found))
    click.echo(f"\nwrote {folder / 'claims.md'} and {folder / 'claims.csv'}")
