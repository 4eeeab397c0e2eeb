"""Rows from the standard input and to the standard output, as they come."""

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from abrazo.data.readers.json import parse_json
from abrazo.data.writing import write_table
from abrazo.errors import DataError

Row = Mapping[str, Any]

INPUT_NAME = "standard input"
READ_AS_THEY_COME = ("jsonl", "text")
"""Formats whose rows can be read before the stream has ended."""
WRITTEN_AS_THEY_COME = ("jsonl", "text", "csv", "tsv")
"""Formats whose rows can be written before the last one is known."""

_PIECE = 2**20
_LONGEST_LINE = 2**24


def arriving_rows(
    stream: IO[bytes], *, is_text: bool = False, encoding: str | None = None
) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Yield the rows that have come so far, and wait for more; a fast writer gives long lists.

    Args:
        stream: Binary, with `read1`.
        is_text: Whether each line is a text, not a JSON object.
        encoding: The encoding; UTF-8 unless given.

    Yields:
        Rows, each with the number of its line.

    Raises:
        DataError: A line is no JSON object, too long, or not in this encoding.
    """
    first = 1
    for lines in _arriving_lines(stream):
        rows = []
        for number, line in enumerate(lines, start=first):
            if is_text:
                rows.append((number, {"text": _decoded(line, number, encoding)}))
            elif line.strip():
                rows.append((number, _object(_decoded(line, number, encoding), number)))
        if rows:
            yield rows
        first += len(lines)


def write_arriving(chunks: Iterable[Sequence[Row]], format: str) -> None:
    """Write lists of rows to the standard output, each as soon as it is there."""
    is_first = True
    mark = "\t" if format == "tsv" else ","
    for rows in chunks:
        if format in ("csv", "tsv"):
            sys.stdout.buffer.write(_delimited(rows, mark, has_header=is_first).encode())
            sys.stdout.buffer.flush()
        else:
            write_table(rows, "-", format=format)
        is_first = False


def _arriving_lines(stream: IO[bytes]) -> Iterator[list[bytes]]:
    rest = b""
    # `read1` returns what a pipe holds, while `read` would wait for a whole piece
    while piece := stream.read1(_PIECE):  # type: ignore[attr-defined]
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            raise DataError(f"{INPUT_NAME}: a line is longer than {_LONGEST_LINE:,} bytes.")
        if lines:
            yield lines
    if rest:
        yield [rest]


def _decoded(line: bytes, number: int, encoding: str | None) -> str:
    try:
        return line.removesuffix(b"\r").decode(encoding or "utf-8-sig")
    except (UnicodeError, LookupError) as error:
        raise DataError(f"{INPUT_NAME}, line {number}: {error}. Pass `--encoding`.") from error


def _object(line: str, number: int) -> dict[str, Any]:
    row = parse_json(INPUT_NAME, line.encode(), number)
    if not isinstance(row, dict):
        raise DataError(
            f"{INPUT_NAME}, line {number}: each line must be a JSON object, but this is "
            f"{line!r:.60}. For plain texts, pass `--input-format text`."
        )
    return row


def _delimited(rows: Sequence[Row], mark: str, *, has_header: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=mark, lineterminator="\n")
    if has_header:
        writer.writerow(rows[0])
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else value
