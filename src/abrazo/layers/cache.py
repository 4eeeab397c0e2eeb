"""What the rows of a batch hold already, so that only new tokens are computed.

Each layer keeps the keys and values of all tokens so far. Rows stand right-aligned, as

    . . a b c        a row of three tokens
    d e f g h        one of five

so that a step, which brings as many new tokens to each row, writes whole columns. The columns grow
in steps. Blocks whose tokens see a window alone read no more than that, and drop older columns, but
for some to rewind. Rows made from one source, as the beams of a text that is translated, follow
each other.

Shapes: R rows, T new tokens of all rows, C columns, K heads of keys and values, D width of one
head, S sources, L tokens of the longest source.
"""

import numpy as np
import torch
from torch import Tensor

from abrazo.errors import DataError
from abrazo.layers.layout import Layout

_COLUMNS_AT_ONCE = 64
_SPARE = 64
"""Columns before a window that are kept, so that so many tokens can be taken back."""


class LayerPast:
    """Keys and values of one layer."""

    def __init__(self, cache: "Cache") -> None:
        self._cache = cache
        self._held: Tensor | None = None  # (R, room, 2, K, D)
        self._dropped = 0  # columns before the first one that is held
        self._window: int | None = None
        self.memory: tuple[Tensor, Tensor] | None = None
        """Keys and values of the sources, (S, K, L, D) each, in models with an encoder."""

    @property
    def is_first(self) -> bool:
        """Whether the tokens that are being computed are the first ones."""
        return self._cache.is_first

    @property
    def most_rewound(self) -> int:
        """How many columns can be forgotten."""
        if self._dropped == 0 or self._window is None:
            return self._cache.num_columns
        return self._cache.num_columns - self._window - self._dropped

    def write(self, keys_and_values: Tensor, window: int | None = None) -> Tensor:
        """Keep what the new tokens of the batch have, and return it for all that they may see.

        Args:
            keys_and_values: (T, 2 * K, D), the keys before the values.
            window: How many tokens before it a token sees besides itself; None sees all.

        Returns:
            (R, C, 2, K, D), right-aligned, from `Cache.first_seen` on; what stands left of a row's
            first token has no meaning.
        """
        cache = self._cache
        self._window = window
        split = keys_and_values.unflatten(1, (2, -1))  # (T, 2, K, D)
        self._held = held = self._with_room(split)
        first, end = cache.first_new - self._dropped, cache.num_columns - self._dropped
        if cache.places is None:
            held[:, first:end] = split.unflatten(0, (-1, end - first))
        else:
            held.flatten(0, 1).index_copy_(0, cache.places, split)
        return held[:, cache.first_seen(window) - self._dropped : end]

    def _with_room(self, split: Tensor) -> Tensor:
        """Return what is held with room for the new columns; older ones than needed are dropped."""
        cache, held = self._cache, self._held
        if held is None:
            return split.new_zeros(cache.num_rows, cache.capacity, *split.shape[1:])
        first = max(cache.first_seen(self._window) - _SPARE, self._dropped)
        is_full = held.shape[1] < cache.num_columns - self._dropped
        if not is_full and first - self._dropped <= _COLUMNS_AT_ONCE:
            return held
        wished = cache.num_columns + _COLUMNS_AT_ONCE
        end = wished if cache.limit is None else min(wished, cache.limit)
        other = held.new_empty(cache.num_rows, end - first, *split.shape[1:])
        kept = held[:, first - self._dropped : cache.first_new - self._dropped]
        other[:, : kept.shape[1]] = kept
        self._dropped = first
        return other

    def take(self, rows: Tensor, columns: int) -> None:
        """Go on with these rows alone, in this order, of which some columns are written."""
        if self._held is not None:
            held, columns = self._held, columns - self._dropped
            taken = held.new_empty(len(rows), *held.shape[1:])
            torch.index_select(held[:, :columns], 0, rows, out=taken[:, :columns])
            self._held = taken

    def take_sources(self, sources: Tensor) -> None:
        """Go on with the memory of these sources alone."""
        if self.memory is not None:
            keys, values = self.memory
            self.memory = keys.index_select(0, sources), values.index_select(0, sources)


