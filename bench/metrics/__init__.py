"""Figures derived from a stored record, one file a metric.

In: a `RunRecord`.
Out: one number, or None where the record does not hold it.
"""
