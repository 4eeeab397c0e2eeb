"""Metrics of pairs of texts: how well the cosine goes with a score, or tells two labels apart.

Shapes: N pairs, U scores that differ.
"""

from collections.abc import Mapping
from typing import Self

import numpy as np

from abrazo.errors import DataError
from abrazo.metrics.base import (
    Array,
    FloatArray,
    IntArray,
    Metric,
    State,
    require_fit,
    require_rows,
)
from abrazo.metrics.regression import SPEARMAN_ROWS, RegressionMetrics

FIGURES = ("pearson", "spearman")

_STEPS = 2**20
"""Steps of similarity that are told apart between 0 and 1."""
_PENDING = 2**20
"""Pairs that wait before equal scores are counted together."""


class SimilarityMetrics(RegressionMetrics):
    """Pearson's and Spearman's correlation of cosine and score, which need not be on one scale."""

    def __init__(self, *, spearman_rows: int = SPEARMAN_ROWS) -> None:
        """Keep up to `spearman_rows` pairs for the rank correlation."""
        super().__init__(1, spearman_rows=spearman_rows)
        self.better = dict.fromkeys(FIGURES, "higher")

    def compute(self) -> dict[str, float]:
        """Return both correlations for all pairs so far."""
        figures = super().compute()
        return {name: figures[name] for name in FIGURES}


class PairLabelMetrics(Metric):
    """How well a threshold on the cosine tells pairs that mean the same from those that do not.

    `accuracy` is that of the threshold where it is highest, `accuracy_threshold`; `f1`, `precision`
    and `recall` are those of the threshold where F1 is highest, `f1_threshold`. `ap` is the average
    precision, which needs no threshold. Cosines are rounded to a millionth, so memory is bounded.
    """

    def __init__(self) -> None:
        self.better = dict.fromkeys(("accuracy", "f1", "precision", "recall", "ap"), "higher")
        self.reset()

    def update(self, predictions: Array, labels: Array) -> None:
        """Count the pairs of one batch.

        Args:
            predictions: (N,) or (N, 1) cosines.
            labels: (N,) with 1 where the texts mean the same, else 0.

        Raises:
            DataError: Shapes differ, a cosine is NaN or not from -1 to 1, or a label is not 0 or 1.
        """
        cosines = np.asarray(predictions).astype(np.float64).reshape(-1)
        truth = np.asarray(labels).astype(np.float64).reshape(-1)
        if len(cosines) != len(truth):
            raise DataError(f"{len(cosines)} cosines cannot be compared to {len(truth)} labels.")
        if bad := np.flatnonzero(~(np.abs(cosines) <= 1 + 1e-6)).tolist():
            raise DataError(
                f"Every cosine must be from -1 to 1, but row {bad[0]} is {cosines[bad[0]]}."
            )
        if bad := np.flatnonzero(~np.isin(truth, (0, 1))).tolist():
            raise DataError(f"Every label must be 0 or 1, but row {bad[0]} is {truth[bad[0]]}.")
        marks = truth.astype(np.int64)
        cells = np.rint(cosines * _STEPS).astype(np.int64)
        self._add(np.stack([cells, 1 - marks, marks]))

    def merge(self, other: Self) -> None:
        """Add the pairs that `other` has counted."""
        self._add(other._counts())

    def compute(self) -> dict[str, float]:
        """Return the figures for all pairs so far."""
        cells, negative, positive = self._counts()[:, ::-1]  # the most alike first
        require_rows(len(cells))
        right, wrong = np.cumsum(positive), np.cumsum(negative)  # taken for the same, from there on
        ends = _thresholds(cells / _STEPS)  # (U + 1,), the first above all
        no_pair = np.zeros(1, np.int64)
        right, wrong = np.concatenate([no_pair, right]), np.concatenate([no_pair, wrong])
        rows, positives = right[-1] + wrong[-1], right[-1]
        accuracy = (right + (rows - positives - wrong)) / rows
        precision = right / np.maximum(right + wrong, 1)
        recall = right / max(positives, 1)
        f1 = 2 * right / np.maximum(right + wrong + positives, 1)
        best, best_f1 = int(accuracy.argmax()), int(f1.argmax())
        average = float((np.diff(recall) * precision[1:]).sum()) if positives else float("nan")
        return {
            "accuracy": float(accuracy[best]),
            "accuracy_threshold": float(ends[best]),
            "f1": float(f1[best_f1]),
            "precision": float(precision[best_f1]),
            "recall": float(recall[best_f1]),
            "f1_threshold": float(ends[best_f1]),
            "ap": average,
        }

    def state_dict(self) -> State:
        """Return for each cosine how many pairs of either label have it."""
        return {"counts": self._counts()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the place of what was counted."""
        given = {name: array[:, :0] for name, array in state.items()}
        require_fit({"counts": np.empty((3, 0))}, given)
        self.reset()
        self._add(state["counts"].astype(np.int64))

    def reset(self) -> None:
        """Forget all pairs."""
        self._parts: list[IntArray] = [np.empty((3, 0), np.int64)]
        self._pending = 0

    def _add(self, counts: IntArray) -> None:
        """Add (3, n) cosines in steps, and how many pairs of label 0 and of label 1 have each."""
        self._parts.append(counts)
        self._pending += counts.shape[1]
        if self._pending > _PENDING:
            self._counts()

    def _counts(self) -> IntArray:
        """Return (3, U) counts by cosine, ascending."""
        if len(self._parts) > 1:
            cells, *marks = np.concatenate(self._parts, axis=1)
            different, place = np.unique(cells, return_inverse=True)
            summed = [np.bincount(place, mark, len(different)).astype(np.int64) for mark in marks]
            self._parts, self._pending = [np.stack([different, *summed])], 0
        return self._parts[0]


def _thresholds(cosines: FloatArray) -> FloatArray:
    """Return thresholds that let through none, one, two, ... of (U,) falling cosines, (U + 1,)."""
    between = (cosines[:-1] + cosines[1:]) / 2
    step = 1 / _STEPS
    return np.concatenate([[cosines[0] + step], between, [cosines[-1] - step]])
