"""One run in one process: trains, tests or times one configuration with one seed.

In: a `RunConfig`.
Out: a `RunRecord`, and the weights where they are needed later.
"""
