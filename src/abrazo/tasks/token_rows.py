"""Rows that are tokens already, as `TextDataset` and collators give them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from abrazo.data.collate import token_values
from abrazo.errors import DataError

TOKEN_COLUMNS = ("input_ids", "token_type_ids", "attention_mask", "labels")


def token_columns(
    row: Mapping[str, Any], number: int, origin: Callable[[int], str]
) -> dict[str, np.ndarray]:
    """Return the columns of tokens that a row has, without padding, (n,) int32 each.

    Raises:
        DataError: A column holds something else, or they differ in length; the row is named.
    """
    try:
        columns = {
            name: token_values(name, row[name]).astype(np.int32)
            for name in TOKEN_COLUMNS
            if row.get(name) is not None
        }
        ids = columns["input_ids"]
        wrong = [name for name, values in columns.items() if len(values) != len(ids)]
        if wrong or not len(ids):
            raise DataError(
                f"`{wrong[0]}` and `input_ids` must be equally long."
                if wrong
                else "`input_ids` is empty."
            )
    except (DataError, KeyError) as error:
        raise DataError(f"{origin(number)}: {error}") from error
    kept = columns.pop("attention_mask", np.ones_like(ids)) != 0
    return {name: values[kept] for name, values in columns.items()}
