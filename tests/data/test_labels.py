"""Labels as classes: numbers and truth values have one class however they are written."""

import numpy as np
import pandas as pd
import pytest

from bench.config.sweep_settings import SweepConfig
from bench.data import labels, own_data


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["1", "1.0", "2"], ["1", "1", "2"]),
        (["1.0", "2.0"], ["1", "2"]),
        (["1.0000000e+00", "-1.0"], ["1", "-1"]),
        (["1", "1.0", "other"], ["1", "1", "other"]),
        (["1.0", "1.5"], ["1.0", "1.5"]),  # perhaps versions
        (["01", "1", "02"], ["01", "1", "02"]),  # perhaps codes
        (["True", "true", "FALSE"], ["True", "True", "False"]),
        (["true", "false"], ["true", "false"]),
        (["2020-01-01", "2020-01-02"], ["2020-01-01", "2020-01-02"]),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_a_class_has_one_spelling(given, expected):
    assert labels.unified(given) == expected


def test_new_labels_are_matched_with_the_classes_of_a_model():
    assert labels.matched(["1", "2.0", "x"], ["1.0", "2"]) == ["1.0", "2", "x"]


def test_spellings_that_were_merged_and_those_that_look_alike_are_remarked():
    assert [str(remark) for remark in labels.remarked(["1", "1.0", "2"])] == ["labels: '1.0' is read as '1'"]
    (remark,) = labels.remarked(["pos", "Pos", "neg"])
    assert str(remark) == "labels 'Pos' and 'pos' are different classes, but differ only in case or spaces"


def _own(*paths, **options):
    own = own_data.make(SweepConfig(data=list(paths), **options))
    assert own is not None
    return own


def test_labels_1_and_1_0_are_one_class_in_rows_groups_files_texts_and_tags(tmp_path):
    rng = np.random.default_rng(0)
    values = pd.DataFrame(rng.normal(size=(40, 6))).add_prefix("s")
    values.assign(label=[f"{row % 2}" + ".0" * (row > 20) for row in range(40)]).to_csv(tmp_path / "a.csv", index=False)
    groups = pd.DataFrame({"id": np.arange(80) // 2, "v": rng.normal(size=80)})
    groups["label"] = [f"{row // 2 % 2}" + ".0" * (row % 2) for row in range(80)]
    groups.to_csv(tmp_path / "b.csv", index=False)
    texts = pd.DataFrame(
        {
            "text": [f"word {row}" for row in range(40)],
            "label": [("True", "true", "False")[row % 3] for row in range(40)],
        }
    )
    texts.to_csv(tmp_path / "c.csv", index=False)
    words = pd.DataFrame({"s": np.arange(200) // 5, "token": "w", "label": ["1", "1.0", "0", "0", "0"] * 40})
    words["token"] = rng.integers(9, size=200).astype(str)
    words.to_csv(tmp_path / "d.csv", index=False)
    for name, options, key, classes in (
        ("a.csv", {}, "classes", ["0", "1"]),
        ("b.csv", {"group": "id"}, "classes", ["0", "1"]),
        ("c.csv", {}, "classes", ["False", "True"]),
        ("d.csv", {"task": "tagging", "group": "s"}, "labels", ["0", "1"]),
    ):
        own = _own(tmp_path / name, **options)
        assert own.card.at(4).meta[key] == classes
        assert any("is read as" in line for line in own.remarks)


def test_a_ts_case_may_write_its_declared_class_as_a_decimal(tmp_path):
    head = "@problemName a\n@univariate true\n@classLabel true 1 2\n@data\n"
    rows = "".join(f"{row},2,3:{row % 2 + 1}{'.0' * (row % 3)}\n" for row in range(3, 40) if row % 3 < 2)
    (tmp_path / "a.ts").write_text(head + rows)
    assert _own(tmp_path / "a.ts").card.at(3).meta["classes"] == ["1", "2"]
