"""What each default of the recipes is worth: `python tests/benchmarks/ablations.py [SETS] [--seeds 3]` prints a table.

A model is trained with the default configuration of its search space, and again with one setting as it was before the
setting became a default. Both see the same batches with the same seeds, for the length of a full quick run, and the
best validation score counts: the test split stays closed. The difference is paired by seed; its 95 % interval is that
of Student's t. Two processes train at a time.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


class Ablation(NamedTuple):
    """A dataset at a length, a model, and settings that replace the defaults, each by itself."""

    dataset: str
    length: int
    model: str
    without: dict[str, dict[str, Any]]  # name -> settings


ABLATIONS = [
    Ablation("sunspots", 132, "lstm", {
        "no normalisation of the window": {"input_normalisation": "none"},
        "last value instead of RevIN": {"input_normalisation": "last"},
        "no linear map beside": {"linear_skip": False},
        "no patches": {"patch_size": 1},
        "the summary instead of all states": {"readout": "summary"},
    }),
    Ablation("etth1", 96, "lstm", {
        "no normalisation of the window": {"input_normalisation": "none"},
        "all series jointly": {"channel_independent": False},
        "no linear map beside": {"linear_skip": False},
        "the summary instead of all states": {"readout": "summary"},
    }),
    Ablation("gunpoint", 150, "lstm", {
        "no stem": {"stem_channels": 0, "stem_stride": 1},
        "the summary alone": {"readout": "summary"},
        "constant learning rate": {"schedule": "constant", "warmup_fraction": 0.0},
    }),
    Ablation("japanese_vowels", 29, "lstm", {
        "no stem": {"stem_channels": 0, "stem_stride": 1},
        "the summary alone": {"readout": "summary"},
    }),
    Ablation("sst2", 50, "lstm", {
        "embeddings from N(0, 1)": {"embedding_std": 1.0},
        "no n-grams beside": {"linear_skip": False},
        "no dropout of embeddings": {"embedding_dropout": 0.0},
        "the summary alone": {"readout": "summary"},
    }),
    Ablation("names", 20, "lstm", {"no n-grams beside": {"linear_skip": False}}),
    Ablation("review_polarity", 256, "lstm", {"no n-grams beside": {"linear_skip": False}}),
    Ablation("ud_english", 32, "bilstm", {
        "embeddings from N(0, 1)": {"embedding_std": 1.0},
        "no suffixes and shapes": {"word_features": False},
    }),
    Ablation("nottingham", 64, "gru", {"no linear map beside": {"linear_skip": False}}),
    Ablation("jsb_chorales", 32, "gru", {"no linear map beside": {"linear_skip": False}}),
    Ablation("tiny_shakespeare", 64, "lstm", {
        "embeddings of their own in the output": {"tied_embedding": False},
        "state not carried over": {"carry_state": False},
    }),
]  # fmt: skip


def score(ablation: Ablation, values: dict[str, Any], seed: int, steps: int) -> float:
    """Train once and return the best validation score."""
    from bench.config import datasets, search_spaces
    from bench.config.budgets import BUDGETS, of_steps, train_settings
    from bench.config.settings import RunConfig
    from bench.training import train
    from bench.training.ledger import prepare_process

    prepare_process(1)
    card = datasets.read(ablation.dataset)
    task = card.at(ablation.length)
    space = search_spaces.read(ablation.model, None, task.kind)
    arguments, settings = space.split(space.default)
    work = train_settings(BUDGETS["quick"], task, settings | values)
    work = of_steps(work, min(steps, work.max_steps))
    config = RunConfig(
        sweep="", run="ablation", phase="screen", number=0, dataset=card.name, task=card.task, length=ablation.length,
        task_arguments=card.arguments, space=space.name, model=space.model, model_arguments=arguments,
        train=work, seed=seed,
    )  # fmt: skip
    record = train.run(config)
    if record.val_score is None:
        raise RuntimeError(f"{ablation.dataset}, {values}: {record.cause}: {record.message}")
    return record.val_score


def rows(ablation: Ablation, seeds: int, steps: int, pool: concurrent.futures.Executor) -> list[str]:
    """Return the lines of a dataset's table."""
    from scipy import stats

    from bench.config import datasets

    task = datasets.read(ablation.dataset).at(ablation.length)
    sign = 1 if task.goal == "maximize" else -1
    variants = {"as it is": {}} | ablation.without
    found = {
        name: [pool.submit(score, ablation, values, seed, steps) for seed in range(seeds)]
        for name, values in variants.items()
    }
    scores = {name: [future.result() for future in futures] for name, futures in found.items()}
    lines = []
    for name, values in scores.items():
        gains = [sign * (with_it - without) for with_it, without in zip(scores["as it is"], values, strict=True)]
        mean, gain = statistics.fmean(values), ""
        if name != "as it is":
            half = stats.t.ppf(0.975, seeds - 1) * statistics.stdev(gains) / seeds**0.5 if seeds > 1 else float("nan")
            gain = f"{statistics.fmean(gains):+.3f} [{statistics.fmean(gains) - half:+.3f}, {statistics.fmean(gains) + half:+.3f}]"
        where = f"{ablation.dataset} {ablation.length}, {ablation.model}"
        lines.append(f"| {where} | {task.metric} | {name} | {mean:.3f} | {gain} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", nargs="*", help="datasets; by default all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10**6, help="of a run at most")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    import torch

    print(f"{os.cpu_count()} cores, torch {torch.__version__}, {options.seeds} seeds, {time.strftime('%Y-%m-%d')}\n")
    print("| data, model | metric | setting | mean on validation | gain of the default |\n|---|---|---|---|---|")
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(options.workers, mp_context=context) as pool:
        for ablation in ABLATIONS:
            if not options.sets or ablation.dataset in options.sets:
                print("\n".join(rows(ablation, options.seeds, options.steps, pool)), flush=True)


if __name__ == "__main__":
    main()
