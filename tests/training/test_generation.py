"""Texts from a model: streaming says what the whole pass says; measures by hand."""

import hashlib
import json
import math
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.config.contracts import Sampling
from bench.errors import DataError, DeclarationError
from bench.tasks.language_modelling import Predictor, Task
from bench.training import generation
from bench.training.module import SequenceModule
from tests.makers import run_config

TEXT = "the quick brown fox jumps over the lazy dog\nand runs away, as foxes do.\n" * 12
MODELS = {
    "rnn": {"hidden_size": 16},
    "lstm": {"hidden_size": 16},
    "gru": {"hidden_size": 16},
    "transformer": {"num_layers": 2, "num_heads": 2, "head_size": 8},
    "mlp": {"hidden_size": 16},
}
every_model = pytest.mark.parametrize("model", MODELS)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "foxes.txt"
    path.write_text(TEXT)
    data = path.read_bytes()
    return [{"path": str(path), "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}]


def configure(files, model, length=24, unit="character"):
    return run_config(
        "confirm", dataset="foxes", task="language_modelling", length=length, space=model,
        task_arguments={"files": files, "unit": unit}, model_arguments=MODELS[model],
        settings={"max_sequences": 320, "num_epochs": 1, "num_val": 2, "num_test": 2, "learning_rate": 0.02},
    )  # fmt: skip


def make(files, model, length=24, unit="character"):
    torch.manual_seed(0)
    task = Task(length, files=files, unit=unit)
    return SequenceModule(task, configure(files, model, length, unit)), task


def sample(module, meta, prompt, num_tokens, temperature, seed):
    """The text that continues a prompt, as the predictor of the task makes it."""
    model = SimpleNamespace(generate=lambda row, by, never: generation.generate(module, row[None], *by, never)[0])
    predictor = Predictor({}, meta)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompts.jsonl"
        path.write_text(json.dumps({"prompt": prompt}) + "\n")
        new = predictor.read(path, module.task.num_steps)
    (text,) = predictor.answer(model, new, Sampling(num_tokens, temperature, seed))["text"]
    return text


# Texts


@every_model
def test_streaming_at_temperature_0_is_the_argmax_of_the_whole_pass(files, model):
    module, task = make(files, model)
    prompt = task.split("val", 2).x[:, :5]
    found = generation.generate(module, prompt, 19, 0.0, seed=0)
    whole = torch.from_numpy(np.concatenate([prompt, found], axis=1))
    module.eval()
    with torch.no_grad():
        answers = module(whole, torch.tensor([24, 24]))[:, 4:-1]
    answers[..., 0] = -math.inf  # <unk> is never written
    assert np.array_equal(answers.argmax(-1).numpy(), found)


@every_model
def test_a_low_temperature_comes_near_the_argmax(files, model):
    module, task = make(files, model)
    prompt = task.split("val", 2).x[:, :5]
    near, exact = (generation.generate(module, prompt, 19, temperature, seed=3) for temperature in (1e-6, 0.0))
    assert np.array_equal(near, exact)


def test_temperature_1_draws_by_the_probabilities_of_the_model(files):
    module, task = make(files, "lstm")
    prompt = np.repeat(task.split("val", 1).x[:, :5], 20_000, axis=0)
    drawn = generation.generate(module, prompt, 1, 1.0, seed=0)
    module.eval()
    with torch.no_grad():
        answers = module(torch.from_numpy(prompt[:1]), torch.tensor([5]))[0, -1]
    answers[0] = -math.inf
    shares = np.bincount(drawn[:, 0], minlength=task.output_size) / len(prompt)
    assert shares == pytest.approx(answers.softmax(-1).numpy(), abs=4 * 0.5 / len(prompt) ** 0.5)


def test_a_text_is_a_function_of_its_seed(files):
    module, task = make(files, "gru")
    texts = [sample(module, task.meta, "the ", 60, 1.0, seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0]) == 60


def test_attention_goes_on_beyond_the_length_it_was_trained_on(files):
    module, task = make(files, "transformer", length=16)
    seen = []
    module.encoder.register_forward_hook(lambda _, inputs, found: seen.append(found[1][0][0].shape[2]))
    assert len(sample(module, task.meta, "the quick brown fox jumps", 50, 0.8, 0)) == 50
    assert max(seen) == 16
    assert min(seen[1:]) == 8


def test_what_a_module_was_doing_it_goes_on_doing(files):
    module, task = make(files, "lstm")
    module.train()
    sample(module, task.meta, "a", 3, 1.0, 0)
    assert module.training


def test_words_go_on_in_the_line_of_the_prompt(files):
    module, task = make(files, "lstm", length=8, unit="word")
    asked = []
    module.embedding.register_forward_hook(lambda _, inputs, found: asked.append(inputs[0].tolist()))
    text = sample(module, task.meta, "the quick", 12, 1.0, 0)
    assert asked[0] == [[task.meta["vocabulary"].index(word) for word in ("the", "quick")]]
    assert "<unk>" not in text
    sample(module, task.meta, "the\n", 1, 1.0, 0)
    assert asked[-1] == [[task.meta["vocabulary"].index(word) for word in ("the", "<eos>")]]


def test_byte_0_is_written_where_it_is_likeliest(files):
    module, task = make(files, "lstm", unit="byte")
    with torch.no_grad():
        module.head.bias[0] = 100.0
    assert sample(module, task.meta, "a", 2, 1.0, 0) == "\0\0"


@pytest.mark.parametrize(
    ("sampling", "rule"),
    [
        (Sampling(temperature=math.nan), "--temperature: must be a number from 0 to 100, but found nan"),
        (Sampling(temperature=math.inf), "--temperature: must be a number from 0 to 100, but found inf"),
        (Sampling(temperature=-1.0), "--temperature: must be a number from 0 to 100, but found -1.0"),
        (Sampling(temperature=1e9), "--temperature: must be a number from 0 to 100, but found 1000000000.0"),
        (Sampling(num_tokens=0), "--num-tokens: must be a whole number from 1 to 1,000,000, but found 0"),
        (Sampling(num_tokens=10**12), "--num-tokens: must be a whole number from 1 to 1,000,000, but found 10000"),
        (Sampling(seed=-1), "--seed: must be a whole number from 0 to"),
        (Sampling(seed=2**80), "--seed: must be a whole number from 0 to"),
    ],
)
def test_sampling_outside_its_bounds_is_refused(sampling, rule):
    with pytest.raises(DeclarationError, match=rule):
        generation.checked(sampling)
    assert generation.checked(Sampling()) == Sampling()


def test_an_empty_prompt_is_refused(files):
    module, task = make(files, "lstm")
    with pytest.raises(DataError, match=r"prompt 1, '': must have at least one token"):
        sample(module, task.meta, "", 3, 1.0, 0)
    with pytest.raises(DeclarationError, match="a prompt must have at least one token"):
        generation.generate(module, np.zeros((1, 0), dtype=np.int64), 3, 1.0, 0)


def test_a_bidirectional_model_cannot_generate(files):
    module, task = make(files, "lstm")
    module.encoder.causal = False
    with pytest.raises(DeclarationError, match="bidirectional model cannot generate"):
        sample(module, task.meta, "the", 3, 1.0, 0)


@pytest.mark.parametrize("order", [0, 1, 5])
def test_texts_of_cheap_models(files, order, monkeypatch):
    monkeypatch.setitem(generation.NUM_TOKENS, "character", 200)
    task = Task(24, files=files)
    found = generation.n_gram_samples(task, order, seed=0)
    assert [len(text) for text in found] == [200] * 20
    assert found == generation.n_gram_samples(task, order, seed=0)
    words = generation.measures({order: found}, task)[order]["real_words"]
    assert words > 0.6 if order == 5 else words < 0.1


# Measures


def test_real_words_by_hand():
    # "quick" and "lazy" are words of the text, "quack" is none, the others are too short.
    words = generation.long_words("Quick, the quack. a lazy")
    assert words == ["quick", "quack", "lazy"]
    assert generation.share(words, set(generation.long_words(TEXT))) == pytest.approx(2 / 3)
    assert generation.share([], {"quick"}) == 0


def test_copied_windows_by_hand():
    found = list(generation.windows("abcdx", 3))
    assert found == ["abc", "bcd", "cdx"]
    assert generation.share(found, set(generation.windows("abcdefgh", 3))) == pytest.approx(2 / 3)
    assert not list(generation.windows("ab", 3))


def test_a_text_of_the_training_part_is_copied(files):
    task = Task(24, files=files)
    copied, made_up = generation.measures({"copied": [TEXT[4:72]], "made up": ["jumping foxes" * 4]}, task).values()
    assert (copied["copied"], copied["real_words"]) == (1, 1)
    assert (made_up["copied"], made_up["real_words"]) == (0, 0.2)


def test_distinct_by_hand():
    assert generation.distinct(["a b c a b c"], 3) == 3 / 4  # abc bca cab abc
    assert generation.distinct(["a b"], 3) == 0


def test_bleu_by_hand():
    # the the the the: of four, at most two are in one reference (Papineni et al. 2002, example 2, shortened).
    words, references = "the cat the cat on the mat".split(), ["the cat is on the mat".split()]  # noqa: SIM905
    counts = [(2 + 1 + 1 + 1) / 7, (1 + 1 + 1) / 6, 1 / 5, 0.1 / 4]  # on the mat; no four words in a row
    expected = math.exp(sum(map(math.log, counts)) / 4)  # longer than the reference: not brief
    assert generation.bleu(words, references) == pytest.approx(expected)
    brief = generation.bleu(words[4:], references)
    assert brief == pytest.approx(math.exp(1 - 6 / 3))  # on the mat: all of it is there, and half as long


def test_texts_that_are_the_same_have_a_self_bleu_of_1():
    assert generation.self_bleu(["one and the same text"] * 3) == pytest.approx(1)
    assert generation.self_bleu(["one text alone"]) == 0
    assert generation.self_bleu(["a b c d e", "f g h i j", "k l m n o"]) < 0.1


def test_nats_of_the_n_grams_are_means_over_tokens(files):
    task = Task(24, files=files)
    model = task.n_gram_model(5)
    texts = ["the quick brown fox", "xxxxx", "a"]
    rows = [[task.meta["vocabulary"].index(c) for c in text] for text in texts[:2]]
    expected = (18 * model.nats(np.array(rows[0])) + 4 * model.nats(np.array(rows[1]))) / 22
    assert generation.n_gram_nats(texts, task, model) == pytest.approx(expected)
    assert math.isnan(generation.n_gram_nats(["a"], task, model))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_measures_of_any_texts_are_shares(files, texts):
    found = generation.measures({0.8: texts}, Task(24, files=files))[0.8]
    nats = found.pop("n_gram_nats")
    assert nats > 0 or math.isnan(nats)
    assert all(0 <= value <= 1 for value in found.values())
