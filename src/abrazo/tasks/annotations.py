"""Rows with marked spans, in all the forms they come in, read as a text and spans of characters.

A row is a text or a list of words, and what is marked is one of these:

    tokens: ["Ada", "lives"]    ner_tags: ["B-PER", "O"]           a tag for each word
    text: "Ada lives"           tags: "B-PER O"                    the same in strings
    text: "艾达住在京"            tags: ["B-PER", "I-PER", "O", ...]   a tag for each character
    text: "Ada lives"           entities: [{"label": "PER", "start": 0, "end": 3}]
    text: "Ada lives"           entities: [(0, 3, "PER")]          the same as tuples

Words become one text: with spaces between them, but none next to a character of a script that is
written without spaces. So data sets that split texts in different ways can be joined.

Shapes: W words, S spans.
"""

import re
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from abrazo.errors import DataError, did_you_mean
from abrazo.metrics.tags import Scheme, TagSet, find_spans, read_tag

Spans = npt.NDArray[np.int64]
JoinWords = Literal["auto", "space", "none"]
Overlaps = Literal["error", "longest"]

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u312f\u3190-\u9fff\uf900-\ufaff\uff00-\uffef"
    "\U00020000-\U0003ffff"
)
"""Ranges of characters written without spaces between words: Thai, Lao, Burmese, Khmer, Chinese and
Japanese with their punctuation."""

UNSPACED_PATTERN = re.compile(f"[{UNSPACED}]")
_WORD = re.compile(r"\S+")
_LABEL_KEYS = ("label", "type", "entity", "entity_group", "entity_type", "tag")
_START_KEYS = ("start", "start_offset", "start_char", "begin")
_END_KEYS = ("end", "end_offset", "end_char", "stop")
_TEXT_KEYS = ("text",)
_MOST_LISTED = 20


@dataclass(frozen=True, slots=True)
class AnnotatedText:
    """A row, whatever form it came in."""

    text: str
    """The text, words joined."""
    words: Spans | None
    """(W, 2) the characters of the words, where the row says what its words are."""
    spans: Spans | None
    """(S, 3) first character, character after the last, number of the type; in order, none
    overlapping. None where labels are not read."""


@dataclass(frozen=True)
class AnnotationReader:
    """Reads rows of one data set."""

    text_column: str
    """Column of the text, or of the words."""
    label_column: str
    """Column of tags or spans."""
    tag_set: TagSet
    """The model's tags; numbers in rows are theirs."""
    scheme: Scheme
    """Whether a tag without a letter is a span by itself."""
    join_words: JoinWords = "auto"
    """How words become a text."""
    overlaps: Overlaps = "error"
    """What becomes of spans that overlap."""
    _known: dict[str | int, tuple[int, int]] = field(default_factory=dict, repr=False)

    def read(self, row: Mapping[str, Any], *, with_labels: bool) -> AnnotatedText:
        """Read a row.

        Raises:
            DataError: A column is missing, or what it holds cannot be used; without the row's name.
        """
        value = _column(row, self.text_column)
        words: Spans | None = None
        if isinstance(value, str):
            text = value
        else:
            listed = _listed_words(value, self.text_column)
            text, words = join_words(listed, self.join_words)
        if not with_labels:
            return AnnotatedText(text, _words_to_keep(text, words), None)
        if not text.strip():
            raise DataError(f"`{self.text_column}` is empty. Remove or fill such rows.")
        labels = as_list(_column(row, self.label_column), self.label_column, text)
        if are_spans(labels):
            if words is not None:
                raise DataError(
                    f"`{self.label_column}` holds spans of characters, but `{self.text_column}` "
                    "holds words. Name the column of the text by `text_column=...`."
                )
            return AnnotatedText(text, None, self._checked_spans(labels, text))
        if not labels and words is None:
            return AnnotatedText(text, None, np.empty((0, 3), dtype=np.int64))
        units = words if words is not None else _units(text, len(labels), self)
        if len(units) != len(labels):
            raise DataError(
                f"`{self.label_column}` has {len(labels)} labels, but `{self.text_column}` has "
                f"{len(units)} words. Give each word one label."
            )
        return AnnotatedText(text, _words_to_keep(text, units), self._tagged(labels, units))

    def _tagged(self, tags: Sequence[Any], units: Spans) -> Spans:
        """Return the spans that one tag for each unit stands for."""
        try:
            read = [self._known[tag] for tag in tags]
        except (KeyError, TypeError):
            read = [self._read_tag(tag, place) for place, tag in enumerate(tags)]
        if not any(kind for kind, _ in read):
            return np.empty((0, 3), dtype=np.int64)
        is_there = units[:, 0] < units[:, 1]  # an empty word has no place in the text
        kinds, types = np.asarray(read, dtype=np.int64)[is_there].T
        found, units = find_spans(kinds, types), units[is_there]
        spans: Spans = np.stack(
            [units[found.starts, 0], units[found.ends - 1, 1], found.types], axis=1
        )
        return spans

    def _read_tag(self, tag: Any, place: int) -> tuple[int, int]:
        where = f"label {place + 1} in `{self.label_column}`"
        names = self.tag_set.names
        name = tag
        if isinstance(tag, int | np.integer) and not isinstance(tag, bool):
            if not 0 <= tag < len(names):
                raise DataError(
                    f"{where} is {tag}, but labels are numbered from 0 to {len(names) - 1}."
                )
            name = names[int(tag)]
        if not isinstance(name, str):
            raise DataError(
                f"{where} must be a text or a number, but is {tag!r:.80} ({type(tag).__name__})."
            )
        found = read_tag(name, self.tag_set.types, self.scheme)
        if found is None:
            raise DataError(f"{where} {_unknown(name, names)}")
        self._known[tag] = found
        return found

    def _checked_spans(self, marked: Sequence[Any], text: str) -> Spans:
        """Return spans in order, without spaces around them."""
        types = self.tag_set.types
        spans = []
        for place, item in enumerate(marked):
            where = f"span {place + 1} in `{self.label_column}`"
            label, start, end, said = read_span(item, where)
            if label not in types:
                raise DataError(f"{where}: label {_unknown(label, types)}")
            spans.append((*_checked_place(start, end, said, text, where), types.index(label)))
        ordered = sorted(spans)
        clash = [(a, b) for a, b in pairwise(ordered) if b[0] < a[1]]
        if clash and self.overlaps == "error":
            (start, end, _), (next_start, next_end, _) = clash[0]
            raise DataError(
                f'"{text[start:end]}" ({start} to {end}) and "{text[next_start:next_end]}" '
                f"({next_start} to {next_end}) in `{self.label_column}` overlap. Remove one, or "
                'keep the longest of such spans by `overlaps="longest"`.'
            )
        if clash:
            ordered = _longest(ordered)
        return np.asarray(ordered, dtype=np.int64).reshape(-1, 3)


