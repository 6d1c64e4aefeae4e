"""Characters of Shakespeare (N10, N11) and chords of Bach (N12)."""

from collections.abc import Iterator
from typing import Any

from bench.config.settings import RunConfig
from tests.reproductions.running import Row, Settings, configured, of_batch, tested, trained, within

# N10, and N11: https://github.com/karpathy/nanoGPT


def characters(model: str, arguments: dict[str, Any], length: int, train: dict[str, Any]) -> RunConfig:
    settings: Settings = {"embedding_size": 128, "num_val": 100_000, "num_test": 1} | train
    config = configured("tiny_shakespeare", length, model, arguments, settings)
    # Validation on the last tenth, as published, without the 223 characters that the bench needs for a test split.
    return config.model_copy(update={"task_arguments": config.task_arguments | {"splits": [0.9, 0.0998, 0.0002]}})


LSTM_384 = {"hidden_size": 384, "forget_bias": 1.0}
# The bench has no learned positions; these are the closest: added to the input by position.
TRANSFORMER = {"num_layers": 4, "num_heads": 4, "head_size": 32, "position": "sinusoidal"}


def same_size(model: str, overrides: Settings) -> RunConfig:
    arguments = LSTM_384 if model == "lstm" else TRANSFORMER
    train: Settings = {"max_sequences": 3_000 * 32, "batch_size": 32, "num_epochs": 12, "warmup_fraction": 1 / 30}
    train |= {"learning_rate": 1e-3, "schedule": "cosine", "weight_decay": 0.1, "gradient_clip": 1.0}
    return characters(model, arguments, 128, train | overrides)


def small_gpt(overrides: Settings) -> RunConfig:
    train: Settings = {"max_sequences": 2_000 * 12, "batch_size": 12, "num_epochs": 8, "warmup_fraction": 0.05}
    train |= {"learning_rate": of_batch(1e-3, 12), "schedule": "cosine", "weight_decay": 0.1, "gradient_clip": 1.0}
    return characters("transformer", TRANSFORMER, 64, train | overrides)


def n10_lstm(overrides: Settings) -> Iterator[Row]:
    yield _nats("N10", "characters: LSTM, 3,000 steps", "822,849", 1.618, 0.03, same_size("lstm", overrides))


def n10_transformer(overrides: Settings) -> Iterator[Row]:
    config = same_size("transformer", overrides)
    yield _nats("N10", "characters: Transformer, 3,000 steps", "826,433", 1.620, 0.03, config)


def n11(overrides: Settings) -> Iterator[Row]:
    yield _nats("N11", "characters: nanoGPT for a CPU, 2,000 steps", "", 1.88, 0.05, small_gpt(overrides))


def _nats(target: str, what: str, weights: str, published: float, tolerance: float, config: RunConfig) -> Row:
    record = trained(config)
    nats = {epoch.steps: epoch.val["nats"] for epoch in record.epochs}
    last = nats[max(nats)]
    curve = ", ".join(f"{steps}: {nats[steps]:.2f}" for steps in (250, 500, 1_000) if steps in nats)
    found = f"{last:.3f} ({record.num_parameters:,} weights; on the way {curve})"
    known = f"{published:g} nats" + (f" ({weights} weights)" if weights else "")
    return Row(target, what, known, found, f"± {tolerance:g}", within(last, published, tolerance))


# N12: Bai et al. 2018, https://arxiv.org/abs/1803.01271; about 300,000 weights each

CHORALES = {"lstm": (222, 8.45), "gru": (262, 8.43), "rnn": (465, 8.91)}
"""The hidden size that gives 300,000 weights, and the published negative log likelihood of a frame."""


def chorales(model: str, overrides: Settings) -> RunConfig:
    hidden_size, _ = CHORALES[model]
    # A chorale a step and at most 100 passes, as published, with a validation after each.
    train: Settings = {"max_sequences": 229 * 100, "batch_size": 1, "num_epochs": 100, "gradient_clip": 0.2}
    train |= {"learning_rate": of_batch(1e-3, 1), "num_val": 1_000, "num_test": 1_000}
    return configured("jsb_chorales", 160, model, {"hidden_size": hidden_size}, train | overrides)


def n12(overrides: Settings) -> Iterator[Row]:
    found = {model: tested(chorales(model, overrides))["frame_nats"] for model in CHORALES}
    for model, (_, published) in CHORALES.items():
        what = f"JSB chorales, {model} of 300,000 weights: nats a frame on the test split"
        is_met = within(found[model], published, 0.15)
        yield Row("N12", what, f"{published:g}", f"{found[model]:.3f}", "± 0.15", is_met)
    gap = found["rnn"] - found["lstm"]
    yield Row("N12", "... RNN behind the LSTM", "0.46", f"{gap:+.3f}", "≥ 0.2", gap >= 0.2)
