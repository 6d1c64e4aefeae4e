"""Claims about sequence models, decided by experiments: supported, refuted or undecided, with effect and interval.

In: claim files, and the settings of the machine. Out: sweeps and measurements as records, and one page made from them.
"""
