"""The table of docs/reliability.md points to evidence that exists, and the record of kills has found nothing."""

import ast
import re
from pathlib import Path

from tests.faults.losses import COUNTS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
ROWS = 42  # faults that have a number
EXCUSES = r"(out of scope|not yet): \w.{10,}"


def evidence() -> dict[str, str]:
    """Return the last cell of every row, by its first one."""
    lines = [line.strip("|").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return {cells[0].strip(): cells[-1].strip() for cells in lines if cells[-1].strip() != "Evidence"}


def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_fault_has_a_row():
    assert [name for name in evidence() if name.isdigit()] == [str(number) for number in range(1, ROWS + 1)]


def test_every_row_points_to_evidence_that_exists():
    for row, cell in evidence().items():
        pointers = re.findall(r"`([^`]+)`", cell)
        assert pointers or re.fullmatch(EXCUSES, cell), f"row {row} has neither evidence nor a reason"
        for pointer in pointers:
            path, _, name = pointer.partition("::")
            assert (ROOT / path).is_file(), f"row {row}: {path} does not exist"
            assert not name or name in names_in(path), f"row {row}: {path} has no test {name}"


def test_the_record_of_kills_is_long_enough_and_clean():
    text = (ROOT / "tests" / "faults" / "kills.md").read_text()
    assert int(re.search(r"(\d+) processes got SIGKILL", text)[1]) >= 120
    counts = re.findall(r"^\| ([a-z ]+): .* \| (\d+) \|$", text, re.MULTILINE)
    assert {word for word, _ in counts} == set(COUNTS)
    assert {number for _, number in counts} == {"0"}
