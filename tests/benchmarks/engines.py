"""What an engine costs a run, with stub runs of no length that write a record, one at a time.

    python engines.py [COUNT]

prints lines of JSON: the milliseconds from handing a run over to its end, medians over COUNT runs after the first few, of the
local engine, of the engine on a Ray instance of this machine, and of Ray Tune with reused actors, whose trials write
the same record.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE)]
WARM_UP = 5


def of_engine(kind: str, count: int) -> dict[str, float]:
    """Return medians over runs that are carried out one after the other."""
    import stub_sweeps

    from bench.results.record import write_json
    from bench.sweeps.engines.cluster import RayEngine
    from bench.sweeps.engines.engine import Job
    from bench.sweeps.engines.local import PRELOAD, LocalEngine
    from bench.sweeps.prepare import run_config

    with tempfile.TemporaryDirectory(prefix="bench-engines-") as name:
        made = stub_sweeps.plan(Path(name), 2, datasets=["adding"], lengths=[8], models=["lstm"], engine=kind)
        (cell,) = made.cells
        functions = ("stub_sweeps:stub", [*PRELOAD, "stub_sweeps"])
        engine = LocalEngine(made.slots, 60.0, *functions) if kind == "local" else RayEngine(made.config, 1, *functions)
        seconds, cpu = [], []
        for number in range(WARM_UP + count):
            config = run_config(made, cell, cell.id.trial(number), "screen", cell.space.default, number=number)
            folder = made.folder / "runs" / config.run
            folder.mkdir(parents=True)
            write_json(folder / "config.json", config.model_dump(mode="json"))
            start, start_cpu = time.perf_counter(), time.process_time()
            (end,) = engine.run_all([Job(config.run, folder)])
            seconds.append(time.perf_counter() - start)
            cpu.append(time.process_time() - start_cpu)
            assert end.cause is None, end
            assert (folder / "record.json").exists()
        engine.close()
    return {"ms": 1000 * statistics.median(seconds[WARM_UP:]), "own_cpu_ms": 1000 * statistics.median(cpu[WARM_UP:])}


def of_tune(count: int) -> dict[str, float]:
    """Return the milliseconds a trial of Ray Tune with one reused actor."""
    import ray
    import stub_sweeps
    from ray import tune

    from bench.sweeps.prepare import run_config

    with tempfile.TemporaryDirectory(prefix="bench-engines-") as name:
        made = stub_sweeps.plan(Path(name), 2, datasets=["adding"], lengths=[8], models=["lstm"])
        (cell,) = made.cells
        config = run_config(made, cell, cell.id.trial(0), "screen", cell.space.default, number=0)

        class Stub(tune.Trainable):
            def setup(self, values: dict) -> None: ...

            def reset_config(self, values: dict) -> bool:
                return True

            def save_checkpoint(self, folder: str) -> dict:  # Tune calls it when an actor is used again
                return {}

            def load_checkpoint(self, values: dict) -> None: ...

            def step(self) -> dict:
                folder = Path(tempfile.mkdtemp(dir=name))
                stub_sweeps.made_record(config, stub_sweeps.EPOCHS, 0.0).write(folder)
                return {"score": 0.5, "done": True}

        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=150 * 2**20)
        seconds = {}
        for number in (WARM_UP, WARM_UP + count):
            settings = tune.TuneConfig(
                metric="score", mode="max", num_samples=number, max_concurrent_trials=1, reuse_actors=True
            )
            run = tune.RunConfig(storage_path=name, verbose=0)
            space = {"number": tune.randint(0, 10**9)}
            start = time.perf_counter()
            tune.Tuner(Stub, param_space=space, tune_config=settings, run_config=run).fit()
            seconds[number] = time.perf_counter() - start
        ray.shutdown()
    return {"ms": 1000 * (seconds[WARM_UP + count] - seconds[WARM_UP]) / count}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(HERE)])
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(32).hex(), "RAY_USAGE_STATS_ENABLED": "0"}
    for kind in ("local", "ray"):
        print(json.dumps({"engine": kind, "runs": count} | of_engine(kind, count)), flush=True)
    try:
        print(json.dumps({"engine": "Ray Tune", "runs": count} | of_tune(count)))
    except ImportError as error:
        print(f"Ray Tune is not installed: {error}")


if __name__ == "__main__":
    main()
