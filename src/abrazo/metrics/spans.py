"""Metrics of spans: names found in texts, slots filled, words tagged.

A span counts as found if its beginning, its end and its type are right; `partial_f1` asks only that
the type is right and a place is shared. What is undefined because nothing was predicted or nothing
was there is 0. Figures agree with those of seqeval and conlleval.

Shapes: N rows, L places of the longest row, C tags, T counted places of all rows, S spans.
"""

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from abrazo.errors import ConfigError, DataError
from abrazo.metrics.base import (
    Array,
    Better,
    BoolArray,
    IntArray,
    Metric,
    State,
    require_fit,
    require_rows,
)
from abrazo.metrics.classification import (
    ClassificationDetails,
    averages_of,
    class_figures,
    ratio,
)
from abrazo.metrics.tags import TagSet, TagSpans, find_spans

_COUNTS = ("support", "predicted", "hits", "found", "right")
"""For each type: spans that are there, spans predicted, exact hits, spans of the data that a
prediction of the type touches, and predictions that touch a span of the type."""


class SpanMetrics(Metric):
    """Precision, recall and F1 of spans over all types and per type, and accuracy of tags.

    `precision`, `recall` and `f1` are over all spans (micro); those with `macro_` are means over
    the types that occur among the spans of the data or the predictions.
    """

    better: Mapping[str, Better] = dict.fromkeys(
        (
            "f1",
            "precision",
            "recall",
            "macro_f1",
            "macro_precision",
            "macro_recall",
            "partial_f1",
            "accuracy",
        ),
        "higher",
    )
    _counts: dict[str, IntArray]

    def __init__(self, labels: Sequence[str], *, ignore_index: int = -100) -> None:
        """Start counting.

        Args:
            labels: The names of the tags, such as `O`, `B-PER`, `I-PER`, in class order.
            ignore_index: Places with this label are left out, as if they were not there.

        Raises:
            ConfigError: The tags name no type.
        """
        self.tag_set = TagSet.of_names(labels)
        if not self.tag_set.types:
            raise ConfigError(f"`labels` must name a type of spans, but is {list(labels)}.")
        self.ignore_index = ignore_index
        self.reset()

    def update(self, predictions: Array, labels: Array) -> None:
        """Count the rows of one batch.

        Args:
            predictions: (N, L, C) scores of tags, or (N, L) numbers of tags.
            labels: (N, L) numbers of the right tags; padding carries `ignore_index`.

        Raises:
            DataError: Shapes do not fit, or a label is not the number of a tag.
        """
        given, truth = np.asarray(predictions), np.asarray(labels)
        if given.shape not in (truth.shape, (*truth.shape, len(self.tag_set))):
            raise DataError(
                f"Labels of shape {truth.shape} need predictions of the same shape or of "
                f"{(*truth.shape, len(self.tag_set))}, but theirs is {given.shape}."
            )
        counted = truth != self.ignore_index
        chosen = given.argmax(-1) if given.ndim > truth.ndim else given
        tags, right = self._checked(chosen[counted]), self._checked(truth[counted])
        if not len(right):
            return
        row_of = np.nonzero(np.atleast_2d(counted))[0]
        starts_row = np.append(True, row_of[1:] != row_of[:-1])
        predicted, there = (
            find_spans(self.tag_set.kind_of[each], self.tag_set.type_of[each], starts_row)
            for each in (tags, right)
        )
        self._count(predicted, there, len(right))
        self._counts["places"] += np.asarray([len(right), (tags == right).sum()])

    def merge(self, other: Self) -> None:
        """Add what `other` has counted; a `ConfigError` unless both have the same tags."""
        if other.tag_set.names != self.tag_set.names:
            raise ConfigError("Metrics can be merged only if they have the same labels.")
        for name, counts in other._counts.items():
            self._counts[name] += counts

    def compute(self) -> dict[str, float]:
        """Return the figures for all rows so far."""
        places, right = self._counts["places"].tolist()
        require_rows(places)
        support, predicted, hits, found, touching = (self._counts[name] for name in _COUNTS)
        macro, micro, _ = averages_of(hits, predicted, support, (support + predicted) > 0)
        partial_precision = float(ratio(touching.sum(), predicted.sum()))
        partial_recall = float(ratio(found.sum(), support.sum()))
        both = partial_precision + partial_recall
        return {
            "f1": micro.f1,
            "precision": micro.precision,
            "recall": micro.recall,
            "macro_f1": macro.f1,
            "macro_precision": macro.precision,
            "macro_recall": macro.recall,
            "partial_f1": 2 * partial_precision * partial_recall / both if both else 0.0,
            "accuracy": right / places,
        }

    def details(self) -> ClassificationDetails:
        """Return figures per type of span, and averages."""
        support, predicted, hits = (self._counts[name] for name in _COUNTS[:3])
        types = self.tag_set.types
        return ClassificationDetails(
            labels=types,
            classes=class_figures(types, hits, predicted, support, [None] * len(types)),
            averages=averages_of(hits, predicted, support, (support + predicted) > 0),
            confusion=None,
            calibration=(),
            auc_error=0.0,
        )

    def state_dict(self) -> State:
        """Return the counts."""
        return {name: counts.copy() for name, counts in self._counts.items()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the place of the counts."""
        require_fit(self._counts, state)
        self._counts = {name: state[name].astype(np.int64) for name in self._counts}

    def reset(self) -> None:
        """Forget all rows."""
        size = len(self.tag_set.types)
        self._counts = {name: np.zeros(size, np.int64) for name in _COUNTS}
        self._counts["places"] = np.zeros(2, np.int64)  # counted, right

    def _checked(self, numbers: Array) -> IntArray:
        whole: IntArray = numbers.astype(np.int64)
        wrong = (whole != numbers) | (whole < 0) | (whole >= len(self.tag_set))
        if wrong.any():
            raise DataError(
                f"Labels and predictions must be numbers of tags, from 0 to "
                f"{len(self.tag_set) - 1}, but one is {numbers[wrong][0]}."
            )
        return whole

    def _count(self, predicted: TagSpans, there: TagSpans, length: int) -> None:
        hits = _exact(predicted, there, length)
        touching, found = _touching(predicted, there, length)
        of_types = {
            "support": there.types,
            "predicted": predicted.types,
            "hits": predicted.types[hits],
            "found": there.types[found],
            "right": predicted.types[touching],
        }
        for name, types in of_types.items():
            self._counts[name] += np.bincount(types, minlength=len(self.tag_set.types))


def _exact(predicted: TagSpans, there: TagSpans, length: int) -> BoolArray:
    """Return (S,) whether a span like the predicted one is there."""
    end_of, type_of = np.full(length, -1), np.full(length, -1)
    end_of[there.starts], type_of[there.starts] = there.ends, there.types
    same: BoolArray = (end_of[predicted.starts] == predicted.ends) & (
        type_of[predicted.starts] == predicted.types
    )
    return same


def _touching(predicted: TagSpans, there: TagSpans, length: int) -> tuple[BoolArray, BoolArray]:
    """Return which predicted spans, and which of those there, share a place and the type."""
    number_predicted, number_there = _numbers(predicted, length), _numbers(there, length)
    shared = (number_predicted >= 0) & (number_there >= 0)
    pairs_predicted, pairs_there = number_predicted[shared], number_there[shared]
    alike = predicted.types[pairs_predicted] == there.types[pairs_there]
    touching, found = np.zeros(len(predicted), np.bool_), np.zeros(len(there), np.bool_)
    touching[pairs_predicted[alike]] = True
    found[pairs_there[alike]] = True
    return touching, found


def _numbers(spans: TagSpans, length: int) -> IntArray:
    """Return (length,) the number of the span at each place, -1 where there is none."""
    changes = np.zeros(length + 1, dtype=np.int64)
    np.add.at(changes, spans.starts, 1)
    np.add.at(changes, spans.ends, -1)
    covered = np.cumsum(changes)[:length] > 0
    begins = np.zeros(length, dtype=np.int64)
    begins[spans.starts] = 1
    return np.where(covered, np.cumsum(begins) - 1, -1)
