"""Encoders of sequences. Each model is a file with a class `Model` (bench/config/contracts.py).

In: a batch of sequences, shape (B, L, D), their lengths, and optionally a state.
Out: a hidden state for every step, shape (B, L, H), and the state after the last one.
"""
