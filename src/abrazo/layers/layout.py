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

GROUP_COST = 4_096
"""Starting a group costs about as much as attention over this many pairs of tokens."""
TRAINING_GROUP_COST = 32_768
"""The same with gradients, for which there are many more steps to a group."""

_SIZES = 8
"""Lengths of groups between a power of two and the next, where they are rounded up."""
_SHORT = 64
"""Shorter rows are few lengths anyway, and are not rounded up."""


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Rows of like length that attention handles as one rectangle."""

    rows: np.ndarray
    """(N,) which rows of the batch these are."""
    length: int
    """L, the tokens of its longest row, or more."""
    start: int | None
    """First token, where the rows follow each other and are equally long: a view will do."""
    take: Tensor | None
    """Otherwise (N * L,) packed positions; pad places repeat the row's first token."""
    give_back: Tensor | None
    """With `take`: (T of the group,) places in the rectangle of the group's real tokens."""
    tokens: Tensor | None
    """With `take`: (T of the group,) packed positions of the group's real tokens."""
    key_bias: Tensor | None
    """(N, 1, 1, L) with 0 at tokens and -inf at padding; None where there is no padding."""

    @property
    def num_rows(self) -> int:
        """N, the number of rows."""
        return len(self.rows)


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
        """The rows as rectangles, shortest first.

        In bf16 training on a CPU their lengths are rounded up: oneDNN prepares kernels for the six
        products of attention over each new shape, and keeps them (0.6 MB each).
        """
        order = np.argsort(self.lengths, kind="stable")
        lengths = self.lengths[order]
        in_bf16 = self.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        if in_bf16 and torch.is_grad_enabled():  # without gradients there is another kernel
            lengths = np.minimum(_rounded_up(lengths), lengths[-1])
        return tuple(self.group(order[a:b], int(lengths[b - 1])) for a, b in _cut(lengths))

    @cached_property
    def packed_order(self) -> Tensor | None:
        """(T,) index that brings the tokens of all groups, one after the other, into packed order.

        None where they are in it already, as in a batch sorted by length.
        """
        return self.order_after(np.argsort(self.lengths, kind="stable"))

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

    def group(self, rows: np.ndarray, length: int | None = None) -> Group:
        """Put some rows side by side as one rectangle, as long as the longest unless told."""
        lengths = self.lengths[rows]
        length, starts = length or int(lengths.max()), self.offsets[rows]
        is_uniform = int(lengths.min()) == length
        if is_uniform and bool((np.diff(starts) == length).all()):
            return Group(rows, length, int(starts[0]), None, None, None, None)
        steps = np.arange(length)
        is_token = steps < lengths[:, None]  # (N, L)
        take = np.where(is_token, starts[:, None] + steps, starts[:, None])
        key_bias = None
        if not is_uniform:
            bias = np.where(is_token, np.float32(0), np.float32(-np.inf))
            key_bias = self._on_device(bias[:, None, None, :])
        return Group(
            rows,
            length,
            None,
            self._on_device(take.reshape(-1)),
            self._on_device(np.flatnonzero(is_token)),
            self._on_device(take[is_token]),
            key_bias,
        )

    def _on_device(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device, non_blocking=True)


def _rounded_up(lengths: np.ndarray) -> np.ndarray:
    """Return lengths of which there are eight between a power of two and the next."""
    power = 1 << np.floor(np.log2(lengths)).astype(np.int64)
    step = np.where(lengths < _SHORT, 1, np.maximum(power // _SIZES, 1))
    rounded: np.ndarray = -(-lengths // step) * step
    return rounded


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
