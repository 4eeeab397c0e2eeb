"""Encoding for training and inference: flat arrays over all rows, nothing padded.

Shapes: T tokens of all rows, R rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, repeat

import numpy as np
import numpy.typing as npt

from abrazo.errors import ConfigError
from abrazo.tokenization.native import NativeEncoding, NativeTokenizer, encode_texts
from abrazo.tokenization.shorten import encode_shortened
from abrazo.tokenization.template import Frame
from abrazo.tokenization.truncation import Side, kept_lengths

Int32 = npt.NDArray[np.int32]
_CHARS_AT_ONCE = 4_000_000
_ROWS_AT_ONCE = 8_192


@dataclass(frozen=True)
class EncodedRows:
    """Rows of token ids, one after the other.

    `dropped` counts the text tokens that truncation left out. Of texts far longer than
    `max_length` only the beginning is encoded, and then the count is a lower bound.
    """

    input_ids: Int32
    """The ids of all rows, special tokens included, (T,)."""

    token_type_ids: Int32 | None
    """The segment of each token, (T,); None when the model takes none or all are 0."""

    lengths: Int32
    """How many tokens each row has, (R,)."""

    dropped: Int32
    """How many tokens of each row's texts were left out, (R,)."""

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Where each row starts in the flat arrays, and at last T, (R + 1,)."""
        return np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])

    def row(self, index: int) -> dict[str, Int32]:
        """Return `input_ids` and, where there are any, `token_type_ids` of one row, as views."""
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"There is no row {index}: there are {len(self)} rows.")
        span = slice(self.offsets[place], self.offsets[place + 1])
        row = {"input_ids": self.input_ids[span]}
        if self.token_type_ids is not None:
            row["token_type_ids"] = self.token_type_ids[span]
        return row


@dataclass(frozen=True)
class RowEncoder:
    """Settings of one call to `Tokenizer.encode_rows`."""

    backend: NativeTokenizer
    frame: Frame
    max_length: int | None
    side: Side
    with_types: bool

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None) -> EncodedRows:
        """Encode all rows, some thousands at a time to bound memory."""
        if self.max_length is not None and self.max_length < self.frame.num_special:
            raise ConfigError(
                f"`max_length` must be at least {self.frame.num_special}, the number of special "
                f"tokens in a row, but is {self.max_length}."
            )
        parts = [
            self._encode_part(
                texts[start:stop], None if pairs is None else pairs[start:stop], start
            )
            for start, stop in _slices(texts, pairs)
        ]
        if len(parts) == 1:
            return parts[0]
        types = [part.token_type_ids for part in parts if part.token_type_ids is not None]
        return EncodedRows(
            input_ids=_joined([part.input_ids for part in parts]),
            token_type_ids=_joined(types) if types else None,
            lengths=_joined([part.lengths for part in parts]),
            dropped=_joined([part.dropped for part in parts]),
        )

    def _encode_part(
        self, texts: Sequence[str], pairs: Sequence[str] | None, first_row: int
    ) -> EncodedRows:
        first = self._ids(texts, first_row)
        second = None if pairs is None else self._ids(pairs, first_row)
        first_full = _lengths(first)
        second_full = None if second is None else _lengths(second)
        first_kept, second_kept = self._cut(first, second, first_full, second_full)
        dropped = first_full - first_kept
        lengths = first_kept + np.int32(self.frame.num_special)
        if second_full is not None and second_kept is not None:
            dropped = dropped + second_full - second_kept
            lengths = lengths + second_kept
        total = int(lengths.sum(dtype=np.int64))
        ids = np.fromiter(self._ordered(first, second), dtype=np.int32, count=total)
        return EncodedRows(
            input_ids=ids,
            token_type_ids=self._types(first_kept, second_kept),
            lengths=lengths,
            dropped=dropped,
        )

    def _ids(self, texts: Sequence[str], first_row: int) -> list[list[int]]:
        def encode(part: Sequence[str], rows: Sequence[int]) -> list[NativeEncoding]:
            numbers = [first_row + row for row in rows]
            return encode_texts(self.backend, part, offsets=False, rows=numbers)

        if self.max_length is None:
            encodings = encode(texts, range(len(texts)))
        else:
            encodings = encode_shortened(encode, texts, self.max_length, self.side)
        return [encoding.ids for encoding in encodings]

    def _cut(
        self,
        first: list[list[int]],
        second: list[list[int]] | None,
        first_full: Int32,
        second_full: Int32 | None,
    ) -> tuple[Int32, Int32 | None]:
        """Shorten the lists of rows that are too long, in place; return the lengths kept."""
        if self.max_length is None:
            return first_full, second_full
        room = self.max_length - self.frame.num_special
        total = first_full if second_full is None else first_full + second_full
        first_kept = first_full.copy()
        second_kept = None if second_full is None else second_full.copy()
        for row in np.flatnonzero(total > room).tolist():
            length = None if second is None else len(second[row])
            keep, keep_second = kept_lengths(len(first[row]), length, room, "longest_first")
            first[row] = self._kept(first[row], keep)
            first_kept[row] = keep
            if second is not None and second_kept is not None and keep_second is not None:
                second[row] = self._kept(second[row], keep_second)
                second_kept[row] = keep_second
        return first_kept, second_kept

    def _kept(self, ids: list[int], count: int) -> list[int]:
        return ids[:count] if self.side == "right" else ids[len(ids) - count :]

    def _ordered(self, first: list[list[int]], second: list[list[int]] | None) -> chain[int]:
        """Chain the ids of all rows with the special tokens in their places."""
        before, between, after = (list(run.ids) for run in self.frame.runs())
        if second is None:
            rows = zip(repeat(before), first, repeat(after), strict=False)
            return chain.from_iterable(chain.from_iterable(rows))
        pairs = zip(repeat(before), first, repeat(between), second, repeat(after), strict=False)
        return chain.from_iterable(chain.from_iterable(pairs))

    def _types(self, first: Int32, second: Int32 | None) -> Int32 | None:
        """Repeat each segment's number over the tokens it spans."""
        before, between, after = (run.type_ids for run in self.frame.runs())
        middle = () if second is None else (*between, self.frame.second_type)
        values = [*before, self.frame.first_type, *middle, *after]
        if not self.with_types or not any(values):
            return None
        counts = np.ones((len(first), len(values)), dtype=np.int32)  # (R, runs)
        counts[:, len(before)] = first
        if second is not None:
            counts[:, len(before) + 1 + len(between)] = second
        numbers = np.tile(np.asarray(values, dtype=np.int32), len(first))
        return np.repeat(numbers, counts.ravel())  # (T,)


def _lengths(rows: list[list[int]]) -> Int32:
    return np.fromiter(map(len, rows), dtype=np.int32, count=len(rows))


def _joined(parts: Sequence[Int32]) -> Int32:
    return np.concatenate([np.empty(0, dtype=np.int32), *parts])


def _slices(texts: Sequence[str], pairs: Sequence[str] | None) -> list[tuple[int, int]]:
    """Return spans of rows of bounded number and size; at least one span."""
    spans, start, chars = [], 0, 0
    for row, text in enumerate(texts):
        chars += len(text) + (len(pairs[row]) if pairs is not None else 0)
        if chars > _CHARS_AT_ONCE or row + 1 - start >= _ROWS_AT_ONCE:
            spans.append((start, row + 1))
            start, chars = row + 1, 0
    if start < len(texts) or not spans:
        spans.append((start, len(texts)))
    return spans
