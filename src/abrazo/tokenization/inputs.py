"""Texts as callers give them, brought into one form and checked, every bad row named."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from abrazo.errors import TokenizerError

Text = str | Sequence[str]
"""A text, or a text split into words."""
_LISTED = 5
_LISTS = ("to_pylist", "to_list", "tolist")
"""How columns of pyarrow, of polars and pandas, and arrays of numpy become lists."""


@dataclass(frozen=True)
class Texts:
    """The rows of one call."""

    first: list[str] | list[list[str]]
    second: list[str] | list[list[str]] | None
    is_batch: bool


def read_texts(text: object, pair: object, *, words: bool) -> Texts:
    """Bring what a caller gave into rows.

    Args:
        text: A text, a list of texts, or a list of pairs of texts; with `words`, a text is a list
            of words.
        pair: The second text of the row, or one for each row; None when there is none.
        words: Whether texts are given as lists of words.

    Raises:
        TokenizerError: a row is no text, rows and pairs differ in number, or some rows are pairs
            and some are not.
    """
    if words:
        return _read_words(text, pair)
    if isinstance(text, str) or not is_listing(text):
        _check(([text], "text"), ([] if pair is None else [pair], "text_pair"))
        second = None if pair is None else [str(pair)]
        return Texts([str(text)], second, is_batch=False)
    rows = as_list(text)
    if pair is not None:
        pairs = _as_pairs(pair, len(rows))
        _check((rows, "text"), (pairs, "text_pair"))
        return Texts(rows, pairs, is_batch=True)
    if rows and _is_pair(rows[0]):
        return _split_pairs(rows)
    _check((rows, "text"))
    return Texts(rows, None, is_batch=True)


def require_texts(texts: Sequence[str], name: str) -> list[str]:
    """Return `texts` as a list; a `TokenizerError` names every row that is no string."""
    if isinstance(texts, str) or not is_listing(texts):
        raise TokenizerError(f"`{name}` must be a list of strings, but is {_named(texts)}.")
    rows = as_list(texts)
    _check((rows, name))
    return rows


def is_listing(value: object) -> bool:
    """Tell whether a value holds several: a list, a column of a table, an array."""
    if isinstance(value, (str, bytes, bytearray)):
        return False
    return isinstance(value, Sequence) or any(hasattr(value, name) for name in _LISTS)


def as_list(value: object) -> list[Any]:
    """Return what `is_listing` as a list."""
    if isinstance(value, (list, tuple)):
        return list(value)
    for method in _LISTS:
        if hasattr(value, method):
            listed = getattr(value, method)()
            return listed if isinstance(listed, list) else [listed]
    assert isinstance(value, Sequence)
    return list(value)


def _as_pairs(pair: object, rows: int) -> list[str]:
    if not is_listing(pair):
        raise TokenizerError(
            f"`text_pair` must be a list with one text for each of the {rows} rows of `text`, "
            f"but is {_named(pair)}."
        )
    pairs = as_list(pair)
    if len(pairs) != rows:
        raise TokenizerError(f"`text` has {rows} rows, but `text_pair` has {len(pairs)}.")
    return pairs


def _is_pair(row: object) -> bool:
    return isinstance(row, (list, tuple)) and len(row) == 2


def _split_pairs(rows: Sequence[object]) -> Texts:
    for number, row in enumerate(rows):
        if not _is_pair(row):
            raise TokenizerError(
                f"Row {number}: row 0 is a pair of texts, so each row must be one, but this is "
                f"{_named(row)}. For texts split into words pass `is_split_into_words=True`."
            )
    first = [row[0] for row in rows]  # type: ignore[index]
    second = [row[1] for row in rows]  # type: ignore[index]
    _check((first, "text"), (second, "text_pair"))
    return Texts(first, second, is_batch=True)


def _read_words(text: object, pair: object) -> Texts:
    if not is_listing(text):
        raise TokenizerError(
            "With `is_split_into_words=True` a text is a list of words, but it is "
            f"{_named(text)}. Split it, or leave the option out."
        )
    rows: list[object] = list(as_list(text))
    if not rows or not is_listing(rows[0]):
        return Texts(
            [_word_row(0, rows)], None if pair is None else [_word_row(0, pair)], is_batch=False
        )
    if pair is None and all(_is_pair(row) and is_listing(row[0]) for row in rows):  # type: ignore[index]
        pair = [row[1] for row in rows]  # type: ignore[index]
        rows = [row[0] for row in rows]  # type: ignore[index]
    first = [_word_row(number, row) for number, row in enumerate(rows)]
    if pair is None:
        return Texts(first, None, is_batch=True)
    pairs = _as_pairs(pair, len(rows))
    second = [_word_row(number, row) for number, row in enumerate(pairs)]
    return Texts(first, second, is_batch=True)


def _word_row(number: int, row: object) -> list[str]:
    if not is_listing(row):
        raise TokenizerError(f"Row {number}: must be a list of words, but is {_named(row)}.")
    words = as_list(row)
    for place, word in enumerate(words):
        if not isinstance(word, str):
            raise TokenizerError(
                f"Row {number}, word {place}: must be a string, but is {_named(word)}."
            )
    return words


def _check(*columns: tuple[Sequence[object], str]) -> None:
    problems = [
        f"Row {row} of `{name}` must be a string, but is {_named(value)}.{_remedy(value)}"
        for values, name in columns
        for row, value in enumerate(values)
        if not isinstance(value, str)
    ]
    if problems:
        more = len(problems) - _LISTED
        listed = problems[:_LISTED] + ([f"... and {more} more rows."] if more > 0 else [])
        raise TokenizerError("\n".join(listed))


def _named(value: object) -> str:
    if value is None:
        return "None"
    text = repr(value)
    return f"{text if len(text) <= 40 else text[:37] + '...'} ({type(value).__name__})"


def _remedy(value: object) -> str:
    if value is None or (isinstance(value, (float, np.floating)) and np.isnan(value)):
        return " Drop rows without a text, or give an empty string."
    if isinstance(value, (bytes, bytearray)):
        return ' Decode it first, as in `text.decode("utf-8")`.'
    if isinstance(value, (list, tuple)):
        return " For texts split into words pass `is_split_into_words=True`."
    return " Convert it with `str(...)` if it is meant as text."
