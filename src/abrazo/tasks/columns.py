"""Finding the columns a task reads, by the names people give them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np

from abrazo.errors import DataError, did_you_mean


@overload
def find_column(
    columns: Sequence[str],
    given: str | None,
    usual: Sequence[str],
    purpose: str,
    *,
    is_optional: Literal[False] = False,
) -> str: ...


@overload
def find_column(
    columns: Sequence[str],
    given: str | None,
    usual: Sequence[str],
    purpose: str,
    *,
    is_optional: Literal[True],
) -> str | None: ...


def find_column(
    columns: Sequence[str],
    given: str | None,
    usual: Sequence[str],
    purpose: str,
    *,
    is_optional: bool = False,
) -> str | None:
    """Return the column that holds what is looked for.

    Args:
        columns: The columns there are.
        given: What the user named, taken as it is.
        usual: Names to look for otherwise, the most usual first.
        purpose: What the column holds, for the message.
        is_optional: Whether there may be none.

    Raises:
        DataError: The named column is not there, or none of the usual ones is.
    """
    there = ", ".join(f"`{name}`" for name in columns)
    if given is not None:
        if given not in columns:
            hint = did_you_mean(given, columns)
            raise DataError(f"There is no column `{given}` for the {purpose}, only {there}.{hint}")
        return given
    for name in usual:
        if name in columns:
            return name
    if is_optional:
        return None
    option = f"{purpose.split()[-1]}_column"
    raise DataError(
        f"No column for the {purpose} was found among {there}. Name it with `{option}=...`; "
        f"these names are found by themselves: {', '.join(usual)}."
    )


def text_of(
    row: Mapping[str, Any],
    column: str,
    number: int,
    origin: Callable[[int], str],
    *,
    may_be_empty: bool = True,
) -> str:
    """Return the text in a column of a row.

    Raises:
        DataError: There is no such column, or what is in it is no text; the row is named.
    """
    if column not in row:
        there = ", ".join(f"`{name}`" for name in row) or "no column at all"
        raise DataError(f"{origin(number)}: there is no column `{column}`, only {there}.")
    text = row[column]
    if not isinstance(text, str):
        is_missing = text is None or text != text  # NaN alone differs from itself
        kind = "missing" if is_missing else f"of type {type(text).__name__}"
        raise DataError(
            f"{origin(number)}: `{column}` must be a text, but is {kind}. Remove or fill such rows."
        )
    if not may_be_empty and not text.strip():
        raise DataError(f"{origin(number)}: `{column}` is empty. Remove or fill such rows.")
    require_unicode(text, column, number, origin)
    return text


def texts_of(
    row: Mapping[str, Any], column: str, number: int, origin: Callable[[int], str]
) -> list[str]:
    """Return the texts in a column of a row: a list of them, or a single one.

    Raises:
        DataError: There is none, one is empty, or what is there is no text; the row is named.
    """
    given = row[column]
    texts = given if isinstance(given, list | tuple | np.ndarray) else [given]
    if not len(texts):
        raise DataError(
            f"{origin(number)}: `{column}` must be a list of texts, but is empty. Remove or fill "
            "such rows."
        )
    return [text_of({column: text}, column, number, origin, may_be_empty=False) for text in texts]


def require_unicode(text: str, column: str, number: int, origin: Callable[[int], str]) -> None:
    """Check that a text or a label is Unicode, which JSON with half a character is not.

    Raises:
        DataError: It holds half a surrogate pair; the row is named.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{origin(number)}: `{column}` holds half a surrogate pair at character {error.start}, "
            'which is no Unicode. Replace it, as by `text.encode("utf-8", "replace").decode()`.'
        ) from error
