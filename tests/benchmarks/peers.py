"""The same work done by the bench and by its peers: `python peers.py KIND LENGTH TRIALS FOLDER` prints JSON.

The work: an LSTM with 16 to 64 hidden units on `adding`, 5 epochs of 2,048 fresh sequences in batches of 64, 500
validation sequences after each; learning rates too low to solve it, so that no one stops early. Every kind trains the
very same configurations. Seconds a trial are taken from the start of the first trial to the end of the last, so that
starting up is left out; so is what a peer would do for one trial only.
"""

import dataclasses
import json
import multiprocessing
import os
import sys
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
EPOCHS, SEQUENCES, BATCH, VALIDATION = 5, 2_048, 64, 500
SPACE = """
title = "The benchmark's LSTM"
model = "lstm"
[tune]
hidden_size = { type = "int", low = 16, high = 64, default = 32 }
learning_rate = { type = "float", low = 1e-4, high = 1e-3, log = true, default = 3e-4 }
"""


def space(folder: Path):
    from bench.config import search_spaces

    (folder / "spaces").mkdir(parents=True, exist_ok=True)
    (folder / "spaces" / "lstm.toml").write_text(SPACE)
    return search_spaces.read("lstm", folder / "spaces")


def points(folder: Path, trials: int) -> list[dict]:
    mine = space(folder)
    return [mine.sobol_point(number - 1, 0) if number else mine.default for number in range(trials)]


def task(length: int):
    from bench.config.datasets import make_task

    return make_task("adding", length, {"variant": "tcn"})


