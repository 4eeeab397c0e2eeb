"""Areas under ROC curves, in constant memory.

Scores are kept as they are while there are few, so the areas are exact; beyond that they are
counted on a fine grid. Scores that share a cell of the grid count as ties, as equal scores do, so
an area is off by at most half the share of (positive, negative) pairs that share a cell.

Shapes: N rows, C columns of scores (one for two classes, else one per class).
"""

from collections.abc import Mapping

import numpy as np

from abrazo.metrics.base import Array, BoolArray, FloatArray, IntArray, State

EXACT_SCORES = 2**20
"""So many scores are kept as they are: a million rows of two classes, 13,600 of 77."""

_GRID_CELLS = 2**20
_MOST_CELLS = 2**16
_FINEST = 0.01  # log-odds below this are told apart absolutely, above it relatively
_FARTHEST = 1000.0  # log-odds beyond this are one cell


class RankingCounts:
    """How scores of positive and negative rows lie among each other, for C columns."""

    _grid: IntArray | None  # (2, C, cells): negative rows, then positive ones

    def __init__(self, columns: int, *, exact_scores: int = EXACT_SCORES) -> None:
        self.columns = columns
        self.exact_scores = exact_scores
        self.cells = min(_MOST_CELLS, max(2, _GRID_CELLS // columns))
        self.reset()

    def update(self, scores: FloatArray, positive: BoolArray) -> None:
        """Count rows.

        Args:
            scores: (N, C) log-odds, not NaN.
            positive: (N, C) whether the row is of the column's class.
        """
        if self._grid is None and self._held + scores.size <= self.exact_scores:
            self._scores.append(scores)
            self._positive.append(positive)
            self._held += scores.size
        else:
            self._add_to_grid(scores, positive)

    def merge(self, other: "RankingCounts") -> None:
        """Add what `other` has counted."""
        for scores, positive in zip(other._scores, other._positive, strict=True):
            self.update(scores, positive)
        if other._grid is not None:
            grid = self._spilled_grid()
            grid += other._grid

    def areas(self) -> tuple[FloatArray, FloatArray]:
        """Return two (C,) arrays: the areas, and how far off each may be.

        An area is NaN where all rows are positive or all are negative. The second is 0 while all
        scores are kept.
        """
        if self._grid is not None:
            pairs = [_area(*column) for column in self._grid.swapaxes(0, 1)]
            return np.array([area for area, _ in pairs]), np.array([off for _, off in pairs])
        scores, positive = self._rows()
        exact = [_exact_area(*column) for column in zip(scores.T, positive.T, strict=True)]
        return np.array(exact), np.zeros(self.columns)

    def state_dict(self) -> State:
        """Return the scores kept and the grid, which is empty while all scores are kept."""
        scores, positive = self._rows()
        grid = np.zeros((2, self.columns, 0), np.int64) if self._grid is None else self._grid.copy()
        return {"scores": scores, "positive": positive, "grid": grid}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the place of what was counted."""
        self.reset()
        if state["grid"].size:
            self._grid = state["grid"].astype(np.int64)
        elif state["scores"].size:
            self.update(state["scores"].astype(np.float64), state["positive"].astype(np.bool_))

    def reset(self) -> None:
        """Forget all rows."""
        self._scores: list[FloatArray] = []
        self._positive: list[BoolArray] = []
        self._held = 0
        self._grid = None

    def _rows(self) -> tuple[FloatArray, BoolArray]:
        nothing = (0, self.columns)
        return (
            np.concatenate([np.empty(nothing), *self._scores]),
            np.concatenate([np.empty(nothing, np.bool_), *self._positive]),
        )

    def _spilled_grid(self) -> IntArray:
        """Return the grid, after moving all scores kept onto it."""
        if self._grid is None:
            self._grid = np.zeros((2, self.columns, self.cells), np.int64)
            kept = list(zip(self._scores, self._positive, strict=True))
            self._scores, self._positive, self._held = [], [], 0
            for scores, positive in kept:
                self._add_to_grid(scores, positive)
        return self._grid

    def _add_to_grid(self, scores: FloatArray, positive: BoolArray) -> None:
        grid = self._spilled_grid()
        near = np.clip(scores, -_FARTHEST, _FARTHEST)
        place = np.arcsinh(near / _FINEST) / np.arcsinh(_FARTHEST / _FINEST)  # in [-1, 1]
        cell = np.minimum(((place + 1) / 2 * self.cells).astype(np.int64), self.cells - 1)
        np.add.at(grid, (positive.astype(np.int64), np.arange(self.columns), cell), 1)


def _exact_area(scores: FloatArray, positive: BoolArray) -> float:
    """Return the area under the curve of one column, equal scores counting half."""
    _, cell = np.unique(scores, return_inverse=True)
    return _area(np.bincount(cell[~positive]), np.bincount(cell[positive]))[0]


def _area(negative: IntArray, positive: IntArray) -> tuple[float, float]:
    """Return the area and its greatest error from counts per cell, in ascending order of score."""
    size = max(len(negative), len(positive))
    below = np.zeros(size)
    above = np.zeros(size)
    below[: len(negative)] = negative
    above[: len(positive)] = positive
    pairs = below.sum() * above.sum()
    if not pairs:
        return float("nan"), 0.0
    ties = float((above * below).sum() / pairs)
    wins = float((above * (np.cumsum(below) - below)).sum() / pairs)
    return wins + ties / 2, ties / 2
