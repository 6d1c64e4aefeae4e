"""Which sequence model should I use for my data, at this sequence length, under this budget?

`bench.load()` gives the records of a results folder as a pandas DataFrame; the rest is `python -m bench`.
"""

from typing import Any

__version__ = "0.2.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    # pandas is imported on first use: `python -m bench --help` must stay fast.
    if name == "load":
        from bench.results.sweeps import load

        return load
    raise AttributeError(f"module 'bench' has no attribute '{name}'")
