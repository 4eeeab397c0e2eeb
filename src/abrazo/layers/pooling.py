"""From the tokens of a row to one vector.

Shapes: T tokens of all rows, R rows, E hidden width.
"""

import torch
from torch import Tensor, nn

from abrazo.layers.layout import Layout
from abrazo.layers.linear import Linear


def pool_first(hidden: Tensor, layout: Layout) -> Tensor:
    """Take the first token of each row: (T, E) to (R, E)."""
    return hidden.index_select(0, layout.first_tokens)


def pool_mean(hidden: Tensor, layout: Layout) -> Tensor:
    """Average the tokens of each row: (T, E) to (R, E)."""
    sums = hidden.new_zeros(layout.num_rows, hidden.shape[-1])
    sums = sums.index_add(0, layout.row_of_token, hidden)
    lengths = torch.as_tensor(layout.lengths, device=hidden.device)
    return sums / lengths[:, None].to(hidden.dtype)


class Pooler(nn.Module):
    """The first token, through one product and tanh, as BERT pools a text.

    Source: Devlin et al. 2018, BERT, section 3.1.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = Linear(width, width)

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """Turn (T, E) into (R, E)."""
        return torch.tanh(self.dense(pool_first(hidden, layout)))
