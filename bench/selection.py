"""Which run of a cell is chosen: by validation alone."""

from collections.abc import Iterable

from bench.record import RunRecord

CLEARLY_FEWER = 2
"""One configuration needs, from seed to seed, up to twice the sequences (adding at 25 steps: 14,400 to 30,400)."""


def best_trial(records: Iterable[RunRecord]) -> RunRecord | None:
    """Return the screening run to be confirmed; None where none is complete.

    A solved one goes before an unsolved one. Of the solved, whose scores differ by noise, the first trial, unless a
    later one needed at most half its sequences: less would be chosen for a lucky seed. Of the unsolved, the better
    validation score; of equals the earlier trial.
    """
    screened = [record for record in records if record.config.phase == "screen" and record.state == "complete"]
    screened.sort(key=lambda record: record.config.number)
    chosen: RunRecord | None = None
    for record in screened:
        if record.sequences_to_solve is None:
            continue
        if chosen is None or CLEARLY_FEWER * record.sequences_to_solve <= (chosen.sequences_to_solve or 0):
            chosen = record
    if chosen is not None:
        return chosen

    def score(record: RunRecord) -> float:
        assert record.val_score is not None  # a complete run has one: the sweep sees to it
        return record.asked.sign * record.val_score

    return max(screened, key=score, default=None)


def confirmations(records: Iterable[RunRecord], chosen: RunRecord) -> list[RunRecord]:
    """Return the runs that confirm a chosen trial, by the number of their seed."""
    prefix = chosen.config.run + "-s"
    found = [record for record in records if record.config.phase == "confirm" and record.config.run.startswith(prefix)]
    return sorted(found, key=lambda record: record.config.number)
