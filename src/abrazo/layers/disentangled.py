"""Attention that scores content and distance apart, and neighbours mixed by a convolution.

Source: He et al. 2020, DeBERTa, https://arxiv.org/abs/2006.03654, section 3.1; the buckets, shared
projections and the convolution are those of v2's released code.

Shapes: T tokens of all rows, E hidden width, H heads, D width of one head, N rows of a group of
like length, L the length of that group, K kinds of distances that occur in the batch.
"""

from collections.abc import Callable, Collection
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abrazo.layers.attention import Attention, BiasOf
from abrazo.layers.blocks import PostNormBlock
from abrazo.layers.dropout import Dropout
from abrazo.layers.layout import Group, Layout
from abrazo.layers.linear import Linear
from abrazo.layers.positions import Guide, add


class DistanceGuide(Guide):
    """A vector for each kind of distance, and which kind stands between two places."""

    def __init__(self, layout: Layout, vectors: Tensor, kinds: Tensor) -> None:
        """Keep what all blocks share.

        Args:
            layout: Where the rows begin and end.
            vectors: (K, E) one for each kind of distance.
            kinds: (L, L) number of the kind between each query and each key of the longest row.
        """
        super().__init__(layout)
        self.vectors = vectors
        self.kinds = kinds


class DisentangledAttention(Attention):
    """Scores of content with content, of content with distance, and of distance with content."""

    fits_packed_kernel: ClassVar[bool] = False

    def __init__(
        self,
        width: int,
        num_heads: int,
        dropout_probability: float,
        *,
        terms: Collection[str],
        has_own_projections: bool,
        position_dropout: float,
    ) -> None:
        """Build new weights.

        Args:
            width: E.
            num_heads: H.
            dropout_probability: Share of attention weights dropped.
            terms: Which of `c2p` (content with distance) and `p2c` (the reverse) are scored.
            has_own_projections: Whether distances have products of their own, or go through those
                of the content; without distances there are none.
            position_dropout: Share of the distances' vectors dropped.
        """
        super().__init__(width, num_heads, dropout_probability)
        self.terms = frozenset(terms)
        self.scale /= (1 + len(self.terms)) ** 0.5
        self.position_dropout = Dropout(position_dropout)
        self.position_key: Linear | None = None
        self.position_query: Linear | None = None
        if has_own_projections and "c2p" in self.terms:
            self.position_key = Linear(width, width)
        if has_own_projections and "p2c" in self.terms:
            self.position_query = Linear(width, width)

    def _bias_of(self, layout: Layout, guide: Guide | None) -> BiasOf:
        content = super()._bias_of(layout, guide)
        if not isinstance(guide, DistanceGuide) or not self.terms:
            return content
        queries, keys = self._project(guide.vectors)  # (H, D, K) each
        kinds = guide.kinds

        def bias_of(group: Group, query: Tensor, key: Tensor) -> Tensor | None:
            total, length = content(group, query, key), query.shape[2]
            between = kinds[:length, :length].expand(*query.shape[:2], length, length)
            if "c2p" in self.terms:
                scores = (query * self.scale) @ keys  # (N, H, L, K)
                total = add(total, scores.gather(-1, between))
            if "p2c" in self.terms:
                scores = (key * self.scale) @ queries  # (N, H, L, K)
                reverse = scores.gather(-1, between.transpose(-1, -2))  # by key, then query
                total = add(total, reverse.transpose(-1, -2))
            return total

        return bias_of

    def _project(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Turn (K, E) vectors into queries and keys, (H, D, K) each; an unused one is arbitrary."""
        vectors = self.position_dropout(vectors)
        if self.position_key is None and self.position_query is None:
            count = 2 * vectors.shape[-1]
            matrix, bias = self.query_key_value.matrix(), self.query_key_value.bias
            queries, keys = F.linear(vectors, matrix[:count], bias[:count]).chunk(2, -1)
        else:
            queries = vectors if self.position_query is None else self.position_query(vectors)
            keys = vectors if self.position_key is None else self.position_key(vectors)
        split = (self.num_heads, self.head_width)
        return (
            queries.unflatten(-1, split).permute(1, 2, 0),
            keys.unflatten(-1, split).permute(1, 2, 0),
        )


class RowConvolution(nn.Module):
    """A convolution over the tokens of each row, which sees zeros beyond the row's ends."""

    def __init__(self, width: int, kernel_size: int, groups: int) -> None:
        super().__init__()
        self.margin = (kernel_size - 1) // 2
        self.convolution = nn.Conv1d(width, width, kernel_size, padding=self.margin, groups=groups)

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """Turn (T, E) into (T, E)."""
        # the rows are set apart by as many zeros as the kernel reaches
        places = torch.arange(layout.num_tokens, device=hidden.device)
        places = places + layout.row_of_token * self.margin
        length = layout.num_tokens + (layout.num_rows - 1) * self.margin
        spaced = hidden.new_zeros(length, hidden.shape[-1]).index_copy(0, places, hidden)
        mixed: Tensor = self.convolution(spaced.T[None])[0].T
        return mixed.index_select(0, places)


class ConvolvedBlock(PostNormBlock):
    """A block to whose result a convolution over what went in is added."""

    def __init__(
        self,
        attention: Attention,
        feedforward: nn.Module,
        *,
        width: int,
        dropout: float,
        norm_eps: float,
        convolution: RowConvolution,
        activation: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__(attention, feedforward, width=width, dropout=dropout, norm_eps=norm_eps)
        self.neighbours = convolution
        self.neighbours_norm = nn.LayerNorm(width, eps=norm_eps)
        self.activation = activation

    def forward(
        self,
        hidden: Tensor,
        layout: Layout,
        weights: list[Tensor] | None = None,
        guide: Guide | None = None,
    ) -> Tensor:
        """Turn (T, E) into (T, E); see `Attention.forward` for `weights` and `guide`."""
        changed = super().forward(hidden, layout, weights, guide)
        near = self.activation(self.dropout(self.neighbours(hidden, layout)))
        return self.neighbours_norm(changed + near)  # type: ignore[no-any-return]
