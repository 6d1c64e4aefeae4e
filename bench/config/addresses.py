"""Addresses of servers, which may hold a password: read from the environment or a file, never from an argument.

The words of a command stand in the list of processes, in sweep.json and in MLflow. Run processes, which execute the
code of models, do not inherit these variables.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from bench.config.strict import read_text
from bench.errors import DeclarationError

URL, FILE = "BENCH_STORAGE_URL", "BENCH_STORAGE_FILE"

SECRETS = frozenset(
    {URL, FILE, "PGPASSWORD", "PGPASSFILE", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"}
    | {f"MLFLOW_TRACKING_{name}" for name in ("USERNAME", "PASSWORD", "TOKEN")}
)
"""The variables that run processes do not inherit."""


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for processes that execute the code of models."""
    return {name: value for name, value in environment.items() if name not in SECRETS}


def storage_url() -> str | None:
    """Return the address of the PostgreSQL server for studies; None if there is none.

    Raises DeclarationError, without the address, for one of another kind and for a file that others can read.
    """
    url, source = os.environ.get(URL, "").strip(), URL
    if not url and os.environ.get(FILE):
        source = f"{FILE} {os.environ[FILE]}"
        url = _read(Path(os.environ[FILE]), source)
    if not url:
        return None
    if urlsplit(url).scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        rule = "must be the address of a PostgreSQL database, such as postgresql://user:password@host/database"
        raise DeclarationError(f"{source}: {rule}")
    return url


def _read(path: Path, source: str) -> str:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise DeclarationError(f"{source}: {error.strerror}; give a file that holds the address") from None
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise DeclarationError(f"{source}: must be a file that only you can read; run: chmod 600 {path}")
    return read_text(path).strip()
