"""An Auto model of neuralforecast on the rows of a file: `python forecasts.py PEER INPUTS ANSWERS RESULT SECONDS`.

Runs in an environment of its own and imports nothing of the bench. `Auto...` searches its default space with Ray Tune,
two trials at a time, and trains the best configuration again on train and val (its default), then forecasts every
window of the test part. Differences from its defaults, all to its advantage: the loss is that of the metric, the window
may be one to three times that of the bench as in the bench's own space, the scaling of a window is searched for every
model, and TPE of Optuna proposes. The search gets SEARCHED of the time; the rest is for the last training and the forecasts.
"""

import json
import logging
import os
import sys
import time
import warnings

import numpy as np

SEARCHED = 0.75
PEERS = ("AutoLSTM", "AutoGRU", "AutoNHITS", "AutoDLinear")


def frame(rows: np.ndarray):
    import pandas as pd

    series = [
        pd.DataFrame({"unique_id": f"s{number:03}", "ds": np.arange(1, len(rows) + 1), "y": column.astype(float)})
        for number, column in enumerate(rows.T)
    ]
    return pd.concat(series, ignore_index=True)


def model(peer: str, horizon: int, length: int, seconds: float, folder: str):
    from neuralforecast import auto
    from neuralforecast.common._base_auto import RayOptions
    from neuralforecast.losses.pytorch import MSE
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    kind = getattr(auto, peer)
    config = kind.get_default_config(h=horizon, backend="ray")
    config |= {"input_size": tune.choice([length, 2 * length, 3 * length])}
    config.setdefault("scaler_type", tune.choice(["identity", "robust", "standard"]))
    config.pop("inference_input_size", None)  # as long as input_size
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    return kind(
        h=horizon, loss=MSE(), config=config | quiet, search_alg=OptunaSearch(seed=0), num_samples=10_000,
        time_budget=seconds, verbose=False,
        ray_options=RayOptions(cpus=1, gpus=0, run_config=tune.RunConfig(storage_path=folder, verbose=0)),
    )  # fmt: skip


def main(peer: str, inputs: str, answers: str, result: str, seconds: str) -> None:
    start = time.perf_counter()
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "NIXTLA_ID_AS_COL": "1", "OMP_NUM_THREADS": "1"}
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    import ray
    from neuralforecast import NeuralForecast

    data = np.load(inputs)
    horizon, length = int(data["horizon"]), int(data["length"])
    table = frame(np.concatenate([data[part] for part in ("train", "val", "test")]))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    left = float(seconds) * SEARCHED - (time.perf_counter() - start)
    chosen = model(peer, horizon, length, max(5.0, left), os.path.dirname(os.path.abspath(result)))
    forecaster = NeuralForecast(models=[chosen], freq=1)
    try:
        given = forecaster.cross_validation(
            table, n_windows=None, val_size=len(data["val"]), test_size=len(data["test"]), step_size=1
        )
    except TypeError as error:  # there is no best configuration
        raise SystemExit(f"no trial had a validation score within the time ({error})") from None
    given = given.sort_values(["cutoff", "ds", "unique_id"])
    windows = given["cutoff"].nunique()
    np.savez(
        answers,
        test_0=given[peer].to_numpy().reshape(windows, -1).astype(np.float32),
        targets=given["y"].to_numpy().reshape(windows, -1).astype(np.float32),
    )
    found = forecaster.models[0].results
    best = {key: value for key, value in found.get_best_result().config.items() if isinstance(value, int | float | str)}
    about = {
        "seconds": time.perf_counter() - start,
        "fitted_on": "chosen on val, then train + val",
        "trials": len(found),
        "note": f"{len(found)} trials; input_size {best.get('input_size')}, max_steps {best.get('max_steps')}",
        "configuration": best,
    }
    with open(result, "w") as file:
        json.dump(about, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
