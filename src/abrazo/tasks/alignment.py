"""Characters, words and the tokenizer's pieces: which piece speaks for which word.

A unit is what gets one tag: a piece, or a word with all its pieces. What words are is said by the
row, or else found in the text: letters and digits that stand together are a word, and so is every
other visible character, each Chinese one too. A piece that holds several words makes them one unit.

Everything is computed for all rows of a call at once.

Shapes: R rows, N pieces of all rows, V visible pieces, U units, G spans.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from abrazo.metrics.tags import TagSpans
from abrazo.tasks.annotations import UNSPACED_PATTERN, AnnotatedText
from abrazo.tokenization.windows import EncodedWindows

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_SPACE, _LETTER, _MARK, _OTHER = range(4)


@dataclass(frozen=True)
class Units:
    """The units of some rows, one after the other."""

    places: Int64
    """(U, 2) the characters of each, counted in its row, without spaces around."""
    firsts: Int64
    """(U,) number of each unit's first piece among the pieces of all rows."""
    offsets: Int64
    """(R + 1,) where each row's units start, and at last U."""
    unit_of_piece: Int64
    """(N,) the unit of each piece among all; -1 for pieces of nothing but space."""


@dataclass(frozen=True)
class UnitSpans:
    """Spans of characters as spans of units."""

    spans: TagSpans
    """The spans, places being units of all rows; those without a unit are left out."""
    is_exact: Bool
    """(G,) whether each span begins where a unit begins and ends where one ends."""


class _Characters:
    """The characters of all rows as one array."""

    def __init__(self, texts: Sequence[str]) -> None:
        codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4")
        kinds = np.zeros(int(codes.max(initial=0)) + 1, np.int8)
        kinds[codes] = 1
        signs = kinds.nonzero()[0]  # each that there is
        kinds[signs] = [_kind(chr(sign)) for sign in signs.tolist()]
        self.kinds = kinds[codes]
        self.offsets = np.fromiter(accumulate(map(len, texts), initial=0), dtype=np.int64)
        is_visible = self.kinds != _SPACE
        visible = np.flatnonzero(is_visible)
        following = np.append(0, np.cumsum(is_visible))  # the first of `visible` from each place on
        padded = np.append(visible, len(codes))
        self.next_visible = padded[following]
        self.after_visible = np.append(0, visible + 1)[following]

    def trimmed(self, starts: Int64, ends: Int64) -> tuple[Int64, Int64]:
        """Return places without the spaces around them; equal where nothing is left."""
        starts = np.minimum(self.next_visible[starts], ends)
        return starts, np.maximum(self.after_visible[ends], starts)

    def words(self, rows: Sequence[AnnotatedText]) -> Int64:
        """Return the number of each character's word."""
        kinds = self.kinds
        last = np.append(np.int8(_SPACE), kinds[:-1])
        goes_on = (kinds == _MARK) | ((kinds == _LETTER) & np.isin(last, (_LETTER, _MARK)))
        begins = np.append(~goes_on, True)
        said = [row.words for row in rows if row.words is not None]
        if said:
            has_words = np.fromiter((row.words is not None for row in rows), np.bool_, len(rows))
            begins[:-1] &= ~np.repeat(has_words, np.diff(self.offsets))
            shifts = np.repeat(self.offsets[:-1][has_words], list(map(len, said)))
            # where a word begins, and the space after it, which is not part of it
            begins[np.concatenate(said) + shifts[:, None]] = True
        begins[self.offsets] = True
        return np.cumsum(begins[:-1])


