"""Padding of rows that are ids already, as a collator needs it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from abrazo.errors import ConfigError
from abrazo.tokenization.options import Plan

Columns = dict[str, list[list[int]]]


def read_columns(
    encoded: Mapping[str, Any] | Sequence[Mapping[str, Any]], main: str
) -> tuple[Columns, bool, str | None]:
    """Bring one encoded row, a batch, or a list of rows into lists.

    Returns:
        The columns as lists of rows, whether a single row was given, and the kind of tensors the
        values were, if any.

    Raises:
        ConfigError: a row lacks `main`, rows have different columns, or columns different rows.
    """
    if not isinstance(encoded, Mapping):
        encoded = _gathered(encoded, main)
    if main not in encoded:
        raise ConfigError(f"What is to be padded must hold `{main}`, but holds {list(encoded)}.")
    kind = _kind(encoded[main])
    columns = {name: _listed(values) for name, values in encoded.items()}
    is_single = bool(columns[main]) and not isinstance(columns[main][0], list)
    if is_single:
        columns = {name: [values] for name, values in columns.items()}
    counts = {name: len(values) for name, values in columns.items()}
    if len(set(counts.values())) > 1:
        raise ConfigError(f"The columns have different numbers of rows: {counts}.")
    return columns, is_single, kind


def pad_columns(columns: Columns, plan: Plan, fill: Mapping[str, int], main: str) -> Columns:
    """Pad the columns named in `fill` up to the length that the plan asks for; keep the others."""
    if plan.padding == "do_not_pad":
        return columns
    target = plan.padded_length(max((len(row) for row in columns[main]), default=0))
    return {
        name: [_padded(row, target, fill[name], plan) for row in rows] if name in fill else rows
        for name, rows in columns.items()
    }


def _padded(row: list[int], target: int, value: int, plan: Plan) -> list[int]:
    missing = [value] * (target - len(row))
    return row + missing if plan.padding_side == "right" else missing + row


def _gathered(rows: Sequence[Mapping[str, Any]], main: str) -> dict[str, list[Any]]:
    names = list(rows[0]) if rows else [main]
    for number, row in enumerate(rows):
        if set(row) != set(names):
            raise ConfigError(f"Row {number} has the columns {list(row)}, but row 0 has {names}.")
    return {name: [row[name] for row in rows] for name in names}


def _kind(values: Any) -> str | None:
    """Return which tensors hold the values: directly, or one a row."""
    sample = values[0] if isinstance(values, (list, tuple)) and values else values
    if isinstance(sample, np.ndarray):
        return "np"
    return "pt" if hasattr(sample, "detach") else None


def _listed(values: Any) -> list[Any]:
    listed = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(listed, (list, tuple)):
        raise ConfigError(f"A column must be a list or a tensor, but is {type(values).__name__}.")
    return [_row_listed(row) for row in listed]


def _row_listed(row: Any) -> Any:
    if hasattr(row, "tolist"):
        return row.tolist()
    return list(row) if isinstance(row, tuple) else row
