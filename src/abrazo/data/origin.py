"""Where each row came from, so that an error can say "train.csv, row 17"."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Origins:
    """Maps the rows of a table to the files they were read from.

    The rows of all sources are numbered through, source after source; `index` says which of these
    numbers each row of the table has, and is `None` while that is simply 0, 1, 2, ...
    """

    names: tuple[str, ...]
    """One name for each source; empty for data that came from memory."""
    starts: NDArray[np.int64]
    """The number of each source's first row (sources,)."""
    num_rows: int
    """Rows of all sources."""
    index: NDArray[np.int64] | None = None
    """The number of each row of the table (rows,)."""

    @classmethod
    def of(cls, *sources: tuple[str, int]) -> Self:
        """Build from (name, number of rows) pairs, in the order of the table."""
        ends = np.cumsum([0, *(count for _, count in sources)], dtype=np.int64)
        return cls(tuple(name for name, _ in sources), ends[:-1], int(ends[-1]))

    @classmethod
    def joined(cls, parts: Sequence["Origins"]) -> Self:
        """Return the origins of several tables put one after the other."""
        offsets = np.cumsum([0, *(part.num_rows for part in parts)], dtype=np.int64)
        names = tuple(name for part in parts for name in part.names)
        shifted = [part.starts + offset for part, offset in zip(parts, offsets, strict=False)]
        starts = np.concatenate(shifted) if shifted else np.zeros(0, dtype=np.int64)
        if all(part.index is None for part in parts):
            return cls(names, starts, int(offsets[-1]))
        numbers = [
            (np.arange(part.num_rows) if part.index is None else part.index) + offset
            for part, offset in zip(parts, offsets, strict=False)
        ]
        return cls(names, starts, int(offsets[-1]), np.concatenate(numbers))

    def take(self, rows: NDArray[np.int64]) -> "Origins":
        """Return the origins of some of the table's rows."""
        index = rows if self.index is None else self.index[rows]
        return Origins(self.names, self.starts, self.num_rows, index)

    def describe(self, row: int) -> str:
        """Say where a row of the table came from; rows of a file count from 1."""
        number = row if self.index is None else int(self.index[row])
        source = int(np.searchsorted(self.starts, number, side="right")) - 1
        place = f"row {number - int(self.starts[source]) + 1}"
        return f"{self.names[source]}, {place}" if self.names[source] else place
