"""Question answering data nested as in SQuAD's files, read as flat rows.

    {"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers"}]}]}]}

A row is a question with all that its paragraph and its article say; a context is kept once, however
many questions it has. Versions 1.1 and 2.0 and data made like them, such as CMRC 2018, are read
alike; so are tables of articles or of paragraphs.

Source: Rajpurkar et al. 2016, SQuAD; Rajpurkar et al. 2018, SQuAD 2.0.

Shapes: Q questions.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from abrazo.data.dataset import Dataset
from abrazo.errors import DataError

NESTED_COLUMNS = ("data", "paragraphs", "qas")
"""Columns that hold the next level, from the outside in."""


class NestedQuestions:
    """The questions of nested data as rows, each put together when it is read."""

    def __init__(self, dataset: Dataset) -> None:
        """Find the questions.

        Args:
            dataset: Rows of files, of articles or of paragraphs.

        Raises:
            DataError: There are no questions.
        """
        self._dataset = dataset
        table, levels = dataset.to_arrow(), list[pa.Table]()
        parents: list[NDArray[np.int64]] = []
        for name in NESTED_COLUMNS:
            if not _has_objects(table.schema, name):
                continue
            rest = table.drop_columns([name])
            inner, of_inner = _unfolded(table.column(name))
            parents = [of_inner, *(places[of_inner] for places in parents)]
            levels.append(rest)
            table = inner
        if not table.num_rows:
            where = dataset.origin(0).rpartition(", row ")[0] if len(dataset) else ""
            raise DataError(f"{where or 'The data'}: there are no questions in `qas`.")
        self._levels = [table, *reversed(levels)]
        self._places = [np.arange(table.num_rows), *parents]  # (Q,) each

    def __len__(self) -> int:
        return len(self._places[0])

    @property
    def column_names(self) -> list[str]:
        """Names of what questions, paragraphs and articles have."""
        return list(dict.fromkeys(name for table in self._levels for name in table.column_names))

    def rows(self, indices: Iterable[int] | NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return the questions at `indices`, each with what its paragraph and article have."""
        numbers = np.fromiter(indices, dtype=np.int64)
        rows: list[dict[str, Any]] = [{} for _ in numbers]
        for table, place in zip(self._levels, self._places, strict=True):
            wanted, at = np.unique(place[numbers], return_inverse=True)
            found = table.take(pa.array(wanted)).to_pylist()
            for row, number in zip(rows, at.tolist(), strict=True):
                row.update(
                    (name, value) for name, value in found[number].items() if name not in row
                )
        return rows

    def origin(self, row: int) -> str:
        """Say where a question came from: file, row there, and its `id` or number."""
        outer = int(self._places[-1][row])
        table = self._levels[0]
        name = table.column("id")[row].as_py() if "id" in table.column_names else None
        told = f"question {row + 1}" if name is None else f"question `{name}`"
        return f"{self._dataset.origin(outer)}, {told}"


def flat_questions(dataset: Dataset) -> "Dataset | NestedQuestions":
    """Return the questions of nested rows, and other rows as they are.

    Raises:
        DataError: The rows are nested as in SQuAD, but have no questions.
    """
    if not set(dataset.column_names) & set(NESTED_COLUMNS):
        return dataset
    schema = dataset.to_arrow().schema
    leads = any(_leads_to_questions(schema, name) for name in NESTED_COLUMNS)
    return NestedQuestions(dataset) if leads else dataset


def is_document(data: Mapping[Any, Any]) -> bool:
    """Tell whether a mapping is the content of a file like SQuAD's."""
    rows = data.get("data")
    return isinstance(rows, Sequence) and bool(rows) and is_nested(rows[0])


def is_nested(row: object) -> bool:
    """Tell whether a row holds others, level by level down to questions."""
    if not isinstance(row, Mapping):
        return False
    inner = next((row[name] for name in NESTED_COLUMNS if name in row), None)
    if not isinstance(inner, Sequence) or isinstance(inner, str) or not inner:
        return False
    if "qas" in row:
        return isinstance(inner[0], Mapping)
    return is_nested(inner[0])


def _has_objects(schema: pa.Schema, name: str) -> bool:
    if name not in schema.names:
        return False
    kind = schema.field(name).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(is_list and pa.types.is_struct(kind.value_type))


def _leads_to_questions(schema: pa.Schema, name: str) -> bool:
    if not _has_objects(schema, name):
        return False
    inner = pa.schema(list(schema.field(name).type.value_type))
    return name == "qas" or any(_leads_to_questions(inner, other) for other in NESTED_COLUMNS)


def _unfolded(column: pa.ChunkedArray) -> tuple[pa.Table, NDArray[np.int64]]:
    """Return the objects of a column of lists as a table, and which list each is of."""
    whole = pa.concat_arrays(column.chunks)
    objects = pc.list_flatten(whole)
    parents = pc.list_parent_indices(whole).to_numpy().astype(np.int64)
    names = [field.name for field in objects.type]
    return pa.table(objects.flatten(), names=names), parents
