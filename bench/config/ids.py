"""The names of cells and runs: one spelling each, which is also the folder below a sweep's `runs/`.

latch/L8/lstm             a cell: dataset, length, search space
latch/L8/lstm/t3          its trial 3
latch/L8/lstm/t3-s0       the configuration of trial 3, trained again on fresh seed 0
latch/L8/lstm/t3-test     the run that opens the test split for it; a later one is t3-test1, and so on
latch/L8/lstm/t3-speed    its exclusive pass, which measures speed
latch/L8/lstm/probe2      a probe of `bench plan`, 2 steps an epoch
latch/L8/_baselines       the cheap baselines of the dataset at this length
"""

from typing import NamedTuple

_BASELINES = "_baselines"


class CellId(NamedTuple):
    """A search space on a dataset at one length."""

    dataset: str
    length: int
    space: str

    def __str__(self) -> str:
        """Return the name of the cell's study and the folder of its runs."""
        return f"{self.dataset}/L{self.length}/{self.space}"

    @classmethod
    def parse(cls, text: str) -> "CellId":
        """Return the cell of this name. Raises ValueError."""
        try:
            dataset, length, space = text.split("/")
            return cls(dataset, int(length.removeprefix("L")), space)
        except ValueError:
            raise ValueError(f"'{text}' must name a cell as DATASET/L8/MODEL") from None

    def trial(self, number: int) -> "RunId":
        """Return a trial of this cell."""
        return RunId(self, f"t{number}")

    def probe(self, steps: int) -> "RunId":
        """Return a probe of this cell with `steps` training steps an epoch."""
        return RunId(self, f"probe{steps}")

    def baselines(self) -> "RunId":
        """Return the run of the cheap baselines, which all cells of this dataset and length share."""
        return RunId(self._replace(space=_BASELINES), "")


class RunId(NamedTuple):
    """A run of a sweep. `name` is empty for cheap baselines."""

    cell: CellId
    name: str

    def __str__(self) -> str:
        """Return the folder of the run below `runs/`."""
        return f"{self.cell}/{self.name}" if self.name else str(self.cell)

    @classmethod
    def parse(cls, text: str) -> "RunId":
        """Return the run in this folder. Raises ValueError."""
        if text.endswith(f"/{_BASELINES}"):
            return cls(CellId.parse(text), "")
        cell, _, name = text.rpartition("/")
        return cls(CellId.parse(cell), name)

    @property
    def trial(self) -> "RunId":
        """Return the trial whose configuration this run trains, tests or times."""
        return self._replace(name=self.name.partition("-")[0])

    def confirmation(self, index: int) -> "RunId":
        """Return the run that trains this trial's configuration on fresh seed `index`."""
        return self._replace(name=f"{self.trial.name}-s{index}")

    def test(self, index: int) -> "RunId":
        """Return the test run `index` (from 0) of this trial's configuration."""
        return self._replace(name=f"{self.trial.name}-test{index or ''}")

    def speed(self) -> "RunId":
        """Return the exclusive pass that measures the speed of this trial's configuration."""
        return self._replace(name=f"{self.trial.name}-speed")
