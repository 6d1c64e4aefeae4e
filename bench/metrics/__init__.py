"""Figures of one run: one file a metric, with UNIT, GOAL and compute(record), a pure function of a stored record."""
