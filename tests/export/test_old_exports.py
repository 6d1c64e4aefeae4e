"""Folders that an earlier version exported load and give the same predictions."""

import tarfile
from pathlib import Path

import pytest

from bench.config.contracts import Sampling
from bench.export.predictor import ExportedModel, write_table

ARCHIVE = Path(__file__).parent / "before_the_move.tar.xz"
FILES = {"language": "prompts.txt", "forecast": "load.csv", "text": "reviews.csv"}


@pytest.mark.parametrize("kind", FILES)
def test_an_export_of_an_earlier_version_predicts_the_same(tmp_path, kind):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / kind
    table = ExportedModel.load(folder).predict(folder / FILES[kind], Sampling(20, 0.8, 0))
    write_table(table, tmp_path / "predictions.csv")
    found, expected = ((place / "predictions.csv").read_text().splitlines() for place in (tmp_path, folder))
    assert found[0] == expected[0]
    for line, old in zip(found[1:], expected[1:], strict=True):
        for cell, known in zip(line.split(","), old.split(","), strict=True):
            assert cell == known or float(cell) == pytest.approx(float(known), abs=1e-5)
