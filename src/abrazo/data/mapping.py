"""Applying a function to all rows of a dataset."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from abrazo.data.building import TableBuilder
from abrazo.data.features import shown
from abrazo.errors import ConfigError, DataError

if TYPE_CHECKING:
    from abrazo.data.dataset import Dataset

Row = dict[str, Any]
Function = Callable[..., Mapping[str, Any]]


def map_rows(
    dataset: "Dataset", function: Function, removed: Sequence[str], *, with_indices: bool
) -> pa.Table:
    """Return the table of `{**row, **function(row)}` for every row, less the removed columns."""
    builder = TableBuilder(dataset.origin)
    changed: set[str] = set(removed)
    for number, row in enumerate(dataset):
        old = {name: value for name, value in row.items() if name not in removed}
        new = call(function, dataset, number, row, *([number] if with_indices else []))
        if not isinstance(new, Mapping):
            raise DataError(
                f"{dataset.origin(number)}: the function given to `map` must return a dict, "
                f"but returned {shown(new)}."
            )
        changed.update(new)
        builder.add({**old, **new})
    return _with_old_types(builder.finish(), dataset, changed)


def map_batches(
    dataset: "Dataset",
    function: Function,
    removed: Sequence[str],
    *,
    batch_size: int,
    with_indices: bool,
) -> tuple[pa.Table, list[int]]:
    """Return the table of what the function makes of each batch, and how many rows each gave."""
    if batch_size < 1:
        raise ConfigError(f"`batch_size` must be at least 1, but is {batch_size}.")
    counts: list[int] = []
    changed: set[str] = set(removed)
    builder = TableBuilder(lambda row: _batch_origin(dataset, batch_size, counts, row))
    for start in range(0, len(dataset), batch_size):
        numbers = list(range(start, min(start + batch_size, len(dataset))))
        rows, names = _mapped_batch(dataset, function, numbers, removed, with_indices)
        counts.append(len(rows))
        changed.update(names)
        builder.extend(rows)
    # An unchanged column has as many values as before, so that all columns do.
    return _with_old_types(builder.finish(), dataset, changed), counts


def call(function: Callable[..., Any], dataset: "Dataset", number: int, *arguments: object) -> Any:
    """Call a user's function; an error it raises also tells at which row."""
    try:
        return function(*arguments)
    except Exception as error:
        error.add_note(f"This happened at {dataset.origin(number)}.")
        raise


def _mapped_batch(
    dataset: "Dataset",
    function: Function,
    numbers: list[int],
    removed: Sequence[str],
    with_indices: bool,
) -> tuple[list[Row], list[str]]:
    """Return the rows that the function makes of a batch, and the columns that it gave."""
    old = dataset[numbers]
    arguments = [dict(old), numbers] if with_indices else [dict(old)]
    new = call(function, dataset, numbers[0], *arguments)
    where = f"The batch that begins with {dataset.origin(numbers[0])}"
    if not isinstance(new, Mapping):
        raise DataError(
            f"{where}: the function given to `map(batched=True)` must return a dict of lists, "
            f"but returned {shown(new)}."
        )
    columns = {name: values for name, values in old.items() if name not in removed} | dict(new)
    scalars = [name for name, values in columns.items() if not hasattr(values, "__len__")]
    if scalars:
        raise DataError(f"{where}: `{scalars[0]}` must be a list, but is {shown(new[scalars[0]])}.")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"`{name}` {length}" for name, length in lengths.items())
        raise DataError(
            f"{where}: the columns must be equally long after `map(batched=True)`, but their "
            f"lengths are: {listed}. Name the old columns in `remove_columns`."
        )
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, values, strict=True)) for values in rows], list(new)


def _with_old_types(table: pa.Table, dataset: "Dataset", changed: set[str]) -> pa.Table:
    """Put the columns that no call changed back as they were, types and all."""
    kept = [name for name in dataset.column_names if name not in changed]
    old = dataset.select_columns(kept).to_arrow()
    for name in kept:
        table = table.set_column(table.column_names.index(name), name, old.column(name))
    return table


def _batch_origin(dataset: "Dataset", batch_size: int, counts: list[int], row: int) -> str:
    """Say which rows of `dataset` a row that came out of `map` was made of."""
    ends = list(accumulate(counts))
    batch = next((at for at, end in enumerate(ends) if row < end), len(ends))
    size = min(batch_size, len(dataset) - batch * batch_size)
    if batch < len(counts) and counts[batch] == size:
        return dataset.origin(batch * batch_size + row - (ends[batch] - counts[batch]))
    return f"what `map` made of the batch that begins with {dataset.origin(batch * batch_size)}"
