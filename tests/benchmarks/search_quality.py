"""How good a configuration each way of searching finds for the same work: `python search_quality.py [SEEDS RAY_SEEDS]`.

Searches of 24 runs through the bench (its samplers, and its ASHA where a task may be pruned), and Ray Tune's ASHA +
OptunaSearch with the same space, the same training function and the same epochs where Ray is installed. Writes
search_quality.md. All begin with one mediocre default. Scores are of validation; test splits stay shut.
"""

import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

TRIALS, MANY, EPOCHS, BATCH, VALIDATION = 24, 48, 16, 32, 300
GRACE, REDUCTION = 4, 2  # Ray's rungs are those of the bench: after a quarter and half of the epochs a half goes on
SHARES = (0.25, 0.5, 1.0)
RANDOM, RAY = "random", "Ray Tune: ASHA + OptunaSearch"
SPACE = """
title = "The benchmark's {model}"
model = "{model}"
[tune]
hidden_size = {{ type = "int", low = 4, high = 64, log = true, default = 8 }}
learning_rate = {{ type = "float", low = 1e-4, high = 0.3, log = true, default = 1e-3 }}
gradient_clip = {{ type = "float", low = 0.01, high = 10.0, log = true, default = 1.0 }}
dropout = {{ type = "float", low = 0.0, high = 0.6, default = 0.3 }}
{bias} = {{ type = "categorical", choices = [0.0, 1.0, 3.0, "chrono"], default = 0.0 }}
"""


class Question(NamedTuple):
    dataset: str
    length: int
    model: str
    bias: str
    sequences: int  # of a run

    @property
    def title(self) -> str:
        return f"{self.dataset} at {self.length}, {self.model}"


QUESTIONS = [
    Question("digits", 8, "lstm", "forget_bias", 8_192),
    Question("adding", 25, "gru", "update_bias", 5_120),
    Question("copy_memory", 10, "lstm", "forget_bias", 8_192),
]


class Run(NamedTuple):
    ended: float
    sequences: int
    best: float | None  # on validation, of its epochs; None: it failed


class Search(NamedTuple):
    seconds: float  # from the start of its first run to the end of its last
    runs: list[Run]

    def best(self, question: Question, share: float) -> float:
        """The best score of the runs that had ended when a share of the sequences of 24 whole runs was spent."""
        spent, found = 0, float("-inf")
        for run in sorted(self.runs):
            spent += run.sequences
            if spent > share * TRIALS * question.sequences:
                break
            found = found if run.best is None else max(found, run.best)
        return found

    @property
    def sequences(self) -> int:
        return sum(run.sequences for run in self.runs)


def plan(question: Question, folder: Path, sampler: str, pruner: str, seed: int, trials: int):
    from bench.config.budgets import Budget
    from bench.config.sweep_settings import SweepConfig
    from bench.sweeps import prepare as plans

    spaces = folder / "spaces"
    spaces.mkdir(exist_ok=True)
    (spaces / f"{question.model}.toml").write_text(SPACE.format(model=question.model, bias=question.bias))
    budget = Budget(
        title="", trials=trials, top_k=1, confirm_seeds=0, max_sequences=question.sequences, batch_size=BATCH,
        num_epochs=EPOCHS, num_val=VALIDATION, num_test=10,
    )  # fmt: skip
    config = SweepConfig(
        datasets=[question.dataset], lengths=[question.length], models=[question.model], trials=trials, top_k=1,
        confirm_seeds=0, workers=2, sampler=sampler, pruner=pruner, seed=seed, results=folder / "results",
        search_spaces=spaces, name=f"s{time.time_ns()}",
    )  # fmt: skip
    return dataclasses.replace(plans.make(config), budget=budget)


class Quiet:
    def update(self, status) -> None: ...

    def say(self, text: str) -> None: ...


def bench(question: Question, folder: Path, sampler: str, pruner: str, seed: int, trials: int) -> Search:
    from bench.results.record import records
    from bench.sweeps import coordinator

    made = plan(question, folder, sampler, pruner, seed, trials)
    outcome = coordinator.run(made, Quiet())
    assert outcome.exit_code == 0, outcome
    found = [record for record in records(made.folder) if record.config.phase == "screen"]
    assert len(found) == trials
    starts = [datetime.fromisoformat(record.started_at).timestamp() for record in found]
    runs = []
    for record, start in zip(found, starts, strict=True):
        scores = [epoch.val[record.asked.metric] for epoch in record.epochs if record.state != "failed"]
        runs.append(Run(start + record.seconds.total, record.train_sequences, max(scores, default=None)))
    return Search(max(run.ended for run in runs) - min(starts), runs)


