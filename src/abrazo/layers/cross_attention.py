"""Attention of a decoder's tokens to those of an encoder.

Rows of either side are packed and stand in the same order. A group puts some rows of both sides
side by side as two rectangles, padding of the source masked. In a step of decoding, the rows made
from one source ask it together: its keys and values are there once, however many beams go on.

Shapes: T tokens of all rows, Z tokens of all sources, H heads, D width of one head, E hidden width,
M width of the sources' vectors, N rows of a group, Q its longest row, L its longest source, S
sources.
"""

import dataclasses
import math
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from abrazo.errors import DataError
from abrazo.layers.attention import DotProduct, join_groups, leave, spread
from abrazo.layers.cache import LayerPast
from abrazo.layers.layout import Group, Layout, group_cost
from abrazo.layers.linear import Linear


class Pairing:
    """Which rows are handled together, computed once for a batch and shared by all layers."""

    def __init__(self, target: Layout, source: Layout) -> None:
        """Pair the rows of the decoder with those of the encoder.

        Raises:
            DataError: There are more rows on one side.
        """
        if target.num_rows != source.num_rows:
            raise DataError(
                f"Each row needs one source, but there are {target.num_rows} rows and "
                f"{source.num_rows} sources."
            )
        self.target = target
        self.source = source

    @cached_property
    def groups(self) -> tuple[tuple[Group, Group], ...]:
        """The rows as rectangles of either side, those with the shortest sources first."""
        order = self._order
        cuts = _cut(self.target.lengths[order], self.source.lengths[order])
        return tuple(
            (self.target.group(order[first:end]), self.source.group(order[first:end]))
            for first, end in cuts
        )

    @cached_property
    def packed_order(self) -> Tensor | None:
        """(T,) index that brings the rows' tokens of all groups into packed order, or None."""
        return self.target.order_after(self._order)

    @cached_property
    def _order(self) -> np.ndarray:
        # equal rows stay as they are, so that groups of them are views
        return np.lexsort((self.target.lengths, self.source.lengths))


def _cut(targets: np.ndarray, sources: np.ndarray) -> list[tuple[int, int]]:
    """Cut rows, of ascending sources, into groups, as pairs of first and last row.

    From the longest source down, a row joins the group while all of the group's padding costs less
    than a group of its own.
    """
    cuts: list[tuple[int, int]] = []
    cost = group_cost()
    last = len(targets)
    needed, long_target, long_source = 0, 0, int(sources[-1])
    for row in range(last - 1, -1, -1):
        target, source = int(targets[row]), int(sources[row])
        needed += target * source
        long_target = max(long_target, target)
        if (last - row) * long_target * long_source - needed > cost:
            cuts.append((row + 1, last))
            last, needed, long_target, long_source = row + 1, target * source, target, source
    cuts.append((0, last))
    return cuts[::-1]


@dataclasses.dataclass(frozen=True)
class ReadSources:
    """What blocks are told of sources that the encoder has just read."""

    encoded: Tensor
    """(Z, M) what the encoder made of them, or more, where the number is rounded up."""
    pairing: Pairing
    """How rows and sources are handled together."""

    @property
    def num_tokens(self) -> int:
        """T."""
        return self.pairing.target.num_tokens


@dataclasses.dataclass(frozen=True)
class RememberedSources:
    """What blocks are told of sources whose keys and values a cache has."""

    num_tokens: int
    """T."""
    bias: Tensor | None
    """(S, 1, 1, L) with -inf at the padding of sources; None where there is none."""


Sources = ReadSources | RememberedSources
"""What the blocks of a decoder are told of the encoder's side, the same for all of them."""


