"""A block: attention, then feed-forward, each with a residual path and a norm.

Shapes: T tokens of all rows, E hidden width.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from abrazo.layers.attention import Attention
from abrazo.layers.dropout import Dropout
from abrazo.layers.layout import Layout
from abrazo.layers.positions import Guide

Norm = Callable[..., nn.Module]
"""Makes a norm of a width and `eps`."""


class PostNormBlock(nn.Module):
    """A block that normalises after adding, as BERT does.

    Source: Vaswani et al. 2017, Attention Is All You Need, section 3.1.
    """

    def __init__(
        self,
        attention: Attention,
        feedforward: nn.Module,
        *,
        width: int,
        dropout: float,
        norm_eps: float,
        norm_bias: bool = True,
        norm: Norm | None = None,
    ) -> None:
        """Join the parts.

        Args:
            attention: Mixes tokens.
            feedforward: Changes each token by itself.
            width: E.
            dropout: Share of elements dropped after either half.
            norm_eps: Added to the variance in norms.
            norm_bias: Whether norms have a bias.
            norm: Makes a norm of a width and an epsilon; None makes layer norms.
        """
        super().__init__()
        make = norm or partial(nn.LayerNorm, bias=norm_bias)
        self.attention = attention
        self.attention_norm: nn.Module = make(width, eps=norm_eps)
        self.feedforward = feedforward
        self.feedforward_norm: nn.Module = make(width, eps=norm_eps)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        hidden: Tensor,
        layout: Layout,
        weights: list[Tensor] | None = None,
        guide: Guide | None = None,
    ) -> Tensor:
        """Turn (T, E) into (T, E); see `Attention.forward` for `weights` and `guide`."""
        mixed = self.dropout(self.attention(hidden, layout, weights, guide))
        hidden = self.attention_norm(hidden + mixed)
        changed = self.dropout(self.feedforward(hidden))
        return self.feedforward_norm(hidden + changed)  # type: ignore[no-any-return]


class PreNormBlock(PostNormBlock):
    """A block of the same parts that normalises what goes into each half instead.

    Source: Xiong et al. 2020, On Layer Normalization in the Transformer Architecture,
    https://arxiv.org/abs/2002.04745.
    """

    def forward(
        self,
        hidden: Tensor,
        layout: Layout,
        weights: list[Tensor] | None = None,
        guide: Guide | None = None,
    ) -> Tensor:
        """Turn (T, E) into (T, E); see `Attention.forward` for `weights` and `guide`."""
        mixed = self.attention(self.attention_norm(hidden), layout, weights, guide)
        hidden = hidden + self.dropout(mixed)
        changed = self.feedforward(self.feedforward_norm(hidden))
        return hidden + self.dropout(changed)  # type: ignore[no-any-return]


class SandwichNormBlock(PreNormBlock):
    """A block that normalises what goes into each half, and what comes out of it too.

    Source: Ding et al. 2021, CogView, section 2.4, https://arxiv.org/abs/2105.13290.
    """

    def __init__(
        self,
        attention: Attention,
        feedforward: nn.Module,
        *,
        width: int,
        norm_eps: float,
        norm: Norm = nn.LayerNorm,
    ) -> None:
        """Join the parts.

        Args:
            attention: Mixes tokens.
            feedforward: Changes each token by itself.
            width: E.
            norm_eps: Added to the variance in norms.
            norm: Makes a norm of a width and an epsilon.
        """
        super().__init__(
            attention, feedforward, width=width, dropout=0.0, norm_eps=norm_eps, norm=norm
        )
        self.mixed_norm = norm(width, eps=norm_eps)
        self.changed_norm = norm(width, eps=norm_eps)

    def forward(
        self,
        hidden: Tensor,
        layout: Layout,
        weights: list[Tensor] | None = None,
        guide: Guide | None = None,
    ) -> Tensor:
        """Turn (T, E) into (T, E); see `Attention.forward` for `weights` and `guide`."""
        mixed = self.attention(self.attention_norm(hidden), layout, weights, guide)
        hidden = hidden + self.mixed_norm(mixed)
        changed = self.feedforward(self.feedforward_norm(hidden))
        return hidden + self.changed_norm(changed)  # type: ignore[no-any-return]


class ParallelBlock(PreNormBlock):
    """A block whose halves both start from what comes in.

    Source: Black et al. 2022, GPT-NeoX-20B, section 2.1, https://arxiv.org/abs/2204.06745.
    """

    def forward(
        self,
        hidden: Tensor,
        layout: Layout,
        weights: list[Tensor] | None = None,
        guide: Guide | None = None,
    ) -> Tensor:
        """Turn (T, E) into (T, E); see `Attention.forward` for `weights` and `guide`."""
        mixed = self.attention(self.attention_norm(hidden), layout, weights, guide)
        changed = self.feedforward(self.feedforward_norm(hidden))
        return hidden + self.dropout(mixed) + self.dropout(changed)  # type: ignore[no-any-return]
