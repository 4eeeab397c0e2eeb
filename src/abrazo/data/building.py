"""From Python values to Arrow columns, with errors that name the row and the value."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from abrazo.data.features import check_unique_names, shown, type_name
from abrazo.errors import DataError

Locate = Callable[[int], str]
"""Says where the row with a number came from, such as "train.jsonl, row 17"."""

_FAILURES = (pa.ArrowException, TypeError, ValueError, OverflowError)


def build_column(values: Sequence[Any], name: str, locate: Locate) -> pa.Array:
    """Return values as one Arrow column.

    Whole numbers and other numbers together become floats; `None` becomes null; NumPy arrays and
    tensors become lists. No other mixing is allowed.

    Raises:
        DataError: The values are of several types; it names the first row that does not fit.
    """
    try:
        return pa.array(values)
    except _FAILURES:
        values = [value.tolist() if hasattr(value, "tolist") else value for value in values]
    try:
        return pa.array(values)
    except _FAILURES as error:
        # A start of the values fails to convert if and only if it holds the first misfit.
        at = bisect_left(range(len(values)), True, key=lambda end: _fails(values[: end + 1]))
        before = next((value for value in values[:at] if value is not None), None)
        contrast = "" if before is None else f", while rows before hold {shown(before)}"
        raise DataError(
            f"{locate(at)}: column `{name}` holds {shown(values[at])}{contrast}. "
            "All values of a column must be of one type that a table can hold."
        ) from error


def build_table(columns: Mapping[str, Sequence[Any]], locate: Locate) -> pa.Table:
    """Return columns as a table.

    Raises:
        DataError: The columns differ in length, or one mixes types.
    """
    _check_names(columns, "The data")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"`{name}` {length}" for name, length in lengths.items())
        raise DataError(f"All columns must be equally long, but their lengths are: {listed}.")
    arrays = [build_column(values, name, locate) for name, values in columns.items()]
    return pa.table(arrays, names=list(columns))


class TableBuilder:
    """Collects rows and turns them into a table, a few thousand at a time.

    A row that lacks a key gets null there. Types are brought together over the whole table, as
    `build_column` does within a column.
    """

    def __init__(self, locate: Locate, *, chunk_rows: int = 10_000) -> None:
        self._locate = locate
        self._chunk_rows = chunk_rows
        self._pending: list[Mapping[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._schema = pa.schema([])
        self._num_done = 0

    def __len__(self) -> int:
        return self._num_done + len(self._pending)

    def add(self, row: object) -> None:
        """Append one row, a mapping of column names to values."""
        if not isinstance(row, Mapping):
            raise DataError(
                f"{self._locate(len(self))}: a row must be an object (a dict) of column names "
                f'and values, such as {{"text": "..."}}, but is {shown(row)}.'
            )
        self._pending.append(row)
        if len(self._pending) >= self._chunk_rows:
            self._flush()

    def extend(self, rows: Iterable[object]) -> None:
        """Append several rows."""
        for row in rows:
            self.add(row)

    def finish(self) -> pa.Table:
        """Return the table of all rows."""
        self._flush()
        if not self._tables:
            return pa.table({})
        try:
            return pa.concat_tables(self._tables, promote_options="permissive")
        except pa.ArrowException as error:
            raise DataError(f"The rows do not fit into one table: {error}") from error

    def _flush(self) -> None:
        if not self._pending:
            return
        rows, first = self._pending, self._num_done
        names = dict.fromkeys(name for row in rows for name in row)
        _check_names(names, self._locate(first))

        def locate(row: int) -> str:
            return self._locate(first + row)

        columns = {
            name: build_column([row.get(name) for row in rows], name, locate) for name in names
        }
        # A table without columns would forget how many rows it has.
        if not columns:
            raise DataError(f"{locate(0)}: the row is an empty object; give it columns.")
        table = pa.table(columns)
        self._schema = self._unified(table, locate)
        self._tables.append(table)
        self._num_done += len(rows)
        self._pending = []

    def _unified(self, table: pa.Table, locate: Locate) -> pa.Schema:
        for field in table.schema:
            if field.name not in self._schema.names:
                continue
            before = self._schema.field(field.name)
            try:
                pa.unify_schemas(
                    [pa.schema([before]), pa.schema([field])], promote_options="permissive"
                )
            except pa.ArrowException as error:
                column = table.column(field.name).to_pylist()
                at = next(row for row, value in enumerate(column) if value is not None)
                raise DataError(
                    f"{locate(at)}: column `{field.name}` holds {shown(column[at])}, while rows "
                    f"before hold `{type_name(before.type)}`. "
                    "All values of a column must be of one type."
                ) from error
        return pa.unify_schemas([self._schema, table.schema], promote_options="permissive")


def _check_names(names: Iterable[object], where: str) -> None:
    listed = list(names)
    for name in listed:
        if not isinstance(name, str):
            raise DataError(f"{where}: column names must be text, but one is {shown(name)}.")
    check_unique_names([str(name) for name in listed], where)


def _fails(values: Sequence[Any]) -> bool:
    try:
        pa.array(values)
    except _FAILURES:
        return True
    return False
