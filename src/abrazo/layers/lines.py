"""Rows side by side in lines of few widths, as attention on CPUs likes them.

Vector units take 32 numbers at once, and what is left over costs many times as much: measured on a
core with AMX, bf16, 12 heads of 32, attention over rows of 31 tokens takes 2.7 µs a token without
gradients and 8.4 with them, over rows of 32 it takes 1.0 and 4.2. So lines have widths that are
multiples of 32, and rows are put together in them until they are full; a mask keeps rows apart.

Shapes: N lines, L their width.
"""

import dataclasses
from bisect import bisect_left, insort

import numpy as np

WIDTH_STEP = 32
"""Widths of lines are multiples of this."""


@dataclasses.dataclass
class Shelf:
    """Lines of one width, and what stands in them."""

    width: int
    """L."""
    num_lines: int = 0
    """N."""
    rows: list[int] = dataclasses.field(default_factory=list)
    """Which rows stand here."""
    starts: list[int] = dataclasses.field(default_factory=list)
    """Where each of them begins, counted from the start of the first line."""


def fill_lines(lengths: np.ndarray, cost: int) -> list[Shelf]:
    """Put rows of the given lengths into lines.

    The longest come first, and each goes where it leaves the least room; where there is no room, it
    begins a line.

    Args:
        lengths: Tokens of each row.
        cost: Over how many pairs of tokens attention costs as much as a shelf of its own.
    """
    shelves: list[Shelf] = []
    left = int(lengths.sum())
    room: list[tuple[int, int, int]] = []  # what is free at the end of a line, ascending
    for row in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[row])
        width = -(-length // WIDTH_STEP) * WIDTH_STEP
        place = bisect_left(room, (length, 0, 0))
        if place < len(room):
            free, number, start = room.pop(place)
        else:
            if not shelves or left * (shelves[-1].width - width) > cost:
                shelves.append(Shelf(width))
            number, free = len(shelves) - 1, shelves[-1].width
            start = shelves[-1].num_lines * free
            shelves[-1].num_lines += 1
        shelves[number].rows.append(row)
        shelves[number].starts.append(start)
        if free > length:
            insort(room, (free - length, number, start + length))
        left -= length
    return shelves
