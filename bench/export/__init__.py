"""The best model of a sweep as a folder that needs no sweep, and its predictions for new files.

In: a sweep folder with confirmed runs.
Out: weights, ONNX and MLflow models, and tables of predictions.
"""
