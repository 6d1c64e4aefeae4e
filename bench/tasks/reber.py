"""The embedded Reber grammar: predict the next symbol, and recall one across the strings inside.

Hochreiter & Schmidhuber, 1997, experiment 1, https://doi.org/10.1162/neco.1997.9.8.1735; the grammar is that of
Reber, 1967

B batch, L steps, C symbols.
"""

import functools
from typing import NamedTuple

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError

SYMBOLS = "BTPSXVE"
T, P = SYMBOLS.index("T"), SYMBOLS.index("P")
EDGES = (
    {"B": 1},
    {"T": 2, "P": 3},
    {"S": 2, "X": 4},
    {"T": 3, "V": 5},
    {"X": 3, "S": 6},
    {"P": 4, "V": 6},
    {"E": 7},
    {"B": 1},  # the end of a string is the beginning of the next
)
"""Of each state, the state after each symbol that may follow; all are equally likely. Strings begin at 0."""

BEGIN, END = 0, 7
KEPT = 0.95  # of all sequences: the longer ones are drawn again, so that there is a longest one


class Task(SyntheticTask):
    """Predict the next symbol of strings of the embedded Reber grammar.

    A sequence is B, then T or P, then `length` strings of the Reber grammar one after the other, then the same T or P
    as at the beginning, then E, which is not shown. B, T, P, S, X, V and E are 0 to 6. The accuracy is that of the
    recall of T or P, the symbol before the last; every next symbol is trained. The strings inside belong either to
    training, to validation or to test, and the 5 % longest are not drawn.

    Below, B T, then B P T T V P X T V P X T V V E, then T, which E follows.

    Task(1)
    x  0 1 0 2 1 1 5 2 4 1 5 2 4 1 5 5 6 1
    y  1 0 2 1 1 5 2 4 1 5 2 4 1 5 5 6 1 6
    """

    tokens, input_size, output_size, per_step, loss = True, 7, 7, True, "cross_entropy"
    metric, goal, chance, solved, causal = "accuracy", "maximize", 0.5, 0.99, True

    def __init__(self, length: int) -> None:
        if length < 1:
            raise DeclarationError(f"reber: length: must be at least 1 string inside, but found {length}")
        self.length, self.arguments = length, {}
        self.num_steps = _longest(length) + 3

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw strings until there are enough of the stream's part."""
        parts: list[np.ndarray] = []
        while sum(map(len, parts)) < size:
            parts.append(self._draw(rng, 2 * size + 16, stream))
        inside = np.concatenate(parts)[:size]
        rows, length_B = np.arange(size), (inside >= 0).sum(1) + 3
        x = np.zeros((size, self.num_steps), dtype=np.int64)
        x[:, 2:-1] = np.maximum(inside, 0)
        x[:, 1] = x[rows, length_B - 1] = rng.integers(T, P + 1, size)
        y = np.zeros_like(x)
        y[:, :-1] = x[:, 1:]
        y[rows, length_B - 1] = SYMBOLS.index("E")
        return Batch(x, length_B, y, np.arange(self.num_steps) < length_B[:, None])

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return outputs that are high for all symbols that may follow, and highest for the one that does."""
        outputs = self.legal(batch).astype(np.float32)
        outputs[:, :-1] += outputs[:, :-1] * np.eye(7, dtype=np.float32)[batch.x[:, 1:]]
        return outputs

    def legal(self, batch: Batch) -> np.ndarray:
        """Return which symbols may follow each step, (B, L, C) bool."""
        rows, last = np.arange(len(batch.x)), batch.length - 1
        legal_BLC = np.zeros((*batch.x.shape, 7), dtype=bool)
        state = np.full(len(batch.x), BEGIN)
        for step in range(2, batch.x.shape[1]):
            state = _machine().after[state, batch.x[:, step]]
            legal_BLC[:, step] = _machine().legal[state]
        legal_BLC[:, 0, [T, P]] = legal_BLC[:, 1, 0] = True
        legal_BLC[rows, last - 1] = np.eye(7, dtype=bool)[batch.x[:, 1]]
        legal_BLC[rows, last] = np.eye(7, dtype=bool)[SYMBOLS.index("E")]
        return legal_BLC

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the accuracy of the recalled symbol, and the share of sequences that are legal throughout.

        A sequence is, by the criterion of 1997, if the symbols that may follow have the largest outputs at every step.
        """
        rows, critical = np.arange(len(batch.x)), batch.length - 2
        right = outputs[rows, critical].argmax(-1) == batch.y[rows, critical]
        legal_BLC = self.legal(batch)
        least = np.where(legal_BLC, outputs, np.inf).min(-1)
        is_legal = (least > np.where(legal_BLC, -np.inf, outputs).max(-1)) | ~np.asarray(batch.mask)
        return {"accuracy": float(right.mean()), "legal": float(is_legal.all(1).mean())}

    def baselines(self, size: int) -> dict[str, float]:
        """Return the accuracy of a constant answer, and of the last T or P inside."""
        test = self.split("test", size)
        rows, critical = np.arange(size), test.length - 2
        answer = test.y[rows, critical]
        is_inside = np.arange(self.num_steps) <= critical[:, None]
        last = np.where(is_inside & ((test.x == T) | (test.x == P)), np.arange(self.num_steps), 0).argmax(1)
        return {
            "constant answer": float((answer == T).mean()),
            "last T or P inside": float((answer == test.x[rows, last]).mean()),
        }

    def _draw(self, rng: np.random.Generator, size: int, stream: str) -> np.ndarray:
        """Return strings of the inside that belong to a part, followed by -1; about `size` are drawn for it."""
        steps = self.num_steps - 3
        inside, state, ended = np.full((size, steps), -1), np.full(size, BEGIN), np.zeros(size, dtype=np.int64)
        choice = rng.integers(0, 2, (size, steps))
        for step in range(steps):
            goes_on = ended < self.length
            symbol = _machine().symbol[state, choice[:, step]]
            inside[:, step] = np.where(goes_on, symbol, -1)
            state = _machine().after[state, symbol]
            ended += goes_on & (state == END)
        weights = np.random.default_rng(0).integers(0, 2**63, steps, dtype=np.uint64)
        sixteenth = ((inside + 1).astype(np.uint64) @ weights) >> np.uint64(60)
        part = np.where(sixteenth < 8, "train", np.where(sixteenth < 12, "val", "test"))
        return inside[(ended == self.length) & (part == ("test" if stream == "length" else stream))]


