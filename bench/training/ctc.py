"""Connectionist temporal classification: a token or a blank at every step, of which repeats and blanks are left out.

Graves et al., 2006, https://www.cs.toronto.edu/~graves/icml_2006.pdf

B batch, L steps, T tokens of the longest target, C tokens and the blank.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

BLANK = 0


def loss(answers_BLC: Tensor, length_B: Tensor, y_BT: Tensor, mask_BT: Tensor | None) -> Tensor:
    """Return the negative log likelihood of the targets in nats, as a mean over their tokens.

    It is infinite if a sequence has fewer steps than its target needs: a run then fails instead of ignoring it.
    """
    count_B = torch.full_like(length_B, y_BT.shape[1]) if mask_BT is None else mask_BT.sum(1)
    log_LBC = answers_BLC.float().log_softmax(-1).transpose(0, 1)
    nats = F.ctc_loss(log_LBC, y_BT, length_B, count_B, blank=BLANK, reduction="sum")
    return nats / count_B.sum().clamp(min=1)


def best_path(answers_BLC: Tensor) -> Tensor:
    """Return the tokens of the likeliest answer at each step, (B, L) int64, with 0 where none begins.

    Equal answers in a row are one token. Padding has equal answers, which are read as blanks.
    """
    likeliest_BL = answers_BLC.argmax(-1)
    is_repeated_BL = likeliest_BL == F.pad(likeliest_BL[:, :-1], (1, 0), value=BLANK)
    return likeliest_BL.masked_fill(is_repeated_BL, BLANK)
