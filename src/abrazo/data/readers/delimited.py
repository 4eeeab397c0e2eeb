r"""CSV and TSV files.

The rules, chosen so that a file reads the same on every day:

- The first line that is not blank names the columns. Blank lines are skipped. Cells may stand in
  double quotes, where `""` is a quote and line breaks are text.
- A column becomes whole numbers (int64) when every cell is one as it is usually written: `0`, `17`,
  `-3`. Not `007`, `+3`, `1,000`, nor anything above 18 digits: such columns stay text, unchanged.
- A column becomes numbers (float64) when every cell is one, such as `0.5`, `-1`, `1e-5`.
- An empty cell is null in a column of numbers, and the empty text in a column of text.
- All else is text, unchanged: `NA`, `null`, `nan`, `None`, `true`, dates.
- Files that are read together, splits too, get one type for each column.
- Without `delimiter`, a header of one column that holds semicolons or tabs is taken to be delimited
  by these, and a warning is logged.
"""

import csv
import io
import logging
import time
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from abrazo.data.features import check_unique_names
from abrazo.data.readers.source import Source
from abrazo.data.readers.text import utf8_bytes
from abrazo.errors import ConfigError, DataError

_WHOLE_NUMBER = r"^(0|-?[1-9][0-9]{0,17})$"
_NUMBER = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?([eE][-+]?[0-9]{1,2})?$"
_SAMPLED_CELLS = 1000
_MAX_COLUMNS = 10_000
_BLOCK = 2**23
_MOST_WAITS, _WAIT_SECONDS = 500, 1e-3

_log = logging.getLogger("abrazo")


def read_delimited(
    source: Source, encoding: str | None, *, usual: str, delimiter: str | None = None
) -> pa.Table:
    """Return a CSV or TSV file as columns of text.

    Args:
        source: The file.
        encoding: Its encoding; by default UTF-8, or what its byte order mark says.
        usual: The delimiter that the format has by itself.
        delimiter: The delimiter to use instead.

    Raises:
        DataError: A row has too few or too many cells, a quote is never closed, a column occurs
            twice, or there are no rows.
    """
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ConfigError(f"`delimiter` must be one character, such as `;`, but is {delimiter!r}.")
    data = utf8_bytes(source, encoding)
    mark = delimiter or _delimiter(source, data, usual)
    header = _first_record(source, data, mark)
    if len(header) > _MAX_COLUMNS:
        raise DataError(f"{source.name}: {len(header):,} columns are too many for a table.")
    table = _parse(source, data, mark, len(header))
    if data.count(b'"') % 2:
        _check_quotes_closed(source, data, mark, table)
    names = _column_names(header)
    check_unique_names(names, source.name)
    if table.num_rows < 2:
        listed = ", ".join(f"`{name}`" for name in names)
        raise DataError(f"{source.name}: there is a header ({listed}), but no rows below it.")
    return table.slice(1).rename_columns(names)


def infer_types(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """Give the text columns of tables their types, one type for a name over all tables."""
    columns: dict[str, list[pa.ChunkedArray]] = {}
    for table in tables:
        for name in table.column_names:
            columns.setdefault(name, []).append(table.column(name))
    types = {name: _inferred_type(parts) for name, parts in columns.items()}
    return [
        pa.table(
            {name: _typed(table.column(name), types[name]) for name in table.column_names},
        )
        for table in tables
    ]


def _delimiter(source: Source, data: bytes, usual: str) -> str:
    """Return the usual delimiter, unless the header has none of it but of another."""
    if len(_first_record(source, data, usual)) > 1:
        return usual
    counts = {mark: len(_first_record(source, data, mark)) for mark in (";", "\t", ",")}
    best = max(counts, key=lambda mark: counts[mark])
    if counts[best] == 1:
        return usual
    _log.warning("%s: cells are delimited by %r, not by %r; read so.", source.name, best, usual)
    return best


def _first_record(source: Source, data: bytes, mark: str) -> list[str]:
    """Return the cells of the first line that is not blank."""
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="")
    try:
        return next((cells for cells in csv.reader(lines, delimiter=mark) if cells), [])
    except csv.Error as error:
        raise DataError(f"{source.name}: the header cannot be read: {error}.") from error


def _column_names(header: list[str]) -> list[str]:
    """Return the header's names; one that is empty, as above a written index, gets a number."""
    return [name or f"Unnamed: {place}" for place, name in enumerate(header)]


