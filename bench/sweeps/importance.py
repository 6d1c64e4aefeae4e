"""Which knobs decided the scores of a search: PED-ANOVA over the trials of its studies (Watanabe et al. 2023)."""

import warnings
from pathlib import Path
from typing import NamedTuple

import optuna

from bench.config.ids import CellId
from bench.errors import StoreError
from bench.sweeps import shared_studies
from bench.sweeps.optuna_adapter import in_one_line, open_file

FEWEST_TRIALS = 12
"""Complete trials of a cell below which nothing is said: the best quarter would be fewer than 3."""

BEST_SHARE = 0.25
"""The trials that count as good: a knob matters if their values are distributed unlike those of all trials."""


class Importance(NamedTuple):
    """The knobs of a cell, the most important first, with shares that sum to 1; none if there are too few trials."""

    cell: CellId
    trials: int
    knobs: dict[str, float]


def of_sweep(folder: Path) -> list[Importance]:
    """Return the importance of the knobs of each cell of a sweep. Raises StoreError if its studies cannot be read."""
    path = folder / "study.db"
    database = shared_studies.of_sweep(folder)
    if database is None and not path.exists():
        return []
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with in_one_line(path if database is None else database):
        storage = open_file(path) if database is None else shared_studies.open_storage(database)
        prefix = "" if database is None else database.prefix
        found = []
        for name in optuna.get_all_study_names(storage):
            if name.startswith(prefix):  # one at a time: Optuna keeps all trials of a study in memory
                study = optuna.load_study(study_name=name, storage=storage)
                if len(study.directions) == 1:
                    found.append(of_study(name.removeprefix(prefix), study))
        return found


def of_study(name: str, study: optuna.Study) -> Importance:
    """Return the importance of the knobs of the cell of this name. Raises StoreError if it is no cell's name."""
    try:
        cell = CellId.parse(name)
    except ValueError as error:
        raise StoreError(f"study.db: {error}") from None
    trials = [t for t in study.get_trials(deepcopy=False) if t.state == optuna.trial.TrialState.COMPLETE]
    varied = [name for name in trials[0].params if len({t.params.get(name) for t in trials}) > 1] if trials else []
    if len(trials) < FEWEST_TRIALS or not varied or len({tuple(t.values or ()) for t in trials}) < 2:
        return Importance(cell, len(trials), {})
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE, evaluate_on_local=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PED-ANOVA is marked as experimental
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=varied)
    return Importance(cell, len(trials), dict(sorted(found.items(), key=lambda item: -item[1])))
