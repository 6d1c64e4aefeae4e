"""The virtual environments of the peers: each is made from a list in requirements/, apart from that of the bench."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CORES = 2


def python_of(kind: str, folder: Path) -> Path:
    """Return the interpreter of an environment; make it if it is missing or its list has changed."""
    listed = HERE / "requirements" / f"{kind}.txt"
    lists = [listed, ROOT / "pyproject.toml", ROOT / "constraints.txt"]  # a list may name the bench itself
    place, digest = folder / kind, hashlib.sha256(b"".join(path.read_bytes() for path in lists)).hexdigest()
    python, mark = place / "bin" / "python", place / ".made"
    if mark.is_file() and mark.read_text() == digest:
        return python
    print(f"installing {listed.name} into {place}", file=sys.stderr)
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", str(listed)], check=True, cwd=ROOT)
    mark.write_text(digest)
    return python


def call(python: Path, script: str, arguments: list[str], most_seconds: float, log: Path) -> float:
    """Run a script on CORES cores; return its wall time. Raises RuntimeError if it fails or takes too long."""
    environment = os.environ | {"PYTHONPATH": f"{HERE}:{ROOT}", "PYTHONWARNINGS": "ignore"}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"), str(CORES))
    start = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(python), str(HERE / script), *arguments], stdout=output, stderr=output, env=environment,
            start_new_session=True, preexec_fn=limit_cores,
        )  # fmt: skip
        try:
            code = process.wait(most_seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"ended after {most_seconds:.0f} s") from None
        finally:
            with suppress(ProcessLookupError):  # also what it has left running
                os.killpg(process.pid, signal.SIGKILL)
    if code:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise RuntimeError(lines[-1][:200] if lines else f"exit {code}")
    return time.monotonic() - start


def limit_cores() -> None:
    """Keep this process to its first CORES cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


def num_cores() -> int:
    """Return how many cores the bench and its peers have."""
    return min(CORES, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