def _parse(source: Source, data: bytes, mark: str, num_columns: int) -> pa.Table:
    """Return all records, the header too, as columns of text."""
    try:
        return _parse_blocks(data, mark, num_columns, block_size=_BLOCK)
    except pa.ArrowInvalid as error:
        if "straddl" not in str(error):
            raise _bad_row(source, data, mark, num_columns, error) from error
    try:  # some row is longer than a block
        return _parse_blocks(data, mark, num_columns, block_size=min(len(data) + 1, 2**31 - 1))
    except pa.ArrowInvalid as error:
        raise _bad_row(source, data, mark, num_columns, error) from error


def _parse_blocks(
    data: bytes,
    mark: str,
    num_columns: int,
    *,
    block_size: int,
    bad_rows: list[pacsv.InvalidRow] | None = None,
) -> pa.Table:
    """Parse; with `bad_rows`, slowly, to note the first row that has a wrong number of cells."""

    def note(row: pacsv.InvalidRow) -> str:
        if bad_rows is not None:
            bad_rows.append(row)
        return "error"

    names = [f"f{place}" for place in range(num_columns)]
    view = memoryview(data)
    try:
        return pacsv.read_csv(
            pa.BufferReader(view),
            read_options=pacsv.ReadOptions(
                autogenerate_column_names=True, block_size=block_size, use_threads=bad_rows is None
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=mark,
                newlines_in_values=b'"' in data,
                invalid_row_handler=None if bad_rows is None else note,
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
    finally:
        _wait_until_unused(view)


def _wait_until_unused(view: memoryview) -> None:
    """Wait until Arrow's threads have let go of the bytes.

    One that does so while Python ends aborts the process: github.com/apache/arrow/issues/36389.
    """
    for _ in range(_MOST_WAITS):
        try:
            return view.release()
        except BufferError:
            time.sleep(_WAIT_SECONDS)


def _bad_row(
    source: Source, data: bytes, mark: str, num_columns: int, error: Exception
) -> DataError:
    """Return the error that names the first row with a wrong number of cells."""
    bad_rows: list[pacsv.InvalidRow] = []
    block_size = min(len(data) + 1, 2**31 - 1)
    try:
        _parse_blocks(data, mark, num_columns, block_size=block_size, bad_rows=bad_rows)
    except pa.ArrowInvalid as again:
        error = again
    if not bad_rows:
        return DataError(f"{source.name}: the rows cannot be read: {error}")
    row = bad_rows[0]
    text = row.text if len(row.text) <= 80 else row.text[:77] + "..."
    return DataError(
        f"{source.name}, row {row.number - 1}: a row must have as many cells as the header "
        f"({row.expected_columns}), but has {row.actual_columns}: {text!r}. "
        f"A text that holds {mark!r}, a quote or a line break must stand in double quotes."
    )


def _check_quotes_closed(source: Source, data: bytes, mark: str, table: pa.Table) -> None:
    """Raise a `DataError` if a quote that is never closed has swallowed the rest of the file."""
    extra = mark.join(["x"] * table.num_columns).encode()
    extended = _parse(source, data.rstrip(b"\r\n") + b"\n" + extra, mark, table.num_columns)
    if extended.num_rows == table.num_rows:
        raise DataError(
            f"{source.name}, row {table.num_rows - 1}: a quote is opened and never closed, so all "
            'that follows would be one cell. Close it, or write a quote inside a cell as `""`.'
        )


def _inferred_type(parts: Sequence[pa.ChunkedArray]) -> pa.DataType:
    for kind, pattern in ((pa.int64(), _WHOLE_NUMBER), (pa.float64(), _NUMBER)):
        # A column of text shows in its first cells, so that most never meet the full test.
        if all(_matches(part.slice(0, _SAMPLED_CELLS), pattern) for part in parts) and all(
            _matches(part, pattern) for part in parts
        ):
            has_values = any(pc.any(pc.not_equal(part, "")).as_py() for part in parts)
            return kind if has_values else pa.string()
    return pa.string()


def _matches(column: pa.ChunkedArray, pattern: str) -> bool:
    """Whether every cell is empty or matches."""
    fits = pc.or_(pc.equal(column, ""), pc.match_substring_regex(column, pattern))
    return bool(pc.all(fits).as_py())


def _typed(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_string(kind):
        return column
    return pc.cast(pc.if_else(pc.equal(column, ""), None, column), kind)
