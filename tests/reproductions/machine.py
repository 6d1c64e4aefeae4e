"""The length from which attention is slower than an LSTM of the same width (N13)."""

import math
from collections.abc import Iterator

from bench.config.settings import RunConfig
from tests.reproductions.running import Row, Settings, configured, trained

LENGTHS = (128, 256, 512, 1_024)
PUBLISHED = "about 512 (68 ms and 64 ms there; 157 and 303 at 1,024)"


def step(model: str, length: int, overrides: Settings) -> RunConfig:
    """Return the timing of one layer of width 128 on batches of 16, without a feed-forward part beside attention."""
    arguments = {"hidden_size": 128} if model == "lstm" else {"num_layers": 1, "num_heads": 4, "head_size": 32}
    train: Settings = {"batch_size": 16, "max_sequences": 16, "num_epochs": 1, "learning_rate": 1e-3, "num_val": 16}
    train |= {"num_test": 16, "embedding_size": 128} | overrides
    config = configured("copy_memory", length, model, arguments, train)
    return config.model_copy(update={"phase": "speed"})


def crossover(lstm: dict[int, float], attention: dict[int, float]) -> float:
    """Return the length at which two curves of milliseconds cross, on logarithmic scales; infinity if they do not."""
    lengths = sorted(lstm)
    gaps = [math.log(attention[length] / lstm[length]) for length in lengths]
    if gaps[0] >= 0:
        return float(lengths[0])
    for (left, right), (below, above) in zip(
        zip(lengths, lengths[1:], strict=False), zip(gaps, gaps[1:], strict=False), strict=True
    ):
        if below < 0 <= above:
            return float(left * (right / left) ** (-below / (above - below)))
    return math.inf


def n13(overrides: Settings) -> Iterator[Row]:
    times: dict[str, dict[int, float]] = {"lstm": {}, "transformer": {}}
    for length in LENGTHS:
        for model, known in times.items():
            speed = trained(step(model, length, overrides)).speed or {}
            known[length] = speed["train_step_milliseconds"]
    at = crossover(times["lstm"], times["transformer"])
    pairs = [f"{length}: {times['lstm'][length]:.0f} and {times['transformer'][length]:.0f} ms" for length in LENGTHS]
    found = f"{at:,.0f} steps (LSTM and attention at {'; '.join(pairs)})"
    what = "training step of an LSTM and of one attention layer, width 128, batch 16: length of equal times"
    yield Row("N13", what, PUBLISHED, found, "256 to 1,024", 256 <= at <= 1_024)
