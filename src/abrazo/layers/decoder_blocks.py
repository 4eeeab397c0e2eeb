"""Blocks of a decoder that also looks at what an encoder has read.

Shapes: T tokens of all rows, E hidden width.
"""

from torch import Tensor, nn

from abrazo.layers.attention import Attention
from abrazo.layers.blocks import Norm, PostNormBlock
from abrazo.layers.cache import LayerPast
from abrazo.layers.cross_attention import CrossAttention, Sources
from abrazo.layers.layout import Layout
from abrazo.layers.positions import Guide, PastGuide


class PostNormDecoderBlock(PostNormBlock):
    """Self-attention, cross-attention and feed-forward, each normalised after adding.

    Source: Vaswani et al. 2017, Attention Is All You Need, section 3.1.
    """

    def __init__(
        self,
        attention: Attention,
        cross_attention: CrossAttention,
        feedforward: nn.Module,
        *,
        width: int,
        dropout: float,
        norm_eps: float,
        norm: Norm = nn.LayerNorm,
    ) -> None:
        """Join the parts.

        Args:
            attention: Mixes the tokens of a row.
            cross_attention: Lets them look at the row's source.
            feedforward: Changes each token by itself.
            width: E.
            dropout: Share of elements dropped after each part.
            norm_eps: Added to the variance in norms.
            norm: Makes a norm of a width and an epsilon.
        """
        super().__init__(
            attention, feedforward, width=width, dropout=dropout, norm_eps=norm_eps, norm=norm
        )
        self.cross_attention = cross_attention
        self.cross_norm = norm(width, eps=norm_eps)

    def forward(  # type: ignore[override]  # without sources there is nothing to look at
        self,
        hidden: Tensor,
        layout: Layout,
        weights: list[Tensor] | None = None,
        guide: Guide | None = None,
        *,
        sources: Sources,
    ) -> Tensor:
        """Turn (T, E) into (T, E).

        Args:
            hidden: (T, E).
            layout: Where the rows begin and end.
            weights: When given, those of self-attention and then of cross-attention are appended.
            guide: As for `Attention`.
            sources: As for `CrossAttention`.
        """
        mixed = self.attention(hidden, layout, weights, guide)
        hidden = self.attention_norm(hidden + self.dropout(mixed))
        seen = self.cross_attention(hidden, sources, weights, past_of(guide))
        hidden = self.cross_norm(hidden + self.dropout(seen))
        changed = self.dropout(self.feedforward(hidden))
        return self.feedforward_norm(hidden + changed)  # type: ignore[no-any-return]


class PreNormDecoderBlock(PostNormDecoderBlock):
    """A block of the same parts that normalises what goes into each of them instead.

    Source: Xiong et al. 2020, On Layer Normalization in the Transformer Architecture,
    https://arxiv.org/abs/2002.04745.
    """

    def forward(  # type: ignore[override]
        self,
        hidden: Tensor,
        layout: Layout,
        weights: list[Tensor] | None = None,
        guide: Guide | None = None,
        *,
        sources: Sources,
    ) -> Tensor:
        """Turn (T, E) into (T, E); arguments as in the block that normalises after adding."""
        mixed = self.attention(self.attention_norm(hidden), layout, weights, guide)
        hidden = hidden + self.dropout(mixed)
        seen = self.cross_attention(self.cross_norm(hidden), sources, weights, past_of(guide))
        hidden = hidden + self.dropout(seen)
        changed = self.feedforward(self.feedforward_norm(hidden))
        return hidden + self.dropout(changed)  # type: ignore[no-any-return]


def past_of(guide: Guide | None) -> LayerPast | None:
    """Return where a block keeps what its rows hold, if they are to be gone on with."""
    return guide.past if isinstance(guide, PastGuide) else None
