"""Attention between the tokens of a row, the same for every family.

Shapes: T tokens of all rows, H heads of queries, K heads of keys and values, D width of one head, E
hidden width, R rows, N rows of a group of like length, L the length of that group, C columns of a
cache.
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
from abrazo.layers.positions import Guide, PastGuide, rotate

BiasOf = Callable[[Group, Tensor, Tensor], Tensor | None]
"""From a group, its queries and keys, (N, H, L, D), to what its scores get added."""


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
        rectangle = packed.narrow(0, group.start, group.num_lines * group.length)
    else:
        rectangle = _Spread.apply(packed, group.take, group.give_back, group.tokens)  # type: ignore[no-untyped-call]
    rows: Tensor = rectangle.unflatten(0, (group.num_lines, group.length))
    return rows


def leave(mixed: Tensor, group: Group) -> Tensor:
    """Turn (N, H, L, D) of a group into (its tokens, H * D), without its padding."""
    flat = mixed.transpose(1, 2).flatten(2).flatten(0, 1)  # (N * L, H * D)
    return flat if group.give_back is None else flat.index_select(0, group.give_back)


def join_groups(parts: list[Tensor], order: Tensor | None) -> Tensor:
    """Put what was computed of each group, one after the other, into packed order."""
    together = parts[0] if len(parts) == 1 else torch.cat(parts)
    return together if order is None else together.index_select(0, order)


class DotProduct(nn.Module):
    """The core of all attention: values, mixed by how well keys answer queries."""

    def __init__(
        self, scale: float, dropout_probability: float, softcap: float | None = None
    ) -> None:
        """Keep what it is computed with.

        Args:
            scale: What scores are multiplied with.
            dropout_probability: Share of attention weights dropped.
            softcap: What scores are bent to stay below; None leaves them.
        """
        super().__init__()
        self.scale = scale
        self.dropout_probability = dropout_probability
        self.softcap = softcap

    @property
    def drops(self) -> bool:
        """Whether attention weights are dropped now."""
        return self.training and self.dropout_probability > 0

    @property
    def writes_scores(self) -> bool:
        """Whether scores are written out now, which gradients and caps need."""
        # torch's fused CPU kernel takes no dropout, and its bf16 gradient is several times slower
        return self.drops or self.softcap is not None or torch.is_grad_enabled()

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        weights: list[Tensor] | None,
    ) -> Tensor:
        """Mix (N, H, L, D) values.

        Args:
            query: (N, H, Q, D).
            key: (N, H, L, D).
            value: (N, H, L, D).
            bias: What is added to the scores, (N, H, Q, L) or of a shape that spreads to it.
            weights: When given, the weights (N, H, Q, L) are appended.

        Returns:
            (N, H, Q, D).
        """
        if bias is not None:
            bias = bias.to(query.dtype)
        if weights is None and not self.writes_scores:
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask=bias, scale=self.scale
            )
        scores = (query * self.scale) @ key.transpose(-1, -2)  # (N, H, Q, L)
        if self.softcap is not None:
            scores = (scores / self.softcap).tanh() * self.softcap
        if bias is not None:
            scores = scores + bias
        shares = scores.softmax(-1)
        if weights is not None:
            weights.append(shares)
        if self.drops:
            shares = dropout(shares, self.dropout_probability)
        return shares.to(value.dtype) @ value


class Attention(DotProduct):
    """Self-attention with query, key and value in one matrix product.

    Sources: Vaswani et al. 2017, Attention Is All You Need, section 3.2; Ainslie et al. 2023, GQA,
    https://arxiv.org/abs/2305.13245, for heads that share keys and values.
    """

    fits_packed_kernel: ClassVar[bool] = True
    """Whether scores are plain products, as the GPU's variable-length kernel computes them."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        dropout_probability: float,
        *,
        bias: bool = True,
        output_bias: bool | None = None,
        num_kv_heads: int | None = None,
        head_width: int | None = None,
        scale: float | None = None,
        query_norm: nn.Module | None = None,
        key_norm: nn.Module | None = None,
        softcap: float | None = None,
    ) -> None:
        """Build new weights.

        Args:
            width: E.
            num_heads: H.
            dropout_probability: Share of attention weights dropped.
            bias: Whether the products have a bias.
            output_bias: The same for the second product alone; None takes `bias`.
            num_kv_heads: K, which divides H; None takes H.
            head_width: D; None shares E among the heads.
            scale: What scores are multiplied with; None takes 1 / sqrt(D).
            query_norm: Normalises the queries of each head.
            key_norm: Normalises the keys of each head.
            softcap: What scores are bent to stay below; None leaves them.
        """
        head_width = width // num_heads if head_width is None else head_width
        scale = 1 / math.sqrt(head_width) if scale is None else scale
        super().__init__(scale, dropout_probability, softcap)
        self.num_heads = num_heads
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        self.head_width = head_width
        heads = num_heads + 2 * self.num_kv_heads
        self.query_key_value = Linear(width, heads * self.head_width, bias=bias)
        self.query_norm = query_norm
        self.key_norm = key_norm
        self.output = Linear(
            num_heads * self.head_width, width, bias=bias if output_bias is None else output_bias
        )

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
            guide: Angles, windows, biases and what came before, in families that have them.

        Returns:
            (T, E) packed tokens.
        """
        joint = self.query_key_value(hidden)[: layout.num_tokens]
        joint = joint.unflatten(-1, (-1, self.head_width))  # (T, H + 2K, D)
        joint = self._turn(joint, guide)
        if isinstance(guide, PastGuide):
            past = guide.past.write(joint[:, self.num_heads :], guide.window)  # (R, C, 2, K, D)
        if isinstance(guide, PastGuide) and not guide.is_first:
            mixed = self._attend_past(joint, past, guide)
        elif self._fits_kernel(joint, weights, guide):
            mixed = self._attend_packed(joint, layout, guide)
        else:
            mixed = self._attend_in_groups(joint, layout, weights, guide)
        if len(mixed) < len(hidden):  # tokens that only round up the number belong to no row
            mixed = F.pad(mixed, (0, 0, 0, len(hidden) - len(mixed)))
        result: Tensor = self.output(mixed)
        return result

    def _turn(self, joint: Tensor, guide: Guide | None) -> Tensor:
        """Normalise and turn the queries and keys of (T, H + 2K, D)."""
        split = [self.num_heads, self.num_kv_heads, self.num_kv_heads]
        if self.query_norm is not None and self.key_norm is not None:
            query, key, value = joint.split(split, 1)
            joint = torch.cat([self.query_norm(query), self.key_norm(key), value], 1)
        if guide is not None and guide.rotation is not None:
            joint = rotate(joint, guide.rotation, self.num_heads + self.num_kv_heads)
        return joint

    def _fits_kernel(
        self, joint: Tensor, weights: list[Tensor] | None, guide: Guide | None
    ) -> bool:
        """Tell whether the GPU's variable-length kernel computes what is wished."""
        is_plain = self.fits_packed_kernel and self.softcap is None
        is_half = joint.is_cuda and joint.dtype != torch.float32
        has_bias = guide is not None and guide.bias is not None
        return is_half and is_plain and not has_bias and weights is None and not self.drops

    def _attend_packed(self, joint: Tensor, layout: Layout, guide: Guide | None) -> Tensor:
        """Mix (T, H + 2K, D) on the GPU's variable-length kernel, which knows no dropout."""
        from torch.nn.attention.varlen import varlen_attn

        bounds, longest = layout.cumulative_lengths, layout.max_length
        query, key, value = self._split(joint, 1)  # (T, H or K, D) each
        before = -1 if guide is None or guide.window is None else guide.window
        after = 0 if guide is not None and guide.is_causal else before
        mixed = varlen_attn(
            query,
            self._for_each_query(key, 1),
            self._for_each_query(value, 1),
            bounds,
            bounds,
            longest,
            longest,
            scale=self.scale,
            window_size=(before, after),
        )  # (T, H, D)
        assert isinstance(mixed, Tensor)
        return mixed.flatten(-2)  # (T, H * D)

    def _attend_past(self, joint: Tensor, past: Tensor, guide: PastGuide) -> Tensor:
        """Mix what (T, H + 2K, D) asks of the tokens so far, (R, C, 2, K, D)."""
        query = joint[:, : self.num_heads].unflatten(0, (past.shape[0], -1))  # (R, new, H, D)
        key, value = past.unbind(2)  # (R, C, K, D) each
        key, value = key.transpose(1, 2), value.transpose(1, 2)  # (R, K, C, D) each
        bias = guide.past_bias
        if query.shape[1] == 1 and (bias is None or bias.shape[1] == 1):
            # queries of heads that share keys are rows of one product
            query = query.unflatten(2, (self.num_kv_heads, -1))[:, 0]  # (R, K, H / K, D)
        else:
            query = query.transpose(1, 2)  # (R, H, new, D)
            key, value = self._for_each_query(key, 1), self._for_each_query(value, 1)
        mixed = self.attend(query, key, value, bias, None)
        if mixed.shape[1] == self.num_heads:
            mixed = mixed.transpose(1, 2)
        return mixed.reshape(-1, self.num_heads * self.head_width)  # (T, H * D)

    def _bias_of(self, layout: Layout, guide: Guide | None) -> BiasOf:
        """Return what tells the bias of each group in this layer."""
        if guide is None:
            return lambda group, query, key: group.bias(query.dtype)
        return lambda group, query, key: guide.group_bias(group, query.dtype)

    def _attend_in_groups(
        self, joint: Tensor, layout: Layout, weights: list[Tensor] | None, guide: Guide | None
    ) -> Tensor:
        """Mix (T, H + 2K, D) group by group."""
        parts = []
        bias_of = self._bias_of(layout, guide)
        is_fused = weights is None and not self.writes_scores
        is_causal = is_fused and guide is not None and guide.sees_all_before()
        shares_lines = weights is None and not is_causal and self._fits_lines(guide)
        for group in layout.full_groups if shares_lines else layout.groups:
            rows = spread(joint, group).transpose(1, 2)  # (N, H + 2K, L, D)
            query, key, value = self._split(rows, 1)
            key, value = self._for_each_query(key, 1), self._for_each_query(value, 1)
            if is_causal:
                mixed = F.scaled_dot_product_attention(
                    query, key, value, is_causal=True, scale=self.scale
                )
            else:
                mixed = self.attend(query, key, value, bias_of(group, query, key), weights)
            parts.append(leave(mixed, group))
        order = layout.packed_order_of_full if shares_lines else layout.packed_order
        return join_groups(parts, order)

    def _fits_lines(self, guide: Guide | None) -> bool:
        """Tell whether scores of rows that share a line need no more than a mask."""
        return self.fits_packed_kernel and (guide is None or guide.bias is None)

    def _split(self, joint: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of H + 2K heads."""
        split = [self.num_heads, self.num_kv_heads, self.num_kv_heads]
        query, key, value = joint.split(split, axis)
        return query, key, value

    def _for_each_query(self, shared: Tensor, axis: int) -> Tensor:
        """Return K heads as H, each as often as queries share it."""
        times = self.num_heads // self.num_kv_heads
        return shared if times == 1 else shared.repeat_interleave(times, axis)

    def extra_repr(self) -> str:
        """Return the number of heads, for `print(model)`."""
        shared = "" if self.num_kv_heads == self.num_heads else f"/{self.num_kv_heads}"
        return f"num_heads={self.num_heads}{shared}, dropout={self.dropout_probability}"
