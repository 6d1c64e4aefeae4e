"""What n-gram models of token sequences share.

B batch, L steps, P prompt, N tokens, V vocabulary.
"""

import numpy as np

from bench.config import baseline
from bench.config.contracts import Batch, Sampling, Task
from bench.data.kneser_ney import KneserNey
from bench.errors import DeclarationError


class NGrams(baseline.Baseline):
    """An interpolated Kneser-Ney model of tokens. Its file holds the training tokens, which take less than counts."""

    order: int
    _model: KneserNey | None = None

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether the next token is asked at every step."""
        return task.kind == "language"

    @staticmethod
    def most(task: Task) -> int:
        """Return more windows than there are: the model is counted on the whole text."""
        return 10**9

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Take the text of the training part."""
        self._model = None
        tokens = task.parts["train"]  # type: ignore[attr-defined]
        kind = np.uint8 if task.output_size <= 2**8 else np.uint16 if task.output_size <= 2**16 else np.int64
        self.arrays = {"tokens": tokens.astype(kind), "size": np.array(task.output_size)}
        assert self.model  # counted here, so that its time is that of the fit

    @property
    def model(self) -> KneserNey:
        """The counted model."""
        if self._model is None:
            tokens = self.arrays["tokens"].astype(np.int64)
            self._model = KneserNey(tokens, self.order, int(self.arrays["size"]))
        return self._model

    def nats(self, batch: Batch) -> np.ndarray:
        """Return the nats of each next token, (B, L), given those before it in its window."""
        windows = np.concatenate([batch.x, batch.y[:, -1:]], axis=1)
        return np.stack([self.model.nats_of_each(row) for row in windows])

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the log probability of every token at each step, (B, L, V)."""
        rows = [[self._after(row[: step + 1]) for step in range(x.shape[1])] for row in x]
        return np.log(np.array(rows))

    def generate(self, prompt: np.ndarray, sampling: Sampling, never: int | None) -> np.ndarray:
        """Return token numbers that continue a prompt (P,), without token `never`."""
        rng, written = np.random.default_rng(sampling.seed), prompt.tolist()
        for drawn in rng.random(sampling.num_tokens):
            shares = self._after(np.array(written[-self.order :]))
            if never is not None:
                shares[never] = 0.0
            if sampling.temperature == 0:
                written.append(int(shares.argmax()))
                continue
            with np.errstate(divide="ignore"):
                sums = np.exp(np.log(shares / shares.max()) / sampling.temperature).cumsum()
            written.append(int(np.searchsorted(sums, drawn * sums[-1], side="right")))
        return np.array(written[len(prompt) :], dtype=np.int64)

    def _after(self, before: np.ndarray) -> np.ndarray:
        if not len(before):
            raise DeclarationError("a prompt must have at least one token")
        return self.model.probabilities(before[-(self.order - 1) :].tolist() if self.order > 1 else [])
