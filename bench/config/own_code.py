"""Whose code may run: your own models that were named on this machine.

A results folder or an exported folder may come from somebody else, and both may point to a Python file. The bench runs
such a file only if you named it: in `--models`, `bench check` or `--trust`. What is kept is the SHA-256 of the code, so
that a changed file must be named again.
"""

import hashlib
import shlex
from pathlib import Path

from bench.config.cache import cache
from bench.errors import DeclarationError, StoreError


def allow(path: Path) -> str:
    """Allow the code that a file holds now to run on this machine; return its SHA-256.

    Raises DeclarationError if the file cannot be read, and StoreError if the cache cannot be written.
    """
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DeclarationError(f"{path}: {error.strerror}") from None
    note = _note(sha256)
    try:
        if not note.exists():
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(f"{path.absolute()}\n", encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        rule = "which own models may run is kept there; name another folder in BENCH_CACHE_DIR"
        raise StoreError(f"{note.parent}: {error.strerror}; {rule}") from None
    return sha256


def check(path: Path, sha256: str) -> None:
    """Raise DeclarationError if the code was never named on this machine."""
    if not _note(sha256).exists():
        rule = "this code was never named on this machine, so it is not run; read it, and if you trust it, add"
        raise DeclarationError(f"{path}: {rule} --trust {shlex.quote(str(path))}")


def _note(sha256: str) -> Path:
    return cache() / "own_models" / sha256
