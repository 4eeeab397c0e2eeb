"""Between Arrow tables and the DataFrames of pandas and polars."""

from typing import TYPE_CHECKING

import pyarrow as pa

from abrazo.data.building import build_table
from abrazo.data.features import check_unique_names, plain_table
from abrazo.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    import pandas
    import polars

_PURPOSE = "Turning a dataset into a DataFrame"


def table_from_pandas(frame: "pandas.DataFrame") -> pa.Table:
    """Return a DataFrame as a table, without its index; NaN, NaT and NA become null."""
    names = list(frame.columns)
    unnamed = [name for name in names if not isinstance(name, str)]
    if unnamed:
        raise DataError(
            f"Columns of a DataFrame must be named by text, but one is named {unnamed[0]!r}. "
            "Rename it, for example by `frame.rename(columns=str)`."
        )
    check_unique_names(names, "The DataFrame")
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError):
        # Once more value by value, for an error that names the row.
        missing = frame.isna()
        columns = {name: frame[name].astype(object).tolist() for name in names}
        table = build_table(
            {
                name: [
                    None if gone is True else value
                    for value, gone in zip(values, missing[name].tolist(), strict=True)
                ]
                for name, values in columns.items()
            },
            lambda row: f"row {row + 1} of the DataFrame",
        )
    return plain_table(table, "The DataFrame")


def table_from_polars(frame: "polars.DataFrame") -> pa.Table:
    """Return a polars DataFrame as a table."""
    try:
        table = frame.to_arrow()
    except Exception as error:
        raise DataError(f"The DataFrame cannot be turned into a table: {error}") from error
    return plain_table(table, "The DataFrame")


def table_to_pandas(table: pa.Table) -> "pandas.DataFrame":
    """Return a table as a pandas DataFrame."""
    try:
        import pandas  # noqa: F401 - Arrow imports it by itself, with a poorer error
    except ImportError as error:
        raise MissingExtraError(_PURPOSE, "pandas") from error
    return table.to_pandas()


def table_to_polars(table: pa.Table) -> "polars.DataFrame":
    """Return a table as a polars DataFrame."""
    try:
        import polars
    except ImportError as error:
        raise MissingExtraError(_PURPOSE, "polars") from error
    frame = polars.from_arrow(table)
    assert isinstance(frame, polars.DataFrame)
    return frame
