"""Records of successive halving: trials that are paused, ended or confirmed."""

from bench.config.ids import CellId
from bench.results.record import PAUSED, Epoch, RunRecord, Seconds
from tests.makers import record, run_config


def curve(scores: list[float]) -> list[Epoch]:
    return [
        Epoch(steps=i, sequences=i, train_seconds=i, train_loss=1, val={"accuracy": score}, val_loss=1 - score)
        for i, score in enumerate(scores, 1)
    ]


def trial(cell: CellId, number: int, scores: list[float], state: str = "", bracket: int = 0) -> RunRecord:
    """A trial with these validations: it is paused before 27 of them, and complete with 27 or if `state` says so."""
    ended = state or ("complete" if len(scores) == 27 else "pruned")
    config = run_config(
        "screen", run=str(cell.trial(number)), dataset=cell.dataset, space=cell.space, number=number,
        bracket=bracket, settings={"num_epochs": 27, "max_sequences": 27 * 16},
    )  # fmt: skip
    cause = PAUSED if ended == "pruned" else "diverged" if ended == "failed" else None
    val = {} if ended == "failed" else {"accuracy": max(scores)}
    return record(
        config, {"solved": None}, state=ended, cause=cause, epochs=curve(scores), val=val, train_steps=len(scores),
        seconds=Seconds(total=float(len(scores)))
    )  # fmt: skip


def confirm(of: RunRecord, index: int, score: float = 0.5, state: str = "complete") -> RunRecord:
    config = of.config.model_copy(
        update={"run": str(of.config.id.confirmation(index)), "phase": "confirm", "number": index, "bracket": None}
    )
    seconds = Seconds(total=27.0)
    return record(
        config, {"solved": None}, state=state, val={"accuracy": score}, epochs=curve([score] * 27), seconds=seconds
    )


def opened(of: RunRecord, *runs: RunRecord, score: float = 0.5) -> RunRecord:
    ids = tuple(run.config.run for run in runs)
    update = {"run": str(of.config.id.test(0)), "phase": "test", "opens_test_of": ids}
    return record(
        of.config.model_copy(update=update), {"solved": None}, tests={run: {"accuracy": score} for run in ids}
    )
