"""Embeddings of one side of an encoder-decoder, whose words the other side usually shares.

Shapes: T tokens of all rows, V vocabulary, E hidden width, P positions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abrazo.layers.dropout import Dropout
from abrazo.layers.embeddings import OTHER_TOKENIZER, check_length, check_range
from abrazo.layers.packing import PackedBatch


class LearnedPositions(nn.Embedding):
    """A vector for each position, behind some that no token takes.

    Source: Lewis et al. 2019, BART, released code.
    """

    def __init__(self, num_positions: int, width: int, *, offset: int) -> None:
        """Build new vectors.

        Args:
            num_positions: P, of tokens.
            width: E.
            offset: Vectors that no token takes, before those of tokens.
        """
        super().__init__(num_positions + offset, width)
        self.offset = offset

    def forward(self, positions: Tensor) -> Tensor:
        """Turn (T,) positions into (T, E)."""
        return super().forward(positions + self.offset)


class SinePositions(nn.Module):
    """Sines in the first half of a vector and cosines in the second, of wave lengths that grow.

    The table is no weight: it is computed when it is first read, and again elsewhere.

    Source: Vaswani et al. 2017, Attention Is All You Need, section 3.5; the halves are not
    interleaved here, as in Marian and tensor2tensor.
    """

    def __init__(self, num_positions: int, frequencies: Tensor, *, offset: int = 0) -> None:
        """Settle the waves.

        Args:
            num_positions: P, of tokens.
            frequencies: (E / 2,) radians from one position to the next; the angles are computed in
                their dtype.
            offset: Added to positions.
        """
        super().__init__()
        self.num_positions = num_positions
        self.offset = offset
        self._frequencies = frequencies
        self._table: Tensor | None = None

    def forward(self, positions: Tensor) -> Tensor:
        """Turn (T,) positions into (T, E) in fp32."""
        if self._table is None or self._table.device != positions.device:
            self._table = self._make_table().to(positions.device)
        return F.embedding(positions + self.offset, self._table)

    def _make_table(self) -> Tensor:
        size = self.num_positions + self.offset
        places = torch.arange(size, dtype=self._frequencies.dtype, device="cpu")
        angles = places[:, None] * self._frequencies  # (P, E / 2)
        return torch.cat([angles.sin(), angles.cos()], 1).float()

    def extra_repr(self) -> str:
        """Return the number of positions, for `print(model)`."""
        return f"{self.num_positions}"


class SharedEmbeddings(nn.Module):
    """Words, perhaps scaled, with positions, normalised or not."""

    def __init__(
        self,
        tokens: nn.Embedding,
        *,
        max_length: int,
        dropout: float,
        scale: float = 1.0,
        positions: nn.Module | None = None,
        norm: nn.Module | None = None,
    ) -> None:
        """Join the parts.

        Args:
            tokens: (V, E) the words; the other side may have the same module.
            max_length: The most tokens of a row.
            dropout: Share of elements dropped at the end.
            scale: What words are multiplied with.
            positions: Turns positions into vectors that are added; None adds none.
            norm: Normalises the sum; None leaves it.
        """
        super().__init__()
        self.tokens = tokens
        self.positions = positions
        self.norm = norm
        self.dropout = Dropout(dropout)
        self.scale = scale
        self.max_length = max_length

    def forward(self, batch: PackedBatch) -> Tensor:
        """Turn packed ids into (T, E).

        Raises:
            DataError: A row is longer than the model reads, or an id is out of range.
        """
        self._check(batch)
        hidden: Tensor = self.tokens(batch.input_ids)
        if self.scale != 1:
            hidden = hidden * self.scale
        if self.positions is not None:
            given = batch.position_ids
            places = batch.layout.positions if given is None else given
            hidden = hidden + self.positions(places).to(hidden.dtype)
        if self.norm is not None:
            hidden = self.norm(hidden)
        return self.dropout(hidden)  # type: ignore[no-any-return]

    def _check(self, batch: PackedBatch) -> None:
        check_length(batch, self.max_length)
        if batch.input_ids.is_cuda or torch.compiler.is_compiling():
            return  # reading the extremes would wait for the GPU at every step
        size = self.tokens.num_embeddings
        check_range("Token ids", batch.input_ids, size, OTHER_TOKENIZER)
        if self.positions is not None and batch.position_ids is not None:
            check_range("Positions", batch.position_ids, self.max_length, "Pad rows on the right.")
