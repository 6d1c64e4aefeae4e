"""The commands for the model that won: export, predict, evaluate and diagnose."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench import wording
from bench.cli.options import RESULTS, TRUST, Number, UsablePath, note, wait
from bench.config.bounds import Between

if TYPE_CHECKING:
    from bench.export.evaluate import Evaluation
    from bench.results.classes import ClassCounts

EXPORT_EXAMPLE = """\b
Example:
  python -m bench export --out best
  python -m bench predict best new.csv --out predictions.csv
"""


DATASET = click.option("--dataset", metavar="NAME", help="Dataset to take the best model of, if the sweep has several.")
LENGTH = click.option("--length", type=Number(Between(1, 10_000_000, "longer sequences fit in no memory")),
                      help="Length to take the best model of, if the sweep has several.")  # fmt: skip


@click.command(epilog=EXPORT_EXAMPLE)
@click.argument("sweep", required=False)
@DATASET
@LENGTH
@click.option("--model", metavar="NAME", help="Model or cheap baseline to export.  [default: the best on validation]")
@click.option("--ensemble", is_flag=True, help="Average the answers of all confirmed seeds: better, but slower.")
@click.option("--refit", is_flag=True, help="Train the model again on the training and validation split together.")
@click.option("--out", type=UsablePath(), metavar="FOLDER", required=True, help="Folder to create.")
@RESULTS
@TRUST
def export(
    sweep: str | None,
    dataset: str | None,
    length: int | None,
    model: str | None,
    ensemble: bool,
    refit: bool,
    out: Path,
    results: Path,
) -> None:
    """Export the best model of SWEEP, or of the latest sweep.

    The best may be a cheap baseline. The new folder can be used without the sweep. It holds the weights (safetensors)
    or the fitted baseline, the configuration, the preprocessing, an MLflow model and, of a network, an ONNX model. Each
    is checked to give the same answers as the training code. A network is also registered in MLflow.
    """
    from bench.results import sweeps

    (folder,) = sweeps.find(results, [sweep] if sweep else [], note)
    wait("loading torch and MLflow")
    from bench.export.export import export as write_export

    for line in write_export(folder, results, dataset, length, model, out, ensemble, refit):
        click.echo(line)
    click.echo(f"next         python -m bench predict {shlex.quote(str(out))} FILE --out predictions.csv", err=True)


@click.command()
@click.argument("sweep", required=False)
@DATASET
@LENGTH
@click.option("--model", metavar="NAME", help="Model to diagnose.  [default: the best of each dataset and length]")
@RESULTS
@TRUST
def diagnose(sweep: str | None, dataset: str | None, length: int | None, model: str | None, results: Path) -> None:
    """Show what trained models of SWEEP, or of the latest sweep, do with the past.

    The command measures how the gradient of the last loss shrinks by lag, how open the gates of LSTM and GRU are, and
    how far attention looks back, before, half way through and after training. Nothing is trained. The tables and charts
    are written into the folder diagnoses of the sweep, and the report and MLflow show them.
    """
    from bench.results import sweeps

    (folder,) = sweeps.find(results, [sweep] if sweep else [], note)
    wait("loading torch")
    from bench.export.diagnose import diagnose_sweep, show

    made = []
    for diagnosis in diagnose_sweep(folder, dataset, length, model):
        made.append(diagnosis)
        for line in diagnosis.lines:
            click.echo(line)
        for file in diagnosis.files:
            click.echo(f"wrote {file}", err=True)
    problem = show(results, folder, made)
    if problem:
        note(f"the report is written, but not logged to MLflow: {problem}")


@click.command()
@click.argument("model", type=UsablePath())
@click.argument("file", type=UsablePath())
@click.option("--out", type=UsablePath(is_new_file=True), metavar="FILE",
              help="CSV file to write.  [default: standard output]")  # fmt: skip
@click.option("--plot", type=UsablePath(is_new_file=True), metavar="FILE",
              help="SVG file to write: forecasts beside the last rows of your file.")  # fmt: skip
@DATASET
@LENGTH
@click.option("--num-tokens", type=Number(Between(1, 1_000_000, "tokens of one answer")), default=200,
              show_default=True, help="For language models: how many tokens to write.")  # fmt: skip
@click.option("--temperature", type=Number(Between(0, 100, "0 takes the likeliest token"), whole=False), default=0.8,
              show_default=True, help="For language models: randomness. 0 takes the likeliest token.")  # fmt: skip
@click.option("--seed", type=Number(Between(0, 2**63 - 1, "random generators take no other")), default=0,
              show_default=True, help="For language models: seed of the random draws.")  # fmt: skip
@RESULTS
@TRUST
def predict(
    model: Path,
    file: Path,
    out: Path | None,
    plot: Path | None,
    dataset: str | None,
    length: int | None,
    num_tokens: int,
    temperature: float,
    seed: int,
    results: Path,
) -> None:
    """Predict for a new FILE with MODEL: a folder that `export` wrote, or a sweep.

    Of a sweep, given by its name or folder, the best model is exported into the sweep's folder, once.

    The answer is a table (CSV). Forecasts continue from the last rows of your file and have a time each, if your file
    has times. Classes have probabilities. Predicted numbers are in the unit of the target. Tagging gives a label for
    each step. Language models continue prompts: FILE has one prompt in each line, or in a column named `prompt`.
    """
    from bench.config.contracts import Sampling

    folder = exported(model, file, "predict for", results, dataset, length)
    wait("loading the model")
    from bench.export.predictor import ExportedModel, write_table

    trained = ExportedModel.load(folder)
    answers = trained.predict(file, Sampling(num_tokens, temperature, seed))
    for remark in answers.attrs["remarks"]:
        click.echo(remark, err=True)
    if plot is not None:
        from bench.export import forecast_chart
        from bench.results.record import write_atomically

        write_atomically(plot, forecast_chart.draw(trained, file))
        click.echo(f"wrote {plot}: forecasts of the next rows, and of the last known ones beside their truth", err=True)
    if out is None:
        text = answers.to_csv(index=False, lineterminator="\n")
        text.encode(sys.stdout.encoding)  # data must not lose characters without an error
        click.echo(text, nl=False)
        return
    write_table(answers, out)
    click.echo(f"wrote {out}: {len(answers):,} rows, columns {wording.first(answers.columns, 8)}", err=True)


MOST_CLASSES = 20  # rows of the table of classes on a screen; --json has them all
MOST_PAIRS = 10  # rows of the table of confusions


@click.command()
@click.argument("model", type=UsablePath())
@click.argument("file", type=UsablePath())
@DATASET
@LENGTH
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@RESULTS
@TRUST
def evaluate(model: Path, file: Path, dataset: str | None, length: int | None, as_json: bool, results: Path) -> None:
    """Score MODEL, a folder that `export` wrote or a sweep, on a FILE whose answers are known.

    FILE has the form of your training files, with the column that was predicted. Each score has a 95 % interval of how
    much it would change with other examples of the same kind, and classes have precision, recall and F1. Forecasts are
    scored on all windows of FILE, and a language model on all of its tokens.
    """
    folder = exported(model, file, "evaluate on", results, dataset, length)
    wait("loading the model")
    from bench.export.evaluate import evaluate as score

    evaluation = score(folder, file)
    if as_json:
        click.echo(json.dumps(evaluation.as_dict()))
        return
    for remark in evaluation.remarks:
        click.echo(remark, err=True)
    _print_scores(file, evaluation)
    if evaluation.classes is not None:
        _print_classes(evaluation.classes)


def _print_scores(file: Path, evaluation: "Evaluation") -> None:
    from bench.cli.screen import print_tables
    from bench.wording import count, is_known

    rows = []
    for name, score in evaluation.scores.items():
        is_main = name == evaluation.metric and is_known(evaluation.low)
        before = evaluation.test.get(name)
        interval = f"{evaluation.low:.4g} to {evaluation.high:.4g}" if is_main else ""
        rows.append([name, f"{score:.4g}", interval, "" if before is None else f"{before:.4g}"])
    title = f"{evaluation.model} on {file.name}: {count(evaluation.num_examples, 'example')}"
    print_tables({title: rows}, ["metric", "score", "95 % interval", "test split of the sweep"])


def _print_classes(classes: "ClassCounts") -> None:
    from bench.cli.screen import print_tables
    from bench.wording import score, shortened

    rows = [
        [shortened(name, 40), f"{support:,}", *map(score, scores)]
        for name, support, *scores in zip(
            classes.names, classes.support, classes.precision, classes.recall, classes.f1, strict=True
        )
        if support
    ]
    rows.sort(key=lambda row: row[4])
    more = f" ({MOST_CLASSES} of {len(rows)}, the worst first)" if len(rows) > MOST_CLASSES else ", the worst first"
    print_tables({f"classes{more}": rows[:MOST_CLASSES]}, ["class", "examples", "precision", "recall", "F1"])
    pairs = [
        [shortened(classes.names[target], 40), shortened(classes.names[answer], 40), f"{number:,}"]
        for target, answer, number in classes.confused[:MOST_PAIRS]
    ]
    if pairs:
        print_tables({"most frequent confusions": pairs}, ["class", "answered as", "count"])


def exported(model: Path, file: Path, use: str, results: Path, dataset: str | None, length: int | None) -> Path:
    """Return the folder of a model: it may be given as that, or as the folder or the name of a sweep.

    The best model of a sweep is exported first. `use` says what the file is for. Raises BenchError.
    """
    from bench.errors import DataError, DeclarationError

    if not file.exists():
        raise DataError(f"{file}: no such file; give the file to {use}")
    sweep = model if model.is_dir() else results / "sweeps" / model
    if not (sweep / "sweep.json").exists():
        if not model.is_dir():
            rule = "not a folder, and not a sweep; give the folder that `python -m bench export --out FOLDER` wrote"
            raise DataError(f"{model}: {rule}, or the name of a sweep")
        for option, value in (("--dataset", dataset), ("--length", length)):
            if value is not None:
                raise DeclarationError(f"{option}: {model} holds one model; leave the option out, or name a sweep")
        return model
    wait("loading torch and MLflow")
    from bench.export import export as exports

    folder, lines = exports.keep(sweep, sweep.absolute().parents[1], dataset, length)
    for line in lines:
        click.echo(line, err=True)
    return folder
