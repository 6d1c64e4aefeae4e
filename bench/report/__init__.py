"""One HTML page from the records of a sweep: sections, figures and the evidence behind them.

In: a sweep folder and its leaderboard.
Out: `report.html`, and the charts of `bench speed`.
"""
