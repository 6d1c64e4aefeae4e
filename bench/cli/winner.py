"""The commands for the model that won: export and predict."""

import shlex
import sys
from pathlib import Path

import click

from bench.cli.options import RESULTS, Number, UsablePath, note, wait
from bench.config.bounds import Between


@click.command()
@click.argument("sweep", required=False)
@click.option("--dataset", metavar="NAME", help="Dataset of the winner, where the sweep has several.")
@click.option("--length", type=Number(Between(1, 10_000_000, "longer sequences fit in no memory")),
              help="Length of the winner, where the sweep has several.")  # fmt: skip
@click.option("--model", metavar="NAME", help="Export this model. [default: the best on validation]")
@click.option("--out", type=UsablePath(), metavar="FOLDER", required=True, help="Folder to create.")
@RESULTS
def export(
    sweep: str | None, dataset: str | None, length: int | None, model: str | None, out: Path, results: Path
) -> None:
    r"""Export the best model of SWEEP, or of the latest sweep.

    Writes a folder that needs no sweep: weights (safetensors), configuration, preprocessing, an MLflow model and ONNX.
    Each is checked to give the answers of the training code. The model is also registered in MLflow.

    \b
    Example:
      python -m bench export --out best
      python -m bench predict best new.csv --out predictions.csv
    """
    from bench.results import sweeps

    (folder,) = sweeps.find(results, [sweep] if sweep else [], note)
    wait("loading torch and MLflow")
    from bench.export.export import export as write_export

    for line in write_export(folder, results, dataset, length, model, out):
        click.echo(line)
    click.echo(f"next         python -m bench predict {shlex.quote(str(out))} FILE --out predictions.csv", err=True)


@click.command()
@click.argument("folder", type=UsablePath())
@click.argument("file", type=UsablePath())
@click.option("--out", type=UsablePath(is_new_file=True), metavar="FILE",
              help="CSV file to write. [default: standard output]")  # fmt: skip
@click.option("--num-tokens", type=Number(Between(1, 1_000_000, "tokens of one answer")), default=200,
              show_default=True, help="Language models: tokens to write.")  # fmt: skip
@click.option("--temperature", type=Number(Between(0, 100, "0 takes the likeliest token"), whole=False), default=0.8,
              show_default=True, help="Language models: randomness; 0 takes the likeliest token.")  # fmt: skip
@click.option("--seed", type=Number(Between(0, 2**63 - 1, "random generators take no other")), default=0,
              show_default=True, help="Language models: seed of the random draws.")  # fmt: skip
def predict(folder: Path, file: Path, out: Path | None, num_tokens: int, temperature: float, seed: int) -> None:
    """Predict for a new FILE with the exported model in FOLDER.

    The answer is a table (CSV). Forecasts continue from the last rows of your file, with their times. Classes come
    with probabilities, and numbers in the unit of the target. Tagging gives a label for each step. Language models
    continue prompts: one in each line, or in a column `prompt`.
    """
    from bench.config.contracts import Sampling
    from bench.errors import DataError

    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder; give the folder that `python -m bench export --out FOLDER` wrote")
    if not file.exists():
        raise DataError(f"{file}: no such file; give the file to predict for")
    wait("loading the model")
    from bench.export.predictor import ExportedModel, write_table

    answers = ExportedModel.load(folder).predict(file, Sampling(num_tokens, temperature, seed))
    for remark in answers.attrs["remarks"]:
        click.echo(remark, err=True)
    if out is None:
        text = answers.to_csv(index=False, lineterminator="\n")
        text.encode(sys.stdout.encoding)  # data must not lose characters without an error
        click.echo(text, nl=False)
        return
    write_table(answers, out)
    click.echo(f"wrote {out}: {len(answers):,} rows, columns {', '.join(map(str, answers.columns[:8]))}", err=True)
