"""The architecture: which folder may import which, and where each heavy library is used."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "bench"
FOLDERS = (
    *("errors", "wording", "config", "data", "models", "tasks", "baselines", "results", "training"),
    *("tracking", "sweeps", "report", "export", "claims", "cli", "api", "__main__"),
)
"""Folders and top-level modules, lowest first: each imports only from itself and from those before it."""

HOMES = {
    "optuna": {"config", "sweeps"},
    "mlflow": {"tracking"},
    "pytorch_lightning": {"training"},
    "torch": {"models", "training", "sweeps", "export"},
    "pandas": {"wording", "data", "results", "sweeps", "report", "export", "cli", "api"},
    "rich": {"cli"},
    "click": {"cli"},
    "tqdm": {"cli"},
    "sklearn": {"tasks", "baselines"},
    "sacrebleu": {"tasks"},
    "jiwer": {"tasks"},
    "scipy": {"config", "data", "baselines", "results", "claims"},
    "pynvml": {"training", "sweeps"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "moocore": {"results"},
    "safetensors": {"export"},
    "onnxruntime": {"export"},
    "ray": {"sweeps"},
}
"""Who imports a heavy library; a folder that no longer does is removed here too."""


@functools.cache
def files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "_shipped" not in path.parts)


def folder(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def imports(path: Path) -> set[str]:
    """Return the full names a file imports, also inside functions, but not those for the type checker alone."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_folder_imports_only_from_folders_below(path):
    mine = folder(path)
    if mine == "__init__":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "bench" and len(parts) > 1 and parts[1] in FOLDERS:
            assert FOLDERS.index(parts[1]) <= FOLDERS.index(mine), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_private_name_of_another_folder_is_imported(path):
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "bench" and len(parts) > 2 and parts[1] != folder(path):
            assert not [part for part in parts if part.startswith("_") and part != "__version__"], name


@pytest.mark.parametrize("kind", ["models", "tasks", "baselines", "report/sections"])
def test_plugins_of_one_kind_do_not_import_each_other(kind):
    for path in (PACKAGE / kind).glob("[!_]*.py"):
        package = "bench." + kind.replace("/", ".")
        siblings = {f"{package}.{other.stem}" for other in path.parent.glob("[!_]*.py")}
        assert not [name for name in imports(path) if any(name.startswith(sibling) for sibling in siblings)], path


def modules() -> dict[str, set[str]]:
    """Return which modules of the package each of them imports when it is loaded or later."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files()}
    return {
        module: {
            target
            for name in imports(path)
            for target in (name, name.rpartition(".")[0])
            if target in names and target != module
        }
        for module, path in names.items()
    }


def test_no_modules_import_each_other_in_a_circle():
    graph, done = modules(), set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for target in graph[module]:
                visit(target, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("library", HOMES)
def test_a_heavy_library_has_one_home(library):
    users = {folder(path) for path in files() if any(name.split(".")[0] == library for name in imports(path))}
    assert users == HOMES[library]


def test_one_file_imports_ray_and_it_is_loaded_in_another_process_only():
    users = [path.name for path in files() if any(name.split(".")[0] == "ray" for name in imports(path))]
    assert users == ["ray.py"]
    assert not [path for path in files() if "bench.sweeps.engines.ray" in imports(path)]


def test_every_folder_has_a_place_and_says_what_it_is_for():
    assert {folder(path) for path in files()} - {"__init__"} == set(FOLDERS)
    for name in FOLDERS:
        if (PACKAGE / name).is_dir():
            docstring = ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text())) or ""
            assert "In: " in docstring, name
            assert "Out: " in docstring, name


def test_help_loads_nothing_heavy():
    heavy = ("torch", "pytorch_lightning", "optuna", "mlflow", "pandas", "numpy", "pydantic", "rich")
    code = f"import sys; import bench.cli.commands; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_coordinator_loads_neither_torch_nor_lightning():
    code = (
        "import sys; import bench.sweeps.coordinator, bench.results.leaderboard; "
        "print([name for name in ('torch', 'pytorch_lightning') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
