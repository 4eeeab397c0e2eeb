"""Which rows go where when a dataset is split in two."""

import math

import numpy as np
from numpy.typing import NDArray

from abrazo.data.sampling import Indices, epoch_order
from abrazo.errors import ConfigError, DataError


def split_rows(
    num_rows: int,
    test_size: float | int,
    seed: int,
    *,
    shuffle: bool = True,
    classes: NDArray[np.int64] | None = None,
) -> tuple[Indices, Indices]:
    """Return the row numbers for training and for testing.

    Args:
        num_rows: How many rows there are.
        test_size: A share between 0 and 1, rounded up to whole rows, or a count of rows.
        seed: Decides which rows.
        shuffle: Whether rows are drawn at random; else the last ones are for testing.
        classes: A class number for each row; each class gets the same share on both sides.
    """
    num_test = _num_test(num_rows, test_size)
    if classes is not None and not shuffle:
        raise ConfigError("`stratify_by_column` draws rows at random; leave `shuffle` on.")
    order = epoch_order(num_rows, seed, 0, shuffle=shuffle)
    if classes is None:
        # The last rows when in order; when shuffled, any will do.
        return order[: num_rows - num_test], order[num_rows - num_test :]
    quotas = _quotas(np.bincount(classes), num_test)
    is_test = np.zeros(num_rows, dtype=bool)
    for number, quota in enumerate(quotas):
        is_test[order[classes[order] == number][:quota]] = True
    in_test = is_test[order]
    return order[~in_test], order[in_test]


def _num_test(num_rows: int, test_size: float | int) -> int:
    if isinstance(test_size, int) and not isinstance(test_size, bool):
        num_test = test_size
    elif isinstance(test_size, float) and 0 < test_size < 1:
        num_test = math.ceil(test_size * num_rows)
    else:
        raise ConfigError(
            "`test_size` must be a share between 0 and 1, such as 0.2, or a count of rows, "
            f"but is {test_size!r}."
        )
    if not 0 < num_test < num_rows:
        raise DataError(
            f"`test_size` {test_size} makes {num_test} test rows of {num_rows}; "
            "both sides need at least one row."
        )
    return num_test


def _quotas(sizes: NDArray[np.int64], num_test: int) -> NDArray[np.int64]:
    """Share the test rows out over the classes by their sizes, by largest remainder."""
    num_rows, num_classes = int(sizes.sum()), len(sizes)
    if sizes.min() < 2 or num_test < num_classes or num_rows - num_test < num_classes:
        raise DataError(
            f"A stratified split puts every value on both sides, but of {num_classes} values the "
            f"rarest has {sizes.min()} rows, and there are {num_test} test rows and "
            f"{num_rows - num_test} others. Split without `stratify_by_column`, change "
            "`test_size`, or filter out rare values."
        )
    exact = sizes * num_test / num_rows
    quotas = np.floor(exact).astype(np.int64)
    largest = np.argsort(quotas - exact, kind="stable")
    quotas[largest[: num_test - int(quotas.sum())]] += 1
    return quotas
