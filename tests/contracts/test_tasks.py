"""Contract of tasks: held by every card of `datasets/`, at its two smallest lengths.

B batch, L length, D channels, C outputs.
"""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
import typing
from pathlib import Path

import numpy as np
import pytest

from bench.config import contracts, plugins
from bench.config.contracts import STRETCHES, Batch, SyntheticTask
from bench.config.measures import MEASURES, log_odds
from bench.errors import DataMissingError, DeclarationError
from bench.tasks._state_tracking import StateTracking

ROOT = Path(__file__).parents[2]
CARDS = {path.stem: tomllib.loads(path.read_text()) for path in sorted((ROOT / "datasets").glob("*.toml"))}
CELLS = [(name, length) for name in CARDS for length in CARDS[name]["lengths"][:2]]
TASKS = plugins.names("tasks")
KEYS = {"title", "task", "kind", "lengths", "length_meaning", "source", "licence"}
SIZE = 2_000


SAME_RECORDINGS = {"fsdd_digits_speaker", *(card for card in CARDS if card.startswith("fsdd_speaker_"))}
"""Cards that divide the recordings of another card differently; to read them takes seconds each."""


def cell_id(cell):
    name, length = cell
    return f"{name}-{length}"


def marked(cases):
    """Return cases, cards or cells, as parameters; those of SAME_RECORDINGS are slow."""
    slow = pytest.mark.slow
    return [
        pytest.param(case, id=case if isinstance(case, str) else cell_id(case),
                     marks=slow if (case if isinstance(case, str) else case[0]) in SAME_RECORDINGS else ())
        for case in cases
    ]  # fmt: skip


def make(card, length, **more):
    files = {"files": CARDS[card]["files"]} if "files" in CARDS[card] else {}
    try:
        return plugins.load("tasks", CARDS[card]["task"]).Task(
            length, **CARDS[card].get("arguments", {}), **files, **more
        )
    except DataMissingError as error:
        pytest.skip(str(error))


def is_synthetic(cell):
    return CARDS[cell[0]]["kind"] == "synthetic"


@pytest.fixture(scope="module", params=marked(CELLS))
def cell(request):
    """The name of a card and a length; the tests of one cell follow each other, so that they share its task."""
    return request.param


@pytest.fixture(scope="module")
def task(cell):
    return make(*cell)


@pytest.fixture(scope="module", params=filter(is_synthetic, CELLS), ids=cell_id)
def drawn_cell(request):
    """A cell with drawn sequences."""
    return request.param


@pytest.fixture(scope="module")
def drawn(drawn_cell):
    return make(*drawn_cell)


def same(a, b):
    return all(
        (one is None and other is None) or (one is not None and other is not None and np.array_equal(one, other))
        for one, other in zip(a, b, strict=True)
    )


def sequences(batch):
    """The valid part of every sequence, as bytes."""
    return [row[:length].tobytes() for row, length in zip(batch.x, batch.length, strict=True)]


def constants(task, batch):
    """Outputs that ignore the input: every class (of many the 4 most frequent), the mean target, or one sentence.

    Where whole sequences of answers count, they are the 4 most frequent of these.
    """
    if task.keep == "tokens":
        return [task.constant(len(batch.x))]
    if task.metric == "sequence_accuracy":
        answers, counts = np.unique(batch.y, axis=0, return_counts=True)
        eye = np.eye(task.output_size)
        return [np.broadcast_to(eye[row], (*batch.y.shape, len(eye))) for row in answers[counts.argsort()[-4:]]]
    shape = (*(batch.y.shape if task.per_step else batch.y.shape[:1]), task.output_size)
    if task.loss == "bernoulli":
        return [np.broadcast_to(log_odds(batch.y[batch.mask]), batch.y.shape)]
    if task.goal == "minimize":
        return [np.zeros((len(batch.y), task.output_size))]  # targets are standardised
    if task.loss == "mse":
        return [np.full(shape, batch.y.mean(0))]
    answers = batch.y if batch.mask is None else batch.y[batch.mask]
    classes = np.bincount(answers, minlength=task.output_size).argsort()
    return [np.broadcast_to(np.eye(task.output_size)[c], shape) for c in classes[-4 if len(classes) > 20 else 0 :]]


def tolerance(task, batch):
    """About four standard errors; sequences, not steps, count as independent. Of rare events, one may be expected."""
    if task.loss == "mse":
        return 0.1  # 1 minus a ratio of variances
    if task.keep == "tokens":
        return 1e-9  # there is one such answer
    if task.loss == "bernoulli":
        return 0.02 * task.chance  # keys are not quite as frequent in training as in val
    return 4 * (max(task.chance * (1 - task.chance), 1 / len(batch.x)) / len(batch.x)) ** 0.5