class Cache:
    """Keys and values of all layers for the rows of one batch."""

    def __init__(self, num_layers: int, limit: int | None = None) -> None:
        """Start with nothing; the first batch that brings the cache along fills it.

        Args:
            num_layers: The layers of the decoder.
            limit: The most tokens of a row; None sets no limit.
        """
        self.limit = limit
        self.lengths = np.zeros(0, dtype=np.int64)
        """(R,) tokens of each row so far."""
        self.num_columns = 0
        """C, the tokens of the longest row so far."""
        self.first_new = 0
        """The first column of the tokens that are being computed."""
        self.capacity = 0
        """Columns that layers make room for at first."""
        self.places: Tensor | None = None
        """(T,) places of new tokens in (R * capacity), where they are no whole columns."""
        self.rows_per_source = 1
        """How many rows go on from one source."""
        self.source_bias: Tensor | None = None
        """(S, 1, 1, L) with -inf at the padding of sources; None where there is none."""
        self._starts: Tensor | None = None  # (R,) first column of each row, where they differ
        self._layers = [LayerPast(self) for _ in range(num_layers)]

    @property
    def is_empty(self) -> bool:
        """Whether no batch has come yet."""
        return self.num_columns == 0

    @property
    def num_rows(self) -> int:
        """R."""
        return len(self.lengths)

    @property
    def num_new(self) -> int:
        """How many columns the tokens that are being computed take."""
        return self.num_columns - self.first_new

    @property
    def is_first(self) -> bool:
        """Whether the tokens that are being computed are the first ones."""
        return self.first_new == 0

    def layer(self, number: int) -> LayerPast:
        """Return what a layer holds."""
        return self._layers[number]

    def advance(self, layout: Layout) -> None:
        """Make room for the tokens of a batch, which every layer writes after this.

        Raises:
            DataError: The batch has other rows than the cache, rows would get too long, or rows
                get different numbers of new tokens although they hold some already.
        """
        is_first = self.is_empty
        if is_first:
            self.lengths = np.zeros(layout.num_rows, dtype=np.int64)
        elif layout.num_rows != self.num_rows:
            raise DataError(
                f"The cache holds {self.num_rows} rows, but the batch has {layout.num_rows}."
            )
        longest = layout.max_length
        is_uniform = bool((layout.lengths == longest).all())
        if not is_first and not is_uniform:
            raise DataError("Rows that hold tokens already must all get as many new ones.")
        total = self.num_columns + longest
        if self.limit is not None and total > self.limit:
            raise DataError(
                f"A row would have {total} tokens, but the cache was made for at most {self.limit}."
            )
        self.first_new, self.num_columns = self.num_columns, total
        self.lengths = self.lengths + layout.lengths
        if is_first:
            wished = total + _COLUMNS_AT_ONCE
            self.capacity = wished if self.limit is None else min(wished, self.limit)
        self.places = None
        if not is_uniform:
            starts = np.repeat(longest - layout.lengths, layout.lengths)
            columns = (
                starts
                + np.arange(layout.num_tokens)
                - np.repeat(layout.offsets[:-1], layout.lengths)
            )
            rows = np.repeat(np.arange(layout.num_rows), layout.lengths)
            self.places = torch.from_numpy(rows * self.capacity + columns).to(layout.device)
            self._starts = torch.from_numpy(longest - layout.lengths).to(layout.device)

    def positions(self, layout: Layout) -> Tensor:
        """Return (T,) the place in its row of each token that is being computed."""
        if self.is_first:
            return layout.positions
        before = self.lengths - self.num_new
        places = before[:, None] + np.arange(self.num_new)
        return torch.from_numpy(places.reshape(-1)).to(layout.device)

    def first_seen(self, window: int | None) -> int:
        """Return the first column that a token being computed may see.

        Args:
            window: How many tokens before it a token sees besides itself; None sees all.
        """
        return 0 if window is None else max(0, self.first_new - window)

    def bias(self, window: int | None = None) -> Tensor | None:
        """Return what is added to the scores of new tokens against the columns they may see.

        Args:
            window: How many tokens before it a token sees besides itself; None sees all.

        Returns:
            (R or 1, 1, new tokens or 1, C) with -inf where a token may not look, its columns those
            from `first_seen` on; None where all may.
        """
        first = self.first_seen(window)
        is_ragged = self._starts is not None and self.num_columns - self.lengths.min() > first
        if self.num_new == 1 and not is_ragged:
            return None
        device = None if self._starts is None else self._starts.device
        columns = torch.arange(first, self.num_columns, device=device)
        hidden = torch.zeros(1, 1, 1, 1, dtype=torch.bool, device=device)
        if is_ragged:
            assert self._starts is not None
            hidden = hidden | (columns < self._starts[:, None, None, None])
        if self.num_new > 1:
            own = torch.arange(self.first_new, self.num_columns, device=device)[:, None]
            hidden = hidden | (columns > own)
            if window is not None:
                hidden = hidden | (columns < own - window)
        return torch.where(hidden, -torch.inf, 0.0)

    def repeat(self, count: int) -> None:
        """Let every row go on `count` times, one after the other; sources stay single."""
        if count == 1:
            return
        order = np.repeat(np.arange(self.num_rows), count)
        self._take(order)
        self.rows_per_source *= count

    def reorder(self, rows: Tensor) -> None:
        """Let row i go on from what was row `rows[i]`, of the same source."""
        self._take(rows.cpu().numpy())

    def keep(self, sources: Tensor) -> None:
        """Go on with the rows of these sources alone, in this order."""
        per = self.rows_per_source
        rows = sources[:, None] * per + torch.arange(per, device=sources.device)
        self._take(rows.reshape(-1).cpu().numpy())
        for layer in self._layers:
            layer.take_sources(sources)
        if self.source_bias is not None:
            self.source_bias = self.source_bias.index_select(0, sources)

    def rewind(self, count: int) -> None:
        """Forget the last columns, as if their tokens had never come."""
        if not 0 <= count < self.num_columns:
            raise DataError(f"The cache holds {self.num_columns} columns; {count} cannot be taken.")
        most = min((layer.most_rewound for layer in self._layers), default=count)
        if count > most:
            raise DataError(
                f"Blocks with a window hold few columns before it, so at most {most} can be taken "
                f"back now, not {count}."
            )
        self.num_columns -= count
        self.first_new = min(self.first_new, self.num_columns)
        self.lengths = self.lengths - count

    def _take(self, rows: np.ndarray) -> None:
        self.lengths = self.lengths[rows]
        device = self._device()
        index = torch.from_numpy(rows).to(device)
        if self._starts is not None:
            self._starts = self._starts.index_select(0, index)
        for layer in self._layers:
            layer.take(index, self.num_columns)

    def _device(self) -> torch.device:
        held = next((layer._held for layer in self._layers if layer._held is not None), None)
        return torch.device("cpu") if held is None else held.device