class _Machine(NamedTuple):
    symbol: np.ndarray  # (states, 2): the symbols to choose from, twice the same if there is one
    after: np.ndarray  # (states, C): the state after each symbol
    legal: np.ndarray  # (states, C) bool


@functools.cache
def _machine() -> _Machine:
    """Return EDGES as tables."""
    made = _Machine(*(np.zeros((len(EDGES), n), dtype=kind) for n, kind in ((2, int), (7, int), (7, bool))))
    for state, edges in enumerate(EDGES):
        symbols = [SYMBOLS.index(symbol) for symbol in edges]
        made.symbol[state] = symbols if len(symbols) == 2 else symbols * 2
        made.after[state, symbols] = list(edges.values())
        made.legal[state, symbols] = True
    return made


@functools.cache
def _longest(strings: int) -> int:
    """Return the least number of steps within which KEPT of all insides of so many strings end."""
    one = np.zeros(200)  # one string is longer once in 10^13
    state = np.eye(END + 1)[BEGIN]
    for step in range(1, len(one)):
        after = np.zeros_like(state)
        for source, edges in enumerate(EDGES[:END]):
            after[list(edges.values())] += state[source] / len(edges)
        state, one[step] = after, after[END]
    total = np.ones(1)
    for _ in range(strings):
        total = np.convolve(total, one)
    return int((total.cumsum() >= KEPT).argmax())
