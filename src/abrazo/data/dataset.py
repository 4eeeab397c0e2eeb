"""A dataset: an Arrow table plus a selection of its rows.

Selecting, shuffling, filtering, sorting and splitting only make a new selection; the table is
shared and never changed. Every row remembers the file and row it was read from.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from abrazo.data.building import TableBuilder, build_column, build_table
from abrazo.data.column import Column
from abrazo.data.conversion import (
    table_from_pandas,
    table_from_polars,
    table_to_pandas,
    table_to_polars,
)
from abrazo.data.features import plain_table, require_columns, type_name
from abrazo.data.mapping import call, map_batches, map_rows
from abrazo.data.origin import Origins
from abrazo.data.readers.formats import Part, ReadOptions, read_files
from abrazo.data.sampling import epoch_order
from abrazo.data.splitting import split_rows
from abrazo.data.writing import write_arrow
from abrazo.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    import pandas
    import polars

Row = dict[str, Any]
Columns = dict[str, list[Any]]
Source = str | Path | Sequence[str | Path]

_ITERATION_ROWS = 1000
_SHOWN_CHARACTERS = 40


class Dataset:
    """Rows of named, typed columns.

    Make one with `Dataset.from_list`, `from_dict`, `from_csv` and their siblings, or with
    `abrazo.load_dataset`. All methods return a new dataset.

    >>> data = Dataset.from_dict({"text": ["fine", "dull"], "label": [1, 0]})
    >>> data[0]
    {'text': 'fine', 'label': 1}
    >>> data[:2]
    {'text': ['fine', 'dull'], 'label': [1, 0]}
    """

    def __init__(
        self,
        table: pa.Table,
        *,
        rows: NDArray[np.int64] | None = None,
        origins: Origins | None = None,
    ) -> None:
        """Wrap a table.

        Args:
            table: The columns, of plain types (`Dataset.from_arrow` takes any).
            rows: The table's rows that belong to the dataset, in order; `None` means all.
            origins: Where each row of the table came from.
        """
        self._table = table
        self._rows = rows
        self._origins = origins or Origins.of(("", table.num_rows))
        self._batches = table.to_batches()
        ends = np.cumsum([0, *(batch.num_rows for batch in self._batches)], dtype=np.int64)
        self._batch_starts = ends[:-1]

    # Ways in

    @classmethod
    def from_dict(cls, columns: Mapping[str, Sequence[Any]]) -> "Dataset":
        """Build from columns: a mapping of names to equally long sequences."""
        return cls(build_table(columns, _row_number))

    @classmethod
    def from_list(cls, rows: Iterable[Mapping[str, Any]]) -> "Dataset":
        """Build from rows: mappings of column names to values. A missing key becomes null."""
        builder = TableBuilder(_row_number)
        builder.extend(rows)
        return cls(builder.finish())

    @classmethod
    def from_generator(cls, make_rows: Callable[[], Iterable[Mapping[str, Any]]]) -> "Dataset":
        """Build from a function that yields rows."""
        return cls.from_list(make_rows())

    @classmethod
    def from_arrow(cls, table: pa.Table) -> "Dataset":
        """Build from an Arrow table, without a copy where its types are plain."""
        return cls(plain_table(table, "the table"))

    @classmethod
    def from_pandas(cls, frame: "pandas.DataFrame") -> "Dataset":
        """Build from a pandas DataFrame; its index is dropped, NaN and NaT become null."""
        return cls(table_from_pandas(frame))

    @classmethod
    def from_polars(cls, frame: "polars.DataFrame") -> "Dataset":
        """Build from a polars DataFrame."""
        return cls(table_from_polars(frame))

    @classmethod
    def from_csv(
        cls,
        source: Source,
        *,
        encoding: str | None = None,
        delimiter: str | None = None,
        infer_types: bool = True,
    ) -> "Dataset":
        """Read CSV files; `abrazo.data.readers.delimited` says how cells get their types."""
        options = ReadOptions(encoding=encoding, delimiter=delimiter, infer_types=infer_types)
        return cls.from_files(source, "csv", options)

    @classmethod
    def from_json(
        cls, source: Source, *, field: str | None = None, encoding: str | None = None
    ) -> "Dataset":
        """Read JSON files: a list of objects, object lines, or a list under a key (`field`)."""
        return cls.from_files(source, "json", ReadOptions(field=field, encoding=encoding))

    @classmethod
    def from_parquet(cls, source: Source) -> "Dataset":
        """Read Parquet files."""
        return cls.from_files(source, "parquet")

    @classmethod
    def from_text(cls, source: Source, *, encoding: str | None = None) -> "Dataset":
        """Read text files, a row per line in the column `text`; blank lines are rows too."""
        return cls.from_files(source, "text", ReadOptions(encoding=encoding))

    @classmethod
    def from_files(
        cls, source: Source, format: str | None = None, options: ReadOptions | None = None
    ) -> "Dataset":
        """Read files one after the other; they must have the same columns.

        Args:
            source: A path, or several.
            format: `csv`, `tsv`, `json`, `parquet`, `arrow` or `text`; by default the suffix says.
            options: How to read.
        """
        paths = [source] if isinstance(source, str | Path) else list(source)
        return cls.from_parts(read_files(paths, format, options))

    @classmethod
    def from_parts(cls, parts: Sequence[Part]) -> "Dataset":
        """Build from files that were read, one after the other."""
        return concatenate_datasets(
            [
                cls(part.table, origins=Origins.of((part.name, part.table.num_rows)))
                for part in parts
            ]
        )

    @classmethod
    def concatenated(cls, datasets: Sequence["Dataset"]) -> "Dataset":
        """Do as `concatenate_datasets`; tables are shared where their types agree."""
        names = datasets[0].column_names
        for number, dataset in enumerate(datasets[1:], start=2):
            _check_alike(datasets[0], dataset, number)
        tables = [dataset._table.select(names) for dataset in datasets]
        table = pa.concat_tables(tables, promote_options="permissive")
        origins = Origins.joined([dataset._origins for dataset in datasets])
        if all(dataset._rows is None for dataset in datasets):
            return cls(table, origins=origins)
        offsets = np.cumsum([0, *(part.num_rows for part in tables)])
        rows = [
            offset + (np.arange(len(part)) if part._rows is None else part._rows)
            for part, offset in zip(datasets, offsets, strict=False)
        ]
        return cls(table, rows=np.concatenate(rows).astype(np.int64), origins=origins)

    # Ways out

    def to_arrow(self) -> pa.Table:
        """Return the selected rows as an Arrow table."""
        return self._table if self._rows is None else self._table.take(pa.array(self._rows))

    def to_dict(self) -> Columns:
        """Return columns: names and lists of values."""
        return {name: self[name].to_list() for name in self.column_names}

    def to_list(self) -> list[Row]:
        """Return rows: a dict each."""
        return self.rows(range(len(self)))

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a pandas DataFrame."""
        return table_to_pandas(self.to_arrow())

    def to_polars(self) -> "polars.DataFrame":
        """Return a polars DataFrame."""
        return table_to_polars(self.to_arrow())

    def to_csv(self, path: str | Path) -> None:
        """Write a CSV file; null becomes an empty cell, lists and objects become JSON text."""
        write_arrow(self.to_arrow(), path, "csv")

    def to_json(self, path: str | Path) -> None:
        """Write JSON: one list of objects in a `.json` file, else an object per line."""
        file_format = "json" if str(path).endswith(".json") else "jsonl"
        write_arrow(self.to_arrow(), path, file_format)

    def to_parquet(self, path: str | Path) -> None:
        """Write a Parquet file."""
        write_arrow(self.to_arrow(), path, "parquet")

    # What it is

    def __len__(self) -> int:
        return self._table.num_rows if self._rows is None else len(self._rows)

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return len(self), len(self.column_names)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self._table.column_names)

    @property
    def features(self) -> dict[str, str]:
        """Short names of the columns' types, such as `string`, `int64` or `list[string]`."""
        return {field.name: type_name(field.type) for field in self._table.schema}

    def origin(self, row: int) -> str:
        """Say where a row came from: "train.csv, row 17", counted from 1 in its file."""
        return self._origins.describe(int(self._table_rows([row])[0]))

    def __repr__(self) -> str:
        lines = [f"Dataset of {len(self):,} rows"]
        example = self[0] if len(self) else {}
        name_width = max((len(name) for name in self.column_names), default=0)
        type_width = max((len(kind) for kind in self.features.values()), default=0)
        for name, kind in self.features.items():
            value = repr(example[name]) if example else ""
            if len(value) > _SHOWN_CHARACTERS:
                value = value[: _SHOWN_CHARACTERS - 3] + "..."
            lines.append(f"  {name:<{name_width}}  {kind:<{type_width}}  {value}".rstrip())
        return "\n".join(lines)

    # Reading rows

    @overload
    def __getitem__(self, key: int | np.integer[Any]) -> Row: ...
    @overload
    def __getitem__(self, key: str) -> "Column": ...
    @overload
    def __getitem__(self, key: slice | Iterable[int]) -> Columns: ...
    def __getitem__(
        self, key: int | np.integer[Any] | str | slice | Iterable[int]
    ) -> "Row | Column | Columns":
        """Return a row (int), a column (name), or several rows as columns (slice, indices)."""
        if isinstance(key, str):
            require_columns(self, [key])
            return Column(self, key)
        if isinstance(key, int | np.integer):
            return self.rows([int(key)])[0]
        indices = range(*key.indices(len(self))) if isinstance(key, slice) else key
        rows = self.rows(indices)
        return {name: [row[name] for row in rows] for name in self.column_names}

    def __iter__(self) -> Iterator[Row]:
        for start in range(0, len(self), _ITERATION_ROWS):
            yield from self.rows(range(start, min(start + _ITERATION_ROWS, len(self))))

    def rows(self, indices: Iterable[int] | NDArray[np.int64]) -> list[Row]:
        """Return several rows at once, a dict each, in the order asked for."""
        return self._fetch(self._table_rows(indices))

    # Rows

    def select(self, indices: Iterable[int] | NDArray[np.int64]) -> "Dataset":
        """Return the rows at `indices`, in that order; negative ones count from the end."""
        return self._with_rows(self._table_rows(indices))

    def take(self, count: int) -> "Dataset":
        """Return the first rows, at most `count`."""
        return self.select(range(_clipped(count, len(self))))

    def skip(self, count: int) -> "Dataset":
        """Return all rows but the first `count`."""
        return self.select(range(_clipped(count, len(self)), len(self)))

    def shuffle(self, seed: int = 42) -> "Dataset":
        """Return the rows in a random order that depends on `seed` and their number alone."""
        return self.select(epoch_order(len(self), seed, 0))

    def sort(self, by: str | Sequence[str], *, reverse: bool = False) -> "Dataset":
        """Return the rows sorted by one or several columns; nulls last, equals in their order."""
        names = [by] if isinstance(by, str) else list(by)
        require_columns(self, names)
        order = "descending" if reverse else "ascending"
        keys = self.select_columns(names).to_arrow()
        try:
            rows = pc.sort_indices(keys, sort_keys=[(name, order) for name in names])
        except (pa.ArrowException, TypeError) as error:
            listed = ", ".join(f"`{name}` ({self.features[name]})" for name in names)
            raise DataError(f"The rows cannot be sorted by {listed}.") from error
        return self.select(rows.to_numpy().astype(np.int64))

    def filter(self, function: Callable[..., bool], *, with_indices: bool = False) -> "Dataset":
        """Return the rows for which `function(row)` is true.

        Args:
            function: Takes a row, a dict; and its number when `with_indices`.
            with_indices: Whether to pass the row's number as well.
        """
        kept = [
            number
            for number, row in enumerate(self)
            if call(function, self, number, row, *([number] if with_indices else []))
        ]
        return self.select(kept)

    def train_test_split(
        self,
        test_size: float | int = 0.25,
        seed: int = 42,
        *,
        shuffle: bool = True,
        stratify_by_column: str | None = None,
    ) -> "DatasetDict":
        """Split the rows in two, `train` and `test`.

        Args:
            test_size: The test rows: a share between 0 and 1 (rounded up), or a count.
            seed: Decides which rows.
            shuffle: Whether rows are drawn at random; else the last ones are for testing.
            stratify_by_column: A column whose values get the same share on both sides.
        """
        classes = None if stratify_by_column is None else self._classes(stratify_by_column)
        train, test = split_rows(len(self), test_size, seed, shuffle=shuffle, classes=classes)
        return DatasetDict(train=self.select(train), test=self.select(test))

    # Columns

    def select_columns(self, names: str | Sequence[str]) -> "Dataset":
        """Return the dataset with these columns only, in this order."""
        wanted = [names] if isinstance(names, str) else list(names)
        require_columns(self, wanted)
        return self._with_table(self._table.select(wanted))

    def remove_columns(self, names: str | Sequence[str]) -> "Dataset":
        """Return the dataset without these columns."""
        unwanted = [names] if isinstance(names, str) else list(names)
        require_columns(self, unwanted)
        return self.select_columns([name for name in self.column_names if name not in unwanted])

    def rename_column(self, old: str, new: str) -> "Dataset":
        """Return the dataset with one column renamed."""
        return self.rename_columns({old: new})

    def rename_columns(self, names: Mapping[str, str]) -> "Dataset":
        """Return the dataset with columns renamed, old names to new ones."""
        require_columns(self, names)
        renamed = [names.get(name, name) for name in self.column_names]
        if len(set(renamed)) < len(renamed):
            raise DataError(f"Columns need different names, but would be {', '.join(renamed)}.")
        return self._with_table(self._table.rename_columns(renamed))

    def add_column(self, name: str, values: Sequence[Any]) -> "Dataset":
        """Return the dataset with one more column, a value for each row."""
        if name in self.column_names:
            raise DataError(f"The data has a column `{name}` already; remove or rename it first.")
        if len(values) != len(self):
            raise DataError(
                f"Column `{name}` must have a value for each row ({len(self)}), "
                f"but has {len(values)}."
            )
        column = build_column(values, name, self.origin)
        table = self.to_arrow().append_column(name, column)
        return Dataset(table, origins=self._selected_origins())

    def unique(self, name: str) -> list[Any]:
        """Return the different values of a column, in the order they first occur."""
        require_columns(self, [name])
        column = self.select_columns(name).to_arrow().column(name)
        try:
            return list(pc.unique(column).to_pylist())
        except pa.ArrowException as error:
            kind = self.features[name]
            raise DataError(f"Column `{name}` holds {kind}, which cannot be counted.") from error

    # Computing

    def map(
        self,
        function: Callable[..., Mapping[str, Any]],
        *,
        batched: bool = False,
        batch_size: int = 1000,
        remove_columns: str | Sequence[str] | None = None,
        with_indices: bool = False,
    ) -> "Dataset":
        """Return the dataset with the columns that `function` computes added or replaced.

        Args:
            function: Takes a row (a dict) and returns a dict of new values. When `batched`, takes
                columns (a dict of lists) and returns a dict of lists, which may have another
                number of rows if all old columns are removed or replaced.
            batched: Whether `function` takes many rows at once.
            batch_size: How many.
            remove_columns: Columns to leave out of the result.
            with_indices: Whether to pass the row's number (batched: the list of them) as well.
        """
        names = [remove_columns] if isinstance(remove_columns, str) else remove_columns or []
        require_columns(self, names)
        if not len(self):
            return self.remove_columns(names)
        if not batched:
            table = map_rows(self, function, names, with_indices=with_indices)
            return Dataset(table, origins=self._selected_origins())
        table, counts = map_batches(
            self, function, names, batch_size=batch_size, with_indices=with_indices
        )
        return Dataset(table, origins=self._origins_of_batches(counts, batch_size))

    def _origins_of_batches(self, counts: list[int], batch_size: int) -> Origins:
        """Return the origins of rows made from batches, given how many rows each became."""
        parts = []
        starts = range(0, len(self), batch_size)
        for start, count in zip(starts, counts, strict=True):
            end = min(start + batch_size, len(self))
            first, last = self.origin(start), self.origin(end - 1)
            parts.append((f"what `map` made of {first} to {last}", count, count == end - start))
        if all(is_kept for _, _, is_kept in parts):
            return self._selected_origins()
        return Origins.of(*((name, count) for name, count, _ in parts))

    # Inside

    def _table_rows(self, indices: Iterable[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the table's row numbers for numbers of this dataset's rows."""
        given = indices if isinstance(indices, np.ndarray) else list(indices)
        numbers = np.asarray(given) if len(given) else np.zeros(0, dtype=np.int64)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise DataError(
                "Rows are chosen by a list of whole numbers, but these are "
                f"{numbers.dtype} of shape {numbers.shape}. For a mask, use `np.flatnonzero`."
            )
        numbers = numbers.astype(np.int64)
        bad = numbers[(numbers < -len(self)) | (numbers >= len(self))]
        if len(bad):
            raise IndexError(f"Row {bad[0]} does not exist; the dataset has {len(self)} rows.")
        numbers = np.where(numbers < 0, numbers + len(self), numbers)
        return numbers if self._rows is None else self._rows[numbers]

    def _fetch(self, table_rows: NDArray[np.int64]) -> list[Row]:
        """Return rows of the table as dicts.

        Taking from each record batch on its own is hundreds of times faster than `Table.take`,
        which joins all the batches first.
        """
        homes = np.searchsorted(self._batch_starts, table_rows, side="right") - 1
        found: list[Row] = [{}] * len(table_rows)
        for home in np.unique(homes):
            places = np.flatnonzero(homes == home)
            batch = self._batches[home]
            local = pa.array(table_rows[places] - self._batch_starts[home])
            try:
                rows = batch.take(local).to_pylist()
            except (ValueError, OverflowError) as error:  # such as a date in the year 20,000
                origin = self._origins.describe(int(table_rows[places[0]]))
                raise DataError(f"{origin}: Python has no such value: {error}") from error
            for place, row in zip(places, rows, strict=True):
                found[place] = row
        return found

    def _with_rows(self, rows: NDArray[np.int64]) -> "Dataset":
        return Dataset(self._table, rows=rows, origins=self._origins)

    def _with_table(self, table: pa.Table) -> "Dataset":
        return Dataset(table, rows=self._rows, origins=self._origins)

    def _selected_origins(self) -> Origins:
        return self._origins if self._rows is None else self._origins.take(self._rows)

    def _classes(self, name: str) -> NDArray[np.int64]:
        """Return the number of each row's value among the column's values (rows,)."""
        values = {repr(value): number for number, value in enumerate(self.unique(name))}
        return np.array([values[repr(value)] for value in self[name]], dtype=np.int64)


def _check_alike(first: Dataset, other: Dataset, number: int) -> None:
    """Raise a `DataError` that lists all columns in which two datasets differ."""
    ours, theirs = first._table.schema, other._table.schema
    here, there = _source(first, 1), _source(other, number)
    problems = [f"`{name}` is only in {here}." for name in ours.names if name not in theirs.names]
    problems += [f"`{name}` is only in {there}." for name in theirs.names if name not in ours.names]
    for name in set(ours.names) & set(theirs.names):
        pair = [pa.schema([ours.field(name)]), pa.schema([theirs.field(name)])]
        try:
            pa.unify_schemas(pair, promote_options="permissive")
        except pa.ArrowException:
            kinds = first.features[name], other.features[name]
            problems.append(f"`{name}` is {kinds[0]} in {here}, but {kinds[1]} in {there}.")
    if problems:
        head = "Datasets must have the same columns to be put together:"
        raise DataError("\n  ".join([head, *problems]))


def _source(dataset: Dataset, number: int) -> str:
    name = dataset.origin(0).rpartition(", row ")[0] if len(dataset) else ""
    return name or f"dataset {number}"


def _clipped(count: int, num_rows: int) -> int:
    if count < 0:
        raise ConfigError(f"The number of rows must be at least 0, but is {count}.")
    return min(count, num_rows)


def _row_number(row: int) -> str:
    return f"row {row + 1}"


class DatasetDict(dict[str, Dataset]):
    """Datasets by the names of their splits, such as `train` and `test`."""

    def __missing__(self, name: str) -> Dataset:
        listed = ", ".join(f"`{split}`" for split in self) or "none"
        raise DataError(
            f"The data has no split `{name}`.{did_you_mean(name, self)} Splits: {listed}."
        )

    @property
    def num_rows(self) -> dict[str, int]:
        """Number of rows of each split."""
        return {name: len(dataset) for name, dataset in self.items()}

    @property
    def column_names(self) -> dict[str, list[str]]:
        """Names of the columns of each split."""
        return {name: dataset.column_names for name, dataset in self.items()}

    def apply(self, function: Callable[[Dataset], Dataset]) -> "DatasetDict":
        """Return the splits with `function` applied to each: `lambda data: data.shuffle(1)`."""
        return DatasetDict({name: function(dataset) for name, dataset in self.items()})

    def map(
        self,
        function: Callable[..., Mapping[str, Any]],
        *,
        batched: bool = False,
        batch_size: int = 1000,
        remove_columns: str | Sequence[str] | None = None,
        with_indices: bool = False,
    ) -> "DatasetDict":
        """Apply `Dataset.map` to each split."""
        return self.apply(
            lambda dataset: dataset.map(
                function,
                batched=batched,
                batch_size=batch_size,
                remove_columns=remove_columns,
                with_indices=with_indices,
            )
        )

    def filter(self, function: Callable[..., bool], *, with_indices: bool = False) -> "DatasetDict":
        """Apply `Dataset.filter` to each split."""
        return self.apply(lambda dataset: dataset.filter(function, with_indices=with_indices))

    def shuffle(self, seed: int = 42) -> "DatasetDict":
        """Apply `Dataset.shuffle` to each split."""
        return self.apply(lambda dataset: dataset.shuffle(seed))

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {dataset!r}" for name, dataset in self.items()) or "no splits"


def concatenate_datasets(datasets: Sequence[Dataset]) -> Dataset:
    """Return the rows of all datasets, one after the other.

    Raises:
        DataError: Their columns differ in name, or in a type that cannot be brought together.
    """
    if not datasets:
        raise DataError("There are no datasets to concatenate.")
    if len(datasets) == 1:
        return datasets[0]
    return Dataset.concatenated(datasets)
