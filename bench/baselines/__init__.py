"""Cheap baselines: what you would use instead of a network. Each is a file with a class `Baseline`.

In: the training and validation examples of a task (the contract is bench/config/baseline.py).
Out: raw outputs in the shape of the task's, from arrays that are stored as one file.
"""
