"""Where the rows of a batch stand in one long matrix of tokens, and how attention sees them.

A batch is packed: the tokens of all rows follow each other, no pad token among them. Linear layers,
norms and activations never need to know where a row ends; attention does. It works on *groups*:
rows of like length, put side by side as a rectangle, padded inside the group only.

Shapes: T tokens of all rows, R rows, N rows of a group, L the longest row of a group.
"""

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from abrazo.errors import DataError
from abrazo.layers.lines import Shelf, fill_lines

GROUP_COST = 4_096
"""Starting a group costs about as much as attention over this many pairs of tokens."""
TRAINING_GROUP_COST = 32_768
"""The same with gradients, for which there are many more steps to a group."""


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Lines of equal length that attention handles as one rectangle."""

    rows: np.ndarray
    """Which rows of the batch stand in the lines: one in each, or several side by side."""
    num_lines: int
    """N."""
    length: int
    """L, the tokens of the longest line, or more."""
    start: int | None = None
    """First token, where the rows follow each other and fill their lines: a view will do."""
    take: Tensor | None = None
    """Otherwise (N * L,) packed positions; pad places repeat a token of their line."""
    give_back: Tensor | None = None
    """With `take`: (T of the group,) places in the rectangle of the group's real tokens."""
    tokens: Tensor | None = None
    """With `take`: (T of the group,) packed positions of the group's real tokens."""
    key_bias: Tensor | None = None
    """(N, 1, 1, L) with 0 at tokens and -inf at padding; (N, 1, L, L) with -inf at tokens of other
    rows too, where rows share a line; None where there are neither."""
    _biases: dict[torch.dtype, Tensor] = dataclasses.field(default_factory=dict)

    @property
    def shares_lines(self) -> bool:
        """Whether a line has several rows."""
        return len(self.rows) > self.num_lines

    def bias(self, dtype: torch.dtype) -> Tensor | None:
        """Return `key_bias` in a dtype, made once for all layers."""
        if self.key_bias is None or self.key_bias.dtype == dtype:
            return self.key_bias
        if dtype not in self._biases:
            self._biases[dtype] = self.key_bias.to(dtype)
        return self._biases[dtype]


