"""What a data set's marks mean, found by looking at its rows: columns, tags, scheme, units."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from abrazo.data.rows import RowSource
from abrazo.errors import DataError
from abrazo.metrics.tags import MixedTagsError, Scheme, TagSet
from abrazo.tasks.alignment import count_cut_words
from abrazo.tasks.annotations import (
    UNSPACED_PATTERN,
    AnnotatedText,
    AnnotationReader,
    JoinWords,
    Overlaps,
    are_spans,
    as_list,
    read_span,
)
from abrazo.tasks.columns import find_column, require_unicode

WORD_COLUMNS = ("tokens", "words", "text", "sentence", "content", "message")
TEXT_COLUMNS = ("text", "sentence", "content", "message", "tokens", "words")
LABEL_COLUMNS = (
    *("ner_tags", "tags", "slot_tags", "slots", "entities", "spans", "ner"),
    *("pos_tags", "upos", "pos", "labels", "label"),
)

_SCANNED_AT_ONCE = 1_000
_MOST_READ = 10_000
_MANY_CUTS = 0.005

logger = logging.getLogger("abrazo")


@dataclass(frozen=True)
class Survey:
    """What was found."""

    text_column: str
    label_column: str
    tag_set: TagSet
    scheme: Scheme
    join_words: JoinWords
    marks_words: bool
    """Whether spans begin and end where words do."""


def read_rows(
    reader: AnnotationReader,
    rows: Sequence[Mapping[str, Any]],
    numbers: Sequence[int],
    origin: Callable[[int], str],
    *,
    with_labels: bool,
) -> list[AnnotatedText]:
    """Read rows; a `DataError` names the one that cannot be used."""
    read = []
    for row, number in zip(rows, numbers, strict=True):
        try:
            read.append(reader.read(row, with_labels=with_labels))
        except DataError as error:
            raise DataError(f"{origin(number)}: {error}") from error
    return read


def survey_rows(
    rows: RowSource,
    *,
    text_column: str | None,
    label_column: str | None,
    labels: Sequence[str] | None,
    scheme: Scheme | None,
    join_words: JoinWords | None,
    overlaps: Overlaps,
) -> Survey:
    """Look at training rows and settle what is not given.

    Raises:
        DataError: A row cannot be used, nothing is marked, or tags are numbers without names.
    """
    columns = rows.column_names
    marks_in = find_column(columns, label_column, LABEL_COLUMNS, "label")
    some_text = find_column(columns, text_column, TEXT_COLUMNS, "text")
    first_rows, has_spans, has_numbers = _marks(rows, marks_in, some_text)
    text_in = some_text if has_spans else find_column(columns, text_column, WORD_COLUMNS, "text")
    if has_numbers and labels is None:
        raise DataError(
            f"The labels in `{marks_in}` are numbers. Name them by `labels=[...]`, in the order of "
            'their numbers, as in `labels=["O", "B-PER", "I-PER"]`.'
        )
    try:
        chosen, tag_set = _tag_set(list(first_rows), labels, scheme, has_spans=has_spans)
    except MixedTagsError as error:
        where = (
            rows.origin(first_rows[error.names[0]]) if error.names[0] in first_rows else "labels"
        )
        raise DataError(f"{where}: {error}") from error
    if not tag_set.types:
        raise DataError(
            f"No row has a label in `{marks_in}` other than `O`, so there is nothing to learn. "
            "Name the right column by `label_column=...`."
        )
    joined = join_words or _joining(rows, text_in)
    reader = AnnotationReader(text_in, marks_in, tag_set, chosen, joined, overlaps)
    num_cut = num_spans = 0
    for numbers, chunk in _chunks(rows, _MOST_READ):
        read = read_rows(reader, chunk, numbers, rows.origin, with_labels=True)
        cut, there = count_cut_words(read)
        num_cut, num_spans = num_cut + cut, num_spans + there
    marks_words = num_cut <= _MANY_CUTS * num_spans
    if num_cut:
        logger.info(
            "%d of %d spans begin or end inside a word, so each %s gets a tag.",
            *(num_cut, num_spans, "word" if marks_words else "piece of a word"),
        )
    return Survey(text_in, marks_in, tag_set, chosen, joined, marks_words)


def _marks(rows: RowSource, column: str, text_column: str) -> tuple[dict[str, int], bool, bool]:
    """Return each tag or type with its first row, and whether marks are spans, and numbers."""
    first_rows: dict[str, int] = {}
    has_spans = has_numbers = False
    for numbers, chunk in _chunks(rows, len(rows)):
        for number, row in zip(numbers, chunk, strict=True):
            if row.get(column) is None:
                continue  # told when the row is read
            try:
                marks = as_list(row[column], column, row.get(text_column))
                if are_spans(marks):
                    has_spans = True
                    marks = [read_span(mark, f"a span in `{column}`")[0] for mark in marks]
            except DataError as error:
                raise DataError(f"{rows.origin(number)}: {error}") from error
            names = {mark for mark in marks if isinstance(mark, str)}
            has_numbers |= not names and bool(marks)
            for name in names.difference(first_rows):
                require_unicode(name, column, number, rows.origin)
                first_rows[name] = number
    return first_rows, has_spans, has_numbers


def _tag_set(
    names: Sequence[str],
    labels: Sequence[str] | None,
    scheme: Scheme | None,
    *,
    has_spans: bool,
) -> tuple[Scheme, TagSet]:
    """Return the scheme and the head's tags.

    Raises:
        MixedTagsError: Some tags have a letter in front, others have none.
    """
    if labels is not None:
        given = TagSet.of_names(labels)
        if not given.is_plain:
            return ("BIOES" if given.has_end else "BIO"), given.completed()
        is_alone = not has_spans and set(names) <= set(labels)
    elif has_spans:
        given, is_alone = TagSet.of_types(names, "tags"), False
    else:
        given = TagSet.of_names(names)
        is_alone = given.is_plain
    chosen: Scheme = scheme or ("tags" if is_alone else "BIO")
    types = given.types if labels is not None else sorted(given.types)
    return chosen, TagSet.of_types(types, chosen)


def _joining(rows: RowSource, column: str) -> JoinWords:
    """Tell whether words are the characters of a script without spaces, Latin ones among them."""
    numbers = range(min(_SCANNED_AT_ONCE, len(rows)))
    words = [
        word
        for row in rows.rows(numbers)
        if isinstance(found := row.get(column), Sequence | np.ndarray)
        and not isinstance(found, str)
        for word in found
        if isinstance(word, str)
    ]
    is_characters = all(len(word) <= 1 for word in words)
    return "none" if is_characters and any(map(UNSPACED_PATTERN.match, words)) else "auto"


def _chunks(rows: RowSource, most: int) -> Iterator[tuple[range, list[dict[str, Any]]]]:
    """Yield the first rows, some at a time, with their numbers."""
    for start in range(0, min(most, len(rows)), _SCANNED_AT_ONCE):
        numbers = range(start, min(start + _SCANNED_AT_ONCE, most, len(rows)))
        yield numbers, rows.rows(numbers)
