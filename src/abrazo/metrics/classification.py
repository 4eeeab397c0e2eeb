"""Metrics of rows that belong to one of several classes.

What is undefined because nothing was predicted or nothing was there to find is 0, as scikit-learn
has it with `zero_division=0`; the area under the ROC curve is NaN where it is undefined.

Shapes: N rows, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Self, TypeAlias

import numpy as np

from abrazo.errors import ConfigError, DataError, one_of
from abrazo.metrics.base import (
    Array,
    Better,
    FloatArray,
    IntArray,
    Metric,
    State,
    part_of,
    require_fit,
    require_rows,
)
from abrazo.metrics.ranking import RankingCounts

PredictionKind: TypeAlias = Literal["logits", "probabilities", "classes"]

MOST_CLASSES = 1000
"""With more classes than this there is neither confusion matrix nor area under the ROC curve."""

_CALIBRATION_BINS = 15
_NOT_A_SUM = 1e-2  # half precision rounds the sum of many probabilities that far


@dataclass(frozen=True)
class ClassFigures:
    """One class against all others."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    """Rows that are of this class."""
    predicted: int
    """Rows that were taken for this class."""
    auc: float | None
    """Area under the ROC curve; None if not counted, NaN if all rows or none are of the class."""


@dataclass(frozen=True)
class Average:
    """Precision, recall and F1 over all classes, averaged in one of the usual ways."""

    name: str
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class CalibrationBin:
    """The rows whose predicted class was given a probability within one fifteenth."""

    rows: int
    confidence: float
    """Mean probability of the predicted class; 0 without rows."""
    accuracy: float
    """Share of rows predicted right; 0 without rows."""


@dataclass(frozen=True)
class ClassificationDetails:
    """What lies behind the figures."""

    labels: tuple[str, ...]
    classes: tuple[ClassFigures, ...]
    averages: tuple[Average, ...]
    confusion: tuple[tuple[int, ...], ...] | None
    """Rows by true class (first index) and predicted class; None if not counted."""
    calibration: tuple[CalibrationBin, ...]
    """Empty if the predictions had no probabilities."""
    auc_error: float
    """How far the area under the ROC curve may be off at most; 0 while it is exact."""

    def to_dict(self) -> dict[str, object]:
        """Return plain values, fit for JSON."""
        return asdict(self)


class ClassificationMetrics(Metric):
    """Accuracy, precision, recall, F1, Matthews correlation, ROC area, log loss, calibration.

    Macro averages are over the classes that occur among the labels or the predictions, as in
    scikit-learn. `auc` is that of the second class where there are two, else the mean over all
    classes, each against the rest; it is exact for up to `EXACT_SCORES` scores and else within
    `details().auc_error`. `calibration_error` is the expected calibration error in 15 bins
    (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2).
    """

    _counts: dict[str, IntArray]
    _sums: dict[str, FloatArray]
    _ranking: RankingCounts

    def __init__(
        self,
        labels: Sequence[str],
        *,
        predictions: PredictionKind = "logits",
        ignore_index: int = -100,
    ) -> None:
        """Prepare counts for `labels`.

        Args:
            labels: The K names of the classes, in the order of the model's outputs.
            predictions: What `update` will be given: logits or probabilities (N, K), or the
                numbers of classes (N,), for which no probabilities are known.
            ignore_index: Rows with this label are left out.

        Raises:
            ConfigError: There are fewer than two labels, or two with one name.
        """
        self.labels = checked_labels(labels)
        if predictions not in ("logits", "probabilities", "classes"):
            choices = ("logits", "probabilities", "classes")
            raise ConfigError(one_of("`predictions`", predictions, choices))
        self.predictions: PredictionKind = predictions
        self.ignore_index = ignore_index
        self._has_scores = predictions != "classes"
        self._has_pairs = len(self.labels) <= MOST_CLASSES
        self.better = self._directions()
        self.reset()

    def update(self, predictions: Array, labels: Array) -> None:
        """Count the rows of one batch.

        Args:
            predictions: (..., K) logits or probabilities, or (...) numbers of classes.
            labels: (...) numbers of the true classes.

        Raises:
            DataError: Shapes differ, a label is out of range, or a prediction is not a number.
        """
        rows, truth = self._flat_rows(np.asarray(predictions), np.asarray(labels))
        if not len(truth):
            return
        if not self._has_scores:
            self._count(self._checked_classes("prediction", rows), truth)
            return
        logits = checked_scores(rows, self.predictions)
        probabilities, log_normalizer = _softmax(logits)
        chosen = logits.argmax(-1)
        self._count(chosen, truth)
        row = np.arange(len(truth))
        losses = log_normalizer - logits[row, truth]
        self._sums["log_loss"] += losses.sum()
        self._count_calibration(probabilities[row, chosen], chosen == truth)
        if self._has_pairs:
            self._count_ranking(logits, truth)

    def merge(self, other: Self) -> None:
        """Add what `other` has counted; a `ConfigError` unless both were made alike."""
        if (other.labels, other.predictions) != (self.labels, self.predictions):
            raise ConfigError("Metrics can be merged only if they have the same labels and kind.")
        for name, counts in other._counts.items():
            self._counts[name] += counts
        for name, sums in other._sums.items():
            self._sums[name] += sums
        self._ranking.merge(other._ranking)

    def compute(self) -> dict[str, float]:
        """Return the figures for all rows so far."""
        support, predicted, hits = (self._counts[name] for name in ("support", "predicted", "hits"))
        rows = int(support.sum())
        require_rows(rows)
        macro, micro, weighted = averages_of(hits, predicted, support, (support + predicted) > 0)
        figures = {
            "accuracy": float(hits.sum()) / rows,
            "macro_precision": macro.precision,
            "macro_recall": macro.recall,
            "macro_f1": macro.f1,
            "micro_f1": micro.f1,
            "weighted_f1": weighted.f1,
            "matthews_correlation": _matthews_correlation(hits, predicted, support),
            "auc": self._auc()[0],
            "log_loss": float(self._sums["log_loss"]) / rows,
            "calibration_error": sum(
                each.rows * abs(each.confidence - each.accuracy) for each in self._calibration()
            )
            / rows,
        }
        return {key: figures[key] for key in self.better if key in figures}

    def details(self) -> ClassificationDetails:
        """Return figures per class, averages, confusion matrix and calibration."""
        support, predicted, hits = (self._counts[name] for name in ("support", "predicted", "hits"))
        confusion = self._counts.get("confusion")
        return ClassificationDetails(
            labels=self.labels,
            classes=class_figures(self.labels, hits, predicted, support, self._class_aucs()),
            averages=averages_of(hits, predicted, support, (support + predicted) > 0),
            confusion=None if confusion is None else tuple(map(tuple, confusion.tolist())),
            calibration=self._calibration() if self._has_scores else (),
            auc_error=self._auc()[1],
        )

    def state_dict(self) -> State:
        """Return the counts."""
        ranking = {f"ranking.{k}": array for k, array in self._ranking.state_dict().items()}
        counted: State = {**self._counts, **self._sums}
        return {**{name: array.copy() for name, array in counted.items()}, **ranking}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the place of the counts."""
        counted = {name: array for name, array in state.items() if not name.startswith("ranking.")}
        require_fit({**self._counts, **self._sums}, counted)
        self._counts = {name: counted[name].astype(np.int64) for name in self._counts}
        self._sums = {name: counted[name].astype(np.float64) for name in self._sums}
        self._ranking.load_state_dict(part_of(state, "ranking."))

    def reset(self) -> None:
        """Forget all rows."""
        size = len(self.labels)
        self._counts = {
            "support": np.zeros(size, np.int64),
            "predicted": np.zeros(size, np.int64),
            "hits": np.zeros(size, np.int64),
        }
        self._sums = {
            "log_loss": np.zeros(()),
            "calibration": np.zeros((3, _CALIBRATION_BINS)),  # rows, confidence, right
        }
        if self._has_pairs:
            self._counts["confusion"] = np.zeros((size, size), np.int64)
        self._ranking = RankingCounts(1 if size == 2 else size)

    def _directions(self) -> dict[str, Better]:
        better: dict[str, Better] = dict.fromkeys(
            (
                "accuracy",
                "macro_precision",
                "macro_recall",
                "macro_f1",
                "micro_f1",
                "weighted_f1",
                "matthews_correlation",
            ),
            "higher",
        )
        if self._has_scores and self._has_pairs:
            better["auc"] = "higher"
        if self._has_scores:
            better |= {"log_loss": "lower", "calibration_error": "lower"}
        return better

    def _flat_rows(self, predictions: Array, labels: Array) -> tuple[Array, IntArray]:
        """Return the rows that count: predictions (N, K) or (N,), and labels (N,)."""
        trailing = (len(self.labels),) if self._has_scores else ()
        if predictions.shape != labels.shape + trailing:
            raise DataError(
                f"Labels of shape {labels.shape} need predictions of shape "
                f"{labels.shape + trailing}, but theirs is {predictions.shape}."
            )
        flat = labels.reshape(-1)
        counts = flat != self.ignore_index
        rows = predictions.reshape(-1, *trailing)[counts]
        return rows, self._checked_classes("label", flat[counts])

    def _checked_classes(self, what: str, numbers: Array) -> IntArray:
        with np.errstate(invalid="ignore"):  # what is not a number is told below
            whole = numbers.astype(np.int64)
        wrong = (whole != numbers) | (whole < 0) | (whole >= len(self.labels))
        if wrong.any():
            raise DataError(
                f"Every {what} must be a whole number from 0 to {len(self.labels) - 1}, "
                f"the number of a class, but one is {numbers[wrong][0]}."
            )
        return whole

    def _count(self, chosen: IntArray, truth: IntArray) -> None:
        size = len(self.labels)
        self._counts["support"] += np.bincount(truth, minlength=size)
        self._counts["predicted"] += np.bincount(chosen, minlength=size)
        self._counts["hits"] += np.bincount(truth[chosen == truth], minlength=size)
        if self._has_pairs:
            np.add.at(self._counts["confusion"], (truth, chosen), 1)

    def _count_calibration(self, confidence: FloatArray, right: Array) -> None:
        place = np.ceil(confidence * _CALIBRATION_BINS).astype(np.int64) - 1
        place = np.clip(place, 0, _CALIBRATION_BINS - 1)
        for counts, weight in zip(
            self._sums["calibration"], (None, confidence, right), strict=True
        ):
            counts += np.bincount(place, weight, minlength=_CALIBRATION_BINS)

    def _count_ranking(self, logits: FloatArray, truth: IntArray) -> None:
        if len(self.labels) == 2:
            self._ranking.update(logits[:, 1:] - logits[:, :1], truth[:, None] == 1)
        else:
            self._ranking.update(_log_odds(logits), truth[:, None] == np.arange(len(self.labels)))

    def _auc(self) -> tuple[float, float]:
        """Return the area, meaned over the classes for which it is defined, and its error."""
        areas, errors = self._ranking.areas()
        defined = ~np.isnan(areas)
        if not defined.any():
            return float("nan"), 0.0
        return float(areas[defined].mean()), float(errors[defined].mean())

    def _class_aucs(self) -> list[float | None]:
        if "auc" not in self.better:
            return [None] * len(self.labels)
        areas: list[float | None] = self._ranking.areas()[0].tolist()
        return areas * 2 if len(self.labels) == 2 else areas  # the same curve seen from both ends

    def _calibration(self) -> tuple[CalibrationBin, ...]:
        rows, confidence, right = self._sums["calibration"]
        return tuple(
            CalibrationBin(int(n), float(c / max(n, 1)), float(r / max(n, 1)))
            for n, c, r in zip(rows, confidence, right, strict=True)
        )


