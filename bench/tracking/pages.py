"""The pages of MLflow: the links that a sweep prints, the views they open, and the server that shows them."""

import errno
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.errors import DeclarationError, StoreError
from bench.tracking import store

END_WITH_PIPE = """
import contextlib, os, signal, sys
sys.stdin.read()
with contextlib.suppress(ProcessLookupError):
    os.killpg(int(sys.argv[1]), signal.SIGTERM)
"""
"""A process that ends the group of processes it is given when its standard input ends."""

VIEWS = {
    "charts": ("CHART", "models side by side"),
    "trials": ("CHART", "trials and their settings"),
    "runs": ("TABLE", "all runs as a table"),
}
"""The pages of a data set: the mode of MLflow's page that each opens in, and its title."""


def where(tag: str, value: str) -> str:
    """Return the filter of the runs whose tag has this value, in MLflow's language."""
    mark = '"' if "'" in value else "'"
    return f"tags.`{tag}` = {mark}{value}{mark}"


def links(folder: Path, experiments: dict[str, str], port: int = 5000) -> list[tuple[str, str]]:
    """Return the pages of a sweep as pairs of a title and a link to the server of `bench ui`, or the server in use."""
    server, sweep = store.server_url() or f"http://127.0.0.1:{port}", quote(store.sweep_key(folder))
    pages = []
    for dataset, experiment in experiments.items():
        # Without the workflowType the page opens in a mode for language models, which has no runs.
        page = f"{server}/#/experiments/{experiment}/runs?workflowType=machine_learning"
        for view, (mode, title) in VIEWS.items():
            pages.append((f"{dataset}: {title}", f"{page}&compareRunsMode={mode}&viewStateShareKey={sweep}-{view}"))
    return pages


def check(results: Path) -> None:
    """Raise StoreError if there is no store to serve, or a server shows its pages already."""
    if store.server_url():
        raise StoreError(f"MLFLOW_TRACKING_URI: the pages are at {store.server_url()}; open them there")
    if not store.given_uri() and not (results / "mlflow.db").exists():
        raise StoreError(f"{results / 'mlflow.db'}: no such file; run: python -m bench sweep, or: python -m bench sync")


def serve(results: Path, port: int) -> int:
    """Serve the pages at 127.0.0.1 until the server ends, SIGINT or SIGTERM; leave none of its processes behind."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]
    if entry_points(group="mlflow.app", name="bench"):  # absent in a checkout that is not installed
        command += ["--app-name", "bench"]  # see bench/tracking/app.py

    # Only these names: MLflow's default admits names of whole networks, which a page of another site could borrow.
    command += ["--allowed-hosts", f"127.0.0.1:{port},localhost:{port}"]
    _check_port(port)

    def stop(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    # MLflow imports `datasets` if it is installed, which must not be your folder of cards in the working directory.
    # Warnings of MLflow about the libraries it uses are no concern of its readers.
    environment = os.environ | store.ENVIRONMENT | {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "ignore"}
    environment["MLFLOW_BACKEND_STORE_URI"] = store.store_uri(results)  # no argument: it may hold a password
    # The server is two processes, and the first does not end the second: as a group, both can be ended.
    with subprocess.Popen(command, env=environment, start_new_session=True) as server, _watch(server.pid):
        try:
            return server.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)


def _watch(group: int) -> "subprocess.Popen[bytes]":
    """Start a process that ends a group of processes once this one has ended, be it by kill -9."""
    command = [sys.executable, "-c", END_WITH_PIPE, str(group)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def _check_port(port: int) -> None:
    """Raise DeclarationError if another program uses the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            rule = "another program uses it" if error.errno == errno.EADDRINUSE else str(error.strerror)
            raise DeclarationError(f"--port {port}: {rule}; give another port") from None
