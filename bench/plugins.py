"""Plugins by file name: the tree is the registry.

`names("models")` is a directory listing and `load("models", "gru")` an import. A file that begins with "_" is none.
Declarations (search spaces, dataset cards) are TOML files, looked up in the user's folder first, then in the shipped.
"""

import ast
import importlib
from pathlib import Path
from types import ModuleType

from bench.errors import DeclarationError, UnknownNameError

_PACKAGE = Path(__file__).parent
_SINGULAR = {
    "models": "model",
    "tasks": "task",
    "metrics": "metric",
    "search_spaces": "model",
    "datasets": "dataset",
}


def names(kind: str) -> list[str]:
    """Return the code plugins of `kind` (models, tasks, metrics), sorted."""
    return sorted(path.stem for path in (_PACKAGE / kind).glob("[!_]*.py"))


def load(kind: str, name: str) -> ModuleType:
    """Import the code plugin `name`. Raises UnknownNameError."""
    return importlib.import_module(f"bench.{kind}.{_path(kind, name).stem}")


def keyword_arguments(kind: str, name: str, class_name: str) -> set[str]:
    """Return the keyword-only arguments of a plugin's class, read from its source without importing it."""
    tree = ast.parse(_path(kind, name).read_text())
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                    return {argument.arg for argument in item.args.kwonlyargs}
            return set()
    raise DeclarationError(f"bench/{kind}/{name}.py has no class {class_name}")


def declarations(kind: str, folder: Path | None = None) -> dict[str, Path]:
    """Return the declarations of `kind` (search_spaces, datasets) by name.

    The user's `folder`, or else one named `kind` in the working directory, goes before the shipped files.
    Raises DeclarationError if `folder` is given and is no directory.
    """
    if folder is not None and not folder.is_dir():
        raise DeclarationError(f"--{kind.replace('_', '-')}: {folder} is not a directory")
    shipped = _PACKAGE / "_shipped" / kind
    if not shipped.is_dir():
        shipped = _PACKAGE.parent / kind
    found = {path.stem: path for path in sorted(shipped.glob("[!_]*.toml"))}
    found |= {path.stem: path for path in sorted((folder or Path(kind)).glob("[!_]*.toml"))}
    return found


def declaration(kind: str, name: str, folder: Path | None = None) -> Path:
    """Return the file of one declaration. Raises UnknownNameError."""
    known = declarations(kind, folder)
    if name not in known:
        raise UnknownNameError(_SINGULAR[kind], name, known)
    return known[name]


def _path(kind: str, name: str) -> Path:
    if name not in names(kind):
        raise UnknownNameError(_SINGULAR[kind], name, names(kind))
    return _PACKAGE / kind / f"{name}.py"
