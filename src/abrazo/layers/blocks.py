"""A block: attention, then feed-forward, each with a residual path and a norm.

Shapes: T tokens of all rows, E hidden width.
"""

from torch import Tensor, nn

from abrazo.layers.attention import Attention
from abrazo.layers.dropout import Dropout
from abrazo.layers.feedforward import FeedForward
from abrazo.layers.layout import Layout


class PostNormBlock(nn.Module):
    """A block that normalises after adding, as BERT does.

    Source: Vaswani et al. 2017, Attention Is All You Need, section 3.1.
    """

    def __init__(
        self,
        attention: Attention,
        feedforward: FeedForward,
        *,
        width: int,
        dropout: float,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm = nn.LayerNorm(width, eps=norm_eps)
        self.feedforward = feedforward
        self.feedforward_norm = nn.LayerNorm(width, eps=norm_eps)
        self.dropout = Dropout(dropout)

    def forward(
        self, hidden: Tensor, layout: Layout, weights: list[Tensor] | None = None
    ) -> Tensor:
        """Turn (T, E) into (T, E); see `Attention.forward` for `weights`."""
        mixed = self.dropout(self.attention(hidden, layout, weights))
        hidden = self.attention_norm(hidden + mixed)
        changed = self.dropout(self.feedforward(hidden))
        return self.feedforward_norm(hidden + changed)  # type: ignore[no-any-return]