def checked_labels(labels: Sequence[str], *, least: int = 2) -> tuple[str, ...]:
    """Return the names of the classes; a `ConfigError` if there are too few, or one comes twice."""
    names = tuple(str(label) for label in labels)
    if len(names) < least:
        raise ConfigError(f"`labels` must hold at least {least} names, but holds {len(names)}.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"`labels` must hold each name once, but repeats {', '.join(twice)}.")
    return names


def checked_scores(scores: Array, kind: PredictionKind, *, sums_to_one: bool = True) -> FloatArray:
    """Return (N, K) logits, or for probabilities their logarithms, as float64.

    Raises:
        DataError: A score is NaN or positive infinity, all of a row are negative infinity, or
            what should be probabilities is not.
    """
    values = scores.astype(np.float64)
    broken = np.isnan(values) | np.isposinf(values)
    rows = np.flatnonzero(broken.any(-1) | (sums_to_one & np.isneginf(values).all(-1)))
    if len(rows):
        listed = ", ".join(str(row) for row in rows[:10])
        raise DataError(f"Predictions must be numbers, but are NaN or infinite in row {listed}.")
    if kind == "logits":
        return values
    outside = ((values < 0) | (values > 1)).any(-1)
    if sums_to_one:
        outside |= np.abs(values.sum(-1) - 1) > _NOT_A_SUM
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise DataError(
            f"Predictions must be probabilities, but row {row} is {values[row].tolist()}. "
            'Give `predictions="logits"` if they are logits.'
        )
    kept_exactly = np.result_type(scores.dtype, np.float16)  # whole numbers are probabilities too
    logarithms: FloatArray = np.log(np.maximum(values, np.finfo(kept_exactly).eps))
    return logarithms


def ratio(part: IntArray | FloatArray, whole: IntArray | FloatArray) -> FloatArray:
    """Return `part / whole`, and 0 where `whole` is 0."""
    result = np.zeros(np.broadcast_shapes(part.shape, whole.shape))
    np.divide(part, whole, out=result, where=whole != 0)
    return result


def averages_of(
    hits: IntArray, predicted: IntArray, support: IntArray, averaged: Array
) -> tuple[Average, Average, Average]:
    """Return macro, micro and weighted precision, recall and F1.

    Args:
        hits: (K,) rows of the class that were taken for it.
        predicted: (K,) rows taken for the class.
        support: (K,) rows of the class.
        averaged: (K,) whether the class takes part in the macro average.
    """
    each = np.stack(
        [ratio(hits, predicted), ratio(hits, support), ratio(2 * hits, predicted + support)]
    )
    found, taken, there = hits.sum(), predicted.sum(), support.sum()
    micro = [ratio(found, taken), ratio(found, there), ratio(2 * found, taken + there)]
    macro = each[:, averaged].mean(-1) if averaged.any() else np.zeros(3)
    return (
        Average("macro", *map(float, macro)),
        Average("micro", *map(float, micro)),
        Average("weighted", *map(float, ratio((each * support).sum(-1), there))),
    )


def class_figures(
    labels: Sequence[str],
    hits: IntArray,
    predicted: IntArray,
    support: IntArray,
    aucs: Sequence[float | None],
) -> tuple[ClassFigures, ...]:
    """Return one row of figures per class."""
    columns = (
        ratio(hits, predicted).tolist(),
        ratio(hits, support).tolist(),
        ratio(2 * hits, predicted + support).tolist(),
        support.tolist(),
        predicted.tolist(),
    )
    return tuple(ClassFigures(*row) for row in zip(labels, *columns, aucs, strict=True))


def _softmax(logits: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return probabilities (N, K) and the logarithm of what normalises them (N,)."""
    highest = logits.max(-1, keepdims=True)
    powers = np.exp(logits - highest)
    total = powers.sum(-1, keepdims=True)
    return powers / total, (highest + np.log(total))[:, 0]


def _log_odds(logits: FloatArray) -> FloatArray:
    """Return the log-odds (N, K) of each class against all others.

    They order rows as the probabilities do, but do not run together near 1.
    """
    row = np.arange(len(logits))
    top = logits.argmax(-1)
    powers = np.exp(logits - logits[row, top][:, None])
    others = powers.sum(-1, keepdims=True) - powers
    powers[row, top] = 0
    others[row, top] = powers.sum(-1)  # a difference of nearly equal numbers would be noise
    shifted = logits - logits[row, top][:, None]
    with np.errstate(divide="ignore"):
        log_odds: FloatArray = shifted - np.log(others)
    return log_odds


def _matthews_correlation(hits: IntArray, predicted: IntArray, support: IntArray) -> float:
    """Return the correlation of predicted and true classes (Gorodkin 2004), 0 if undefined."""
    # in Python's whole numbers: products of counts can exceed 64 bits
    taken, there = predicted.tolist(), support.tolist()
    rows = sum(there)
    covariance = sum(hits.tolist()) * rows - sum(a * b for a, b in zip(taken, there, strict=True))
    spread_taken = rows * rows - sum(count * count for count in taken)
    spread_there = rows * rows - sum(count * count for count in there)
    if not spread_taken or not spread_there:
        return 0.0
    return float(covariance / (spread_taken**0.5 * spread_there**0.5))
