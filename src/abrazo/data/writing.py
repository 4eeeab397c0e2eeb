"""Writing tables and rows to files, whole or not at all."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from abrazo.data.building import TableBuilder
from abrazo.data.readers.formats import FORMATS, format_of
from abrazo.errors import ConfigError, DataError, one_of

if TYPE_CHECKING:
    from abrazo.data.dataset import Dataset

_BATCH_ROWS = 1000


def write_table(
    rows: "Dataset | Iterable[Mapping[str, Any]]",
    destination: str | Path,
    *,
    format: str | None = None,
) -> None:
    """Write rows to a file, or to the standard output.

    Rows of `json` and `jsonl` are written as they come, each with its own keys; the other formats
    need one table. `text` writes the only column, or the one called `text`. In CSV and TSV, null
    becomes an empty cell, and lists and objects become JSON text.

    Args:
        rows: A dataset, or dicts.
        destination: The file, or `-`.
        format: A name of `abrazo.data.readers.formats.FORMATS`; by default the suffix says.

    Raises:
        DataError: A value cannot be written in that format, or the file cannot be written.
    """
    chosen = _format(destination, format)
    if chosen in ("json", "jsonl"):
        with _opened(destination) as stream:
            _write_json(rows, stream, is_lines=chosen == "jsonl")
    elif to_arrow := getattr(rows, "to_arrow", None):
        write_arrow(to_arrow(), destination, chosen)
    else:
        builder = TableBuilder(lambda row: f"row {row + 1}")
        builder.extend(rows)
        write_arrow(builder.finish(), destination, chosen)


def write_arrow(table: pa.Table, destination: str | Path, format: str | None = None) -> None:
    """Write an Arrow table to a file, or to the standard output; see `write_table`."""
    chosen = _format(destination, format)
    with _opened(destination) as stream:
        if chosen in ("json", "jsonl"):
            _write_json(_rows(table), stream, is_lines=chosen == "jsonl")
        elif chosen == "parquet":
            pq.write_table(table, stream)
        elif chosen == "arrow":
            with pa.ipc.new_file(stream, table.schema) as writer:
                writer.write_table(table)
        elif chosen == "text":
            _write_text(table, stream)
        else:
            mark = "\t" if chosen == "tsv" else ","
            options = pacsv.WriteOptions(delimiter=mark)
            pacsv.write_csv(_with_plain_cells(table), stream, write_options=options)


def require_plain_name(destination: str | Path) -> None:
    """Check that a name does not ask for what files are not written as.

    Raises:
        DataError: It asks for compression.
    """
    if str(destination).lower().endswith(".gz"):
        raise DataError(f"`{destination}`: files are written uncompressed; leave out `.gz`.")


def _format(destination: str | Path, format: str | None) -> str:
    if format is not None and format not in FORMATS:
        raise ConfigError(one_of("`format`", format, FORMATS))
    return format or ("jsonl" if str(destination) == "-" else format_of(destination))


@contextmanager
def _opened(destination: str | Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the destination's place only when all has been written."""
    if str(destination) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    require_plain_name(destination)
    path = Path(destination)
    is_special = path.exists() and not path.is_file()  # a pipe or device cannot be replaced
    partial = path if is_special else path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            yield stream
        if partial != path:
            partial.replace(path)
    except OSError as error:
        raise DataError(f"`{destination}` cannot be written: {error}") from error
    finally:
        if partial != path:
            partial.unlink(missing_ok=True)


def _write_json(rows: Iterable[Mapping[str, Any]], stream: IO[bytes], *, is_lines: bool) -> None:
    start, between, end = ("", "\n", "\n") if is_lines else ("[\n", ",\n", "\n]\n")
    stream.write(start.encode())
    number = 0
    for number, row in enumerate(rows, start=1):
        stream.write(((between if number > 1 else "") + _json_text(row, number)).encode())
    if number or not is_lines:
        stream.write(end.encode())


def _json_text(row: Mapping[str, Any], number: int) -> str:
    try:
        text = json.dumps(dict(row), ensure_ascii=False, allow_nan=False, default=json_value)
        text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"Row {number} cannot be written as JSON: {error}") from error
    return text


def json_value(value: object) -> object:
    """Return what JSON can hold of a value that it does not know."""
    if hasattr(value, "tolist"):  # NumPy and tensors
        return value.tolist()
    if hasattr(value, "isoformat"):  # dates and times
        return value.isoformat()
    raise TypeError(f"JSON has nothing for a {type(value).__name__}: {value!r:.60}")


def _write_text(table: pa.Table, stream: IO[bytes]) -> None:
    name = table.column_names[0] if table.num_columns == 1 else "text"
    if name not in table.column_names or not _is_text(table.schema.field(name).type):
        listed = ", ".join(f"`{column}`" for column in table.column_names)
        raise DataError(
            "A text file holds one column of text, the only one or `text`; the columns are "
            f"{listed}. Select one by `select_columns`."
        )
    for number, row in enumerate(_rows(table), start=1):
        text = row[name] or ""
        if "\n" in text or "\r" in text:
            raise DataError(
                f"Row {number} cannot be written as a line of text, as it holds a line break: "
                f"{text!r:.60}. Write JSON lines instead."
            )
        stream.write(text.encode("utf-8") + b"\n")


def _with_plain_cells(table: pa.Table) -> pa.Table:
    """Return the table with cells that CSV can hold; null becomes the empty text."""
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
            cells = [
                None if value is None else json.dumps(value, ensure_ascii=False, default=json_value)
                for value in column.to_pylist()
            ]
            column = pa.chunked_array([pa.array(cells, type=pa.string())])
        elif not _is_text(field.type) and not pa.types.is_null(field.type) and column.null_count:
            column = pc.cast(column, pa.string())
        if _is_text(column.type):
            column = pc.fill_null(column, "")  # else a row of one null would be a blank line
        columns.append(column)
    return pa.table(columns, names=table.column_names)


def _cell(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=json_value)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        yield from batch.to_pylist()
