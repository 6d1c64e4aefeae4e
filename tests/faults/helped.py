"""A recurrent network that starts a helper in a session of its own, which nothing but its run can end."""

import subprocess
import sys

from torch import nn


class Model(nn.Module):
    causal = True

    def __init__(self, input_size, length, *, hidden_size):
        super().__init__()
        self.output_size = self.summary_size = hidden_size
        self.cell = nn.GRU(input_size, hidden_size, batch_first=True)
        subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(900)"], start_new_session=True)

    def forward(self, x_BLD, length_B, state=None):
        return self.cell(x_BLD, state)

    def summary(self, h_BLH, length_B):
        return h_BLH[range(len(h_BLH)), length_B - 1]

    def state_size(self, length):
        return self.output_size
