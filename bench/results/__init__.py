"""From records to numbers: what a run leaves on disk, and everything derived from it.

In: the `record.json` files of a sweep.
Out: choices made on validation, statistics, metrics, costs and the leaderboard.
"""
