"""What metrics of generated texts share: rows of texts, and sums over them that can be merged.

Shapes: N rows.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from abrazo.errors import DataError
from abrazo.metrics.base import Array, FloatArray, Metric, State, require_fit, require_rows


class TextMetric(Metric):
    """A metric that is figured out from sums of counts, some for each row."""

    sums: FloatArray
    """What all rows add up to; the first entry is their number."""
    row_figure: ClassVar[str] = ""
    """The figure that says something of a single row too; empty where all only say it of many."""

    def __init__(self, width: int) -> None:
        """Keep the number of rows and `width` sums."""
        self._width = width + 1
        self.reset()

    @abstractmethod
    def count(self, given: str, right: Sequence[str]) -> Sequence[float]:
        """Return what a generated text adds to the sums, compared with one or more right ones."""

    @abstractmethod
    def figures(self, sums: Sequence[float], rows: int) -> dict[str, float]:
        """Return the figures that sums over a number of rows come to."""

    def score(self, given: str, right: Sequence[str]) -> float:
        """Return `row_figure` of one generated text, compared with one or more right ones."""
        return self.figures(self.count(given, right), 1)[self.row_figure]

    def update(self, predictions: Array, labels: Array) -> None:
        """Count the rows of one batch.

        Args:
            predictions: (N,) generated texts.
            labels: (N,) for each the right text, or a list of right ones.

        Raises:
            DataError: There are more or fewer labels than predictions, a row is no text, or it has
                no right text.
        """
        if len(predictions) != len(labels):
            raise DataError(
                f"{len(predictions)} predictions need as many labels, not {len(labels)}."
            )
        for given, label in zip(predictions, labels, strict=True):
            right = [label] if isinstance(label, str) else list(label) if label is not None else []
            if not right or not all(isinstance(text, str) for text in (given, *right)):
                raise DataError(
                    "Generated texts are compared with a text or a list of texts, but one is "
                    f"{given!r:.60} with the label {label!r:.60}."
                )
            self.sums += [1, *self.count(str(given), [str(text) for text in right])]

    def merge(self, other: Self) -> None:
        """Add what `other` has counted."""
        self.sums += other.sums

    def compute(self) -> dict[str, float]:
        """Return the figures for all rows so far."""
        rows, *sums = self.sums.tolist()
        require_rows(int(rows))
        return self.figures(sums, int(rows))

    def state_dict(self) -> State:
        """Return the sums."""
        return {"sums": self.sums.copy()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the place of the sums."""
        require_fit({"sums": self.sums}, state)
        self.sums = np.asarray(state["sums"], dtype=np.float64).copy()

    def reset(self) -> None:
        """Forget all rows."""
        self.sums = np.zeros(self._width)


class ExactMatchMetrics(TextMetric):
    """The share of rows that are exactly right, spaces at both ends aside."""

    row_figure = "exact_match"

    def __init__(self) -> None:
        self.better = {"exact_match": "higher"}
        super().__init__(1)

    def count(self, given: str, right: Sequence[str]) -> Sequence[float]:
        """Return whether a text is one of the right ones."""
        return [float(any(given.strip() == text.strip() for text in right))]

    def figures(self, sums: Sequence[float], rows: int) -> dict[str, float]:
        """Return the share."""
        return {"exact_match": sums[0] / rows}
