"""The training settings that all baselines share: each changes training, and none looks at padding."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.config.datasets import make_task, task_of
from bench.config.settings import TUNABLE
from bench.results.record import Epoch
from bench.training import layers, train, watch
from bench.training.datamodule import to_tensors
from bench.training.module import SequenceModule
from tests.makers import aligned, declared, hourly, run_config, tagged, write

SHORT = {"max_sequences": 160, "batch_size": 16, "num_epochs": 2}


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[str, dict]:
    """The task of a run by kind."""
    folder = tmp_path_factory.mktemp("data")
    text = write(folder, "foxes.txt", "the quick brown fox jumps over the lazy dog\n" * 30)
    load = hourly(folder / "load.csv", 200)
    table = pd.read_csv(load)
    table.assign(b=table["load"].shift(5, fill_value=0.5) * 3, c=table["load"].rolling(3, 1).max()).to_csv(load)
    forecast = {"files": [declared(load)], "target": ["load", "b"], "features": ["c"], "horizon": 3}
    tags = tagged(folder / "words.conllu")
    pairs = [declared(path) for path in aligned(folder)]
    return {
        "latch": {"dataset": "latch"},
        "adding": {"dataset": "adding", "length": 30},
        "tagging": {"task": "tagging", "length": 5, "task_arguments": {"files": [declared(tags)]}},
        "forecast": {"task": "forecasting", "length": 12, "task_arguments": forecast},
        "language": {"task": "language_modelling", "length": 12, "task_arguments": {"files": [declared(text)]}},
        "translation": {"task": "translation", "length": 9, "task_arguments": {"files": pairs}},
    }


EFFECTS = [
    ("latch", {"learning_rate": 1e-2}),
    ("latch", {"gradient_clip": 1e-2}),
    ("latch", {"weight_decay": 0.5}),
    ("latch", {"schedule": "cosine"}),
    ("latch", {"warmup_fraction": 0.5}),
    ("latch", {"dropout": 0.5}),
    ("latch", {"readout": "mean"}),
    ("latch", {"readout": "max"}),
    ("latch", {"readout": "all"}),
    ("latch", {"embedding_size": 8}),
    ("latch", {"embedding_std": 0.1}),
    ("latch", {"embedding_dropout": 0.5}),
    ("language", {"tied_embedding": True}),
    ("language", {"carry_state": True}),
    ("tagging", {"word_features": True}),
    ("translation", {"attention": True}),
    ("adding", {"stem_channels": 4}),
    ("adding", {"stem_channels": 4, "stem_stride": 2}),
    ("forecast", {"look_back": 2}),
    ("forecast", {"input_normalisation": "last"}),
    ("forecast", {"input_normalisation": "revin"}),
    ("forecast", {"channel_independent": True}),
    ("latch", {"linear_skip": True}),
    ("forecast", {"linear_skip": True}),
    ("forecast", {"patch_size": 4}),
    ("forecast", {"readout": "flat"}),
]
"""Settings, the last of which has an effect, and the kind of task."""


@pytest.fixture(scope="module")
def before(bases):
    """Return the losses of a kind of task without the last of some settings; each configuration is trained once."""
    known: dict[str, list[float]] = {}

    def of(kind: str, settings: dict) -> list[float]:
        key = repr((kind, settings))
        if key not in known:
            known[key] = losses(bases[kind], **settings)
        return known[key]

    return of


def losses(base: dict, **settings) -> list[float]:
    record = train.run(run_config(**base, settings=SHORT | settings))
    assert record.state == "complete", record.message
    return [epoch.train_loss for epoch in record.epochs]


@pytest.mark.parametrize(("kind", "change"), EFFECTS, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_a_setting_changes_training(bases, before, kind, change):
    *others, setting = change
    assert losses(bases[kind], **change) != before(kind, {name: change[name] for name in others})


def test_the_effect_of_every_tunable_setting_is_tested():
    assert {list(change)[-1] for _, change in EFFECTS} == TUNABLE


# Layers


@pytest.mark.parametrize("kind", ["mean", "max", "all"])
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4), padding=st.integers(0, 4))
def test_padding_changes_no_readout(kind, lengths, padding):
    encoder = SimpleNamespace(
        summary_size=3, output_size=3, summary=lambda h, length: h[torch.arange(len(h)), length - 1]
    )
    readout, length_B = layers.Readout(kind, encoder, 9), torch.tensor(lengths)
    h_BLH = torch.randn(len(lengths), max(lengths) + padding, 3, generator=torch.Generator().manual_seed(0))
    together = readout(h_BLH, length_B)
    assert together.shape == (len(lengths), readout.size)
    for row, steps in enumerate(lengths):
        alone = readout(h_BLH[row : row + 1, :steps], torch.tensor([steps]))
        torch.testing.assert_close(together[row : row + 1], alone)


def test_the_readout_of_all_is_last_mean_and_maximum():
    encoder = SimpleNamespace(summary_size=1, output_size=1, summary=lambda h, length: h[:, 1])
    found = layers.Readout("all", encoder, 3)(torch.tensor([[[4.0], [-2.0], [99.0]]]), torch.tensor([2]))
    assert found.tolist() == [[-2.0, 1.0, 4.0]]


def test_a_tied_output_layer_shares_the_weights_of_the_embedding(bases):
    base = bases["language"]
    task = make_task(base["task"], 12, base["task_arguments"])
    untied, tied = (
        SequenceModule(task, run_config(**base, settings={"tied_embedding": tied, "embedding_size": size}))
        for tied, size in ((False, 8), (True, 8))
    )
    assert tied.head.weight is tied.embedding.weight
    difference = sum(untied.parameter_counts().values()) - sum(tied.parameter_counts().values())
    assert difference == 8 * task.output_size
    wide = SequenceModule(task, run_config(**base, settings={"tied_embedding": True, "embedding_size": 6}))
    assert wide.head.projection.weight.shape == (6, 8)
    assert len({value.data_ptr() for value in wide.state_dict().values()}) == len(wide.state_dict())


def test_embeddings_start_with_the_deviation_asked_for():
    module = SequenceModule(make_task("latch", 8, {}), run_config(settings={"embedding_std": 0.1}))
    reference = SequenceModule(make_task("latch", 8, {}), run_config())
    assert module.embedding.weight.std().item() == pytest.approx(0.1, rel=0.3)
    assert reference.embedding.weight.std().item() == pytest.approx(1.0, rel=0.3)


def test_dropout_touches_the_outputs_of_the_encoder_and_not_its_inputs():
    module = SequenceModule(make_task("adding", 30, {}), run_config(dataset="adding", settings={"dropout": 0.9}))
    seen = []
    module.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x, length_B, *_ = to_tensors(module.task.train_batch(0, 0, 4))
    first, second = module(x, length_B), module(x, length_B)
    assert not torch.equal(first, second)
    assert torch.equal(seen[0], x)


# Stems


@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    padding=st.integers(0, 5),
    stride=st.integers(1, 6),
    garbage=st.floats(-1e3, 1e3),
)
def test_padding_changes_no_output_of_a_stem(lengths, padding, stride, garbage):
    torch.manual_seed(0)
    stem, length_B = layers.Stem(2, 3, stride).double(), torch.tensor(lengths)
    steps = max(lengths) + padding
    x_BLD = torch.randn(len(lengths), steps, 2, dtype=torch.double)
    for row, length in enumerate(lengths):
        x_BLD[row, length:] = garbage
    h_BLH, strided_B = stem(x_BLD, length_B)
    assert h_BLH.shape == (len(lengths), stem.steps(steps), 3)
    for row, length in enumerate(lengths):
        alone, (strided,) = stem(x_BLD[row : row + 1, :length], length_B[row : row + 1])
        assert strided == strided_B[row] == alone.shape[1] == math.ceil(length / stride)
        torch.testing.assert_close(h_BLH[row : row + 1, :strided], alone)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_an_encoder_behind_a_stem_sees_fewer_steps(stride):
    config = run_config("speed", dataset="adding", length=30, settings={"stem_channels": 4, "stem_stride": stride})
    task = task_of(config)
    module = SequenceModule(task, config)
    steps, width = math.ceil(task.num_steps / stride), module.stem.kernel
    assert module.encoder_steps == steps
    assert module.encoder.forward_layers[0].input_size == 4
    assert not module.can_stream
    record = train.run(config)
    assert record.state == "complete", record.message
    assert "streaming_p50_milliseconds" not in record.speed
    convolution, lstm, head = 2 * 4 * width * task.input_size, 2 * 4 * 8 * (4 + 8), 2 * 8 * task.output_size
    assert record.speed["inference_flops_per_sequence"] == steps * (convolution + lstm) + head


@pytest.mark.parametrize("kind", ["latch", "tagging", "forecast", "language"])
def test_only_sequences_of_numbers_with_one_answer_have_a_stem(bases, kind):
    config = run_config(**bases[kind], settings={"stem_channels": 4})
    assert SequenceModule(task_of(config), config).stem is None


# Windows of forecasts

TASK = SimpleNamespace(num_targets=2, horizon=3, num_steps=10, input_size=3)
WINDOWS = st.fixed_dictionaries(
    {
        "input_normalisation": st.sampled_from(["none", "last", "revin"]),
        "channel_independent": st.booleans(),
        "linear_skip": st.booleans(),
        "patch_size": st.sampled_from([1, 3, 5, 10, 99]),
    }
)


class Forecaster(torch.nn.Module):
    """A window around the smallest encoder that reads everything: a linear map of all that it is given."""

    def __init__(self, settings: dict, task=TASK) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.window = layers.Window(task, run_config(settings=settings).train)
        self.map = torch.nn.Linear(self.window.steps * self.window.width, self.window.output_size)
        for parameter in self.window.parameters():
            torch.nn.init.uniform_(parameter, 0.5, 1.0)
        self.double()

    def forward(self, x_BLD, length_B):
        inputs, steps, context = self.window(x_BLD, length_B)
        assert inputs.shape[1:] == (self.window.steps, self.window.width)
        assert (steps == self.window.steps).all()
        assert len(steps) == len(inputs)
        return self.window.restore(self.map(inputs.flatten(1)), context)


def windows(count: int = 2, steps: int = 10) -> torch.Tensor:
    return torch.randn(count, steps, 3, dtype=torch.double, generator=torch.Generator().manual_seed(1))


@given(settings=WINDOWS, lengths=st.lists(st.integers(1, 14), min_size=1, max_size=3), padding=st.integers(0, 3))
def test_padding_changes_no_forecast_and_a_short_window_begins_with_its_first_row_repeated(settings, lengths, padding):
    model = Forecaster(settings)
    x_BLD, length_B = windows(len(lengths), max(lengths) + padding), torch.tensor(lengths)
    together = model(x_BLD, length_B)
    assert together.shape == (len(lengths), 6)
    for row, steps in enumerate(lengths):
        alone = x_BLD[row : row + 1, :steps]
        filled = torch.cat([alone[:, :1].expand(-1, 20, -1), alone], dim=1)[:, -10 if steps <= 10 else -20 :]
        for x in (alone, filled):
            found = model(x, torch.tensor([x.shape[1]]))
            torch.testing.assert_close(together[row : row + 1], found)


@given(
    settings=WINDOWS,
    shift=st.floats(-9, 9).filter(lambda shift: shift == 0 or abs(shift) > 1e-3),
    scale=st.floats(0.5, 9),
)
def test_a_normalised_forecast_moves_with_its_window(settings, shift, scale):
    model, x_BLD, length_B = Forecaster(settings), windows(), torch.tensor([10, 10])
    moved = x_BLD.clone()
    moved[..., :2] += shift
    before = model(x_BLD, length_B)
    is_equal = torch.allclose(model(moved, length_B), before + shift, atol=1e-6)
    assert is_equal == (settings["input_normalisation"] != "none" or shift == 0)
    if settings["input_normalisation"] == "revin":
        moved[..., :2] = x_BLD[..., :2] * scale
        torch.testing.assert_close(model(moved, length_B), before * scale, rtol=1e-3, atol=1e-3)


@given(settings=WINDOWS)
def test_only_a_model_of_each_series_treats_targets_alike_and_apart(settings):
    model, x_BLD, length_B = Forecaster(settings), windows(), torch.tensor([10, 10])
    forecast_BHT = model(x_BLD, length_B).view(2, 3, 2)
    swapped = model(x_BLD[..., [1, 0, 2]], length_B).view(2, 3, 2)[..., [1, 0]]
    assert torch.allclose(forecast_BHT, swapped) == settings["channel_independent"]
    other = x_BLD.clone()
    other[..., 1] = 0
    changed_BHT = model(other, length_B).view(2, 3, 2)
    assert torch.allclose(forecast_BHT[..., 0], changed_BHT[..., 0]) == settings["channel_independent"]
    other = x_BLD.clone()
    other[..., 2] += 1
    assert not torch.allclose(forecast_BHT, model(other, length_B).view(2, 3, 2))  # features reach every target


def test_a_linear_skip_begins_with_the_last_value_repeated():
    for kind in ("none", "last", "revin"):
        settings = {"input_normalisation": kind, "linear_skip": True}
        window = layers.Window(TASK, run_config(settings=settings).train).double()
        _, _, context = window(windows(), torch.tensor([10, 10]))
        found = window.restore(torch.zeros(2, 6, dtype=torch.double), context)
        torch.testing.assert_close(found.view(2, 3, 2), windows()[:, -1:, :2].expand(-1, 3, -1), rtol=1e-4, atol=1e-4)


def test_a_constant_window_is_normalised_too():
    model = Forecaster({"input_normalisation": "revin"})
    assert model(torch.ones(1, 10, 3, dtype=torch.double), torch.tensor([10])).isfinite().all()


@pytest.mark.parametrize(("patch", "steps"), [(1, 12), (4, 3), (5, 3), (12, 1), (50, 1)])
def test_an_encoder_sees_patches_of_the_window(bases, patch, steps):
    config = run_config(**bases["forecast"], settings={"patch_size": patch, "channel_independent": True})
    module = SequenceModule(task_of(config), config)
    assert module.encoder_steps == steps
    assert module.encoder.forward_layers[0].input_size == 2 * min(patch, 12)  # the target and a feature
    assert module.state_size == 2 * module.encoder.state_size(steps)
    assert not module.can_stream
    assert sum(module.parameter_counts().values()) == sum(weight.numel() for weight in module.parameters())


def test_operations_and_speed_of_a_forecast_by_patches(bases):
    config = run_config("speed", **bases["forecast"], settings={"patch_size": 4, "channel_independent": True})
    record = train.run(config)
    assert record.state == "complete", record.message
    lstm, head = 2 * 4 * 8 * (2 * 4 + 8) * 3, 2 * 8 * 3
    assert record.speed["inference_flops_per_sequence"] == 2 * (lstm + head)  # of two targets
    assert record.speed["latency_p50_milliseconds"] > 0
    assert "streaming_p50_milliseconds" not in record.speed


def test_the_look_back_of_a_run_reaches_its_task(bases):
    config = run_config(**bases["forecast"], settings={"look_back": 3})
    assert task_of(config).num_steps == 36
    assert train.run(config).asked.num_steps == 36
    assert task_of(run_config(settings={"look_back": 3})).num_steps == 9  # latch has no such argument


def test_a_flat_readout_is_of_the_fixed_windows_of_forecasts_alone(bases):
    config = run_config(**bases["forecast"], settings={"readout": "flat", "patch_size": 4})
    assert SequenceModule(task_of(config), config).readout.size == 3 * 8
    record = train.run(run_config(settings={"readout": "flat"}))
    assert record.state == "failed"
    assert record.message.endswith("readout: 'flat' is for forecasts only; choose another in the search space")


# Features of words


def test_the_features_of_words_are_added_to_the_words(bases):
    config = run_config(**bases["tagging"], settings={"word_features": True, "embedding_size": 4})
    task = task_of(config)
    module = SequenceModule(task, config)
    x, *_ = to_tensors(task.split("val", 3))
    assert x.shape[2] == 1 + len(task.feature_sizes) == 5
    tables = [module.embedding, *module.features]
    expected = sum(table.weight[x[..., place]] for place, table in enumerate(tables))
    torch.testing.assert_close(module.embed(x), expected)
    assert module.parameter_counts()["embedding"] == 4 * (task.input_size + sum(task.feature_sizes))


def test_speed_and_operations_of_a_tagger_with_features(bases):
    plain, featured = (
        train.run(run_config("speed", **bases["tagging"], settings={"word_features": on})).speed for on in (False, True)
    )
    assert featured.keys() == plain.keys()  # it streams as the plain one does
    assert featured["inference_flops_per_sequence"] == plain["inference_flops_per_sequence"]  # a table costs no product


# The optimiser


def optimizer(**settings) -> torch.optim.Optimizer:
    module = SequenceModule(make_task("latch", 8, {}), run_config(settings=settings))
    return module.configure_optimizers()


@pytest.mark.parametrize("batch_size", [8, 32, 128])
def test_the_learning_rate_grows_with_the_square_root_of_the_batch(batch_size):
    (group,) = optimizer(learning_rate=3e-3, batch_size=batch_size).param_groups
    assert group["lr"] == pytest.approx(3e-3 * math.sqrt(batch_size / 32))


def test_weights_decay_but_biases_and_norms_do_not():
    decayed, kept = optimizer(weight_decay=0.1).param_groups
    assert {weight.dim() for weight in decayed["params"]} == {2}
    assert {weight.dim() for weight in kept["params"]} == {1}
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)


# The end of a run, and its best validation


def test_a_run_without_a_better_validation_ends_after_its_patience():
    settings = {"max_sequences": 16 * 20, "num_epochs": 20, "learning_rate": 1e-12}
    record = train.run(run_config(settings=settings | {"patience": 0.25}))
    assert record.state == "complete"
    assert len(record.epochs) == record.best_epoch + 1 + 5 < 20
    assert len(train.run(run_config(settings=settings)).epochs) == 20


def test_patience_counts_from_the_best_validation():
    history = watch.History(make_task("latch", 8, {}), keeps_weights=False)
    stale = []
    for score in (0.5, 0.6, 0.6, 0.7, 0.6, 0.7, 0.7):
        history.add(epoch(score), module=None)
        stale.append(history.is_stale(2))
    assert stale == [False, False, False, False, False, True, True]


def epoch(score: float, val_loss: float | None = None) -> Epoch:
    return Epoch(steps=1, sequences=1, train_seconds=1.0, train_loss=1.0, val={"accuracy": score}, val_loss=val_loss)


@pytest.mark.parametrize(
    ("epochs", "best"),
    [
        ([(0.9, 0.5), (1.0, 0.4), (1.0, 0.2), (1.0, 0.3)], 2),
        ([(1.0, None), (1.0, 0.3)], 1),  # a record of an earlier version has no loss
        ([(1.0, None), (1.0, None)], 0),
        ([(0.9, 0.1), (1.0, 0.9)], 1),
    ],
)
def test_ties_of_the_metric_are_broken_by_the_loss(epochs, best):
    history = watch.History(make_task("latch", 8, {}), keeps_weights=False)
    for score, loss in epochs:
        history.add(epoch(score, loss), module=None)
    assert history.best_epoch == best


@pytest.mark.parametrize("dataset", ["latch", "parity", "adding"])
def test_the_validation_loss_is_the_mean_over_all_targets_of_the_split(dataset):
    config = run_config(dataset=dataset, length=30, settings={"max_sequences": 16, "num_epochs": 1})
    record = train.run(config)
    task = make_task(dataset, 30, {})
    torch.manual_seed(0)
    module = SequenceModule(task, config)
    x, length_B, y, mask = to_tensors(task.train_batch(0, 0, 16))
    rate = config.train.learning_rate * math.sqrt(1 / 2)
    trained = torch.optim.Adam(module.parameters(), lr=rate)
    module.loss((x, length_B, y, mask)).backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    trained.step()
    expected = module.eval().loss(to_tensors(task.split("val", 60))).item()
    assert record.val_loss == record.epochs[0].val_loss == pytest.approx(expected, rel=1e-4)
