"""Times of single steps and small things: `python steps.py KIND …` prints JSON. Each runs in a process of its own."""

import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def median_milliseconds(act, seconds: float = 1.5) -> float:
    act()
    act()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < seconds and len(times) < 30):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def recurrent(name: str, hidden_size: str, length: str, prepared: str) -> dict:
    """P3: a training step of a baseline's encoder, batch 64; the gradient comes from the last step alone."""
    import torch

    from bench.config import plugins, search_spaces
    from bench.training import ledger

    if prepared == "prepared":
        ledger.prepare_process(1)
    torch.set_num_threads(1)
    space = search_spaces.read(name)
    arguments = space.split(space.default)[0] | {"hidden_size": int(hidden_size)}
    if prepared == "stock":  # PyTorch's own initialisation, whose gradients vanish into subnormal numbers
        arguments |= {key: "default" for key in ("forget_bias", "update_bias", "recurrent_init") if key in arguments}
    model = plugins.load("models", space.model).Model(32, int(length), **arguments)
    x, length_B = torch.randn(64, int(length), 32), torch.full((64,), int(length))

    def step() -> None:
        model.summary(model(x, length_B)[0], length_B).sum().backward()

    return {"milliseconds": median_milliseconds(step)}


def transformer(kind: str, length: str) -> dict:
    """P4: a training step of one block, width 64, 4 heads, batch 64."""
    import torch
    from torch import nn

    from bench.models.transformer import Model
    from bench.training import ledger

    steps = int(length)
    x, length_B = torch.randn(64, steps, 64), torch.full((64,), steps)
    if kind == "bench":
        ledger.prepare_process(1)
        model = Model(64, steps, num_layers=1, num_heads=4, head_size=16, feedforward_multiplier=4)
    else:
        torch.set_num_threads(1)
        layer = nn.TransformerEncoderLayer(64, 4, 256, dropout=0.1, batch_first=True)

    def step() -> None:
        out = model(x, length_B)[0] if kind == "bench" else layer(x)
        out.sum().backward()

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    milliseconds = median_milliseconds(step, 4.0)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"milliseconds": milliseconds, "peak_mib": (after - before) / 1024}


def lightning(length: str) -> dict:
    """P7: the run's training through Lightning against a raw loop over the same module and batches."""
    import torch

    from bench.config.datasets import make_task
    from bench.config.settings import RunConfig, TrainSettings
    from bench.training import ledger, train
    from bench.training.datamodule import to_tensors
    from bench.training.module import SequenceModule

    ledger.prepare_process(1)
    settings = TrainSettings(
        max_sequences=9_600, batch_size=32, num_epochs=6, num_val=8, num_test=8, learning_rate=1e-4
    )
    config = RunConfig(
        sweep="", run="", phase="screen", number=0, dataset="adding", task="adding", length=int(length),
        task_arguments={"variant": "tcn"}, space="lstm", model="lstm", model_arguments={"hidden_size": 32},
        train=settings, seed=0,
    )  # fmt: skip
    task = make_task("adding", int(length), {"variant": "tcn"})

    def raw() -> float:
        torch.manual_seed(0)
        module = SequenceModule(task, config)
        optimizer = module.configure_optimizers()
        weights = list(module.parameters())
        start = time.perf_counter()
        for number in range(settings.max_steps):
            batch = to_tensors(task.train_batch(0, number, settings.batch_size))
            loss = module.loss(batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, settings.gradient_clip)
            optimizer.step()
        return time.perf_counter() - start

    def through_lightning() -> float:
        return train.run(config).seconds.train

    raw(), through_lightning()
    pairs = [(raw(), through_lightning()) for _ in range(5)]
    return {
        "ratio": statistics.median(b / a for a, b in pairs),
        "raw_milliseconds": 1e3 * statistics.median(a for a, _ in pairs) / settings.max_steps,
    }


def table(rows: str) -> dict:
    """P10: a CSV of a time and eight numbers a row, read into its arrays. Peak memory is above that of an idle pandas."""
    import numpy as np
    import pandas as pd

    from bench.data.table_format import TableFormat
    from bench.data.tables import read_table

    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        path, count, piece = Path(folder) / "table.csv", int(rows), 10_000
        numbers = [
            ",".join(f"{number:.4f}" for number in row) for row in np.random.default_rng(0).normal(size=(piece, 8))
        ]
        with path.open("w") as file:
            file.write("time,a,b,c,d,e,f,g,h\n")
            for first in range(0, count, piece):
                times = np.arange(first, first + piece).astype("datetime64[m]").astype(str)
                file.write("".join(f"{time},{row}\n" for time, row in zip(times, numbers, strict=True)))
        pd.read_csv(path, nrows=100)
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        found = read_table([path], form=TableFormat(time="time"))
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        arrays = sum(column.nbytes for column in found.columns.values()) + found.times.nbytes
        return {
            "rows": len(found.times),
            "seconds": seconds,
            "text_mb": path.stat().st_size / 1e6,
            "arrays_mib": arrays / 2**20,
            "peak_mib": (peak - before) / 1024,
        }


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    print(json.dumps(globals()[kind](*arguments)))
