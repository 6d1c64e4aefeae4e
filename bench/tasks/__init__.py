"""Questions asked of a model, one file a task; each has a class `Task` (bench/config/contracts.py).

In: a length, the arguments of a dataset card, a seed.
Out: batches, a loss, scores over a whole split, and cheap baselines.
"""