def bench(length: int, trials: int, folder: Path) -> float:
    from datetime import datetime

    from bench.config.budgets import Budget
    from bench.config.sweep_settings import SweepConfig
    from bench.results.record import records
    from bench.sweeps import coordinator, prepare

    space(folder)
    budget = Budget(
        title="", trials=trials, top_k=1, confirm_seeds=0, max_sequences=EPOCHS * SEQUENCES, batch_size=BATCH,
        num_epochs=EPOCHS, num_val=VALIDATION, num_test=10,
    )  # fmt: skip
    config = SweepConfig(
        datasets=["adding"], lengths=[length], models=["lstm"], trials=trials, confirm_seeds=0, workers=2,
        results=folder / "results", search_spaces=folder / "spaces", name=f"work-{time.time_ns()}",
    )  # fmt: skip
    made = dataclasses.replace(prepare.make(config), budget=budget)
    coordinator.run(made, Silent())
    found = [record for record in records(made.folder) if record.config.phase == "screen"]
    assert len(found) == trials
    assert all(record.state == "complete" and record.train_steps == EPOCHS * SEQUENCES // BATCH for record in found)
    starts = [datetime.fromisoformat(record.started_at).timestamp() for record in found]
    ends = [start + record.seconds.total for start, record in zip(starts, found, strict=True)]
    return (max(ends) - min(starts)) / trials


class Silent:
    def update(self, status) -> None: ...

    def say(self, text: str) -> None: ...


def raw_loop(length: int, configuration: dict, seed: int = 0) -> None:
    """Train one configuration in a plain PyTorch loop."""
    import torch
    from torch import nn

    from bench.training.datamodule import to_tensors

    torch.manual_seed(seed)
    source = task(length)
    x_val, _, y_val, _ = to_tensors(source.split("val", VALIDATION))
    lstm, head = nn.LSTM(2, configuration["hidden_size"], batch_first=True), nn.Linear(configuration["hidden_size"], 1)
    weights = [*lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(weights, lr=configuration["learning_rate"], fused=True)
    for number in range(EPOCHS * SEQUENCES // BATCH):
        x, _, y, _ = to_tensors(source.train_batch(seed, number, BATCH))
        loss = nn.functional.mse_loss(head(lstm(x)[0][:, -1])[:, 0], y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if (number + 1) % (SEQUENCES // BATCH) == 0:
            with torch.no_grad():
                nn.functional.mse_loss(head(lstm(x_val)[0][:, -1])[:, 0], y_val).item()


def _raw_worker(length: int, configurations: list[dict], barrier, times) -> None:
    from bench.training import ledger

    ledger.prepare_process(1)
    raw_loop(16, configurations[0])  # warm
    barrier.wait()
    start = time.time()
    for configuration in configurations:
        raw_loop(length, configuration)
    times.put((start, time.time()))


def floor(length: int, trials: int, folder: Path) -> float:
    """Two raw loops at once, one a core, denormals flushed and malloc told to keep its blocks."""
    context = multiprocessing.get_context("spawn")
    barrier, times = context.Barrier(2), context.SimpleQueue()
    todo = points(folder, trials)
    workers = [context.Process(target=_raw_worker, args=(length, todo[index::2], barrier, times)) for index in range(2)]
    for worker in workers:
        worker.start()
    spans = [times.get() for _ in workers]
    for worker in workers:
        worker.join()
    return (max(end for _, end in spans) - min(start for start, _ in spans)) / trials


def lightning_parts(length: int, configuration: dict, logged: bool):
    """A LightningModule and loaders as the libraries' examples write them: TensorDataset, DataLoader, self.log."""
    import pytorch_lightning as pl
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(2, configuration["hidden_size"], batch_first=True)
            self.head = nn.Linear(configuration["hidden_size"], 1)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])[:, 0]

        def training_step(self, batch, index):
            loss = nn.functional.mse_loss(self(batch[0]), batch[1])
            if logged:
                self.log("train_loss", loss)
            return loss

        def validation_step(self, batch, index):
            self.log("val_loss", nn.functional.mse_loss(self(batch[0]), batch[1]), prog_bar=False)

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=configuration["learning_rate"])

    pl.seed_everything(0, verbose=False)
    source = task(length)
    train, val = source.train_batch(0, 0, SEQUENCES), source.split("val", VALIDATION)
    sets = [TensorDataset(torch.from_numpy(part.x), torch.from_numpy(part.y)) for part in (train, val)]
    loaders = [DataLoader(sets[0], batch_size=BATCH, shuffle=True), DataLoader(sets[1], batch_size=VALIDATION)]
    return Module(), loaders


def plain(length: int, trials: int, folder: Path) -> float:
    """Optuna + Lightning + MLflow in one process, as their examples write it."""
    import optuna
    import pytorch_lightning as pl
    import torch
    from pytorch_lightning.loggers import MLFlowLogger

    torch.set_num_threads(1)  # quicker than two for these sizes
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    times: list[tuple[float, float]] = []

    def objective(trial: optuna.Trial) -> float:
        start = time.time()
        configuration = {
            "hidden_size": trial.suggest_int("hidden_size", 16, 64),
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-3, log=True),
        }
        logger = MLFlowLogger(experiment_name="adding", tracking_uri=uri, artifact_location=str(folder / "artifacts"))
        logger.log_hyperparams(configuration)
        module, (train, val) = lightning_parts(length, configuration, logged=True)

        class Prune(pl.Callback):
            def on_validation_end(self, trainer, module):
                trial.report(trainer.callback_metrics["val_loss"].item(), trainer.current_epoch)

        trainer = pl.Trainer(
            max_epochs=EPOCHS, logger=logger, callbacks=[Prune()], enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", gradient_clip_val=1.0,
        )  # fmt: skip
        trainer.fit(module, train, val)
        times.append((start, time.time()))
        return trainer.callback_metrics["val_loss"].item()

    study = optuna.create_study(storage=f"sqlite:///{folder / 'optuna.db'}", sampler=optuna.samplers.TPESampler(seed=0))
    for point in [points(folder, 1)[0], *points(folder, trials)]:
        study.enqueue_trial(point)
    study.optimize(objective, n_trials=trials + 1)  # the first pays for imports and tables and is left out
    return (times[-1][1] - times[1][0]) / trials


def _ray(length: int, trials: int, folder: Path, reuse_actors: bool) -> float:
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0", "PYTHONPATH": str(ROOT)}
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    stamps = folder / f"stamps-{time.time_ns()}"
    stamps.mkdir(parents=True)

    def train(configuration: dict) -> None:
        import logging

        import pytorch_lightning as pl
        import torch

        started = time.time()
        torch.set_num_threads(1)
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
        module, (train_loader, val_loader) = lightning_parts(length, configuration, logged=False)

        class Report(pl.Callback):
            def on_validation_end(self, trainer, module):
                if not trainer.sanity_checking:
                    tune.report({"val_loss": trainer.callback_metrics["val_loss"].item()})

        trainer = pl.Trainer(
            max_epochs=EPOCHS, logger=False, callbacks=[Report()], enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", gradient_clip_val=1.0,
        )  # fmt: skip
        trainer.fit(module, train_loader, val_loader)
        (stamps / str(time.time_ns())).write_text(f"{started} {time.time()}")

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    search = OptunaSearch(metric="val_loss", mode="min", points_to_evaluate=points(folder, trials))
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space={"hidden_size": tune.randint(16, 65), "learning_rate": tune.loguniform(1e-4, 1e-3)},
        tune_config=tune.TuneConfig(
            search_alg=search, num_samples=trials, max_concurrent_trials=2, reuse_actors=reuse_actors
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "ray"), verbose=0),
    )
    tuner.fit()
    spans = [tuple(map(float, path.read_text().split())) for path in stamps.iterdir()]
    ray.shutdown()
    assert len(spans) == trials
    return (max(end for _, end in spans) - min(start for start, _ in spans)) / trials


def ray_default(length: int, trials: int, folder: Path) -> float:
    """Ray Tune + OptunaSearch + Lightning on 2 workers, as its examples have it: an actor a trial."""
    return _ray(length, trials, folder, reuse_actors=False)


def ray_reuse(length: int, trials: int, folder: Path) -> float:
    """The same with actors that are used again."""
    return _ray(length, trials, folder, reuse_actors=True)


if __name__ == "__main__":
    kind, length, trials, folder = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    seconds = globals()[kind](int(length), int(trials), Path(folder))
    print(json.dumps({"kind": kind, "seconds_a_trial": seconds}))