class CrossAttention(DotProduct):
    """Attention with queries of one side, and keys and values of the other in one product.

    Source: Vaswani et al. 2017, Attention Is All You Need, section 3.2.3.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        dropout_probability: float,
        *,
        bias: bool = True,
        head_width: int | None = None,
        scale: float | None = None,
        source_width: int | None = None,
    ) -> None:
        """Build new weights.

        Args:
            width: E.
            num_heads: H.
            dropout_probability: Share of attention weights dropped.
            bias: Whether the products have a bias.
            head_width: D; None shares E among the heads.
            scale: What scores are multiplied with; None takes 1 / sqrt(D).
            source_width: M; None takes E.
        """
        head_width = width // num_heads if head_width is None else head_width
        super().__init__(1 / math.sqrt(head_width) if scale is None else scale, dropout_probability)
        self.num_heads = num_heads
        self.head_width = head_width
        inner = num_heads * head_width
        self.query = Linear(width, inner, bias=bias)
        self.key_value = Linear(source_width or width, 2 * inner, bias=bias)
        self.output = Linear(inner, width, bias=bias)

    def forward(
        self,
        hidden: Tensor,
        sources: Sources,
        weights: list[Tensor] | None = None,
        past: LayerPast | None = None,
    ) -> Tensor:
        """Let each token look at all tokens of its row's source.

        Args:
            hidden: (T, E) packed tokens, or more, where the number is rounded up.
            sources: The encoder's side.
            weights: When given, one (N, H, Q, L) tensor for each group of the pairing is appended.
            past: Where this layer's memory of the sources is, or will be kept.

        Returns:
            (T, E) packed tokens.
        """
        query = self.query(hidden)[: sources.num_tokens]
        query = query.unflatten(-1, (self.num_heads, self.head_width))  # (T, H, D)
        if isinstance(sources, ReadSources):
            mixed = self._ask_sources(query, sources, weights, past)
        else:
            mixed = self._ask_memory(query, sources, past)
        if len(mixed) < len(hidden):  # tokens that only round up the number belong to no row
            mixed = F.pad(mixed, (0, 0, 0, len(hidden) - len(mixed)))
        result: Tensor = self.output(mixed)
        return result

    def _ask_sources(
        self,
        query: Tensor,
        sources: ReadSources,
        weights: list[Tensor] | None,
        past: LayerPast | None,
    ) -> Tensor:
        """Mix what (T, H, D) asks of sources that the encoder has just read."""
        pairing = sources.pairing
        joint = self.key_value(sources.encoded)[: pairing.source.num_tokens]
        joint = joint.unflatten(-1, (2, self.num_heads, self.head_width))  # (Z, 2, H, D)
        if past is not None:
            past.memory = _memory(joint, pairing.source)
        is_half = query.is_cuda and query.dtype != torch.float32
        if is_half and weights is None and not self.drops:
            return self._ask_packed(query, joint, pairing)
        parts = []
        for target, source in pairing.groups:
            asked = spread(query, target).transpose(1, 2)  # (N, H, Q, D)
            key, value = spread(joint, source).permute(2, 0, 3, 1, 4)  # (N, H, L, D) each
            mixed = self.attend(asked, key, value, source.key_bias, weights)
            parts.append(leave(mixed, target))
        return join_groups(parts, pairing.packed_order)

    def _ask_packed(self, query: Tensor, joint: Tensor, pairing: Pairing) -> Tensor:
        """Do the same on the GPU's variable-length kernel, which knows no dropout."""
        from torch.nn.attention.varlen import varlen_attn

        target, source = pairing.target, pairing.source
        key, value = joint.unbind(1)  # (Z, H, D) each
        mixed = varlen_attn(
            query,
            key,
            value,
            target.cumulative_lengths,
            source.cumulative_lengths,
            target.max_length,
            source.max_length,
            scale=self.scale,
        )  # (T, H, D)
        assert isinstance(mixed, Tensor)
        return mixed.flatten(-2)  # (T, H * D)

    def _ask_memory(
        self, query: Tensor, sources: RememberedSources, past: LayerPast | None
    ) -> Tensor:
        """Mix what new tokens, as many of each row, ask of sources remembered.

        All tokens of the rows of one source are the queries of one product with it.
        """
        assert past is not None
        assert past.memory is not None
        key, value = past.memory  # (S, H, L, D) each
        asked = query.unflatten(0, (key.shape[0], -1)).transpose(1, 2)  # (S, H, rows * new, D)
        mixed = self.attend(asked, key, value, sources.bias, None)
        return mixed.transpose(1, 2).flatten(2).flatten(0, 1)  # (T, H * D)

    def extra_repr(self) -> str:
        """Return the number of heads, for `print(model)`."""
        return f"num_heads={self.num_heads}, dropout={self.dropout_probability}"


def _memory(joint: Tensor, source: Layout) -> tuple[Tensor, Tensor]:
    """Return the keys and values of (Z, 2, H, D) as (S, H, L, D) each, whole in memory."""
    rows = spread(joint, source.group(np.arange(source.num_rows)))  # (S, L, 2, H, D)
    key, value = rows.permute(2, 0, 3, 1, 4).contiguous()
    return key, value