def ray(question: Question, folder: Path, seed: int, trials: int) -> Search:
    """In a process of its own. Two actors that are used again, no checkpoints, no logs."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0", "PYTHONPATH": str(ROOT)}
    os.environ |= {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "CUDA_VISIBLE_DEVICES": ""}
    import optuna
    import ray as library
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    from bench.sweeps.prepare import run_config

    made = plan(question, folder, "tpe", "none", seed, trials)
    (cell,) = made.cells
    base = run_config(made, cell, cell.id, "screen", cell.space.default).model_dump()
    space, sign = cell.space, 1 if cell.task.goal == "maximize" else -1

    def train(values: dict) -> None:
        from bench.config.settings import RunConfig
        from bench.training import ledger
        from bench.training import train as training

        started, best = time.time(), float("-inf")
        ledger.prepare_process(1)
        arguments, settings = space.split(values)
        config = {"model_arguments": arguments, "train": base["train"] | settings}

        def on_report(report) -> bool:
            nonlocal best
            if report.kind == "epoch":
                best = max(best, sign * report.value)
                facts = {"started": started, "ended": time.time(), "sequences": report.steps * BATCH}
                tune.report({"score": sign * report.value, "best": best} | facts)
            return True

        record = training.run(RunConfig.model_validate(base | config), on_report)
        if not record.epochs:  # it failed at once, and Ray wants to hear something of every trial
            facts = {"started": started, "ended": time.time(), "sequences": record.train_sequences}
            tune.report({"score": -1e9, "best": float("-inf")} | facts)

    def domain(entry: dict):
        if entry["type"] == "categorical":
            return tune.choice(entry["choices"])
        if entry["type"] == "int":
            return tune.lograndint(entry["low"], entry["high"] + 1)
        return (tune.loguniform if entry.get("log") else tune.uniform)(entry["low"], entry["high"])

    library.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed)
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space={name: domain(entry) for name, entry in space.tuned.items()},
        tune_config=tune.TuneConfig(
            metric="score", mode="max", num_samples=trials, max_concurrent_trials=2, reuse_actors=True,
            search_alg=OptunaSearch(points_to_evaluate=[space.default], sampler=sampler),
            scheduler=ASHAScheduler(max_t=EPOCHS, grace_period=GRACE, reduction_factor=REDUCTION),
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "ray"), verbose=0),
    )  # fmt: skip
    last = [result.metrics for result in tuner.fit()]
    library.shutdown()
    assert len(last) == trials
    runs = [Run(m["ended"], m["sequences"], m["best"] if m["best"] > float("-inf") else None) for m in last]
    return Search(max(run.ended for run in runs) - min(metrics["started"] for metrics in last), runs)


def in_ray(question: Question, seed: int, trials: int) -> Search:
    command = [sys.executable, __file__, "ray", str(QUESTIONS.index(question)), str(seed), str(trials)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Search(found["seconds"], [Run(*run) for run in found["runs"]])


def searches(question: Question, folder: Path, seeds: int, ray_seeds: int) -> Iterator[tuple[str, list[Search]]]:
    """Yield each way of searching and what it found, a search a seed."""
    from bench.config.datasets import make_task, read

    card = read(question.dataset)
    is_sudden = make_task(card.task, question.length, card.arguments).solved is not None
    ways = {RANDOM: ("random", "none", TRIALS), "sobol": ("sobol", "none", TRIALS), "tpe": ("tpe", "none", TRIALS)}
    if not is_sudden:
        ways |= {"tpe + asha": ("tpe", "asha", TRIALS), f"tpe + asha, {MANY} trials": ("tpe", "asha", MANY)}
    # A round of all ways for each seed, so that a slow hour of the machine falls on all of them.
    found: dict[str, list[Search]] = {way: [] for way in ways}
    for seed in range(seeds):
        for way, (sampler, pruner, trials) in ways.items():
            found[way].append(bench(question, folder, sampler, pruner, seed, trials))
            print(f"{question.title}: {way}, seed {seed}: {_summary(question, found[way][-1])}", flush=True)
    if is_sudden:
        found["tpe + asha"] = []
    if find_spec("ray") is not None:
        for name, trials in ({RAY: TRIALS} | ({} if is_sudden else {f"{RAY}, {MANY} trials": MANY})).items():
            found[name] = []
            for seed in range(ray_seeds):
                found[name].append(in_ray(question, seed, trials))
                print(f"{question.title}: {name}, seed {seed}: {_summary(question, found[name][-1])}", flush=True)
    yield from found.items()


def _summary(question: Question, search: Search) -> str:
    scores = ", ".join(f"{search.best(question, share):.3f}" for share in SHARES)
    return f"{scores}; {search.sequences:,} sequences, {search.seconds:.1f} s"


def _interval(values: list[float], form: str = ".3f") -> str:
    from bench.results.stats import mean_interval

    low, high = mean_interval(values)
    return f"{sum(values) / len(values):{form}} [{low:{form}}, {high:{form}}]"


def _row(question: Question, way: str, found: list[Search], random: list[Search]) -> tuple[str, list[str]]:
    """A row of the table, and at which shares of the budget the way is told apart from random draws, and how."""
    from bench.results.stats import mean_interval

    if not found:
        return f"| {question.title} | {way} | not pruned (solve-type) | | | | | | |", []
    cells, apart = [], []
    for share in SHARES:
        cells.append(_interval([search.best(question, share) for search in found]))
        pairs = zip(found, random, strict=False)
        gains = [mine.best(question, share) - other.best(question, share) for mine, other in pairs]
        low, high = mean_interval(gains)
        if way != RANDOM and (low > 0 or high < 0):
            apart.append(f"{'better' if low > 0 else 'worse'} at {share:.0%}")
    gain = "" if way == RANDOM else _interval(gains, "+.3f")
    sequences = sum(search.sequences for search in found) / len(found)
    seconds = sum(search.seconds for search in found) / len(found)
    line = [question.title, way, str(len(found)), *cells, gain, f"{sequences:,.0f}", f"{seconds:.1f}"]
    return f"| {' | '.join(line)} |", apart


def write(found: dict[Question, dict[str, list[Search]]], began: float, words: list[str]) -> None:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    names = ["torch", "pytorch-lightning", "optuna", *(["ray"] if find_spec("ray") else [])]
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    command = " ".join(["python tests/benchmarks/search_quality.py", *words])
    text = [
        "# Search quality",
        "",
        f"`{command}`, {datetime.now(UTC):%Y-%m-%d}, {(time.time() - began) / 60:.0f} min; {cpu}, {os.cpu_count()} cores, "
        f"load average {os.getloadavg()[2]:.1f}; Python {platform.python_version()}, {versions}.",
        "",
        "The best validation score of the runs that had ended when 25, 50 and 100 % of the budget was spent: mean over "
        f"seeds and its 95 % t interval. The budget is the training sequences of {TRIALS} whole runs, so that a search "
        "that ends runs early, or solves some, has spent less after as many trials. A seed is the sampler's and the "
        "training's; the first ten draws of tpe are those of random. *Over random* is the mean difference at 100 %, "
        "paired by seed. *Seconds* go from the start of the first run to the end of the last, two at a time; where the "
        "load average is above 3, others were on the machine, and seconds say little. Ray Tune: two actors that are "
        "used again, no checkpoints, no logs, the rungs of the bench's ASHA, which besides spares the first ten "
        "trials. Scores are those of a space made wide, and of a default made mediocre, so that there is something to "
        "search for.",
        "",
        "| task | way of searching | seeds | best at 25 % | at 50 % | at 100 % | over random | sequences | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    said = []
    for question, ways in found.items():
        told = []
        for way, results in ways.items():
            line, apart = _row(question, way, results, ways[RANDOM])
            text.append(line)
            if apart:
                told.append(f"{way} ({', '.join(apart)})")
        rest = "; of the others nothing can be told" if told else "nothing can be told"
        said.append(f"- {question.title}: {'; '.join(told)}{rest}.")
    count = sum(len(SHARES) for ways in found.values() for way, results in ways.items() if results and way != RANDOM)
    text += [
        "",
        "Told apart from random draws, by an interval of the paired differences that excludes zero:",
        "",
        *said,
        "",
        f"That is {count} comparisons, of which one in twenty excludes zero by chance; with three to five seeds most "
        "differences that there may be stay hidden.",
    ]
    (HERE / "search_quality.md").write_text("\n".join(text) + "\n")


def main() -> None:
    warnings.simplefilter("ignore")
    if sys.argv[1:2] == ["ray"]:
        index, seed, trials = map(int, sys.argv[2:])
        with tempfile.TemporaryDirectory(prefix="bench-search-") as folder:
            print(json.dumps(ray(QUESTIONS[index], Path(folder), seed, trials)._asdict()))
        return
    seeds, ray_seeds = map(int, sys.argv[1:] or (5, 3))
    began, found = time.time(), {}
    with tempfile.TemporaryDirectory(prefix="bench-search-") as folder:
        for question in QUESTIONS:
            found[question] = dict(searches(question, Path(folder), seeds, ray_seeds))
    write(found, began, sys.argv[1:])


if __name__ == "__main__":
    main()
