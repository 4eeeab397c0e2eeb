"""Attention between the tokens of a row, the same for every family.

Shapes: T tokens of all rows, H heads, D width of one head, E hidden width, N rows of a group of
like length, L the length of that group.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abrazo.layers.dropout import dropout
from abrazo.layers.layout import Group, Layout
from abrazo.layers.linear import Linear
from abrazo.layers.positions import Guide, rotate

BiasOf = Callable[[int, Tensor, Tensor], Tensor | None]
"""From the number of a group, its queries and keys, (N, H, L, D), to what its scores get added."""


class _Spread(torch.autograd.Function):
    """Packed tokens as a rectangle; the gradient is gathered, not scattered.

    Pad places repeat a token, but nothing flows back through them: as keys they are masked and as
    queries they are dropped. So each packed token has one place that counts.
    """

    @staticmethod
    def forward(
        ctx: Any, packed: Tensor, take: Tensor, give_back: Tensor, tokens: Tensor
    ) -> Tensor:
        ctx.save_for_backward(give_back, tokens)
        ctx.num_tokens = packed.shape[0]
        return packed.index_select(0, take)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        give_back, tokens = ctx.saved_tensors
        packed = grad.new_zeros(ctx.num_tokens, *grad.shape[1:])
        packed[tokens] = grad.index_select(0, give_back)
        return packed, None, None, None


def spread(packed: Tensor, group: Group) -> Tensor:
    """Turn the tokens of a group, out of (T, ...), into (N, L, ...)."""
    if group.take is None:
        assert group.start is not None
        rectangle = packed.narrow(0, group.start, group.num_rows * group.length)
    else:
        rectangle = _Spread.apply(packed, group.take, group.give_back, group.tokens)  # type: ignore[no-untyped-call]
    rows: Tensor = rectangle.unflatten(0, (group.num_rows, group.length))
    return rows


class Attention(nn.Module):
    """Self-attention with query, key and value in one matrix product.

    Source: Vaswani et al. 2017, Attention Is All You Need, section 3.2.
    """

    fits_packed_kernel: ClassVar[bool] = True
    """Whether scores are plain products, as the GPU's variable-length kernel computes them."""

    def __init__(
        self, width: int, num_heads: int, dropout_probability: float, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_width = width // num_heads
        self.dropout_probability = dropout_probability
        self.scale = 1 / math.sqrt(self.head_width)
        self.query_key_value = Linear(width, 3 * width, bias=bias)
        self.output = Linear(width, width, bias=bias)

    def forward(
        self,
        hidden: Tensor,
        layout: Layout,
        weights: list[Tensor] | None = None,
        guide: Guide | None = None,
    ) -> Tensor:
        """Mix the tokens of each row.

        Args:
            hidden: (T, E) packed tokens.
            layout: Where the rows begin and end.
            weights: When given, one (N, H, L, L) tensor for each group is appended.
            guide: Angles, windows and biases, in families that have them.

        Returns:
            (T, E) packed tokens.
        """
        joint = self.query_key_value(hidden)  # (T, 3E)
        joint = joint.unflatten(-1, (3, self.num_heads, self.head_width))  # (T, 3, H, D)
        if guide is not None and guide.rotation is not None:
            joint = rotate(joint, guide.rotation)
        drops = self.training and self.dropout_probability > 0
        is_plain = self.fits_packed_kernel and (guide is None or guide.bias is None)
        is_half = joint.is_cuda and joint.dtype != torch.float32
        if is_half and is_plain and weights is None and not drops:
            mixed = self._attend_packed(joint, layout, guide)
        else:
            mixed = self._attend_in_groups(joint, layout, weights, guide)
        if len(mixed) < len(hidden):  # tokens that only round up the number belong to no row
            mixed = F.pad(mixed, (0, 0, 0, len(hidden) - len(mixed)))
        result: Tensor = self.output(mixed)
        return result

    def _attend_packed(self, joint: Tensor, layout: Layout, guide: Guide | None) -> Tensor:
        """Mix (T, 3, H, D) on the GPU's variable-length kernel, which knows no dropout."""
        from torch.nn.attention.varlen import varlen_attn

        bounds, longest = layout.cumulative_lengths, layout.max_length
        query, key, value = joint.unbind(1)  # (T, H, D) each
        reach = -1 if guide is None or guide.window is None else guide.window
        mixed = varlen_attn(
            query, key, value, bounds, bounds, longest, longest, window_size=(reach, reach)
        )  # (T, H, D)
        assert isinstance(mixed, Tensor)
        return mixed.flatten(-2)  # (T, E)

    def _bias_of(self, layout: Layout, guide: Guide | None) -> BiasOf:
        """Return what tells the bias of each group in this layer."""
        if guide is None:
            return lambda number, query, key: layout.groups[number].key_bias
        return lambda number, query, key: guide.group_bias(number, query.dtype)

    def _attend_in_groups(
        self, joint: Tensor, layout: Layout, weights: list[Tensor] | None, guide: Guide | None
    ) -> Tensor:
        """Mix (T, 3, H, D) group by group."""
        parts = []
        bias_of = self._bias_of(layout, guide)
        for number, group in enumerate(layout.groups):
            query, key, value = spread(joint, group).permute(2, 0, 3, 1, 4)  # (N, H, L, D) each
            mixed = self._attend(query, key, value, bias_of(number, query, key), weights)
            flat = mixed.transpose(1, 2).reshape(-1, self.num_heads * self.head_width)  # (N * L, E)
            parts.append(flat if group.give_back is None else flat.index_select(0, group.give_back))
        together = parts[0] if len(parts) == 1 else torch.cat(parts)
        order = layout.packed_order
        return together if order is None else together.index_select(0, order)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        weights: list[Tensor] | None,
    ) -> Tensor:
        """Mix (N, H, L, D) values; gradients and weights need the scores written out."""
        if bias is not None:
            bias = bias.to(query.dtype)
        drops = self.training and self.dropout_probability > 0
        if weights is None and not drops and not torch.is_grad_enabled():
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask=bias, scale=self.scale
            )
        # torch's fused CPU kernel takes no dropout, and its bf16 gradient is several times slower.
        scores = (query * self.scale) @ key.transpose(-1, -2)  # (N, H, L, L)
        if bias is not None:
            scores = scores + bias
        shares = scores.softmax(-1)
        if weights is not None:
            weights.append(shares)
        if drops:
            shares = dropout(shares, self.dropout_probability)
        return shares.to(value.dtype) @ value

    def extra_repr(self) -> str:
        """Return the number of heads, for `print(model)`."""
        return f"num_heads={self.num_heads}, dropout={self.dropout_probability}"
