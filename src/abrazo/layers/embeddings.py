"""From token ids to vectors: word, position and segment, summed, normalised.

Shapes: T tokens of all rows, V vocabulary, E hidden width.
"""

import torch
from torch import Tensor, nn

from abrazo.errors import DataError
from abrazo.layers.dropout import Dropout
from abrazo.layers.linear import Linear
from abrazo.layers.packing import PackedBatch

OTHER_TOKENIZER = "Does the tokenizer belong to this model?"


class Embeddings(nn.Module):
    """Word embeddings, and learned position and segment embeddings in families that have them.

    Source: Devlin et al. 2018, BERT, section 3, figure 2.
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        num_positions: int,
        num_segments: int,
        width: int,
        dropout: float,
        norm_eps: float,
        norm_bias: bool = True,
        first_position: int = 0,
        max_length: int | None = None,
        hidden_width: int | None = None,
    ) -> None:
        """Build new embeddings.

        Args:
            vocab_size: V, the number of token ids.
            num_positions: Number of learned positions; 0 learns none.
            num_segments: Number of segments; 0 has none.
            width: Width of the embeddings.
            dropout: Share of elements dropped at the end.
            norm_eps: Added to the variance in the norm.
            norm_bias: Whether the norm has a bias.
            first_position: Position of a row's first token.
            max_length: The most tokens of a row; None takes what the positions allow.
            hidden_width: E, when the embeddings are brought to it by a product; None when as wide.
        """
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(num_positions, width) if num_positions else None
        self.segments = nn.Embedding(num_segments, width) if num_segments else None
        self.norm = nn.LayerNorm(width, eps=norm_eps, bias=norm_bias)
        self.dropout = Dropout(dropout)
        self.projection = None if hidden_width is None else Linear(width, hidden_width)
        self.first_position = first_position
        self.max_length = num_positions - first_position if max_length is None else max_length

    def forward(self, batch: PackedBatch) -> Tensor:
        """Turn packed ids into (T, E).

        Raises:
            DataError: A row is longer than the model reads, or an id is out of range.
        """
        self._check(batch)
        hidden = self.tokens(batch.input_ids)
        if self.positions is not None:
            positions = batch.position_ids
            if positions is None:
                positions = batch.layout.positions + self.first_position
            hidden = hidden + self.positions(positions)
        if self.segments is not None:
            segments = batch.token_type_ids
            if segments is None:
                hidden = hidden + self.segments.weight[0]
            else:
                hidden = hidden + self.segments(segments)
        hidden = self.dropout(self.norm(hidden))
        return hidden if self.projection is None else self.projection(hidden)  # type: ignore[no-any-return]

    def _check(self, batch: PackedBatch) -> None:
        check_length(batch, self.max_length)
        if batch.input_ids.is_cuda or torch.compiler.is_compiling():
            return  # reading the extremes would wait for the GPU at every step
        remedy = OTHER_TOKENIZER
        check_range("Token ids", batch.input_ids, self.tokens.num_embeddings, remedy)
        if self.segments is not None and batch.token_type_ids is not None:
            size = self.segments.num_embeddings
            check_range("Segments (`token_type_ids`)", batch.token_type_ids, size, remedy)
        if self.positions is not None and batch.position_ids is not None:
            size = self.positions.num_embeddings
            check_range("Positions", batch.position_ids, size, "Pad rows on the right.")


class WordEmbeddings(nn.Module):
    """Word embeddings alone, in families whose blocks know about places."""

    def __init__(self, vocab_size: int, width: int, *, max_length: int, scale: float = 1.0) -> None:
        """Build new embeddings.

        Args:
            vocab_size: V, the number of token ids.
            width: E.
            max_length: The most tokens of a row.
            scale: What the embeddings are multiplied with.
        """
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, width)
        self.max_length = max_length
        self.scale = scale

    def forward(self, batch: PackedBatch) -> Tensor:
        """Turn packed ids into (T, E).

        Raises:
            DataError: A row is longer than the model reads, or an id is out of range.
        """
        check_length(batch, self.max_length)
        if not (batch.input_ids.is_cuda or torch.compiler.is_compiling()):
            check_range("Token ids", batch.input_ids, self.tokens.num_embeddings, OTHER_TOKENIZER)
        hidden: Tensor = self.tokens(batch.input_ids)
        return hidden if self.scale == 1 else hidden * hidden.new_tensor(self.scale)


def check_length(batch: PackedBatch, limit: int) -> None:
    """Check that no row, with what it holds already, is longer than the model reads.

    Raises:
        DataError: One is.
    """
    longest = batch.layout.max_length if batch.past is None else batch.past.num_columns
    if longest > limit:
        raise DataError(
            f"A row has {longest} tokens, but the model reads at most {limit}. "
            f"Encode with `truncation=True, max_length={limit}`, or split the text."
        )


def check_range(what: str, values: Tensor, size: int, remedy: str) -> None:
    """Check that values can be looked up in a table of that size.

    Raises:
        DataError: One is below 0 or beyond the table.
    """
    low, high = (int(bound) for bound in values.aminmax())
    if low < 0 or high >= size:
        raise DataError(
            f"{what} must be from 0 to {size - 1}, but {low if low < 0 else high} occurs. {remedy}"
        )
