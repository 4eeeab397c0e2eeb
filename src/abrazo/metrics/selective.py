"""Metrics of a classifier whose scores are calibrated and which may decline to answer."""

from collections.abc import Sequence

import numpy as np

from abrazo.metrics.base import Array, Better, FloatArray
from abrazo.metrics.classification import ClassificationMetrics


class SelectiveMetrics(ClassificationMetrics):
    """The metrics of classes over calibrated logits, and how many rows are answered how well.

    `coverage` is the share of rows whose best score reaches the threshold, `answered_accuracy` the
    share of right ones among those (0 where none is answered). All other figures count every row
    by its best class, answered or not.
    """

    def __init__(
        self, labels: Sequence[str], *, temperature: float = 1.0, threshold: float | None = None
    ) -> None:
        """Prepare counts for `labels`.

        Args:
            labels: The names of the classes, in the order of the model's outputs.
            temperature: What logits are divided by.
            threshold: The score from which a row is answered; None answers all.

        Raises:
            ConfigError: There are fewer than two labels, or two with one name.
        """
        self.temperature, self.threshold = temperature, threshold
        super().__init__(labels)

    def update(self, predictions: Array, labels: Array) -> None:
        """Count the rows of one batch, (N, K) logits and (N,) numbers of classes."""
        logits: FloatArray = np.asarray(predictions).astype(np.float64) / self.temperature
        super().update(logits, labels)
        if self.threshold is None:
            return
        truth = np.asarray(labels)
        logits, truth = logits[truth != self.ignore_index], truth[truth != self.ignore_index]
        highest = logits.max(-1, keepdims=True)
        scores = 1 / np.exp(logits - highest).sum(-1)
        is_answered = scores >= self.threshold
        is_right = logits.argmax(-1) == truth
        self._sums["answered"] += [is_answered.sum(), (is_answered & is_right).sum()]

    def compute(self) -> dict[str, float]:
        """Return the figures for all rows so far."""
        if self.threshold is None:
            return super().compute()
        answered, right = (float(count) for count in self._sums["answered"])
        return super().compute() | {
            "coverage": answered / int(self._counts["support"].sum()),
            "answered_accuracy": right / answered if answered else 0.0,
        }

    def reset(self) -> None:
        """Forget all rows."""
        super().reset()
        if self.threshold is not None:
            self._sums["answered"] = np.zeros(2)  # answered, right

    def _directions(self) -> dict[str, Better]:
        more: dict[str, Better] = {"coverage": "higher", "answered_accuracy": "higher"}
        return super()._directions() | ({} if self.threshold is None else more)