# The cards


@pytest.mark.parametrize("card", CARDS)
def test_a_card_is_complete(card):
    found = CARDS[card]
    assert set(found) - {"arguments", "citation", "split", "files"} == KEYS
    assert all(found[key] for key in KEYS)
    assert found["kind"] in ("synthetic", "real")
    assert found["lengths"] == sorted(set(found["lengths"]))
    assert len(found["lengths"]) >= 2
    assert "https://" in found["source"]


@pytest.mark.parametrize("card", CARDS)
def test_a_card_says_first_what_it_is_and_why(card):
    lines = (ROOT / "datasets" / f"{card}.toml").read_text().splitlines()
    about = [line for line in lines if line.startswith("#")]
    assert 1 <= len(about) <= 2
    assert lines[: len(about)] == about


@pytest.mark.parametrize("card", marked(CARDS))
def test_a_task_builds_at_every_length_of_its_card(card):
    assert [make(card, length).length for length in CARDS[card]["lengths"]] == CARDS[card]["lengths"]


@pytest.mark.parametrize("card", CARDS)
def test_an_argument_that_is_not_there_is_a_type_error(card):
    with pytest.raises(TypeError, match="no_such_argument"):
        make(card, CARDS[card]["lengths"][0], no_such_argument=1)


def test_every_task_has_a_card_and_every_card_a_task():
    assert {card["task"] for card in CARDS.values()} == set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_arguments_are_keyword_only_with_defaults(name):
    _, length, *others = inspect.signature(plugins.load("tasks", name).Task.__init__).parameters.values()
    assert (length.name, length.default) == ("length", inspect.Parameter.empty)
    assert all(other.kind is other.KEYWORD_ONLY and other.default is not other.empty for other in others)


@pytest.mark.parametrize("name", TASKS)
def test_a_length_that_cannot_be_is_refused_in_one_line(name):
    with pytest.raises(DeclarationError, match="^[^\n]*length[^\n]*found 0[^\n]*$"):
        plugins.load("tasks", name).Task(0)


# The imports


@pytest.mark.parametrize("name", TASKS)
def test_a_task_does_not_import_its_neighbours(name):
    nodes = list(ast.walk(ast.parse((ROOT / "bench" / "tasks" / f"{name}.py").read_text())))
    imported = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert not [module for module in imported if re.match(r"bench\.tasks\.[^_]", module)]
    assert "bench.tasks" not in imported or not names & set(TASKS)


def test_tasks_import_neither_torch_nor_scikit_learn():
    code = "; ".join(f"import bench.tasks.{name}" for name in TASKS)
    code += "; import sys; print({'torch', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# The batches


def test_a_batch_is_a_pure_function_of_its_arguments(cell):
    first = make(*cell).train_batch(3, 5, 64)
    other = make(*cell)
    other.train_batch(3, 4, 64)  # what was drawn before changes nothing
    assert same(first, other.train_batch(3, 5, 64))


def test_another_number_or_seed_is_another_batch(task):
    first = task.train_batch(3, 5, 64)
    assert not same(first, task.train_batch(3, 6, 64))
    assert not same(first, task.train_batch(4, 5, 64))


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_is_fixed(cell, task, split):
    first = task.split(split, 200)
    task.train_batch(1, 1, 8)
    assert same(first, task.split(split, 200))
    assert same(first, make(*cell).split(split, 200))


