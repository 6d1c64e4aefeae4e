"""Models trained at one length and tested at others, with the weights of their best epoch."""

import numpy as np
import pytest
import torch

from bench.config.datasets import make_task
from bench.results.record import RunRecord
from bench.training import train
from bench.training.module import SequenceModule
from tests.makers import run_config


@pytest.mark.parametrize("dataset", ["latch", "parity"])
def test_a_test_run_scores_every_length(tmp_path, dataset):
    folders = [tmp_path / f"t0-s{seed}" for seed in range(2)]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        confirm = run_config("confirm", dataset=dataset, run=folder.name, number=seed, seed=seed)
        (folder / "config.json").write_text(confirm.model_dump_json())
        assert train.run(confirm, folder=folder).state == "complete"
    opened = tuple(folder.name for folder in folders)
    test = run_config("test", dataset=dataset, run="t0-test", opens_test_of=opened, test_lengths=(20, 4))
    (tmp_path / "t0-test").mkdir()
    train.run(test, folder=tmp_path / "t0-test").write(tmp_path / "t0-test")
    record = RunRecord.read(tmp_path / "t0-test")
    assert record.by_length.keys() == record.tests.keys() == set(opened)
    for folder in folders:
        assert list(record.by_length[folder.name]) == [4, 8, 20]
        module = SequenceModule(make_task(dataset, 8, {}), test).eval()
        module.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
        for length, scores in record.by_length[folder.name].items():
            task = make_task(dataset, length, {})
            batch = task.of_length(test.train.num_test)
            with torch.no_grad():
                outputs = module(torch.from_numpy(batch.x), torch.from_numpy(batch.length)).numpy()
            assert scores == pytest.approx(task.score(outputs, batch))


def test_without_test_lengths_nothing_else_is_scored(tmp_path):
    confirm = run_config("confirm", run="t0-s0")
    (tmp_path / "t0-s0").mkdir()
    (tmp_path / "t0-s0" / "config.json").write_text(confirm.model_dump_json())
    train.run(confirm, folder=tmp_path / "t0-s0")
    test = run_config("test", run="t0-test", opens_test_of=("t0-s0",))
    assert train.run(test, folder=tmp_path / "t0-test", changes_files=False).by_length == {}


def test_sequences_of_a_test_length_all_have_it_where_training_mixes_lengths():
    batch = make_task("parity", 30, {}).of_length(50)
    assert np.unique(batch.length).tolist() == [30]
    assert batch.mask.all()
