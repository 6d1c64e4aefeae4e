"""The architecture: who may import whom, and where each heavy library lives."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "bench"
LAYERS = (
    ["errors", "plugins", "contracts", "config", "record", "prices", "selection", "wording"]
    + ["files", "times", "tables", "sequences", "texts", "readers", "vocabulary"]
    + ["search_spaces", "datasets", "own_data", "fetch"]
    + ["models", "tasks", "metrics", "model_contract"]
    + ["measure", "energy", "module", "generation", "timing", "capacity", "datamodule", "ranks", "train"]
    + ["engines", "stats", "tracking", "plan", "bill", "studies", "sweep", "estimate", "figures", "speed"]
    + ["leaderboard", "evidence", "page", "sections", "report", "winner", "display", "cli", "__main__"]
)
"""Lower ones first: a module imports only from those before it; inside a folder no file imports another."""

HOMES = {
    "optuna": {"search_spaces", "studies"},
    "mlflow": {"tracking"},
    "pytorch_lightning": {"module", "datamodule", "ranks", "train"},
    "torch": {"models", "model_contract", "measure", "module", "generation", "timing", "capacity", "datamodule"}
    | {"ranks", "train", "engines", "winner"},
    "pandas": {"times", "tables", "speed", "leaderboard", "evidence", "wording", "page", "sections", "winner", "cli"},
    "rich": {"display"},
    "click": {"cli"},
    "sklearn": {"tasks"},
    "scipy": {"stats", "search_spaces"},
    "pynvml": {"engines", "energy"},
    "matplotlib": {"figures"},
    "jinja2": {"report"},
    "moocore": {"stats"},
    "safetensors": {"winner"},
    "onnxruntime": {"winner"},
}


def files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "_shipped" not in path.parts)


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Return the full names a file imports, also inside functions, but not those for the type checker alone."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_below(path):
    mine = layer(path)
    if mine == "__init__":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "bench" or len(parts) < 2:
            continue
        theirs = parts[1]
        if theirs in LAYERS:
            if mine == theirs and path.name == "_preload.py":
                continue
            assert LAYERS.index(theirs) < LAYERS.index(mine), f"{path.name} imports {name}"


@pytest.mark.parametrize("library", HOMES)
def test_a_heavy_library_has_one_home(library):
    users = {layer(path) for path in files() if any(name.split(".")[0] == library for name in imports(path))}
    assert users == HOMES[library]  # not more, and none that is there no longer


def test_every_module_has_a_layer():
    assert {layer(path) for path in files()} - {"__init__"} == set(LAYERS)  # else nothing guards what imports it


def test_help_loads_nothing_heavy():
    heavy = ("torch", "pytorch_lightning", "optuna", "mlflow", "pandas", "numpy", "pydantic", "rich")
    code = f"import sys; import bench.cli.commands; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_coordinator_loads_neither_torch_nor_lightning():
    code = "import sys; import bench.sweep.coordinator, bench.results.leaderboard; print([n for n in ('torch', 'pytorch_lightning') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
