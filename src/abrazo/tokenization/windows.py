"""Long texts as overlapping windows, in flat arrays; each character's place is kept.

A token in the overlap of two windows is seen twice. It belongs to the window in which it has most
context, so every token of a text belongs to exactly one window.

Shapes: T tokens of all windows, W windows, N tokens of all texts, R texts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt

from abrazo.errors import ConfigError
from abrazo.tokenization.native import NativeEncoding, NativeTokenizer, encode_texts
from abrazo.tokenization.template import Frame

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

_MOST_STRIDE = 128
_ROWS_AT_ONCE = 1_024


@dataclass(frozen=True)
class EncodedWindows:
    """Windows over texts, one after the other; each text has at least one."""

    input_ids: Int32
    """The ids of all windows, special tokens and questions included, (T,)."""
    token_type_ids: Int32 | None
    """The segment of each token, (T,); None when the model takes none or all are 0."""
    lengths: Int32
    """How many tokens each window has, (W,)."""
    rows: Int64
    """Which text each window is of, (W,)."""
    starts: Int64
    """Number, in its text, of the first token that each window shows, (W,)."""
    counts: Int64
    """How many tokens of its text each window shows, (W,)."""
    firsts: Int64
    """Place in the window of the first of these tokens, (W,)."""
    kept: Int64
    """The tokens that belong to each window, counted in its text: from, and up to, (W, 2)."""
    spans: Int32
    """The characters of each token of the texts, from and up to, (N, 2); special tokens and
    questions are not among them."""
    text_offsets: Int64
    """Where the tokens of each text start in `spans`, and at last N, (R + 1,)."""
    dropped: Int64
    """How many tokens of each question were left out, (R,)."""

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def offsets(self) -> Int64:
        """Where each window starts in the flat arrays, and at last T, (W + 1,)."""
        return _offsets(self.lengths)


@dataclass(frozen=True)
class _Tokens:
    """The tokens of some texts, one after the other."""

    ids: Int32
    lengths: Int64
    spans: Int32

    @cached_property
    def offsets(self) -> Int64:
        return _offsets(self.lengths)

    def of_texts(self, numbers: Int64) -> "_Tokens":
        """Return the tokens of some of the texts, in that order, perhaps of one several times."""
        lengths = self.lengths[numbers]
        places = np.repeat(self.offsets[numbers], lengths) + _counted(lengths)
        spans = self.spans[places] if len(self.spans) else self.spans
        return _Tokens(self.ids[places], lengths, spans)


@dataclass(frozen=True)
class WindowEncoder:
    """Settings of one call to `Tokenizer.encode_windows`."""

    backend: NativeTokenizer
    frame: Frame
    max_length: int
    stride: int | None
    with_types: bool

    def encode(self, texts: Sequence[str], questions: Sequence[str] | None) -> EncodedWindows:
        """Encode all texts and cut them into windows.

        Raises:
            ConfigError: There is no room for a text, or windows cannot move on.
        """
        tokens = self._tokens(texts, with_spans=True)
        asked, lost = None, np.zeros(len(texts), dtype=np.int64)
        room = np.full(len(texts), self.max_length - self.frame.num_special, dtype=np.int64)
        if questions is not None:
            asked = self._tokens(questions, with_spans=False)
            asked_lengths = np.minimum(asked.lengths, room // 2)
            lost = asked.lengths - asked_lengths
            room = room - asked_lengths
        rows, starts, counts, kept = self._cut(tokens.lengths, room)
        before, between, after = self.frame.runs()
        pieces: list[_Run | _Stretch] = [_Run(before.ids, before.type_ids)]
        texts_piece = _Stretch(tokens.ids, tokens.offsets[rows] + starts, counts)
        if asked is not None:
            question = _Stretch(asked.ids, asked.offsets[rows], asked_lengths[rows])
            pieces += [question.typed(self.frame.first_type), _Run(between.ids, between.type_ids)]
            texts_piece = texts_piece.typed(self.frame.second_type)
        else:
            texts_piece = texts_piece.typed(self.frame.first_type)
        place = len(pieces)
        pieces += [texts_piece, _Run(after.ids, after.type_ids)]
        sizes = np.stack([piece.sizes(len(rows)) for piece in pieces])  # (pieces, W)
        return EncodedWindows(
            input_ids=_laid_out(pieces, sizes, with_types=False),
            token_type_ids=self._types(pieces, sizes),
            lengths=sizes.sum(0).astype(np.int32),
            rows=rows,
            starts=starts,
            counts=counts,
            firsts=sizes[:place].sum(0),
            kept=kept,
            spans=tokens.spans,
            text_offsets=tokens.offsets,
            dropped=lost,
        )

    def _tokens(self, texts: Sequence[str], *, with_spans: bool) -> _Tokens:
        """Encode texts without special tokens, equal ones once: questions share contexts."""
        first_rows: dict[str, int] = {}
        for row, text in enumerate(texts):
            first_rows.setdefault(text, row)
        tokens = self._encoded(list(first_rows), list(first_rows.values()), with_spans=with_spans)
        if len(first_rows) == len(texts):
            return tokens
        numbers = {text: number for number, text in enumerate(first_rows)}
        return tokens.of_texts(np.fromiter((numbers[text] for text in texts), dtype=np.int64))

    def _encoded(self, texts: Sequence[str], rows: Sequence[int], *, with_spans: bool) -> _Tokens:
        """Encode texts some at a time, to bound memory; `rows` are their numbers for messages."""
        ids, lengths, spans = [], [], []
        for start in range(0, len(texts), _ROWS_AT_ONCE):
            part = texts[start : start + _ROWS_AT_ONCE]
            numbers = rows[start : start + _ROWS_AT_ONCE]
            found = encode_texts(self.backend, part, offsets=with_spans, rows=numbers)
            lengths.append(np.fromiter(map(len, found), dtype=np.int64, count=len(found)))
            total = int(lengths[-1].sum())
            every = chain.from_iterable(encoding.ids for encoding in found)
            ids.append(np.fromiter(every, dtype=np.int32, count=total))
            if with_spans:
                spans.append(_spans(found, total))
        return _Tokens(
            np.concatenate([np.empty(0, np.int32), *ids]),
            np.concatenate([np.empty(0, np.int64), *lengths]),
            np.concatenate([np.empty((0, 2), np.int32), *spans]),
        )

    def _cut(self, lengths: Int64, room: Int64) -> tuple[Int64, Int64, Int64, Int64]:
        """Return the text of each window, its first token, its tokens, and those it keeps."""
        if len(room) and room.min() < 1:
            raise ConfigError(
                f"`max_length` must leave room for a text next to the special tokens, but is "
                f"{self.max_length}. Raise it to {self.max_length + 1 - int(room.min())} or more."
            )
        stride = np.minimum(_MOST_STRIDE, room // 4)
        if self.stride is not None:
            stride = np.full_like(room, self.stride)
        is_long = lengths > room
        if (is_long & (stride >= room)).any() or (self.stride or 0) < 0:
            raise ConfigError(
                f"`stride` must be at least 0 and below the number of text tokens in a window "
                f"({int(room.min())}), but is {self.stride}. Lower `stride` or raise `max_length`."
            )
        step = np.maximum(room - stride, 1)
        windows = np.where(is_long, 1 - (room - lengths) // step, 1)
        rows = np.repeat(np.arange(len(lengths)), windows)  # (W,)
        starts = _counted(windows) * step[rows]
        ends = np.minimum(starts + room[rows], lengths[rows])
        is_first, is_last = starts == 0, np.append(rows[1:] != rows[:-1], True)[: len(rows)]
        middle = (np.roll(ends, 1) + starts) // 2  # of the overlap with the window before
        kept_from = np.where(is_first, 0, middle)
        kept_to = np.where(is_last, lengths[rows], np.roll(kept_from, -1))
        return rows, starts, ends - starts, np.stack([kept_from, kept_to], axis=1)

    def _types(self, pieces: Sequence["_Run | _Stretch"], sizes: Int64) -> Int32 | None:
        if not self.with_types:
            return None
        types = _laid_out(pieces, sizes, with_types=True)
        return types if types.any() else None


@dataclass(frozen=True)
class _Run:
    """The same tokens in every window."""

    ids: tuple[int, ...]
    type_ids: tuple[int, ...]

    def sizes(self, windows: int) -> Int64:
        return np.full(windows, len(self.ids), dtype=np.int64)

    def values(self, windows: int, *, with_types: bool) -> Int32:
        run = np.asarray(self.type_ids if with_types else self.ids, dtype=np.int32)
        return np.tile(run, windows)


@dataclass(frozen=True)
class _Stretch:
    """Neighbouring tokens out of a flat array, others in every window."""

    ids: Int32
    starts: Int64
    counts: Int64
    type_id: int = 0

    def typed(self, type_id: int) -> "_Stretch":
        return _Stretch(self.ids, self.starts, self.counts, type_id)

    def sizes(self, windows: int) -> Int64:
        return self.counts

    def values(self, windows: int, *, with_types: bool) -> Int32:
        if with_types:
            return np.full(int(self.counts.sum()), self.type_id, dtype=np.int32)
        values: Int32 = self.ids[np.repeat(self.starts, self.counts) + _counted(self.counts)]
        return values


def _laid_out(pieces: Iterable[_Run | _Stretch], sizes: Int64, *, with_types: bool) -> Int32:
    """Put the pieces of each window behind each other, (T,)."""
    places = _offsets(sizes.sum(0))[:-1] + np.cumsum(sizes, axis=0) - sizes  # (pieces, W)
    laid_out = np.empty(int(sizes.sum()), dtype=np.int32)
    for piece, starts, counts in zip(pieces, places, sizes, strict=True):
        at = np.repeat(starts, counts) + _counted(counts)
        laid_out[at] = piece.values(len(counts), with_types=with_types)
    return laid_out


def _spans(encodings: Sequence[NativeEncoding], total: int) -> Int32:
    numbers = chain.from_iterable(chain.from_iterable(encoding.offsets) for encoding in encodings)
    return np.fromiter(numbers, dtype=np.int32, count=2 * total).reshape(-1, 2)


def _counted(sizes: Int64) -> Int64:
    """Return 0, 1, ... up to each size, one after the other."""
    return np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _offsets(lengths: npt.NDArray[np.integer]) -> Int64:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
