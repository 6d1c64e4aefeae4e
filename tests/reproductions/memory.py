"""Memory over long lags: latch, adding, temporal order and parity (N1, N4, N7, N8, N9)."""

import statistics
from collections.abc import Iterator

from bench.config import search_spaces
from bench.config.settings import RunConfig
from tests.reproductions.running import Row, Settings, configured, of_batch, tested, trained

# N1 and N10: "Physics of AI", sections 29 and 34, which also give the widths below

BIASES = ("default", 1.0, 3.0)
LAGS = (20, 40, 80, 160)
SOLVED = {"default": [], 1.0: [20], 3.0: [20, 40, 80]}
"""Lags that both published seeds solved, by forget bias; at the other lags both were at chance."""


def latch(bias: float | str, lag: int, seed: int, overrides: Settings) -> RunConfig:
    # 3,000 steps; a validation every 50 of them, so that a run that solves ends soon after. The published batch is unknown.
    train: Settings = {"max_sequences": 3_000 * 64, "batch_size": 64, "num_epochs": 60, "num_val": 500, "num_test": 1}
    train |= {"learning_rate": of_batch(3e-3, 64), "gradient_clip": 1.0, "embedding_size": 32}
    model = {"hidden_size": 64, "forget_bias": bias}
    return configured("latch_clean", lag, "lstm", model, train | overrides, seed)


def pattern(solved: dict[tuple[float | str, int], list[bool]]) -> tuple[int, str]:
    """Return how many cells agree with the published ones on every seed, and the table in one line."""
    equal = sum(all(seed == (lag in SOLVED[bias]) for seed in seeds) for (bias, lag), seeds in solved.items())
    lines = []
    for bias in dict.fromkeys(bias for bias, _ in solved):
        shares = [f"{lag}: {sum(seeds)} of {len(seeds)}" for (b, lag), seeds in solved.items() if b == bias]
        lines.append(f"{bias if bias == 'default' else f'+{bias:g}'}: {', '.join(shares)}")
    return equal, "; ".join(lines)


def n1(overrides: Settings) -> Iterator[Row]:
    solved: dict[tuple[float | str, int], list[bool]] = {}
    for bias in BIASES:
        for lag in LAGS:
            records = [trained(latch(bias, lag, seed, overrides)) for seed in (1, 2)]
            solved[bias, lag] = [bool(record.solved) for record in records]
    equal, found = pattern(solved)
    published = "default: none; +1: 20; +3: 20, 40, 80"
    what = "latch: lags that an LSTM of 64 solves in 3,000 steps, by forget bias, two seeds"
    yield Row("N1", what, published, f"{equal} of 12 cells; {found}", "10 of 12 cells", equal >= 10)


# N8: Hochreiter & Schmidhuber, 1997, experiment 4


LSTM = search_spaces.read("lstm")


def adding(max_sequences: int, num_epochs: int, seed: int, overrides: Settings) -> RunConfig:
    model, train = LSTM.split(LSTM.default)
    # The learning rate falls to a tenth: the published stop, 2,000 right in a row, asks for small errors.
    train |= {"schedule": "cosine"}
    train |= {"max_sequences": max_sequences, "batch_size": 32, "num_epochs": num_epochs}
    return configured("adding_hs97", 100, "lstm", model, train | {"num_val": 500, "num_test": 2_560} | overrides, seed)


def n8(overrides: Settings) -> Iterator[Row]:
    seeds = range(3)
    # With two validations a run cannot end early by the task's rule, R2 of 0.99 twice in a row.
    for budget in (74_000, 400_000):
        right = [round(2_560 * tested(adding(budget, 2, seed, overrides))["hit_rate"]) for seed in seeds]
        found = f"{', '.join(f'{count:,}' for count in right)} of 2,560"
        what = f"adding as in 1997, T=100, {budget:,} sequences: right answers, three seeds"
        accepted = "median ≥ 2,559 at ≤ 400,000 sequences"
        yield Row("N8", what, "2,559 of 2,560", found, accepted, statistics.median(right) >= 2_559)
    until = [trained(adding(400_000, 100, seed, overrides)).sequences_to_solve for seed in seeds]
    found = f"R² ≥ 0.99 after {', '.join('never' if count is None else f'{count:,}' for count in until)}"
    quick = [count for count in until if count is not None]
    what = "the same: sequences to solve, three seeds"
    yield Row("N8", what, "74,000", found, "two of three ≤ 400,000", len(quick) >= 2)


# N4: Delétang et al. 2023, trained on lengths up to 40


def parity(model: str, seed: int, overrides: Settings) -> RunConfig:
    space = search_spaces.read(model)
    arguments, train = space.split(space.default)
    train |= {"max_sequences": 200_000, "batch_size": 32, "num_epochs": 20, "num_val": 500, "num_test": 2_000}
    return configured("parity", 40, model, arguments, train | overrides, seed)


def n4(overrides: Settings) -> Iterator[Row]:
    published = {"rnn": "100", "lstm": "100", "transformer": "52.0"}
    for model, known in published.items():
        scores = [100 * tested(parity(model, seed, overrides))["accuracy"] for seed in range(3)]
        best = max(scores)  # the published scores are the best of several runs
        is_met = best <= 65 if model == "transformer" else best >= 95
        found = f"{', '.join(f'{score:.1f}' for score in scores)} % on lengths 41 to 256"
        rule = "best of three ≤ 65 %" if model == "transformer" else "best of three ≥ 95 %"
        what = f"parity, trained on lengths up to 40: {model} on longer sequences, three seeds"
        yield Row("N4", what, f"{known} % on lengths 41 to 500", found, rule, is_met)


# N7 and N9: Hochreiter & Schmidhuber, 1997, experiments 6 and 2c


def long_lag(dataset: str, max_sequences: int, seed: int, overrides: Settings) -> RunConfig:
    model, train = LSTM.split(LSTM.default)
    train |= {"max_sequences": max_sequences, "batch_size": 32, "num_epochs": 100, "num_val": 500, "num_test": 2_560}
    return configured(dataset, 100, "lstm", model, train | overrides, seed)


def n7(overrides: Settings) -> Iterator[Row]:
    for dataset, what, published in (
        ("temporal_order", "6a, two symbols", "31,390 sequences, 1 of 2,560 wrong"),
        ("temporal_order_3", "6b, three symbols", "571,100 sequences, 2 of 2,560 wrong"),
    ):
        records = [trained(long_lag(dataset, 1_000_000, seed, overrides)) for seed in range(3)]
        until = [record.sequences_to_solve for record in records]
        found = f"accuracy ≥ .99 after {', '.join('never' if count is None else f'{count:,}' for count in until)}"
        solved = [count for count in until if count is not None]
        row = f"temporal order {what}, T=100: sequences to solve, three seeds"
        yield Row("N7", row, published, found, "two of three ≤ 1,000,000", len(solved) >= 2)


def n9(overrides: Settings) -> Iterator[Row]:
    records = [trained(long_lag("latch_hs97", 200_000, seed, overrides)) for seed in range(5)]
    until = [record.sequences_to_solve for record in records]
    found = f"solved after {', '.join('never' if count is None else f'{count:,}' for count in until)}"
    is_met = sum(count is not None for count in until) >= 4
    what = "latch 2c, lag 100, 50 distractors: sequences to solve, five seeds"
    yield Row("N9", what, "31,000 (100 distractors), 20 of 20 trials", found, "4 of 5 seeds ≤ 200,000", is_met)