def find_units(rows: Sequence[AnnotatedText], encoded: EncodedWindows, *, words: bool) -> Units:
    """Return the units of rows.

    Args:
        rows: The rows.
        encoded: Their pieces.
        words: Whether a unit is a word; else it is a piece. Pieces of one character, as byte-level
            vocabularies have them, are one unit either way.
    """
    characters = _Characters([row.text for row in rows])
    row_of_piece = np.repeat(np.arange(len(rows)), np.diff(encoded.text_offsets))
    shifts = characters.offsets[row_of_piece]
    starts, ends = characters.trimmed(*(encoded.spans.astype(np.int64) + shifts[:, None]).T)
    visible = np.flatnonzero(starts < ends)
    starts, ends, of_row = starts[visible], ends[visible], row_of_piece[visible]  # (V,)
    is_apart = starts[1:] >= np.maximum.accumulate(ends)[:-1]
    if words:
        word = characters.words(rows)
        is_apart &= word[starts[1:]] != word[ends[:-1] - 1]
    begins = np.append(True, is_apart | (of_row[1:] != of_row[:-1]))[: len(visible)]
    firsts = np.flatnonzero(begins)
    unit_of_piece = np.full(len(row_of_piece), -1, dtype=np.int64)
    unit_of_piece[visible] = np.cumsum(begins) - 1
    last_ends = np.maximum.reduceat(ends, firsts) if len(firsts) else ends
    row_of_unit = of_row[firsts]
    places = np.stack([starts[firsts], last_ends], axis=1)
    return Units(
        places - characters.offsets[row_of_unit][:, None],
        visible[firsts],
        np.searchsorted(row_of_unit, np.arange(len(rows) + 1)),
        unit_of_piece,
    )


def align_spans(rows: Sequence[AnnotatedText], units: Units) -> UnitSpans:
    """Return the spans of rows as spans of units.

    A unit belongs to the span that holds its middle character.
    """
    lengths = [len(row.text) for row in rows]
    offsets = np.fromiter(accumulate(lengths, initial=0), dtype=np.int64)
    spans = _marked(rows, offsets)
    span_of_character = np.full(int(offsets[-1]) + 1, -1, dtype=np.int64)
    sizes = spans[:, 1] - spans[:, 0]
    inside = np.repeat(spans[:, 0] - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
    span_of_character[inside] = np.repeat(np.arange(len(spans)), sizes)
    shifts = np.repeat(offsets[:-1], np.diff(units.offsets))
    places = units.places + shifts[:, None]
    span_of_unit = span_of_character[(places[:, 0] + places[:, 1] - 1) // 2]  # (U,)
    last, following = np.roll(span_of_unit, 1), np.roll(span_of_unit, -1)
    last[:1], following[-1:] = -1, -1
    starts = np.flatnonzero((span_of_unit >= 0) & (span_of_unit != last))
    ends = np.flatnonzero((span_of_unit >= 0) & (span_of_unit != following)) + 1
    found = span_of_unit[starts]
    is_exact = np.zeros(len(spans), dtype=np.bool_)
    is_exact[found] = (places[starts, 0] == spans[found, 0]) & (
        places[ends - 1, 1] == spans[found, 1]
    )
    return UnitSpans(TagSpans(starts, ends, spans[found, 2]), is_exact)


def count_cut_words(rows: Sequence[AnnotatedText]) -> tuple[int, int]:
    """Return how many spans begin or end inside a word, and how many spans there are."""
    characters = _Characters([row.text for row in rows])
    spans = _marked(rows, characters.offsets)
    words = characters.words(rows)
    after = np.append(words, 0)  # no word goes on after the last character
    last = np.append(0, words)
    begins_inside = last[spans[:, 0]] == words[spans[:, 0]]
    ends_inside = after[spans[:, 1]] == words[spans[:, 1] - 1]
    return int((begins_inside | ends_inside).sum()), len(spans)


def _marked(rows: Sequence[AnnotatedText], offsets: Int64) -> Int64:
    """Return the spans of all rows (G, 3), characters counted over all of them."""
    marked = [
        row.spans + np.asarray([offset, offset, 0])
        for row, offset in zip(rows, offsets, strict=False)
        if row.spans is not None
    ]
    return np.concatenate([np.empty((0, 3), dtype=np.int64), *marked])


def _kind(sign: str) -> int:
    """Return what a character is to words."""
    if sign.isspace():
        return _SPACE
    if unicodedata.category(sign)[0] == "M" or sign in "\u200c\u200d":
        return _MARK
    if sign.isalnum() and not UNSPACED_PATTERN.match(sign):
        return _LETTER
    return _OTHER