class Layout:
    """The rows of one packed batch, computed once and shared by all layers."""

    def __init__(
        self, lengths: Sequence[int] | np.ndarray, device: torch.device | str = "cpu"
    ) -> None:
        """Describe rows of the given lengths, in the order they are packed.

        Raises:
            DataError: There is no row, or a row has no token.
        """
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.device = torch.device(device)
        if self.lengths.size == 0:
            raise DataError("A batch needs at least one row, but has none.")
        if self.lengths.min() < 1:
            row = int(self.lengths.argmin())
            raise DataError(
                f"Every row of a batch needs at least one token, but row {row} has none."
            )
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)])

    @property
    def num_rows(self) -> int:
        """R, the number of rows."""
        return int(self.lengths.size)

    @property
    def num_tokens(self) -> int:
        """T, the number of tokens of all rows."""
        return int(self.offsets[-1])

    @property
    def max_length(self) -> int:
        """The number of tokens of the longest row."""
        return int(self.lengths.max())

    @cached_property
    def first_tokens(self) -> Tensor:
        """(R,) packed position of each row's first token."""
        return self._on_device(self.offsets[:-1])

    @cached_property
    def cumulative_lengths(self) -> Tensor:
        """(R + 1,) int32 row boundaries, as variable-length attention kernels take them."""
        return self._on_device(self.offsets.astype(np.int32))

    @cached_property
    def row_of_token(self) -> Tensor:
        """(T,) the row each token belongs to."""
        return self._on_device(np.repeat(np.arange(self.num_rows), self.lengths))

    @cached_property
    def positions(self) -> Tensor:
        """(T,) place of each token in its row, from 0."""
        starts = np.repeat(self.offsets[:-1], self.lengths)
        return self._on_device(np.arange(self.num_tokens) - starts)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The rows as rectangles with one row a line, shortest first."""
        order = np.argsort(self.lengths, kind="stable")
        return tuple(self.group(order[a:b]) for a, b in _cut(self.lengths[order]))

    @cached_property
    def packed_order(self) -> Tensor | None:
        """(T,) index that brings the tokens of all groups, one after the other, into packed order.

        None where they are in it already, as in a batch sorted by length.
        """
        return self.order_after(np.concatenate([group.rows for group in self.groups]))

    @cached_property
    def full_groups(self) -> tuple[Group, ...]:
        """The rows as rectangles with as many rows a line as there is room for."""
        shelves = fill_lines(self.lengths, group_cost())
        return tuple(self._group_of(shelf) for shelf in shelves)

    @cached_property
    def packed_order_of_full(self) -> Tensor | None:
        """The same as `packed_order` for the full groups."""
        return self.order_after(np.concatenate([group.rows for group in self.full_groups]))

    def order_after(self, order: np.ndarray) -> Tensor | None:
        """Return (T,) what brings tokens back into packed order, or None where they are in it.

        Args:
            order: (R,) rows in the order in which their tokens follow each other.
        """
        if bool((order[1:] > order[:-1]).all()):
            return None
        starts = np.concatenate([[0], np.cumsum(self.lengths[order])])[:-1]
        moved = np.empty_like(starts)
        moved[order] = starts  # where each row begins among the grouped tokens
        steps = np.arange(self.num_tokens) - np.repeat(self.offsets[:-1], self.lengths)
        return self._on_device(np.repeat(moved, self.lengths) + steps)

    def group(self, rows: np.ndarray) -> Group:
        """Put some rows side by side as one rectangle, as long as the longest."""
        lengths = self.lengths[rows]
        length, starts = int(lengths.max()), self.offsets[rows]
        is_uniform = int(lengths.min()) == length
        if is_uniform and bool((np.diff(starts) == length).all()):
            return Group(rows, len(rows), length, int(starts[0]))
        steps = np.arange(length)
        is_token = steps < lengths[:, None]  # (N, L)
        take = np.where(is_token, starts[:, None] + steps, starts[:, None])
        key_bias = None
        if not is_uniform:
            bias = np.where(is_token, np.float32(0), np.float32(-np.inf))
            key_bias = self._on_device(bias[:, None, None, :])
        return Group(
            rows,
            len(rows),
            length,
            None,
            self._on_device(take.reshape(-1)),
            self._on_device(np.flatnonzero(is_token)),
            self._on_device(take[is_token]),
            key_bias,
        )

    def _group_of(self, shelf: Shelf) -> Group:
        """Put the rows of a shelf into its lines."""
        order = np.argsort(shelf.rows)  # tokens are given back as they are packed
        rows, starts = np.array(shelf.rows)[order], np.array(shelf.starts)[order]
        lengths, size = self.lengths[rows], (shelf.num_lines, shelf.width)
        if (lengths == shelf.width).all() and (np.diff(rows) == 1).all():
            return Group(rows, *size, int(self.offsets[rows[0]]))
        steps = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        places = np.repeat(starts, lengths) + steps  # where each token stands in the lines
        tokens = np.repeat(self.offsets[rows], lengths) + steps
        row_of_place = np.full(size[0] * size[1], -1, np.int32)
        row_of_place[places] = np.repeat(np.arange(len(rows), dtype=np.int32), lengths)
        take = np.zeros_like(row_of_place)
        take[places] = tokens
        return Group(
            rows,
            *size,
            None,
            self._on_device(take),
            self._on_device(places),
            self._on_device(tokens),
            self._on_device(
                _bias_between(row_of_place.reshape(size), is_shared=len(rows) > size[0])
            ),
        )

    def _on_device(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device, non_blocking=True)


def _bias_between(rows: np.ndarray, *, is_shared: bool) -> np.ndarray:
    """Return what hides padding and, in lines of several rows, tokens of other rows.

    Args:
        rows: (N, L) the row of each place, -1 at padding, which follows the rows of its line.
        is_shared: Whether lines have several rows.
    """
    if not is_shared:
        hidden = (rows < 0)[:, None, None, :]
    else:
        last = np.maximum.accumulate(np.where(rows < 0, 0, np.arange(rows.shape[1])), 1)
        asking = np.take_along_axis(rows, last, 1)  # padding sees what the row before it sees
        hidden = (asking[:, :, None] != rows[:, None, :])[:, None]
    return np.where(hidden, np.float32(-np.inf), np.float32(0))


def group_cost() -> int:
    """Return over how many pairs of tokens attention costs as much as starting a group."""
    return TRAINING_GROUP_COST if torch.is_grad_enabled() else GROUP_COST


def _cut(lengths: np.ndarray) -> list[tuple[int, int]]:
    """Cut ascending row lengths into groups, as pairs of first and last row.

    From the longest rows down, the rows of the next shorter length join the group while padding
    them costs less than a group of their own.
    """
    bounds = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(lengths)]
    cuts: list[tuple[int, int]] = []
    cost = group_cost()
    last, longest = len(lengths), int(lengths[-1])
    for first, end in zip(bounds[-2::-1], bounds[:0:-1], strict=True):
        length = int(lengths[first])
        if (end - first) * (longest**2 - length**2) > cost:
            cuts.append((end, last))
            last, longest = end, length
    cuts.append((0, last))
    return cuts[::-1]
