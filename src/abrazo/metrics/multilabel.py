"""Metrics of rows that can have any number of labels at once.

What is undefined because nothing was predicted or nothing was there to find is 0.

Shapes: N rows, K labels.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Self

import numpy as np

from abrazo.errors import ConfigError, DataError, one_of
from abrazo.metrics.base import Array, IntArray, Metric, State, part_of, require_fit, require_rows
from abrazo.metrics.classification import (
    MOST_CLASSES,
    Average,
    ClassificationDetails,
    averages_of,
    checked_labels,
    checked_scores,
    class_figures,
)
from abrazo.metrics.ranking import RankingCounts


class MultiLabelMetrics(Metric):
    """Subset accuracy, precision, recall, F1, Hamming loss and ROC area.

    Macro averages are over all labels, as scikit-learn has it for several labels; `auc` is the
    mean over the labels for which it is defined, and NaN if there are none.
    """

    _counts: dict[str, IntArray]
    _ranking: RankingCounts

    def __init__(
        self,
        labels: Sequence[str],
        threshold: float = 0.5,
        *,
        predictions: Literal["logits", "probabilities"] = "logits",
    ) -> None:
        """Prepare counts for `labels`.

        Args:
            labels: The K names, in the order of the model's outputs.
            threshold: A label is predicted if its probability is at least this.
            predictions: What `update` will be given.

        Raises:
            ConfigError: A label comes twice, or the threshold is not between 0 and 1.
        """
        self.labels = checked_labels(labels, least=1)
        if not 0 < threshold < 1:
            raise ConfigError(f"`threshold` must be between 0 and 1, but is {threshold}.")
        if predictions not in ("logits", "probabilities"):
            choices = ("logits", "probabilities")
            raise ConfigError(one_of("`predictions`", predictions, choices))
        self.threshold = threshold
        self.predictions: Literal["logits", "probabilities"] = predictions
        self.better = {
            "subset_accuracy": "higher",
            "macro_precision": "higher",
            "macro_recall": "higher",
            "macro_f1": "higher",
            "micro_precision": "higher",
            "micro_recall": "higher",
            "micro_f1": "higher",
            "hamming_loss": "lower",
        }
        if len(self.labels) <= MOST_CLASSES:
            self.better["auc"] = "higher"
        self.reset()

    def update(self, predictions: Array, labels: Array) -> None:
        """Count the rows of one batch.

        Args:
            predictions: (N, K) logits or probabilities.
            labels: (N, K) 1 where the row has the label, else 0.

        Raises:
            DataError: Shapes differ, a label is neither 0 nor 1, or a prediction is not a number.
        """
        given, truth = np.asarray(predictions), np.asarray(labels)
        self._require_shapes(given, truth)
        scores = checked_scores(given, self.predictions, sums_to_one=False)
        if self.predictions == "logits":
            log_odds = scores
        else:
            log_odds = scores - checked_scores(1 - given, "probabilities", sums_to_one=False)
        has = truth == 1
        chosen = log_odds >= np.log(self.threshold / (1 - self.threshold))
        self._counts["support"] += has.sum(0)
        self._counts["predicted"] += chosen.sum(0)
        self._counts["hits"] += (chosen & has).sum(0)
        self._counts["rows"] += len(has)
        self._counts["rows_right"] += (chosen == has).all(-1).sum()
        if "auc" in self.better:
            self._ranking.update(log_odds, has)

    def merge(self, other: Self) -> None:
        """Add what `other` has counted; a `ConfigError` unless both were made alike."""
        mine = (self.labels, self.threshold, self.predictions)
        if (other.labels, other.threshold, other.predictions) != mine:
            raise ConfigError("Metrics can be merged only with the same labels and threshold.")
        for name, counts in other._counts.items():
            self._counts[name] += counts
        self._ranking.merge(other._ranking)

    def compute(self) -> dict[str, float]:
        """Return the figures for all rows so far."""
        counts = self._counts
        rows = int(counts["rows"])
        require_rows(rows)
        macro, micro, _ = self._averages()
        wrong = (counts["predicted"] + counts["support"] - 2 * counts["hits"]).sum()
        areas = self._ranking.areas()[0]
        defined = ~np.isnan(areas)
        figures = {
            "subset_accuracy": float(counts["rows_right"]) / rows,
            "macro_precision": macro.precision,
            "macro_recall": macro.recall,
            "macro_f1": macro.f1,
            "micro_precision": micro.precision,
            "micro_recall": micro.recall,
            "micro_f1": micro.f1,
            "hamming_loss": float(wrong) / (rows * len(self.labels)),
            "auc": float(areas[defined].mean()) if defined.any() else float("nan"),
        }
        return {key: figures[key] for key in self.better}

    def details(self) -> ClassificationDetails:
        """Return figures per label and averages; there is no confusion matrix of several labels."""
        counts = self._counts
        areas, errors = self._ranking.areas()
        aucs = areas.tolist() if "auc" in self.better else [None] * len(self.labels)
        hits, predicted, support = counts["hits"], counts["predicted"], counts["support"]
        return ClassificationDetails(
            labels=self.labels,
            classes=class_figures(self.labels, hits, predicted, support, aucs),
            averages=self._averages(),
            confusion=None,
            calibration=(),
            auc_error=float(errors.mean()),
        )

    def state_dict(self) -> State:
        """Return the counts."""
        ranking = {f"ranking.{k}": array for k, array in self._ranking.state_dict().items()}
        return {**{name: counts.copy() for name, counts in self._counts.items()}, **ranking}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the place of the counts."""
        counts = {name: array for name, array in state.items() if not name.startswith("ranking.")}
        require_fit(self._counts, counts)
        self._counts = {name: array.astype(np.int64) for name, array in counts.items()}
        self._ranking.load_state_dict(part_of(state, "ranking."))

    def reset(self) -> None:
        """Forget all rows."""
        size = len(self.labels)
        self._counts = {
            "support": np.zeros(size, np.int64),
            "predicted": np.zeros(size, np.int64),
            "hits": np.zeros(size, np.int64),
            "rows": np.zeros((), np.int64),
            "rows_right": np.zeros((), np.int64),
        }
        self._ranking = RankingCounts(size)

    def _averages(self) -> tuple[Average, Average, Average]:
        counts = self._counts
        everyone = np.ones(len(self.labels), np.bool_)
        return averages_of(counts["hits"], counts["predicted"], counts["support"], everyone)

    def _require_shapes(self, predictions: Array, labels: Array) -> None:
        expected = (len(labels), len(self.labels))
        if labels.shape != expected or predictions.shape != expected:
            raise DataError(
                f"Predictions and labels must be of shape (rows, {len(self.labels)}), but are of "
                f"shapes {predictions.shape} and {labels.shape}."
            )
        wrong = (labels != 0) & (labels != 1)
        if wrong.any():
            raise DataError(f"Every label must be 0 or 1, but one is {labels[wrong][0]}.")
