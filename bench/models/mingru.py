"""minGRU: a gated recurrent unit whose gate does not depend on the state, so that all steps are computed at once.

Feng et al., 2024, https://arxiv.org/abs/2410.01201

B batch, L length, E inner width.
"""

from torch import Tensor

from bench.models._scan import Minimal
from bench.models._stack import Stack


class Model(Stack):
    """Encodes (B, L, D) into (B, L, H) by residual layers, with H = hidden_size.

    The state has `expansion` times the width of a layer. `memory_bias` is the logit of the share of the state that is
    kept at first: a number, or "chrono" for memories of up to the length (Tallec & Ollivier 2018). `layer_dropout` is
    the share of a layer's outputs that is dropped in training before they are added.
    """

    def __init__(
        self,
        input_size: int,
        length: int,
        *,
        hidden_size: int,
        num_layers: int = 2,
        expansion: int = 1,
        memory_bias: float | str = 1.0,
        bidirectional: bool = False,
        layer_dropout: float = 0.0,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            lambda: _Mixer(hidden_size, expansion, memory_bias, length),
            num_layers=num_layers,
            bidirectional=bidirectional,
            layer_dropout=layer_dropout,
        )


class _Mixer(Minimal):
    num_gates = 1

    def update(self, *gates: Tensor) -> Tensor:
        """Return the preactivation of z, (B, L, E)."""
        return gates[0]
