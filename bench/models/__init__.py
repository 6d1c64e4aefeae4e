"""Encoders of sequences: one file a model, its class `Model` (see bench/contracts.py)."""
