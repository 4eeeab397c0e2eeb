"""How well hidden words are guessed, and whether sentences follow each other.

Shapes: N rows.
"""

from collections.abc import Mapping
from typing import Self

import numpy as np

from abrazo.metrics.base import Array, FloatArray, Metric, State, require_fit

COUNTS = ("loss", "right", "words")
"""What is known of a row: the sum of its words' losses, the words guessed, the hidden words."""
PAIR_COUNTS = (*COUNTS, "pair_loss", "right_pairs", "pairs")
"""The same where rows are pairs of sentences too."""


class MaskedWordMetrics(Metric):
    """The share of hidden words that are guessed, and the perplexity: exp of their mean loss.

    Both are NaN where no word was hidden.
    """

    names: tuple[str, ...] = COUNTS
    """What is counted, one column of the predictions each."""

    def __init__(self) -> None:
        self.better = {"masked_accuracy": "higher", "perplexity": "lower"}
        self.counts: FloatArray
        self.reset()

    def update(self, predictions: Array, labels: Array) -> None:
        """Add up (N, counts) rows of `names`; labels are not looked at."""
        self.counts += np.asarray(predictions, dtype=np.float64).sum(0)

    def merge(self, other: Self) -> None:
        """Add what `other` has counted."""
        self.counts += other.counts

    def compute(self) -> dict[str, float]:
        """Return accuracy and perplexity."""
        loss, accuracy = self._means(0)
        with np.errstate(over="ignore"):
            perplexity = float(np.exp(np.float64(loss)))
        return {"masked_accuracy": accuracy, "perplexity": perplexity}

    def _means(self, first: int) -> tuple[float, float]:
        """Return mean loss and share of right ones, of three neighbouring counts."""
        loss, right, count = self.counts[first : first + 3].tolist()
        return (loss / count, right / count) if count else (float("nan"), float("nan"))

    def state_dict(self) -> State:
        """Return the counts."""
        return {"counts": self.counts.copy()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the place of the counts."""
        require_fit({"counts": self.counts}, state)
        self.counts = np.asarray(state["counts"], dtype=np.float64).copy()

    def reset(self) -> None:
        """Forget all rows."""
        self.counts = np.zeros(len(self.names), dtype=np.float64)


class PretrainingMetrics(MaskedWordMetrics):
    """Hidden words, and whether the second text follows the first."""

    names = PAIR_COUNTS

    def __init__(self) -> None:
        super().__init__()
        self.better = {**self.better, "next_sentence_accuracy": "higher"}

    def compute(self) -> dict[str, float]:
        """Return the figures of words and pairs, and `loss`, the sum of the two mean losses."""
        words, pairs = self._means(0), self._means(3)
        figures = {**super().compute(), "next_sentence_accuracy": pairs[1]}
        return {"loss": float(np.nansum([words[0], pairs[0]])), **figures}
