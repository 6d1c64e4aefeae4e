"""Cheap translations: a dictionary is found in pairs of sentences, and a copy is a copy."""

import numpy as np
import pytest

from bench.tasks.translation import Task
from tests.baselines.fitting import fit, reached, score
from tests.makers import aligned
from tests.tasks.test_translation import files_of


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return Task(9, files=files_of(*aligned(tmp_path_factory.mktemp("pairs"), 300)))


def test_a_dictionary_of_a_language_of_words_is_found(task):
    found = fit("word_by_word", task)
    words, written = task.meta["vocabulary"], task.meta["target_vocabulary"]
    translations = {words[n].strip(): written[m].strip() for n, m in enumerate(found.arrays["translation"]) if n}
    assert translations == {
        "ein": "a", "Hund": "dog", "rennt": "runs", "zwei": "two", "Katzen": "cats", "schlafen": "sleep", ".": ".",
    }  # fmt: skip
    assert score(found, task) == pytest.approx(100)


def test_a_word_without_a_translation_is_left_out(task):
    found, dog = fit("word_by_word", task), task.meta["vocabulary"].index(" Hund")
    x = np.array([[0, dog, 0, dog]])
    assert task.written(found.outputs(x, np.array([4]))) == ["dog dog"]


def test_a_copy_is_the_source(task):
    batch = task.split("test", 5)
    found = fit("copy_source", task)
    assert task.written(found.outputs(batch.x, batch.length)) == task.examples({}, batch)["source"]


def test_the_constant_answer_scores_chance_on_val(task):
    assert reached("constant", task, "val") == pytest.approx(task.chance)
