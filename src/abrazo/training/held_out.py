"""Rows to train on and rows to evaluate on, told apart or drawn from the same."""

import logging
from pathlib import Path

import numpy as np

from abrazo.data.dataset import DatasetDict
from abrazo.data.loading import load_dataset
from abrazo.data.rows import Indices, Row, RowSource, as_rows
from abrazo.data.sampling import epoch_order
from abrazo.errors import DataError

logger = logging.getLogger("abrazo")

HELD_OUT = 0.1
"""Share of the rows that evaluation gets when there is no evaluation data."""
FEWEST_TO_SPLIT = 20
"""With fewer rows than this, nothing is held out."""

_SPLITS = ("validation", "dev", "eval", "test")


def rows_of(data: object) -> tuple[RowSource, RowSource | None]:
    """Return rows to train on and, where the data comes in splits, rows to evaluate on."""
    data = _loaded(data)
    if isinstance(data, DatasetDict):
        held_out = next((data[name] for name in _SPLITS if name in data), None)
        return as_rows(data["train"]), None if held_out is None else as_rows(held_out)
    return as_rows(data), None


def rows_to_evaluate(data: object) -> RowSource:
    """Return the rows of what is given to evaluate on; of splits, those that are held out.

    Raises:
        DataError: There are splits, but none of a known name.
    """
    data = _loaded(data)
    if not isinstance(data, DatasetDict):
        return as_rows(data)
    known = (*_SPLITS, "train")
    name = next((name for name in known if name in data), None)
    if name is None:
        raise DataError(
            f"The data to evaluate on has the splits {', '.join(f'`{one}`' for one in data)}, but "
            f"none of {', '.join(f'`{one}`' for one in known)}. Give one of them: "
            f"`data[{next(iter(data), 'NAME')!r}]`."
        )
    return as_rows(data[name])


def _loaded(data: object) -> object:
    return load_dataset(data) if isinstance(data, str | Path) else data


def hold_out(
    source: RowSource, seed: int, *, data: str = "`eval_data`"
) -> tuple[RowSource, RowSource | None]:
    """Split rows at random, the same way for the same seed.

    Args:
        source: All rows.
        seed: Decides which are held out.
        data: What the user could have given, for messages.
    """
    if len(source) < FEWEST_TO_SPLIT:
        logger.warning(
            "There are only %d rows, so none are held out and nothing is evaluated. Give %s to see "
            "how good the model is.",
            len(source),
            data,
        )
        return source, None
    order = epoch_order(len(source), seed, 0)
    count = round(HELD_OUT * len(source))
    logger.warning(
        "No %s is given: %d of %d rows, drawn at random, are held out for evaluation.",
        data,
        count,
        len(source),
    )
    return RowSelection(source, np.sort(order[count:])), RowSelection(
        source, np.sort(order[:count])
    )


class RowSelection:
    """Some rows of a source; each keeps the name of where it came from."""

    def __init__(self, source: RowSource, numbers: np.ndarray) -> None:
        """Select rows.

        Args:
            source: All rows.
            numbers: (rows,) which ones, in order.
        """
        self.source, self.numbers = source, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""
        return self.source.column_names

    def rows(self, indices: Indices) -> list[Row]:
        """Return the rows at `indices`, a dict each."""
        return self.source.rows([int(self.numbers[int(index)]) for index in indices])

    def origin(self, row: int) -> str:
        """Say where a row came from."""
        return self.source.origin(int(self.numbers[row]))
