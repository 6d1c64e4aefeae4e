"""From bytes to arrays: finds, reads, checks and splits data files, and remembers what was prepared.

In: files of the cards, or files of your own.
Out: memory-mapped arrays, remarks about them, and dataset cards for your own files.
"""
