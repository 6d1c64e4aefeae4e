"""The average of several seeds, as one model and as one score."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench.config.datasets import make_task
from bench.training import train
from bench.training.ensemble import Average, Ensemble
from bench.training.module import SequenceModule
from tests.makers import run_config


def modules(dataset: str, count: int = 3):
    length = 20 if dataset == "adding" else 8
    config = run_config(dataset=dataset, length=length)
    task = make_task(dataset, length, {})
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        made.append(SequenceModule(task, config).eval())
    return task, made


@pytest.mark.parametrize("dataset", ["latch", "adding", "parity", "digits"])
def test_the_model_and_the_score_average_alike(dataset):
    task, members = modules(dataset)
    batch = task.split("val", 20)
    x, length = torch.from_numpy(batch.x), torch.from_numpy(batch.length)
    average = Average(task)
    with torch.no_grad():
        for member in members:
            average.add(member(x, length).numpy())
        outputs = Ensemble(members)(x, length).numpy()
    np.testing.assert_allclose(outputs, average.outputs, atol=1e-5)
    assert outputs.shape == members[0](x, length).shape


def test_classes_are_averaged_by_their_probabilities():
    average = Average(SimpleNamespace(keep="outputs", loss="cross_entropy"))
    average.add(np.log([[0.9, 0.1]]))
    average.add(np.log([[0.3, 0.7]]) + 5)  # a constant changes no probability
    np.testing.assert_allclose(np.exp(average.outputs), [[0.6, 0.4]], atol=1e-6)


def test_likelihoods_of_tokens_are_averaged_by_their_probabilities():
    average = Average(SimpleNamespace(keep="nll", loss="cross_entropy"))
    average.add(-np.log([[0.9, 1e-30]]))
    average.add(-np.log([[0.3, 1e-30]]))
    np.testing.assert_allclose(average.outputs, -np.log([[0.6, 1e-30]]), rtol=1e-6)


def test_a_test_run_scores_the_average_of_its_seeds(tmp_path):
    folders = [tmp_path / f"t0-s{seed}" for seed in range(3)]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        config = run_config("confirm", dataset="digits", run=folder.name, number=seed, seed=seed)
        (folder / "config.json").write_text(config.model_dump_json())
        assert train.run(config, folder=folder).state == "complete"
    opened = tuple(folder.name for folder in folders)
    test = run_config("test", dataset="digits", run="t0-test", opens_test_of=opened)
    (tmp_path / "t0-test").mkdir()
    record = train.run(test, folder=tmp_path / "t0-test")
    task = make_task("digits", 8, {})
    average = Average(task)
    batch = task.split("test", test.train.num_test)
    for folder in folders:
        module = SequenceModule(task, test).eval()
        module.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
        with torch.no_grad():
            average.add(module(torch.from_numpy(batch.x), torch.from_numpy(batch.length)).numpy())
    assert record.ensemble["test"] == pytest.approx(task.score(average.outputs, batch))
    assert set(record.classes) == set(record.left_out) == set(opened)
    for run, counts in record.classes.items():
        assert sum(counts.correct) / sum(counts.support) == pytest.approx(record.tests[run]["accuracy"])
        assert np.mean(record.left_out[run].scores) == pytest.approx(record.tests[run]["accuracy"])  # equal groups
    assert record.ensemble["val"].keys() == record.ensemble["test"].keys()
    one = train.run(test.model_copy(update={"opens_test_of": opened[:1]}), folder=tmp_path / "t0-test")
    assert one.ensemble == {}
