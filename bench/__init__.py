"""Which sequence model should I use for my data, at this sequence length, under this budget?

    sweep = bench.sweep("my.csv", task="forecasting", target="load", length=96, horizon=24, budget="10m")
    sweep.answer, sweep.leaderboard(), sweep.report(), sweep.best().predict("new.csv")

`bench.Sweep` opens an earlier sweep, `bench.Model` an exported model, and `bench.load` gives the records of a results
folder as a pandas DataFrame. The command line is `python -m bench`.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = ["Model", "Sweep", "__version__", "evaluate", "load", "predict", "sweep"]

if TYPE_CHECKING:
    from bench.api import Model, Sweep, evaluate, predict, sweep
    from bench.results.sweeps import load


def __getattr__(name: str) -> Any:
    # Imported on first use: `python -m bench --help` must stay fast.
    if name == "load":
        from bench.results.sweeps import load

        return load
    if name in __all__:
        from bench import api

        return getattr(api, name)
    raise AttributeError(f"module 'bench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
