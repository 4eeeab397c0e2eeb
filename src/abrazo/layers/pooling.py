"""From the tokens of a row to one vector.

Shapes: T tokens of all rows, R rows, E hidden width.
"""

import torch
from torch import Tensor, nn

from abrazo.layers.layout import Layout
from abrazo.layers.linear import Linear


class Pooler(nn.Module):
    """The first token, through one product and tanh, as BERT pools a text.

    Source: Devlin et al. 2018, BERT, section 3.1.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = Linear(width, width)

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """Turn (T, E) into (R, E)."""
        first = hidden.index_select(0, layout.first_tokens)  # (R, E)
        return torch.tanh(self.dense(first))
