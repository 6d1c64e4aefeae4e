"""Calls of the command line, in this process and in one of its own."""

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from bench.cli.commands import main

ROOT = Path(__file__).parents[2]


def call(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def command(folder: Path, *words: str) -> tuple[int, str, str]:
    """Run the command line as a user does: in a process of its own, in the user's folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "bench", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=folder, env=environment, timeout=280)
    return done.returncode, done.stdout, done.stderr
