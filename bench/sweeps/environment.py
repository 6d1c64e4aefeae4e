"""The software and hardware that a session of a sweep runs on, found without loading torch."""

import ast
import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import bench
from bench.config import plugins
from bench.sweeps.engines import cluster
from bench.sweeps.prepare import Plan
from bench.training.machine import PACKAGES, processor


def environment(plan: Plan) -> dict[str, str]:
    """Return what a run's figures depend on, by the name under which a person knows it."""
    own = [Path(cell.space.model) for cell in plan.cells if cell.space.source_hash]
    return {
        "bench": commit() or bench.__version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        **{name: _version(name) for name in _dependencies(set(own))},
        "hardware": _hardware(plan),
        "threads per run": str(plan.config.threads),
        "runs at a time": str(len(plan.slots)),
    }


def commit() -> str:
    """Return the commit of the code, marked if it was changed since; empty outside a checkout."""
    root = Path(plugins.__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _dependencies(files: Iterable[Path]) -> list[str]:
    """Return the distributions that a user's own models import, those of PACKAGES left out."""
    modules: set[str] = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.split(".")[0])
    modules -= sys.stdlib_module_names
    if not modules:
        return []
    known = importlib.metadata.packages_distributions()
    return sorted({name for module in modules for name in known.get(module, [])} - {*PACKAGES, "bench"})


def _hardware(plan: Plan) -> str:
    if plan.config.engine == "ray" and cluster.address_of(plan.config) is not None:
        return cluster.hardware(plan.slots)
    return f"{_gpu(plan)}, {processor()}" if plan.device == "cuda" else processor()


def _gpu(plan: Plan) -> str:
    import pynvml

    first = plan.slots[0]["CUDA_VISIBLE_DEVICES"].split(",")[0]
    try:
        pynvml.nvmlInit()
        find = pynvml.nvmlDeviceGetHandleByIndex if first.isdecimal() else pynvml.nvmlDeviceGetHandleByUUID
        return str(pynvml.nvmlDeviceGetName(find(int(first) if first.isdecimal() else first)))
    except pynvml.NVMLError:
        return f"GPU {first}"
