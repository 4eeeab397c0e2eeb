"""From the tokens of a row to one vector.

Sums and maxima over the tokens of each row are computed on the packed tokens themselves, in fp32,
token by token in their order: no padding is read, and a row's vector does not depend on the rows
around it.

Shapes: T tokens of all rows, R rows, E hidden width.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abrazo.layers.layout import Layout
from abrazo.layers.linear import Linear

PoolingName = Literal["mean", "cls", "max", "last", "weighted_mean", "mean_sqrt_len"]


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


def mean_pool(hidden: Tensor, layout: Layout) -> Tensor:
    """Return the mean of each row's tokens, (R, E)."""
    return _over_rows(hidden, layout, "mean")


def max_pool(hidden: Tensor, layout: Layout) -> Tensor:
    """Return the greatest value of each row's tokens, (R, E)."""
    return _over_rows(hidden, layout, "max")


def first_pool(hidden: Tensor, layout: Layout) -> Tensor:
    """Return each row's first token, (R, E): `[CLS]` in models that have one."""
    return _wide(hidden.index_select(0, layout.first_tokens))


def last_pool(hidden: Tensor, layout: Layout) -> Tensor:
    """Return each row's last token, (R, E), which in left-to-right models has read all others."""
    return _wide(hidden.index_select(0, layout.cumulative_lengths[1:] - 1))


def weighted_mean_pool(hidden: Tensor, layout: Layout) -> Tensor:
    """Return the mean of each row's tokens, later ones weighing more, (R, E).

    Source: Muennighoff 2022, SGPT, section 3.1.
    """
    weights = (layout.positions + 1).to(_wide(hidden).dtype)  # (T,)
    lengths = _lengths(layout).to(weights.dtype)  # (R, 1)
    return _over_rows(hidden, layout, "sum", weights) / (lengths * (lengths + 1) / 2)


def root_mean_pool(hidden: Tensor, layout: Layout) -> Tensor:
    """Return the sum of each row's tokens over the square root of their number, (R, E)."""
    return _over_rows(hidden, layout, "mean") * _lengths(layout).sqrt()


POOLINGS: Mapping[str, Callable[[Tensor, Layout], Tensor]] = {
    "mean": mean_pool,
    "cls": first_pool,
    "max": max_pool,
    "last": last_pool,
    "weighted_mean": weighted_mean_pool,
    "mean_sqrt_len": root_mean_pool,
}
"""The ways to pool, by name: each turns (T, E) tokens into (R, E) vectors in at least fp32."""


def _over_rows(hidden: Tensor, layout: Layout, mode: str, weights: Tensor | None = None) -> Tensor:
    # The kernel for bags of embeddings is a sum over stretches of rows, with a fast gradient; here
    # the "embeddings" are the tokens, each of which is in one bag.
    bounds = layout.cumulative_lengths
    tokens = torch.arange(layout.num_tokens, dtype=bounds.dtype, device=hidden.device)
    return F.embedding_bag(
        tokens, _wide(hidden), bounds[:-1], mode=mode, per_sample_weights=weights
    )


def _lengths(layout: Layout) -> Tensor:
    """Return the number of tokens of each row, (R, 1)."""
    return layout.cumulative_lengths.diff().unsqueeze(-1)


def _wide(hidden: Tensor) -> Tensor:
    """Return values in fp32 or better, because sums of half precision lose digits."""
    return hidden.to(torch.promote_types(hidden.dtype, torch.float32))
