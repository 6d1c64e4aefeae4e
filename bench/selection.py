"""Which run of a cell is chosen: by validation alone."""

from collections.abc import Iterable

from bench.record import RunRecord


def best_trial(records: Iterable[RunRecord]) -> RunRecord | None:
    """Return the screening run to be confirmed; None where none is complete.

    A solved one goes before an unsolved one; of the solved, whose scores differ by noise, that with the fewest
    sequences; else the better validation score, and of equals the earlier trial.
    """
    screened = [record for record in records if record.config.phase == "screen" and record.state == "complete"]

    def merit(record: RunRecord) -> tuple[float, ...]:
        sequences, score = record.sequences_to_solve, record.val_score
        solved = (0, 0) if sequences is None else (1, -sequences)
        assert score is not None  # a complete run has one: the sweep sees to it
        return (*solved, record.asked.sign * score, -record.config.number)

    return max(screened, key=merit, default=None)


def confirmations(records: Iterable[RunRecord], chosen: RunRecord) -> list[RunRecord]:
    """Return the runs that confirm a chosen trial, by the number of their seed."""
    prefix = chosen.config.run + "-s"
    found = [record for record in records if record.config.phase == "confirm" and record.config.run.startswith(prefix)]
    return sorted(found, key=lambda record: record.config.number)
