"""MLflow shows what the records hold; only this folder imports it.

In: records, and the state of a sweep and its cells.
Out: MLflow runs, pages and registered models, which `bench sync` can rebuild at any time.
"""
