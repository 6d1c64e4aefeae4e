"""Run the tests that need a GPU and write what they measured into measured.md: `make test-gpu`, ARGS="-k memory" for some.

Without a GPU nothing is tested or written, and the exit code is 1. Run nothing else on the GPU meanwhile.
"""

import platform
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from bench.sweeps.environment import commit
from bench.training.machine import PACKAGES, processor
from tests.gpu.runs import Gpu, first_gpu

HERE = Path(__file__).resolve().parent
RECORD = HERE / "measured.md"


class Results:
    """What pytest reports of tests: how each ended, and the properties that it recorded."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, str, str]] = []  # test, outcome, reason
        self.measured: list[tuple[str, str, str]] = []  # test, what, value

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the report of a test that was carried out, or that could not be."""
        if report.when != "call" and report.passed:
            return
        name = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
        self.outcomes.append((name, report.outcome, _reason(report)))
        self.measured += [(name, what, str(value)) for what, value in report.user_properties]


def _reason(report: pytest.TestReport) -> str:
    """Return why a test was skipped or failed, in one line; empty if it passed."""
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(report.longrepr if crash is None else crash.message)
    return text.strip().partition("\n")[0]


def page(results: Results, gpu: Gpu, now: datetime) -> str:
    """Return the record as Markdown: where and when the tests ran, what they measured, and how each ended."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    lines = [
        "# Measured on a GPU",
        "",
        f"`make test-gpu` made this page on {now:%Y-%m-%d} at commit {commit() or 'unknown'}.",
        f"{gpu.name}, driver {gpu.driver}, CUDA {torch.version.cuda} of torch; {processor()}.",
        f"Python {platform.python_version()}, {versions}.",
        "",
        *_table(("Test", "What was measured", "Value"), results.measured),
        "",
        *_table(("Test", "Outcome", "Reason"), results.outcomes),
    ]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]


def main(words: Sequence[str], run: Callable[..., int] = pytest.main) -> int:
    """Run the tests with further words for pytest; return its exit code, or 1 without a GPU."""
    if not torch.cuda.is_available():
        rule = "so nothing was tested, and no table was written; see docs/gpus.md"
        print(f"make test-gpu: torch {torch.__version__} sees no CUDA device, {rule}", file=sys.stderr)
        return 1
    results = Results()
    code = int(run(["-m", "gpu", str(HERE), *words], plugins=[results]))
    RECORD.write_text(page(results, first_gpu(), datetime.now(UTC)))
    print(f"wrote {RECORD}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
