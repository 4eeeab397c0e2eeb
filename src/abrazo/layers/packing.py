"""The way into and out of packed tokens.

Shapes: B rows, S padded columns, T tokens of all rows.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from abrazo.errors import DataError
from abrazo.layers.cache import Cache
from abrazo.layers.layout import Layout


@dataclasses.dataclass(eq=False)
class PackedBatch:
    """The tokens of some rows, one after the other, with no padding.

    Fields that a model does not take stay `None`.
    """

    input_ids: Tensor
    """(T,) token ids."""
    layout: Layout
    """Where each row begins and ends."""
    token_type_ids: Tensor | None = None
    """(T,) segment of each token: 0, or 1 for the second text of a pair."""
    position_ids: Tensor | None = None
    """(T,) position of each token; None counts from 0 in each row."""
    labels: Tensor | None = None
    """What the head learns from: (rows,) or (rows, labels) for sequences, (T,) for tokens."""
    next_sentence_label: Tensor | None = None
    """(rows,) 0 where the second text follows the first, 1 where it is a random one."""
    targets_per_row: float | None = None
    """Targets to a row over all batches of the step, where rows are what losses of several kinds
    are counted in; None takes those of the batch."""
    rows: tuple[int, ...] = ()
    """Number of each row in the data set it came from, to name it in messages and keep order."""
    parts: Mapping[str, "PackedBatch"] = dataclasses.field(default_factory=dict)
    """Batches that this one joins, in order, by the head that learns from them; see `join_parts`.
    Labels are then those of the parts."""
    source: "PackedBatch | None" = None
    """What an encoder reads, in models with a decoder that reads this batch; as many rows."""
    encoded: Tensor | None = None
    """(T, width) what an encoder has made of these tokens, where it has read them already."""
    past: Cache | None = None
    """What the rows hold already, in models that go on word by word."""

    def to(self, device: torch.device | str) -> "PackedBatch":
        """Return the batch on another device."""
        target = torch.device(device)
        if target == self.input_ids.device:
            return self
        moved: dict[str, Any] = {
            field.name: _moved(value, target)
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), Tensor | PackedBatch)
        }
        parts = {name: part.to(target) for name, part in self.parts.items()}
        layout = Layout(self.layout.lengths, target)
        return dataclasses.replace(self, layout=layout, parts=parts, **moved)


def _moved(value: Tensor | PackedBatch, device: torch.device) -> Tensor | PackedBatch:
    if isinstance(value, PackedBatch):
        return value.to(device)
    return value.to(device, non_blocking=True)


def join_parts(parts: Mapping[str, PackedBatch]) -> PackedBatch:
    """Join batches for several heads, so that one pass of the backbone reads them all.

    Args:
        parts: At least one batch, by the head that learns from it.
    """
    batches = list(parts.values())
    segments = None
    if any(batch.token_type_ids is not None for batch in batches):
        segments = torch.cat(
            [
                torch.zeros(batch.input_ids.shape, dtype=torch.int32)
                if batch.token_type_ids is None
                else batch.token_type_ids
                for batch in batches
            ]
        )
    return PackedBatch(
        input_ids=torch.cat([batch.input_ids for batch in batches]),
        layout=Layout(np.concatenate([batch.layout.lengths for batch in batches])),
        token_type_ids=segments,
        rows=tuple(row for batch in batches for row in batch.rows),
        parts=dict(parts),
    )


class Padding:
    """Remembers where the tokens of a padded batch stood, to give padded shapes back."""

    def __init__(self, attention_mask: Tensor) -> None:
        """Read a (B, S) mask, 1 at tokens and 0 at padding.

        Raises:
            DataError: The mask is not two-dimensional, or a row has no token.
        """
        if attention_mask.dim() != 2:
            shape = tuple(attention_mask.shape)
            raise DataError(
                f"`attention_mask` must have the shape (rows, columns), but has {shape}."
            )
        self.kept = kept = attention_mask != 0  # (B, S)
        self.shape = (int(kept.shape[0]), int(kept.shape[1]))
        self.is_full = bool(kept.all())
        self.index = kept.reshape(-1).nonzero().squeeze(-1)  # (T,)
        self.layout = Layout(kept.sum(1).cpu().numpy(), attention_mask.device)

    @classmethod
    def of_layout(cls, layout: Layout) -> "Padding":
        """Return the padding on the right that rows of a packed batch would have."""
        lengths = torch.from_numpy(layout.lengths)[:, None]
        mask = torch.arange(layout.max_length) < lengths  # (B, S)
        return cls(mask.to(layout.device))

    def pack(self, padded: Tensor) -> Tensor:
        """Turn (B, S, ...) into (T, ...)."""
        if tuple(padded.shape[:2]) != self.shape:
            raise DataError(
                f"`attention_mask` has the shape {self.shape}, but the values it belongs to have "
                f"{tuple(padded.shape[:2])}."
            )
        flat = padded.flatten(0, 1)
        return flat if self.is_full else flat.index_select(0, self.index)

    def pad(self, packed: Tensor) -> Tensor:
        """Turn (T, ...) into (B, S, ...), zero at padding."""
        rows, columns = self.shape
        if not self.is_full:
            whole = packed.new_zeros(rows * columns, *packed.shape[1:])
            packed = whole.index_copy(0, self.index, packed)
        padded: Tensor = packed.unflatten(0, (rows, columns))
        return padded

    def pad_pairs(self, grouped: list[Tensor]) -> Tensor:
        """Turn one (N, H, L, L) tensor a group, as attention weights are, into (B, H, S, S)."""
        rows, columns = self.shape
        whole = grouped[0].new_zeros(rows, grouped[0].shape[1], columns, columns)
        stands = self.column_of_token.split(self.layout.lengths.tolist())
        for group, pairs in zip(self.layout.groups, grouped, strict=True):
            for place, row in enumerate(group.rows.tolist()):
                at, length = stands[row], len(stands[row])
                whole[row, :, at[:, None], at] = pairs[place, :, :length, :length]
        return whole

    def count_tokens_before(self, columns: Tensor, *, otherwise: int) -> Tensor:
        """Turn (B, N) padded columns of each row into places among the row's tokens.

        Args:
            columns: (B, N) columns.
            otherwise: What stands for a column that is outside the row or holds padding.
        """
        last = self.shape[1] - 1
        is_inside = (columns >= 0) & (columns <= last)
        columns = columns.clamp(0, last)
        places = (self.kept.cumsum(1) - 1).gather(1, columns)
        is_token = is_inside & self.kept.gather(1, columns)
        return places.where(is_token, otherwise)

    @property
    def column_of_token(self) -> Tensor:
        """(T,) the padded column each token stood in."""
        return self.index % self.shape[1]


def pack(
    input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None
) -> tuple[PackedBatch, Padding]:
    """Pack a padded batch.

    Args:
        input_ids: (B, S) token ids; (S,) counts as one row.
        attention_mask: (B, S) with 1 at tokens, 0 at padding; None takes every position.
        token_type_ids: (B, S) segment ids, or None.

    Raises:
        DataError: Shapes do not fit each other, or a row has no token.
    """
    if input_ids.dim() not in (1, 2):
        shape = tuple(input_ids.shape)
        raise DataError(f"`input_ids` must have the shape (rows, columns), but has {shape}.")
    input_ids = torch.atleast_2d(input_ids)
    mask = (
        torch.ones_like(input_ids) if attention_mask is None else torch.atleast_2d(attention_mask)
    )
    padding = Padding(mask)
    segments = None if token_type_ids is None else padding.pack(torch.atleast_2d(token_type_ids))
    batch = PackedBatch(
        input_ids=padding.pack(input_ids),
        layout=padding.layout,
        token_type_ids=segments,
        position_ids=padding.column_of_token,
    )
    return batch, padding
