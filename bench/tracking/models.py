"""Models and reports in MLflow: saved, loaded, and put beside the runs they belong to."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.tracking import pages, store

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Run


def save_model(
    path: Path,
    *,
    loader: str,
    data: Path,
    code: Path,
    inputs: dict[str, str],
    outputs: "pd.DataFrame",
    example: "pd.DataFrame | None",
    requirements: list[str],
) -> None:
    """Write a folder that `mlflow.pyfunc.load_model` loads, with its signature: a table in, a table out.

    `loader` is the module with `_load_pyfunc`, which gets the folder `data`; `code` is the package it belongs to. Each
    column of `inputs` is "number" or "text". The signature accepts any type for the columns of a table, and the
    metadata hold their kinds: MLflow refuses whole numbers where it expects decimals, and numbers where it expects
    texts, but the model reads a table as it reads a file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about MLflow's own classes, and integers that may be missing elsewhere
        from mlflow.models import ModelSignature, infer_signature
        from mlflow.pyfunc import save_model
        from mlflow.types import ColSpec, Schema
        from mlflow.types.schema import AnyType

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        kind = AnyType() if example is not None else "string"  # type: ignore[no-untyped-call]
        schema = Schema([ColSpec(kind, name) for name in inputs])
        save_model(
            path,
            loader_module=loader,
            data_path=str(data),
            code_paths=[str(code)],
            signature=ModelSignature(schema, infer_signature(outputs).inputs),
            input_example=example,
            metadata={"columns": inputs},
            pip_requirements=requirements,
        )


def load_model(path: Path) -> Any:
    """Return what `loader` made of a folder that `save_model` wrote."""
    from mlflow.pyfunc import load_model

    return load_model(str(path)).get_raw_model()  # type: ignore[no-untyped-call]


def register_model(results: Path, folder: Path, run: str, path: Path, name: str) -> str:
    """Put a saved model beside the run of a sweep it came from, as a version of the registered model `name`.

    Return a line for the user: the version, or why the model is not registered.
    """
    try:
        client = store.connect(results)
        key = f"{store.sweep_key(folder)}/{run}"
        runs = _runs(client, pages.where("bench.id", key))
        if not runs:
            return f"MLflow: not registered: it does not hold the run {run}; run: python -m bench sync {folder.name}"
        client.log_artifacts(runs[0].info.run_id, str(path), "model")
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        source = f"{runs[0].info.artifact_uri}/model"
        version = client.create_model_version(name, source, runs[0].info.run_id, tags={"bench.sweep": folder.name})
        return f"MLflow: version {version.version} of model '{name}'"
    except Exception as error:  # noqa: BLE001 - the export is kept, whatever MLflow raises
        return f"MLflow: not registered: {store.explain(error, results)}"


def log_report(results: Path, folder: Path, report: Path, diagnoses: Sequence[Path] = ()) -> str | None:
    """Put a sweep's report beside its runs in MLflow, once in each dataset's experiment; return why not, or None.

    The files of `diagnoses` lie in a folder of that name beside it.
    """
    try:
        client = store.connect(results)
        of_sweep = pages.where("bench.sweep", store.sweep_key(folder))
        runs = _runs(client, f"{of_sweep} and {pages.where('bench.kind', 'sweep')}")
        for run in runs:
            client.log_artifact(run.info.run_id, str(report))
            for file in diagnoses:
                client.log_artifact(run.info.run_id, str(file), "diagnoses")
        return None if runs else f"MLflow does not hold the sweep; run: python -m bench sync {folder.name}"
    except Exception as error:  # noqa: BLE001 - the report is kept, whatever MLflow raises
        return store.explain(error, results)


def _runs(client: "MlflowClient", condition: str) -> "list[Run]":
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, condition))