def test_the_parts_share_no_sequence(cell, task):
    # Exempt: copy_one, whose one item of eight makes 8 sequences in all, and strings of bits, moves or formulas too short
    # (of 40 symbols at most) not to meet by chance. What is asked there is a lag or a length, not an unseen sequence.
    # So are digits to repeat below 10 of them, and counting, which has one string for each count: test lengths ask larger
    # ones. And texts: cut to some tokens they meet too. Whole ones that are equal are counted in meta["remarks"].
    card = CARDS[cell[0]]
    if (task.tokens or task.kind == "music") and not is_synthetic(cell):
        return
    if card["task"] == "counting":
        return
    parts = [task.split("val", SIZE), task.split("test", SIZE), task.train_batch(0, 0, 1_000)]
    if cell[0] == "copy_one":
        assert len({row for part in parts for row in sequences(part)}) == 8
        assert not same(parts[0], parts[1])
        return
    shortest = 41 if isinstance(task, StateTracking) else {"reverse_digits": 20}.get(card["task"], 1)
    val, test, train = (
        {row for row, steps in zip(sequences(part), part.length, strict=True) if steps >= shortest} for part in parts
    )
    assert val
    assert test
    assert not val & test
    assert not val & train
    assert not test & train


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_shapes_types_and_padding(task, part):
    batch = task.train_batch(0, 0, 33) if part == "train" else task.split(part, 33)
    size, steps = batch.x.shape[:2]
    assert isinstance(batch, Batch)
    wanted = 33 if part == "train" else min(33, getattr(task, "counts", {}).get(part, 33))
    if part != "train" and task.kind == "language":
        wanted -= wanted % STRETCHES  # the same number of windows from each stretch of text
    assert size == wanted
    assert batch.x.dtype == (np.int64 if task.tokens else np.float32)
    assert batch.x.shape == ((size, steps) if task.tokens else (size, steps, task.input_size))
    assert batch.length.dtype == np.int64
    assert batch.length.shape == (size,)
    assert batch.length.min() >= 1
    assert batch.length.max() <= steps
    has_numbers = task.loss in ("cross_entropy", "ctc")  # of classes or tokens
    assert batch.y.dtype == (np.int64 if has_numbers else np.float32)
    has_several = task.output_size > 1 or task.kind == "forecasting"
    several = (task.output_size,) if not has_numbers and has_several else ()
    has_steps = task.per_step or task.keep == "tokens"
    assert batch.y.shape == (size, *((steps,) if has_steps else ()), *several)
    valid = np.arange(steps) < batch.length[:, None]
    assert not batch.x[~valid].any()
    if task.per_step:
        assert batch.mask.dtype == bool
        assert batch.mask.shape == (size, steps)
        assert not batch.mask[~valid].any()
        assert batch.mask.any(1).all()
        assert not batch.y[~valid].any()
    elif task.keep == "tokens":  # the steps of a translation or transcript are not those of its source
        assert batch.mask.any(1).all()
        assert not batch.y[~batch.mask].any()
        assert (batch.text is None) == (part == "train")
    else:
        assert batch.mask is None
    if task.tokens:
        assert batch.x.min() >= 0
        assert batch.x.max() < task.input_size
    if has_numbers:
        assert batch.y.min() >= 0
        assert batch.y.max() < task.output_size
    if task.loss == "bernoulli":
        assert set(np.unique(batch.y)) == {0, 1}


def test_all_tokens_and_classes_are_in_use(cell, task):
    real = not is_synthetic(cell)
    if not task.tokens and task.loss != "cross_entropy":
        return
    batch = task.train_batch(0, 0, 10_000 if real else 1_000)  # rare classes
    if task.tokens and not real:  # a vocabulary has its rare words, and a padding
        assert len(np.unique(batch.x)) == task.input_size
    if task.loss == "cross_entropy" and task.keep == "outputs":
        assert len(np.unique(batch.y)) == task.output_size


