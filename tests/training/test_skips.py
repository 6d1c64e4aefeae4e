"""The linear map beside an encoder: what it reads, and that it does not read padding."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.baselines import _n_grams
from bench.config.datasets import task_of
from bench.training import skips
from bench.training.module import SequenceModule
from tests.makers import declared, pieces, run_config

TEXTS = st.lists(st.lists(st.integers(2, 6), min_size=1, max_size=8), min_size=1, max_size=4)


def padded(texts: list[list[int]], padding: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    length = torch.tensor([len(text) for text in texts])
    x = torch.zeros(len(texts), int(length.max()) + padding, dtype=torch.long)
    for row, text in enumerate(texts):
        x[row, : len(text)] = torch.tensor(text)
    return x, length


def n_grams(texts: list[list[int]], longest: int = 3) -> skips.NGramSkip:
    skip = skips.NGramSkip(7, 2, longest)
    torch.nn.init.normal_(skip.table.weight, generator=torch.Generator().manual_seed(0))
    return skip


@given(texts=TEXTS, padding=st.integers(0, 4))
def test_padding_adds_no_n_gram(texts, padding):
    skip, (x, length) = n_grams(texts), padded(texts, padding)
    together = skip(x, length)
    for row, text in enumerate(texts):
        torch.testing.assert_close(together[row : row + 1], skip(*padded([text])))


@given(texts=TEXTS)
def test_n_grams_are_those_of_the_cheap_baselines(texts):
    x, length = padded(texts)
    row, is_valid = n_grams(texts).rows(x, length)
    keys = [_n_grams.keys(x.numpy(), length.numpy(), n, 7) for n in (1, 2, 3)]
    for place in range(len(texts)):
        of_text = [(n, int(number)) for n, (text, numbers) in enumerate(keys) for number in numbers[text == place]]
        rows = row[place][is_valid[place]].tolist()
        # Beginning and end are also tokens by themselves here: one row, counted twice.
        assert len(rows) == len(of_text) + 2
        assert len(set(rows)) <= len(set(of_text)) + 1


def test_few_n_grams_share_a_row():
    texts = [[a, b, c] for a in range(2, 7) for b in range(2, 7) for c in range(2, 7)]
    row, is_valid = n_grams(texts).rows(*padded(texts))
    three = row[:, 9:][is_valid[:, 9:]]  # after 5 tokens and 4 pairs
    assert len(three) == 3 * len(texts)
    assert len(three.unique()) >= 0.95 * (125 + 25 + 25)


def test_an_ending_is_a_feature():
    skip = n_grams([])
    one, other = skip(*padded([[2, 3, 4]])), skip(*padded([[4, 2, 3]]))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("dataset", ["latch", "adding", "parity"])
def test_only_tokens_with_one_answer_for_each_sequence_have_n_grams_beside(dataset):
    config = run_config(dataset=dataset, length=30, settings={"linear_skip": True})
    task = task_of(config)
    module = SequenceModule(task, config)
    assert (module.skip is not None) == (task.tokens and not task.per_step)
    assert sum(module.parameter_counts().values()) == sum(weight.numel() for weight in module.parameters())
    if module.skip is not None:
        assert not module.can_stream


def music(folder: Path, has_skip: bool) -> SequenceModule:
    files = [declared(pieces(folder / "pieces.mat"))]
    config = run_config(dataset="music", task_arguments={"files": files}, settings={"linear_skip": has_skip})
    torch.manual_seed(0)
    return SequenceModule(task_of(config), config).eval()


def test_the_map_from_the_last_frame_begins_as_zero_and_sees_one_frame(tmp_path):
    x, length = (torch.rand(2, 8, 88) < 0.1).float(), torch.tensor([8, 5])
    module = music(tmp_path, has_skip=True)
    assert module.can_stream
    assert module.skip is not None
    before = module(x, length)
    torch.testing.assert_close(before, music(tmp_path, has_skip=False)(x, length))
    torch.nn.init.ones_(module.skip.linear.weight)
    sounding = x.sum(-1, keepdim=True).expand(-1, -1, 88)
    torch.testing.assert_close(module(x, length) - before, sounding)
