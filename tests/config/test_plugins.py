"""Plugins by name, and models by path."""

import sys

import pytest

from bench.config import own_code, plugins
from bench.errors import DeclarationError, UnknownNameError


def write(path, code: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(code)
    own_code.allow(path)
    return str(path)


def test_code_that_was_never_named_on_this_machine_is_not_run(tmp_path):
    (tmp_path / "theirs.py").write_text(f"raise SystemExit('it ran')  # {tmp_path}")  # code that no test has named
    with pytest.raises(DeclarationError, match=r"theirs.py: this code was never named .* add --trust .*theirs.py$"):
        plugins.load("models", str(tmp_path / "theirs.py"))


def test_a_named_file_must_be_named_again_when_it_changes(tmp_path):
    path = write(tmp_path / "mine.py", "number = 1")
    (tmp_path / "mine.py").write_text(f"number = 2  # {tmp_path}")
    with pytest.raises(DeclarationError, match="never named"):
        plugins.load("models", path)


def test_a_name_that_no_file_answers_to():
    with pytest.raises(UnknownNameError, match="unknown model 'lstmm'; did you mean 'lstm'"):
        plugins.load("models", "lstmm")


def test_only_a_model_may_be_a_file(tmp_path):
    with pytest.raises(UnknownNameError):
        plugins.load("tasks", write(tmp_path / "mine.py", "raise SystemExit"))


def test_files_of_one_name_are_modules_of_their_own(tmp_path):
    first, second = (write(tmp_path / folder / "torch.py", f"where = '{folder}'") for folder in "ab")
    assert [plugins.load("models", path).where for path in (first, second)] == ["a", "b"]
    assert plugins.load("models", first) is plugins.load("models", first)
    assert sys.modules.get("torch") is not plugins.load("models", first)


def test_a_changed_file_is_read_anew(tmp_path):
    for number in (1, 2):  # of equal size and, most likely, of the same second, which bytecode would hide
        assert plugins.load("models", write(tmp_path / "mine.py", f"number = {number}")).number == number
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_a_file_that_changed_since_is_refused(tmp_path):
    path = write(tmp_path / "mine.py", "number = 1")
    expected = own_code.allow(tmp_path / "mine.py")
    assert plugins.load("models", path, expected).number == 1
    write(tmp_path / "mine.py", "number = 2")
    with pytest.raises(DeclarationError, match=r"mine.py: changed since the sweep read it; .* use another --name"):
        plugins.load("models", path, expected)


def test_classes_of_a_file_can_be_found_again(tmp_path):
    code = "from dataclasses import dataclass\n@dataclass\nclass Model:\n    size: 'int'\n"
    model = plugins.load("models", write(tmp_path / "mine.py", code)).Model
    assert sys.modules[model.__module__].Model is model  # dataclasses and pickle look there


@pytest.mark.parametrize(
    ("code", "complaint"),
    {
        "\nimport no_such_module": "line 2: ModuleNotFoundError: No module named 'no_such_module'",
        "x = 1\nclass Model(:": "line 2: SyntaxError: invalid syntax",
        "def f():\n    raise ValueError('a\\nb')\nf()": "line 2: ValueError: a",
        "raise SystemExit(3)": "line 1: SystemExit: 3",
        "raise KeyError": "line 1: KeyError",
        "assert False, 'never'": "line 1: never",
    }.items(),
)
def test_what_breaks_on_import_is_one_line_with_its_place(tmp_path, code, complaint):
    path = write(tmp_path / "mine.py", code)
    before = set(sys.modules)
    with pytest.raises(DeclarationError) as caught:
        plugins.load("models", path)
    assert str(caught.value) == f"{path}: {complaint}"
    assert not {name for name in set(sys.modules) - before if name.startswith("own_model")}


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DeclarationError, match=r"mine.py: No such file or directory"):
        plugins.load("models", str(tmp_path / "mine.py"))


def test_a_class_is_read_without_being_imported(tmp_path):
    code = """
raise SystemExit
class Model(Base):
    causal = False
    depth: int = 3
    width = depth * 2
    def __init__(self, input_size, length, *, hidden_size, dropout=0.1, **more):
        self.causal = True
"""
    assert plugins.declared("models", write(tmp_path / "mine.py", code), "Model") == plugins.Declared(
        line=7,
        positional=["input_size", "length"],
        keyword={"hidden_size", "dropout"},
        required={"hidden_size"},
        constants={"causal": False, "depth": 3},
    )


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("class Modell: ...", "no class Model in it"),
        ("def f(:", "line 1: SyntaxError: invalid syntax"),
        ("x = '\0'", "source code string cannot contain null bytes"),
    ],
)
def test_a_source_that_cannot_be_read_is_told_in_one_line(tmp_path, code, complaint):
    path = write(tmp_path / "mine.py", code)
    with pytest.raises(DeclarationError) as caught:
        plugins.declared("models", path, "Model")
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert complaint in message
    assert "\n" not in message
