"""The types of columns: their short names, their plain forms, and what a task may ask of them."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from abrazo.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from abrazo.data.rows import RowSource

MAX_DEPTH = 64
"""How deep lists and objects may nest; Arrow itself crashes at a few thousand."""

_SHORT_NAMES = {"large_string": "string", "large_binary": "binary", "double": "float64"}
_SHOWN_ROWS = 5


def type_name(kind: pa.DataType) -> str:
    """Return a short name of a type, such as `string` or `list[{label: string, start: int64}]`."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return f"list[{type_name(kind.value_type)}]"
    if pa.types.is_struct(kind):
        return "{" + ", ".join(f"{field.name}: {type_name(field.type)}" for field in kind) + "}"
    name = str(kind)
    return _SHORT_NAMES.get(name, name)


def plain_table(table: pa.Table, name: str) -> pa.Table:
    """Return a table of plain types: no dictionaries, views, extension types or metadata.

    Args:
        table: Any table.
        name: What to call it in an error.

    Raises:
        DataError: Two columns have one name, or a type nests too deep.
    """
    check_unique_names(table.column_names, name)
    for field in table.schema:
        _check_nesting(field, name)
    columns = [_plain_column(column) for column in table.columns]
    if not columns:
        return table.replace_schema_metadata(None)
    return pa.table(columns, names=table.column_names)


def check_unique_names(names: Sequence[str], where: str) -> None:
    """Raise a `DataError` that lists the column names that occur twice."""
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        listed = ", ".join(f"`{name}`" for name in doubles)
        raise DataError(f"{where}: every name must be there once, but {listed} occurs twice.")


def require_columns(dataset: "RowSource", names: Iterable[str]) -> None:
    """Check that a dataset has some columns.

    Raises:
        DataError: Some are missing; it lists them all, the nearest names, and what there is.
    """
    present = dataset.column_names
    missing = [name for name in names if name not in present]
    if not missing:
        return
    lines = [f"The data has no column `{name}`.{did_you_mean(name, present)}" for name in missing]
    listed = ", ".join(f"`{_shortened(name)}`" for name in present) or "none"
    where = dataset.origin(0).rpartition(", row ")[0] if len(dataset) else ""
    lines.append(f"Columns{f' of {where}' if where else ''}: {listed}.")
    raise DataError("\n".join(lines))


def require_text(dataset: "RowSource", names: Iterable[str], *, batch_size: int = 1000) -> None:
    """Check that some columns exist and hold text in every row.

    Raises:
        DataError: A column is missing, or rows hold nothing or no text; it names the first rows.
    """
    columns = list(names)
    require_columns(dataset, columns)
    problems: list[str] = []
    for start in range(0, len(dataset), batch_size):
        batch = range(start, min(start + batch_size, len(dataset)))
        for number, row in zip(batch, dataset.rows(batch), strict=True):
            problems.extend(
                f"{dataset.origin(number)}: `{name}` must be text, but is {shown(row.get(name))}."
                for name in columns
                if not isinstance(row.get(name), str)
            )
    if problems:
        more = len(problems) - _SHOWN_ROWS
        rest = [f"... and {more} more."] if more > 0 else []
        remedy = "Fill these cells, or drop their rows with `dataset.filter(...)`."
        raise DataError("\n".join([*problems[:_SHOWN_ROWS], *rest, remedy]))


def shown(value: object) -> str:
    """Return a value as an error shows it: by kind, and cut when long."""
    if value is None:
        return "missing (null)"
    if isinstance(value, str):
        return f'the text "{_shortened(value)}"'
    kinds = {bool: "truth value", int: "whole number", float: "number", dict: "object"}
    kind = kinds.get(type(value), type(value).__name__)
    return f"the {kind} {_shortened(repr(value))}"


def _shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _check_nesting(field: pa.Field, name: str) -> None:
    """Check level by level that a type is not too deep and that no object has a key twice."""
    level = [field.type]
    for _ in range(MAX_DEPTH):
        for kind in filter(pa.types.is_struct, level):
            check_unique_names([inner.name for inner in kind], f"{name}, column `{field.name}`")
        level = [kind.field(place).type for kind in level for place in range(kind.num_fields)]
        if not level:
            return
    raise DataError(
        f"{name}: column `{field.name}` nests deeper than {MAX_DEPTH} levels; flatten it."
    )


def _plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        storage = [getattr(chunk, "storage", chunk) for chunk in column.chunks]
        return _plain_column(pa.chunked_array(storage, type=kind.storage_type))
    if pa.types.is_dictionary(kind):
        return _plain_column(pc.cast(column, kind.value_type))
    if pa.types.is_string_view(kind):
        return pc.cast(column, pa.large_string())
    if pa.types.is_binary_view(kind):
        return pc.cast(column, pa.large_binary())
    return column
