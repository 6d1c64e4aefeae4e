"""The pages of MLflow: the links that a sweep prints, the views they open, and the server that shows them."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.errors import StoreError
from bench.results.record import Asked
from bench.tracking import store


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
        view = f"viewStateShareKey={sweep}"
        pages.append((f"{dataset}: models side by side", f"{page}&compareRunsMode=CHART&{view}-charts"))
        pages.append((f"{dataset}: all runs; open them with [+]", f"{page}&compareRunsMode=TABLE&{view}-runs"))
    return pages


def views(sweep: str, asked: Asked) -> dict[str, dict[str, Any]]:
    """Return the state of the pages that `links` leads to, in the form in which MLflow's own page shares a view.

    Filter and order are always given: the page takes what is missing from the last visit. Rows sorted by a metric do
    not nest, and only then do the charts show cells; rows sorted by date nest.
    """
    score, of_sweep = f"test/{asked.metric}", where("bench.sweep", sweep)
    everything = {
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [
            "tags.`bench.state`",
            *(f"metrics.`{name}`" for name in (score, f"best_val/{asked.metric}", "total_seconds")),
            "params.`learning_rate`",
        ],
    }
    section = {"uuid": "cells", "name": "models side by side", "display": True, "isReordered": False, "deleted": False}
    return {
        "runs": everything | {"searchFilter": of_sweep, "orderByKey": "attributes.start_time", "orderByAsc": False},
        "charts": everything
        | {
            "searchFilter": f"{of_sweep} and {where('bench.kind', 'cell')}",
            "runsHiddenMode": "SHOW_ALL",
            "orderByKey": f"metrics.`{score}`",
            "orderByAsc": asked.goal == "minimize",
            "compareRunSections": [section | {"isGenerated": False}],
            "compareRunCharts": _charts(score, asked.solved is not None),
        },
    }


def _charts(score: str, is_solved: bool) -> list[dict[str, Any]]:
    bars = [score, *(["test/solved"] if is_solved else []), "total_seconds"]
    charts: list[dict[str, Any]] = [{"type": "BAR", "metricKey": name, "displayName": name} for name in bars]
    axes = {"xaxis": {"key": "total_seconds", "type": "METRIC"}, "yaxis": {"key": score, "type": "METRIC"}}
    charts.append({"type": "SCATTER", "displayName": "score against cost", **axes})
    common = {"runsCountToCompare": 100, "metricSectionId": "cells", "deleted": False, "isGenerated": False}
    return [{"uuid": f"chart{number}"} | chart | common for number, chart in enumerate(charts)]


def check(results: Path) -> None:
    """Raise StoreError if there is no store to serve, or a server shows its pages already."""
    if store.server_url():
        raise StoreError(f"MLFLOW_TRACKING_URI: the pages are at {store.server_url()}; open them there")
    if not store.given_uri() and not (results / "mlflow.db").exists():
        raise StoreError(f"{results / 'mlflow.db'}: no such file; run: python -m bench sweep, or: python -m bench sync")


def serve(results: Path, port: int) -> int:
    """Serve the pages at 127.0.0.1 until the server ends, SIGINT or SIGTERM; leave none of its processes behind."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store.store_uri(results), "--uvicorn-opts", "--log-level warning"]

    def stop(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    # MLflow imports `datasets` if it is installed, which must not be your folder of cards in the working directory.
    environment = os.environ | store.ENVIRONMENT | {"PYTHONSAFEPATH": "1"}
    # The server is two processes, and the first does not end the second: as a group, both can be ended.
    with subprocess.Popen(command, env=environment, start_new_session=True) as server:
        try:
            return server.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
