"""The coordinator: plans a sweep, asks Optuna, runs the jobs, and resumes what was interrupted.

In: a `SweepConfig`.
Out: a folder with one record per run, an Optuna study, and how the sweep ended.
"""
