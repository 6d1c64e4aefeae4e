"""Which sequence model should I use for my data, at this sequence length, under this budget?"""
