"""From token ids to vectors: word, position and segment, summed, normalised.

Shapes: T tokens of all rows, V vocabulary, E hidden width.
"""

import torch
from torch import Tensor, nn

from abrazo.errors import DataError
from abrazo.layers.dropout import Dropout
from abrazo.layers.packing import PackedBatch


class Embeddings(nn.Module):
    """Word, learned position and segment embeddings.

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
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(num_positions, width)
        self.segments = nn.Embedding(num_segments, width) if num_segments else None
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.dropout = Dropout(dropout)

    def forward(self, batch: PackedBatch) -> Tensor:
        """Turn packed ids into (T, E).

        Raises:
            DataError: A row is longer than the positions, or an id is outside the vocabulary.
        """
        self._check(batch)
        positions = batch.layout.positions if batch.position_ids is None else batch.position_ids
        hidden = self.tokens(batch.input_ids) + self.positions(positions)
        if self.segments is not None:
            segments = batch.token_type_ids
            if segments is None:
                hidden = hidden + self.segments.weight[0]
            else:
                hidden = hidden + self.segments(segments)
        return self.dropout(self.norm(hidden))  # type: ignore[no-any-return]

    def _check(self, batch: PackedBatch) -> None:
        longest, limit = batch.layout.max_length, self.positions.num_embeddings
        if longest > limit:
            raise DataError(
                f"A row has {longest} tokens, but the model reads at most {limit}. "
                f"Encode with `truncation=True, max_length={limit}`, or split the text."
            )
        if batch.input_ids.is_cuda or torch.compiler.is_compiling():
            return  # reading the extremes would wait for the GPU at every step
        low, high = (int(bound) for bound in batch.input_ids.aminmax())
        if low < 0 or high >= self.tokens.num_embeddings:
            raise DataError(
                f"Token ids must be from 0 to {self.tokens.num_embeddings - 1}, but "
                f"{low if low < 0 else high} occurs. Does the tokenizer belong to this model?"
            )
