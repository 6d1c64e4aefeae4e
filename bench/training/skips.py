"""Linear maps from n-grams or the last frame to the answer, beside an encoder, which then learns what they leave.

Wide & deep learning: Cheng et al., 2016, https://arxiv.org/abs/1606.07792

B batch, L steps, D inputs, C outputs, N n-grams of a sequence.
"""

import torch
from torch import Tensor, nn

ROWS = 1 << 16  # of the table of n-grams
PRIMES = (1_000_003, 7_919, 2**31 - 1)  # of the hash: multipliers, and the modulus of 64-bit products
RATE = 4.0
"""How much faster the weights of n-grams learn than the encoder: a rare n-gram is seen a few times in a short run.

Validation accuracy at rates 1, 4 and 12, LSTM, one seed: names .718, .767, .771 (405 steps); sst2 at 4 and 12 .821,
.805, and .815 without n-grams (300 steps).
"""


class NGramSkip(nn.Module):
    """A linear map from the n-grams of tokens: fastText (Joulin et al., 2017, https://arxiv.org/abs/1607.01759).

    N-grams of 1 to `longest` tokens are hashed into a table, in which two may share a row. The beginning and the end
    of a sequence count as a token, so that an ending is a feature. The map begins as zero.
    """

    def __init__(self, vocabulary: int, outputs: int, longest: int) -> None:
        super().__init__()
        self.boundary, self.longest = vocabulary, longest
        self.table = nn.Embedding(ROWS, outputs)
        nn.init.zeros_(self.table.weight)

    def forward(self, x_BL: Tensor, length_B: Tensor) -> Tensor:
        """Return what is added to the answers, (B, C)."""
        row_BN, is_valid_BN = self.rows(x_BL, length_B)
        sum_BC = (self.table(row_BN) * is_valid_BN[..., None]).sum(1)
        return RATE * sum_BC / is_valid_BN.sum(1, keepdim=True).sqrt()

    def rows(self, x_BL: Tensor, length_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the row of each n-gram in the table, (B, N), and whether it lies within its sequence."""
        first, second, modulus = PRIMES
        edge_B1 = torch.full_like(x_BL[:, :1], self.boundary)
        x_BL = torch.cat([edge_B1, x_BL, edge_B1], dim=1)
        step_L = torch.arange(x_BL.shape[1], device=x_BL.device)
        x_BL = torch.where(step_L == length_B[:, None] + 1, self.boundary, x_BL)
        rows, are_valid, key_BL = [], [], torch.zeros_like(x_BL)
        for n in range(1, min(self.longest, x_BL.shape[1]) + 1):
            starts = x_BL.shape[1] - n + 1
            key_BL = (key_BL[:, :starts] * first + x_BL[:, n - 1 :] + 1) % modulus
            rows.append(key_BL * second % modulus % ROWS)
            are_valid.append(step_L[:starts] <= length_B[:, None] + 2 - n)
        return torch.cat(rows, dim=1), torch.cat(are_valid, dim=1)


class FrameSkip(nn.Module):
    """A linear map from the frame of a step to the answer at this step. The map begins as zero."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)  # the head has one
        nn.init.zeros_(self.linear.weight)

    def forward(self, x_BLD: Tensor, length_B: Tensor) -> Tensor:
        """Return what is added to the answers, (B, L, C)."""
        added: Tensor = self.linear(x_BLD)
        return added
