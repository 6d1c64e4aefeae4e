"""Plugins by file name: the tree is the registry.

`names("models")` is a directory listing and `load("models", "gru")` an import. Files that begin with "_" are
not plugins. Declarations (search spaces, dataset cards) are TOML files in your folder or, if not found there, in the
built-in one. A model may also be your own file: its name is then its absolute path.
"""

import ast
import hashlib
import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from bench.config import own_code
from bench.config.cache import received
from bench.errors import DeclarationError, UnknownNameError

_PACKAGE = Path(__file__).parents[1]
_SINGULAR = {
    "models": "model",
    "tasks": "task",
    "baselines": "cheap baseline",
    "search_spaces": "model",
    "datasets": "dataset",
}


def names(kind: str) -> list[str]:
    """Return the code plugins of `kind` (models, tasks, baselines), sorted."""
    return sorted(path.stem for path in (_PACKAGE / kind).glob("[!_]*.py"))


def is_file(kind: str, name: str) -> bool:
    """Whether `name` is the path of your own file, which only a model may be."""
    return kind == "models" and name.endswith(".py")


def source(kind: str, name: str) -> Path:
    """Return the file of a code plugin. Raises UnknownNameError."""
    if is_file(kind, name):
        return Path(name)
    if name not in names(kind):
        raise UnknownNameError(_SINGULAR[kind], name, names(kind))
    return _PACKAGE / kind / f"{name}.py"


def load(kind: str, name: str, expected_hash: str = "") -> ModuleType:
    """Import the code plugin `name`. Raises UnknownNameError, and DeclarationError for your own file.

    Your own file is refused if its SHA-256 is not the expected one: its results would not belong to the sweep. It is
    also refused if it was never named on this machine: it may be somebody else's.
    """
    path = source(kind, name)
    if is_file(kind, name):
        return _load_file(path, expected_hash)
    return importlib.import_module(f"bench.{kind}.{path.stem}")


class Declared(NamedTuple):
    """What the source of a plugin's class says."""

    line: int  # of its __init__, or of the class if it has no __init__
    positional: list[str]  # arguments of __init__ after self
    keyword: set[str]  # those after the *
    required: set[str]  # of these, those without a default
    constants: dict[str, Any]  # of the body of the class


def declared(kind: str, name: str, class_name: str) -> Declared:
    """Read a plugin's class from its source, without importing it. Raises UnknownNameError and DeclarationError."""
    path = source(kind, name)
    try:
        tree = ast.parse(_read(path), str(path))
    except (SyntaxError, ValueError) as error:  # ValueError: null bytes, before Python 3.12
        raise DeclarationError(f"{path}: {told(path, error)}") from None
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name]
    if not found:
        raise DeclarationError(f"{path}: no class {class_name} in it")
    read = Declared(found[-1].lineno, [], set(), set(), {})
    for node in found[-1].body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            keyword = dict(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
            read = read._replace(
                line=node.lineno,
                positional=[argument.arg for argument in [*node.args.posonlyargs, *node.args.args][1:]],
                keyword={argument.arg for argument in keyword},
                required={argument.arg for argument, default in keyword.items() if default is None},
            )
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            read.constants.update({target.id: node.value.value for target in targets if isinstance(target, ast.Name)})
    return read


def told(path: Path, error: BaseException) -> str:
    """Return an error in one line, with the innermost line of the file `path` that it came through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    first = (str(error).splitlines() or [""])[0]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines, first = [error.lineno], error.msg
    if not (isinstance(error, AssertionError) and first):
        first = f"{type(error).__name__}: {first}".removesuffix(": ")
    return f"line {lines[-1]}: {first}" if lines else first


def declarations(kind: str, folder: Path | None = None) -> dict[str, Path]:
    """Return the declarations of `kind` (search_spaces, datasets) by name.

    Files in your `folder`, or else in one named `kind` in the working directory, override the built-in ones.
    Raises DeclarationError if `folder` is given and is not a directory.
    """
    if folder is not None and not folder.is_dir():
        raise DeclarationError(f"--{kind.replace('_', '-')}: {folder} is not a directory")
    found = {path.stem: path for path in sorted(shipped(kind).glob("[!_]*.toml"))}
    found |= {path.stem: path for path in sorted((folder or Path(kind)).glob("[!_]*.toml"))}
    return found


def shipped(kind: str) -> Path:
    """Return the folder of the built-in declarations of `kind`: in the package, or beside it in a checkout."""
    folder = _PACKAGE / "_shipped" / kind
    return folder if folder.is_dir() else _PACKAGE.parent / kind


def declaration(kind: str, name: str, folder: Path | None = None) -> Path:
    """Return the file of one declaration. Raises UnknownNameError."""
    known = declarations(kind, folder)
    if name not in known:
        raise UnknownNameError(_SINGULAR[kind], name, known)
    return known[name]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DeclarationError(f"{path}: {error.strerror}") from None


def _load_file(path: Path, expected_hash: str) -> ModuleType:
    """Import your own file: exactly the bytes that are hashed, never the bytecode of an earlier version."""
    sent = received(expected_hash, path.name)  # to a machine of a cluster, where `path` may be missing
    code = _read(sent if expected_hash and sent.exists() else path)
    sha256 = hashlib.sha256(code).hexdigest()
    if expected_hash and sha256 != expected_hash:
        rule = "restore the file to resume the sweep, or use another --name"
        raise DeclarationError(f"{path}: changed since the sweep read it; {rule}")
    own_code.check(path, sha256)
    # Made of path and content, so that no installed module and no other file or version has this name.
    name = f"own_model_{hashlib.sha256(bytes(path) + code).hexdigest()[:16]}"
    if name not in sys.modules:
        module = ModuleType(name)
        module.__file__ = str(path)
        sys.modules[name] = module
        try:
            exec(compile(code, str(path), "exec", dont_inherit=True), vars(module))
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise DeclarationError(f"{path}: {told(path, error)}") from error
    return sys.modules[name]
