"""JSON files: a list of objects, objects on lines, or one object that holds the list.

Python's own parser reads them: Arrow's ends the whole process on text that nests too deep.
"""

import json
import re
from typing import Any

import numpy as np
import pyarrow as pa

from abrazo.data.building import TableBuilder
from abrazo.data.features import MAX_DEPTH
from abrazo.data.readers.source import Source
from abrazo.data.readers.text import utf8_bytes
from abrazo.errors import DataError, did_you_mean

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_OPENING, _CLOSING = b"[{", b"]}"


def read_json(
    source: Source, encoding: str | None, *, field: str | None = None, is_lines: bool = False
) -> pa.Table:
    """Return the objects of a JSON file as rows.

    Args:
        source: The file.
        encoding: Its encoding; by default UTF-8, or what its byte order mark says.
        field: The key of the list, when the file is one object. Without it, the only key that
            holds a list of objects; an object without such a key is a row by itself.
        is_lines: Whether every line is an object; else the text itself shows what it is.

    Raises:
        DataError: The text is not JSON, nests too deep, or is not rows; it names line or row.
    """
    data = utf8_bytes(source, encoding)
    builder = TableBuilder(lambda row: f"{source.name}, row {row + 1}")
    if is_lines or (field is None and _has_object_lines(data)):
        _add_lines(source.name, data, builder)
    else:
        builder.extend(_rows_of(source.name, parse_json(source.name, data, None), field))
    if not len(builder):
        raise DataError(f"{source.name}: the file holds no rows.")
    return builder.finish()


def _has_object_lines(data: bytes) -> bool:
    """Whether the first line is an object by itself, and more follows."""
    text = data.lstrip()
    first, _, rest = text.partition(b"\n")
    first = first.strip()
    return first.startswith(b"{") and first.endswith(b"}") and rest.lstrip().startswith(b"{")


def _add_lines(name: str, data: bytes, builder: TableBuilder) -> None:
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            builder.add(parse_json(name, line, number))


def _rows_of(name: str, document: Any, field: str | None) -> list[Any]:
    """Return the list of rows that a whole document holds."""
    if isinstance(document, list) and field is None:
        return document
    if not isinstance(document, dict):
        wanted = "an object with a key" if field else "a list of objects, or object lines"
        raise DataError(f"{name}: the file must hold {wanted}, but holds {document!r:.40}.")
    if field is not None:
        if not isinstance(document.get(field), list):
            raise DataError(
                f"{name}: `field` must name a key that holds a list, but is `{field}`."
                f"{did_you_mean(field, document)}"
            )
        return list(document[field])
    lists = [key for key, value in document.items() if _is_list_of_objects(value)]
    if len(lists) > 1:
        listed = ", ".join(f"`{key}`" for key in lists)
        raise DataError(f"{name}: several keys hold lists: {listed}. Say which by `field`.")
    return list(document[lists[0]]) if lists else [document]


def _is_list_of_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def parse_json(name: str, data: bytes, line: int | None) -> Any:
    """Parse a document, or one line of a file.

    Args:
        name: The file, for messages.
        data: The text in UTF-8.
        line: The number of the line, if it is one.

    Raises:
        DataError: It is not JSON, nests too deep, or has a key twice; the place is named.
    """
    place = name if line is None else f"{name}, line {line}"
    if _depth(data) > MAX_DEPTH:
        raise DataError(f"{place}: lists and objects nest deeper than {MAX_DEPTH} levels.")
    try:
        return json.loads(data, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        if line is None:
            place = f"{name}, line {error.lineno}"
        raise DataError(f"{place}, column {error.colno}: this is not JSON: {error.msg}.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: {error}") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        double = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key `{double}` occurs twice in an object.")
    return row


def _depth(data: bytes) -> int:
    """Return how deep brackets nest, or any number up to the limit when there are few."""
    if sum(data.count(bracket) for bracket in (b"[", b"{")) <= MAX_DEPTH:
        return 0
    marks = np.frombuffer(_STRING.sub(b"", data), dtype=np.uint8)
    steps = np.isin(marks, list(_OPENING)).astype(np.int8)
    steps -= np.isin(marks, list(_CLOSING)).astype(np.int8)
    return int(np.cumsum(steps[steps != 0], dtype=np.int64).max(initial=0))
