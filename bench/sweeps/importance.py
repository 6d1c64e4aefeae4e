"""Which knobs decided the scores of a search: PED-ANOVA over the trials of its studies (Watanabe et al. 2023)."""

import warnings
from pathlib import Path
from typing import NamedTuple

import optuna
from sqlalchemy import URL

from bench.config.ids import CellId
from bench.errors import StoreError
from bench.sweeps.optuna_adapter import in_one_line

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
    """Return the importance of the knobs of each cell of a sweep. Raises StoreError for a damaged study.db."""
    path = folder / "study.db"
    if not path.exists():
        return []
    url = URL.create("sqlite", database=str(path.resolve())).render_as_string()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with in_one_line(path):
        storage = optuna.storages.RDBStorage(url)
        names = optuna.get_all_study_names(storage)
        studies = [optuna.load_study(study_name=name, storage=storage) for name in names]
        return [of_study(study) for study in studies if len(study.directions) == 1]


def of_study(study: optuna.Study) -> Importance:
    """Return the importance of the knobs of one cell. Raises StoreError for a study that is no cell's."""
    try:
        cell = CellId.parse(study.study_name)
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
