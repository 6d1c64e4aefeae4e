"""Where the bench keeps what it can make or download again, and which own models may run."""

import os
from pathlib import Path

from bench.errors import StoreError


def cache() -> Path:
    """Return the folder for downloaded files and prepared arrays. Raises StoreError if there is no home folder."""
    named, base = os.environ.get("BENCH_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
    if named or base:
        return Path(named) if named else Path(str(base)) / "sequence-model-bench"
    try:
        return Path.home() / ".cache" / "sequence-model-bench"
    except RuntimeError:
        raise StoreError("no home folder for the cache; name a folder in BENCH_CACHE_DIR") from None


def received(sha256: str, name: str) -> Path:
    """Return where this machine keeps a file or folder that the coordinator of a sweep on a cluster has sent to it."""
    return cache() / "received" / sha256 / name