def join_words(words: Sequence[str], how: JoinWords) -> tuple[str, Spans]:
    """Return the text of words, and each word's characters (W, 2)."""
    sizes = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
    separator = "" if how == "none" else " "
    text = separator.join(words)
    if how != "auto" or text.isascii() or not UNSPACED_PATTERN.search(text):
        ends = (sizes + len(separator)).cumsum() - len(separator)
        return text, _places(ends, sizes)
    parts = [words[0]]
    for last, word in pairwise(words):
        is_apart = (
            last
            and word
            and not (UNSPACED_PATTERN.match(last[-1]) or UNSPACED_PATTERN.match(word[0]))
        )
        parts.append(f" {word}" if is_apart else word)
    ends = np.fromiter(accumulate(map(len, parts)), dtype=np.int64, count=len(words))
    return "".join(parts), _places(ends, sizes)


def _places(ends: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> Spans:
    places = np.empty((len(ends), 2), dtype=np.int64)
    places[:, 0], places[:, 1] = ends - sizes, ends
    return places


def as_list(value: Any, column: str, text: Any) -> list[Any]:
    """Return what a column holds of a row's labels as a list, one entry a unit or a span.

    Args:
        value: What the column holds.
        column: Its name.
        text: The row's text; a string of as many letters has one for each character.

    Raises:
        DataError: It is no list.
    """
    if isinstance(value, str):
        is_letters = isinstance(text, str) and len(value) == len(text) > 1
        if is_letters and set(value) <= set("BIMELSUO"):
            return list(value)
        return value.split()
    if isinstance(value, Mapping) and all(map(_is_list, value.values())):
        return _turned(value, column)
    if not _is_list(value):
        raise DataError(f"`{column}` must be a list of labels or of spans, but is {value!r:.80}.")
    return list(value)


def are_spans(labels: Sequence[Any]) -> bool:
    """Tell whether a row's labels are spans; else they are tags."""
    return bool(len(labels)) and (isinstance(labels[0], Mapping) or _is_list(labels[0]))


def _turned(columns: Mapping[str, Any], column: str) -> list[Any]:
    """Return columns as a list of mappings; `datasets` gives lists of mappings as columns."""
    if len(set(map(len, columns.values()))) > 1:
        sizes = ", ".join(f"{len(values)} `{name}`" for name, values in columns.items())
        raise DataError(f"`{column}` holds columns of different lengths: {sizes}.")
    return [dict(zip(columns, each, strict=True)) for each in zip(*columns.values(), strict=True)]


def read_span(item: Any, where: str) -> tuple[str, int, int, str | None]:
    """Return label, start and end of a span, and its text where it is given.

    Raises:
        DataError: A part is missing or of the wrong kind.
    """
    said = None
    if isinstance(item, Mapping):
        label, start, end = (_first(item, k) for k in (_LABEL_KEYS, _START_KEYS, _END_KEYS))
        said = _first(item, _TEXT_KEYS)
    elif _is_list(item) and len(item) == 3:
        label, start, end = sorted(item, key=lambda part: not isinstance(part, str))
    else:
        label = start = end = None
    if not isinstance(label, str) or not _is_whole(start) or not _is_whole(end):
        raise DataError(
            f"{where} must have a `label` (a text), a `start` and an `end` (numbers of "
            f"characters), but is {item!r:.120}."
        )
    return label, int(start), int(end), said if isinstance(said, str) else None


def _checked_place(
    start: int, end: int, said: str | None, text: str, where: str
) -> tuple[int, int]:
    """Return start and end without spaces around the span."""
    if not 0 <= start < end <= len(text):
        rule = "must end after it starts" if start >= end else f"must lie within 0 to {len(text)}"
        raise DataError(
            f"{where} {rule}, but is {start} to {end}. {_counted_otherwise(start, end, said, text)}"
        )
    inside = text[start:end]
    if said is not None and said.strip() != inside.strip():
        raise DataError(
            f'{where} is "{inside:.60}" at {start} to {end}, but says it is "{said:.60}". '
            f"{_counted_otherwise(start, end, said, text)}"
        )
    if not inside.strip():
        raise DataError(f"{where} holds nothing but spaces at {start} to {end}. Remove it.")
    return start + len(inside) - len(inside.lstrip()), end - len(inside) + len(inside.rstrip())


def _counted_otherwise(start: int, end: int, said: str | None, text: str) -> str:
    """Say how to mend a span that is not where it should be."""
    for name, encoding, width in (("UTF-16 units", "utf-16-le", 2), ("bytes", "utf-8", 1)):
        found = text.encode(encoding, "surrogatepass")[start * width : end * width].decode(
            encoding, "replace"
        )
        if said is not None and said == found:
            return f"It seems to count {name}; `start` and `end` must count characters."
    return "`start` and `end` count characters from 0, and `end` is the one after the last."


def _units(text: str, count: int, reader: AnnotationReader) -> Spans:
    """Return the characters of each unit that has a tag: characters, or words between spaces."""
    words = [match.span() for match in _WORD.finditer(text)]
    characters = [(place, place + 1) for place in range(len(text))]
    visible = [(place, place + 1) for place, sign in enumerate(text) if not sign.isspace()]
    for units in (characters, visible, words):
        if len(units) == count:
            return np.asarray(units, dtype=np.int64).reshape(-1, 2)
    raise DataError(
        f"`{reader.label_column}` has {count} labels, but `{reader.text_column}` has {len(text)} "
        f"characters ({len(visible)} without spaces) and {len(words)} words. Give each character "
        "one label, or each word."
    )


def _words_to_keep(text: str, words: Spans | None) -> Spans | None:
    """Return words unless they are single characters, which say nothing about words."""
    if words is None or (len(words) and (words[:, 1] - words[:, 0]).max() <= 1):
        return None
    return words


def _listed_words(value: Any, column: str) -> list[str]:
    if not _is_list(value):
        kind = "missing" if _is_missing(value) else f"of type {type(value).__name__}"
        raise DataError(
            f"`{column}` must be a text or a list of words, but is {kind}. Remove or fill such "
            "rows."
        )
    words = list(value)
    if set(map(type, words)) <= {str}:
        return words
    for place, word in enumerate(words):
        if not isinstance(word, str):
            raise DataError(
                f"word {place + 1} in `{column}` must be a text, but is {word!r:.80} "
                f"({type(word).__name__})."
            )
    return words


def _longest(spans: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return spans of which none overlap, longer ones going before shorter ones."""
    kept: list[tuple[int, int, int]] = []
    for span in sorted(spans, key=lambda span: (span[0] - span[1], span)):
        place = bisect(kept, span)
        is_after = place == 0 or kept[place - 1][1] <= span[0]
        if is_after and (place == len(kept) or span[1] <= kept[place][0]):
            kept.insert(place, span)
    return kept


def _column(row: Mapping[str, Any], column: str) -> Any:
    if column not in row:
        there = ", ".join(f"`{name}`" for name in row)
        raise DataError(f"there is no column `{column}`, only {there}.")
    if _is_missing(row[column]):
        raise DataError(f"`{column}` is missing. Remove or fill such rows.")
    return row[column]


def _unknown(name: str, names: Sequence[str]) -> str:
    listed = ", ".join(names[:_MOST_LISTED]) + ", ..." * (len(names) > _MOST_LISTED)
    return f'"{name}" is not one of the model\'s labels ({listed}).{did_you_mean(name, names)}'


def _first(item: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((item[key] for key in keys if key in item), None)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)
