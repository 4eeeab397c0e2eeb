"""What the trainer reads from: anything that has a length and rows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from abrazo.data.dataset import Dataset, DatasetDict
from abrazo.data.features import shown
from abrazo.data.squad import NESTED_COLUMNS, flat_questions, is_document, is_nested
from abrazo.errors import DataError

Row = dict[str, Any]
Indices = Iterable[int] | NDArray[np.int64]


@runtime_checkable
class RowSource(Protocol):
    """Rows that can be read in any order; `Dataset` is one."""

    def __len__(self) -> int:
        """Return the number of rows."""

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""

    def rows(self, indices: Indices) -> list[Row]:
        """Return the rows at `indices`, a dict each."""

    def origin(self, row: int) -> str:
        """Say where a row came from, such as "train.csv, row 17"."""


def as_rows(data: object) -> RowSource:
    """Return `data` as a source of rows.

    Args:
        data: A `Dataset` or another `RowSource`, a list of dicts, a dict of columns, a pandas or
            polars DataFrame, an Arrow table, a `datasets.Dataset`, or anything with `__len__` and
            `__getitem__` that returns dicts, such as a `torch.utils.data.Dataset`. Questions
            nested as in SQuAD's files become a row each.

    Raises:
        DataError: It is none of these, has no rows, or its rows are not dicts.
    """
    source = _flat(_as_rows(data))
    if not len(source):
        raise DataError(f"The data has no rows: {_named(data)} of length 0.")
    return source


def _flat(source: RowSource) -> RowSource:
    """Return the questions of nested rows; rows that may be computed are not looked at."""
    if isinstance(source, _IndexedRows) and is_nested(source.first_in_memory()):
        source = Dataset.from_list(source.rows(range(len(source))))
    return flat_questions(source) if isinstance(source, Dataset) else source


def _as_rows(data: object) -> RowSource:
    if isinstance(data, DatasetDict):
        listed = ", ".join(f"`{name}`" for name in data)
        raise DataError(f'The data has several splits ({listed}); choose one: `data["train"]`.')
    if isinstance(data, str | bytes):
        raise DataError(
            f"The data must be rows, but is {shown(data)}. Read files by `load_dataset`."
        )
    if isinstance(data, RowSource):
        return data
    if isinstance(data, pa.Table):
        return Dataset.from_arrow(data)
    if isinstance(data, Mapping):
        return _IndexedRows(data["data"]) if is_document(data) else _from_mapping(data)
    library = type(data).__module__.partition(".")[0]
    if library == "pandas" and hasattr(data, "columns"):
        return Dataset.from_pandas(data)
    if library == "polars" and hasattr(data, "columns"):
        return Dataset.from_polars(cast(Any, data))
    if not hasattr(data, "__getitem__") or _length(data) is None:
        raise DataError(
            f"The data must have `__len__` and `__getitem__`, but {_named(data)} has not both. "
            "Put its rows into a list, or use `Dataset.from_generator`."
        )
    if library == "datasets" and isinstance(getattr(data, "column_names", None), list):
        return _HubRows(data)
    return _IndexedRows(data)


class _IndexedRows:
    """Rows of anything with `__len__` and `__getitem__`."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self._column_names: list[str] | None = None

    def __len__(self) -> int:
        return len(self._data)

    def first_in_memory(self) -> object:
        """Return the first row of a list; None where reading a row may take long."""
        return self._data[0] if isinstance(self._data, Sequence) and len(self) else None

    @property
    def column_names(self) -> list[str]:
        """Names in the rows of a list, or in the first row where reading all would take long."""
        if self._column_names is None:
            count = len(self) if isinstance(self._data, Sequence) else 1
            rows = self.rows(range(min(count, len(self))))
            self._column_names = list(dict.fromkeys(name for row in rows for name in row))
        return self._column_names

    def rows(self, indices: Indices) -> list[Row]:
        """Return the rows at `indices`, a dict each."""
        return [self._row(int(number)) for number in indices]

    def origin(self, row: int) -> str:
        """Say which row it is, counted from 1."""
        return f"row {row + 1}"

    def _row(self, number: int) -> Row:
        row = self._data[number]
        if isinstance(row, Mapping):
            return dict(row)
        hint = ' For texts, write `{"text": ...}`.' if isinstance(row, str) else ""
        raise DataError(
            f"{self.origin(number)}: a row must be a dict of column names and values, "
            f"but is {shown(row)}.{hint}"
        )


class _HubRows(_IndexedRows):
    """Rows of a `datasets.Dataset`, which reads many rows faster than one by one."""

    def first_in_memory(self) -> object:
        """Return the first row where it may hold nested questions, else None."""
        return self.rows([0])[0] if set(self.column_names) & set(NESTED_COLUMNS) else None

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""
        return list(self._data.column_names)

    def rows(self, indices: Indices) -> list[Row]:
        """Return the rows at `indices`, a dict each."""
        numbers = [int(number) for number in indices]
        columns = self._data[numbers]
        return [{name: columns[name][at] for name in columns} for at in range(len(numbers))]


def _from_mapping(data: Mapping[Any, Any]) -> Dataset:
    if not all(
        isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
        for values in data.values()
    ):
        raise DataError(
            "The data must be rows, but is a dict. A dict must hold columns, a list of values for "
            'each name; one row is given as `[{"text": ...}]`.'
        )
    return Dataset.from_dict(data)


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except (TypeError, NotImplementedError):
        return None


def _named(data: object) -> str:
    return f"a `{type(data).__name__}`"
