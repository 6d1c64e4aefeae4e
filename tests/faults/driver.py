"""A coordinator whose runs are stubs: `python driver.py RESULTS NAME KEY=VALUE …` (keys of SweepConfig)."""

import json
import os
import sys
from pathlib import Path

from bench.config.sweep_settings import SweepConfig
from bench.errors import BenchError
from bench.sweep import coordinator, optuna_adapter, prepare
from bench.sweep.engines import server
from bench.sweep.engines.local import LocalEngine
from bench.sweep.status import Status
from bench.sweep.stop import leave


class Lines:
    """Shows a sweep as lines."""

    def update(self, status: Status) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Show a line."""
        print(text, flush=True)  # noqa: T201


def main() -> int:
    """Run or resume a sweep of stubs; return its exit code."""
    results, name, *rest = sys.argv[1:]
    server.SILENT_SECONDS = float(os.environ.get("BENCH_SILENT_SECONDS", server.SILENT_SECONDS))
    options = {key: json.loads(value) for key, value in (word.split("=", 1) for word in rest)}
    values = {"results": Path(results), "name": name, "datasets": ["latch"], "lengths": [8], "models": ["gru", "mlp"]}
    try:
        config = SweepConfig.build(None, values | {"workers": 2, "budget": "smoke"} | options)
        made = prepare.make(config)
        optuna_adapter.LOCK_SECONDS = float(os.environ.get("BENCH_LOCK_SECONDS", optuna_adapter.LOCK_SECONDS))
        engine = LocalEngine(made.slots, config.stall_seconds, run="stub:run", preload=["stub"])
        leave(coordinator.run(made, Lines(), engine).exit_code)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
