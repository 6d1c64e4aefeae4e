"""Counting: strings of one symbol n times, then another n times, then perhaps a third n times.

Gers & Schmidhuber, 2001, https://doi.org/10.1109/72.963769

B batch, L steps, K symbols.
"""

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError

WINDOW = 8  # symbols that the cheap baseline sees


class Task(SyntheticTask):
    """Predict what follows each symbol from the second kind on: the same symbol, the next kind, or the end.

    With two symbols, strings are a^n b^n, with three a^n b^n c^n: 0 is a, 1 is b and 2 is c. The count n is
    uniform from 1 to the largest that fits into `length` steps. How many a there are cannot be predicted and is not
    asked; everything after the first b can. Class c is the symbol c + 1, and the last class is the end. As in language
    modelling, the symbols that are asked follow in the input, so no model may look ahead. The accuracy is the share of
    strings whose answers are all correct. Each n has one string: test lengths ask for counts beyond those of training,
    again from 1 on, so that the score there is the share of counts that are mastered.

    Task(6)
    x  0 0 0 1 1 1
    y        0 0 1
    """

    tokens, per_step, loss = True, True, "cross_entropy"
    metric, goal, solved, causal = "sequence_accuracy", "maximize", 0.99, True

    def __init__(self, length: int, *, num_symbols: int = 2) -> None:
        if num_symbols not in (2, 3):
            raise DeclarationError(f"counting: num_symbols: must be 2 or 3, but found {num_symbols}")
        if length < 2 * num_symbols or length % num_symbols:
            rule = f"must be a multiple of {num_symbols} and at least {2 * num_symbols}"
            raise DeclarationError(f"counting: length: {rule}, but found {length}")
        self.length, self.num_steps, self.most = length, length, length // num_symbols
        self.input_size = self.output_size = self.num_symbols = num_symbols
        self.arguments = {"num_symbols": num_symbols}
        self.chance = 1 / self.most

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw counts."""
        count_B = rng.integers(1, self.most + 1, size)
        kind_BL = np.arange(self.num_steps) // count_B[:, None]
        valid_BL = kind_BL < self.num_symbols
        x, asked_BL = kind_BL * valid_BL, valid_BL & (kind_BL > 0)
        return Batch(x, self.num_symbols * count_B, _following(x) * asked_BL, asked_BL)

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return outputs that name what follows, by counting."""
        return np.eye(self.num_symbols)[_following(batch.x)]

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of strings without an error, that of correct answers, and how far counting is flawless.

        The last is the largest count up to which all counts that occur are answered without an error, 0 if none is.
        """
        right_BL = (outputs.argmax(-1) == batch.y) | ~np.asarray(batch.mask)
        flawless_B, count_B = right_BL.all(1), batch.length // self.num_symbols
        first_wrong = count_B[~flawless_B].min(initial=self.most + 1)
        return {
            "sequence_accuracy": float(flawless_B.mean()),
            "accuracy": float(right_BL[batch.mask].mean()),
            "counts_to": float(count_B[count_B < first_wrong].max(initial=0)),
        }

    def baselines(self, size: int) -> dict[str, float]:
        """Return the share of strings without an error of an answer for one count, and of one that forgets.

        The latter sees the last 8 symbols: enough for the strings that these cover, and for no other.
        """
        test = self.split("test", size)
        right = {"one count": test.length == self.num_symbols, f"last {WINDOW} symbols": test.length <= WINDOW}
        return {name: float(rows.mean()) for name, rows in right.items()}


def _following(x: np.ndarray) -> np.ndarray:
    """Return the class that follows each symbol but the first, (B, L): itself until it is as frequent as a."""
    most_B1 = (x == 0).argmin(1)[:, None]
    kinds = range(1, int(x.max()) + 1)
    return x - 1 + np.sum([(x == kind) & ((x == kind).cumsum(1) == most_B1) for kind in kinds], axis=0)
