"""Other searches over the bench's own spaces: `python search.py PEER DATASET LENGTH SECONDS RESULT`.

Every search trains with the bench's own training loop, on its tasks, with the length of a full run of its budgets of
time, so that only the search differs: which configuration is trained next, how long, and what starting it costs. Each
model is one value of a knob, with the knobs of its search space below it, as Optuna writes conditional spaces.

`Ray Tune`: ASHA over 27 validations with its default reduction factor, OptunaSearch (TPE), two trials at a time.
`Optuna`: as the example for Lightning on optuna.org has it: one process, TPE, a median pruner, a timeout.

Written is the curve of the best validation score so far over the seconds since the start of this process.
"""

import functools
import json
import os
import sys
import time
from pathlib import Path

BEGAN = time.time()


def spaces_of(task) -> dict:
    from bench.config import search_spaces
    from bench.config.settings import BASELINES

    spaces = {name: search_spaces.read(name, None, task.kind) for name in BASELINES}
    return {name: space for name, space in spaces.items() if not (task.causal and space.bidirectional)}


def point_of(trial, spaces: dict) -> dict:
    """Suggest a model and the knobs of its space."""
    name = trial.suggest_categorical("model", list(spaces))
    point = {"model": name}
    for knob, entry in spaces[name].tuned.items():
        fields = {key: value for key, value in entry.items() if key not in ("type", "default", "when")}
        kind = {"float": "float", "int": "int"}.get(entry["type"], "categorical")
        point[f"{name}.{knob}"] = getattr(trial, f"suggest_{kind}")(f"{name}.{knob}", **fields)
    return point


def suggest(spaces: dict, trial) -> None:
    """Suggest a point as OptunaSearch asks for it, which pickles this function by its name."""
    point_of(trial, spaces)


def run_config(dataset: str, length: int, point: dict):
    from inputs import CARDS

    from bench.config import datasets
    from bench.config.budgets import named, train_settings
    from bench.config.settings import RunConfig

    card = datasets.read(dataset, CARDS)
    task, name = card.at(length), point["model"]
    space = spaces_of(task)[name]
    prefix = f"{name}."
    values = {key.removeprefix(prefix): value for key, value in point.items() if key.startswith(prefix)}
    arguments, train = space.split(values)
    return RunConfig(
        sweep="", run="search", phase="screen", number=0, dataset=dataset, task=card.task, length=length,
        task_arguments=card.arguments, space=name, model=space.model, model_arguments=arguments,
        train=train_settings(named("standard", SECONDS), task, train), seed=0,
    )  # fmt: skip


SECONDS = 600.0  # runs within any time up to the budgets' SHORT have the same full length


def train(dataset: str, length: int, point: dict, on_epoch) -> None:
    """Train one configuration; `on_epoch(score)` after each validation returns whether to continue."""
    from bench.training import train
    from bench.training.ledger import prepare_process

    prepare_process(1)
    train.run(run_config(dataset, length, point), lambda report: report.kind == "tick" or on_epoch(report.value))


def ray_tune(dataset: str, length: int, seconds: float, task, folder: Path) -> int:
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0"}
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    metric, mode = "score", "max" if task.goal == "maximize" else "min"
    spaces = spaces_of(task)

    def trainable(point: dict) -> None:
        def on_epoch(score: float) -> bool:
            _note(folder, score)
            tune.report({metric: score})
            return True

        train(dataset, length, point, on_epoch)

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(functools.partial(suggest, spaces), metric=metric, mode=mode, seed=0),
            scheduler=ASHAScheduler(metric=metric, mode=mode, max_t=27, grace_period=1),
            num_samples=-1, max_concurrent_trials=2, reuse_actors=True,
            time_budget_s=max(5.0, seconds - (time.time() - BEGAN)),
        ),
        run_config=tune.RunConfig(storage_path=str(folder.resolve() / "ray"), verbose=0),
    )  # fmt: skip
    return len(tuner.fit())


def optuna_lightning(dataset: str, length: int, seconds: float, task, folder: Path) -> int:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spaces, direction = spaces_of(task), task.goal

    def objective(trial: optuna.Trial) -> float:
        scores: list[float] = []

        def on_epoch(score: float) -> bool:
            _note(folder, score)
            scores.append(score)
            trial.report(score, len(scores))
            return not trial.should_prune() and time.time() - BEGAN < seconds

        train(dataset, length, point_of(trial, spaces), on_epoch)
        if not scores or trial.should_prune():
            raise optuna.TrialPruned
        return max(scores) if direction == "maximize" else min(scores)

    study = optuna.create_study(direction=direction, pruner=optuna.pruners.MedianPruner())
    study.optimize(objective, timeout=seconds - (time.time() - BEGAN))
    return len(study.trials)


def _note(folder: Path, score: float) -> None:
    """Append a validation to the file of this process: lines of seconds and score."""
    with (folder / f"{os.getpid()}.curve").open("a") as file:
        file.write(f"{time.time():.3f} {score!r}\n")


def curve(folder: Path, sign: int) -> list[tuple[float, float]]:
    """Return the validations that were the best so far, as seconds since the start and score."""
    lines = [line.split() for path in folder.glob("*.curve") for line in path.read_text().splitlines()]
    best: list[tuple[float, float]] = []
    for at, score in sorted((float(at) - BEGAN, float(score)) for at, score in lines):
        if not best or sign * score > sign * best[-1][1]:
            best.append((at, score))
    return best


def main(peer: str, dataset: str, length: str, seconds: str, result: str) -> None:
    from inputs import task_of

    task, folder = task_of(dataset, int(length)), Path(result).with_suffix("")
    folder.mkdir(parents=True)
    searches = {"Ray Tune": ray_tune, "Optuna": optuna_lightning}
    trials = searches[peer](dataset, int(length), float(seconds), task, folder)
    found = curve(folder, 1 if task.goal == "maximize" else -1)
    about = {"seconds": time.time() - BEGAN, "curve": found, "trials": trials, "note": f"{trials} trials"}
    Path(result).write_text(json.dumps(about))


if __name__ == "__main__":
    main(*sys.argv[1:])