def test_num_steps_is_the_longest_training_sequence(task):
    batches = max(3, -(-task.num_train // 500)) if task.kind == "transcription" else 3  # few have the longest
    assert max(task.train_batch(0, number, 500).length.max() for number in range(batches)) == task.num_steps


# The scores


def test_declarations(cell, task):
    assert task.goal in ("maximize", "minimize")
    assert task.chance >= 0
    assert task.goal == "minimize" or task.chance < MEASURES[task.metric].most
    assert task.solved is None or task.chance < task.solved < 1
    assert task.loss in typing.get_args(contracts.Loss)
    assert (task.solved is None) == (not is_synthetic(cell))
    assert task.kind in typing.get_args(contracts.Kind)
    assert (task.kind == "synthetic") == is_synthetic(cell)
    assert task.kind != "language" or task.causal


def test_the_declared_chance_is_what_a_constant_answer_scores(cell, task):
    if task.keep == "nll":
        pytest.skip("scored by likelihoods; see tests/tasks/test_language_modelling.py")
    # Real data are declared as they are on val: neither the future of a series nor the classes of test are known.
    batch = task.split("test", SIZE) if is_synthetic(cell) else task.split("val", 10**6)
    best = max(task.score(outputs, batch)[task.metric] for outputs in constants(task, batch))
    assert best == pytest.approx(task.chance, abs=tolerance(task, batch))


def test_baselines_are_plain_numbers_the_least_of_them_at_chance(drawn):
    found = drawn.baselines(SIZE)
    assert all(type(value) is float and value <= 1 for value in found.values())
    assert min(found.values()) == pytest.approx(drawn.chance, abs=tolerance(drawn, drawn.split("test", SIZE)))


def test_scores_are_plain_numbers_and_the_metric_is_among_them(task):
    batch = task.split("test", 10)
    scores = task.score(constants(task, batch)[0], batch)
    assert task.metric in scores
    assert all(type(value) is float for value in scores.values())


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_the_oracle_scores_one_without_the_answers(drawn, part):
    assert isinstance(drawn, SyntheticTask)
    batch = drawn.train_batch(1, 2, 200) if part == "train" else drawn.split(part, 200)
    hidden = Batch(batch.x, batch.length, np.full_like(batch.y, -1), batch.mask)
    assert drawn.score(drawn.oracle(hidden), batch)[drawn.metric] == pytest.approx(1, abs=1e-9)


def test_sequences_of_a_test_length_are_fixed_and_of_their_own(drawn_cell, drawn):
    batch = drawn.of_length(200)
    assert same(batch, make(*drawn_cell).of_length(200))
    assert not same(batch, drawn.split("test", 200))
    assert batch.length.max() <= drawn.num_steps
    assert drawn.score(drawn.oracle(batch), batch)[drawn.metric] == pytest.approx(1, abs=1e-9)


def test_the_oracle_of_shuffled_answers_is_at_chance(drawn):
    batch = drawn.split("test", SIZE)
    shuffled = batch._replace(y=np.random.default_rng(0).permutation(batch.y))
    score = drawn.score(drawn.oracle(batch), shuffled)[drawn.metric]
    assert score <= drawn.chance + tolerance(drawn, batch)


# The worked example of each docstring: the call, then rows of columns. A row "y" holds the targets, each beginning in
# the column of the step where it is asked; the other rows are the channels of x.


def read_example(cls):
    if "files" in inspect.signature(cls).parameters:
        pytest.skip("needs files of its own: tests/tasks/ has the example")
    if getattr(cls, "input_size", 1) > 64:
        pytest.skip("a step is a picture: tests/tasks/ draws the example")
    lines = inspect.getdoc(cls).splitlines()
    call, *rows = lines[next(i for i, line in enumerate(lines) if re.fullmatch(r"Task\(.*\)", line)) :]
    arguments = ast.parse(call, mode="eval").body
    task = cls(
        *(ast.literal_eval(node) for node in arguments.args),
        **{keyword.arg: ast.literal_eval(keyword.value) for keyword in arguments.keywords},
    )
    cells = {
        row[:3].strip(): {match.start(): float(match[0]) for match in re.finditer(r"\S+", row[3:])} for row in rows
    }
    targets = cells.pop("y")
    columns = sorted(next(iter(cells.values())))
    x_LD = np.array([[channel[column] for channel in cells.values()] for column in columns])
    return task, x_LD, {columns.index(column): target for column, target in targets.items()}


@pytest.mark.parametrize("name", TASKS)
def test_the_worked_example_is_right(name):
    task, x_LD, targets = read_example(plugins.load("tasks", name).Task)
    steps = len(x_LD)
    assert x_LD.shape[1] == (1 if task.tokens else task.input_size)
    assert steps == task.num_steps
    y = np.array(list(targets.values()), dtype=np.float32 if task.loss == "mse" else np.int64)
    if task.per_step:
        drawn = task.train_batch(0, 0, 50)
        asked_everywhere = (drawn.mask.sum(1) == drawn.length).all()
        assert list(targets) == list(range(steps)) or not asked_everywhere
        y = y[None]
    else:
        assert list(targets) == [steps - 1]
    if isinstance(task, SyntheticTask):
        x = x_LD.T.astype(np.int64) if task.tokens else x_LD[None].astype(np.float32)
        asked = np.isin(np.arange(steps), list(targets))[None]
        hidden = np.full(asked.shape if task.per_step else 1, -1, dtype=y.dtype)
        outputs = task.oracle(Batch(x, np.array([steps]), hidden, asked if task.per_step else None))
        outputs = outputs[:, asked[0]] if task.per_step else outputs
        np.testing.assert_allclose(outputs[..., 0] if task.loss == "mse" else outputs.argmax(-1), y, rtol=1e-6)
    else:
        train = task.train_batch(0, 0, SIZE)
        (found,) = np.unique(train.y[np.isclose(train.x, x_LD, atol=0.0051).all((1, 2))])  # rounded to two places
        assert found == y[0]


@pytest.mark.parametrize("name", TASKS)
def test_where_the_metric_ends_is_known(name):
    assert plugins.load("tasks", name).Task.metric in MEASURES


@pytest.mark.parametrize("name", TASKS)
def test_a_task_of_files_answers_new_ones(name):
    module = plugins.load("tasks", name)
    reads_files = "files" in inspect.signature(module.Task).parameters
    assert hasattr(module, "Predictor") == reads_files
    if reads_files:
        assert contracts.Predictor in module.Predictor.__mro__
        arguments = [list(inspect.signature(getattr(module.Predictor, each)).parameters) for each in ("read", "answer")]
        assert arguments == [["self", "path", "num_steps"], ["self", "model", "new", "sampling"]]
