"""Rows through a task and an engine: predictions in order, and the figures they add up to."""

import dataclasses
import functools
import heapq
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from abrazo.data.rows import RowSource
from abrazo.inference.engine import Engine, LossMeter, Outputs
from abrazo.metrics.base import Metric, MetricGroup, join_padded
from abrazo.metrics.generated_text import TextMetric
from abrazo.tasks.base import Features, Task
from abrazo.tasks.remarks import Remarks
from abrazo.tokenization.tokenizer import Tokenizer

_ENCODED_AT_ONCE = 2_048
_COUNTED_AT_ONCE = 1_024
_MOST_WRONG = 20
_NUM_SAMPLES = 5


@dataclasses.dataclass(frozen=True)
class RowPrediction:
    """What the model says of one row."""

    number: int
    """The row's number in its data set."""
    prediction: Any
    """What `Task.predict` made of it."""
    label: Any
    """Its label as the task encodes it, or None."""
    dropped: int
    """Tokens that truncation cut off."""


@dataclasses.dataclass(frozen=True)
class WrongRow:
    """A row that the model is sure about, and wrong."""

    number: int
    """The row's number in its data set."""
    label: str
    """The right answer."""
    predicted: str
    """The model's answer."""
    score: float
    """How sure it is, from 0 to 1."""


@dataclasses.dataclass(frozen=True)
class WrittenSample:
    """What a model wrote for a row, to be looked at."""

    number: int
    """The row's number in its data set."""
    right: str
    """The text that was wished for; several stand one below the other."""
    written: str
    """The model's text."""
    score: float | None = None
    """How like they are, by a figure of the metrics."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The figures of a data set."""

    metrics: dict[str, float]
    """The mean `loss` and the task's metrics."""
    details: Any
    """What the metrics know beyond single figures, such as the confusion matrix, or None."""
    wrong: list[WrongRow]
    """The most confidently wrong rows, the surest first."""
    num_rows: int
    """Rows that were evaluated."""
    num_truncated: int
    """Rows that were cut because they are longer than the model reads."""
    seconds: float
    """How long it took."""
    precision: str
    """What the model computed in."""
    predictions: np.ndarray | None = None
    """One line for each row, filled up with -100, if they were to be kept."""
    labels: np.ndarray | None = None
    """The labels as the task encodes them, if predictions were to be kept."""
    samples: Sequence[WrittenSample] = ()
    """A few rows from all over the data set, where the model writes texts that are compared."""
    unlike: Sequence[WrittenSample] = ()
    """The rows whose texts are least like those wished for, the least first."""
    unlike_by: str = ""
    """The figure that says so."""
    remarks: Sequence[str] = ()
    """What the rows show that users should know, such as answers that cannot be given."""
    parts: Mapping[str, "Evaluation"] = dataclasses.field(default_factory=dict)
    """The figures of each task, where there are several."""

    @property
    def rows_per_second(self) -> float:
        """How many rows were evaluated in a second."""
        return self.num_rows / self.seconds if self.seconds else 0.0


def predict_items(
    engine: Engine,
    task: Task,
    items: Iterable[Mapping[str, Any]],
    tokenizer: Tokenizer,
) -> Iterator[Any]:
    """Yield the prediction of each row of a stream that has no labels, in order."""
    features = (
        feature
        for chunk, first in _chunks(items)
        for feature in task.encode(
            chunk, range(first, first + len(chunk)), tokenizer, with_labels=False
        )
    )
    condense = functools.partial(task.condense, with_labels=False)
    for _, parts, outputs in _by_row(engine.run(features, task.collate, condense=condense)):
        yield task.predict(parts, outputs)


def predict_rows(
    engine: Engine,
    task: Task,
    rows: RowSource,
    tokenizer: Tokenizer,
    *,
    with_labels: bool = False,
    loss: LossMeter | None = None,
    remarks: Remarks | None = None,
) -> Iterator[RowPrediction]:
    """Yield the prediction of each row of a data set, in order.

    Args:
        engine: Runs the model.
        task: Reads the rows and makes predictions of what the model says.
        rows: The data set.
        tokenizer: The model's tokenizer.
        with_labels: Whether each row must have a label.
        loss: Where the loss is added up.
        remarks: What looks at the labelled rows.

    Raises:
        DataError: A row cannot be read; it is named.
    """

    def encoded() -> Iterator[Features]:
        for start in range(0, len(rows), _ENCODED_AT_ONCE):
            numbers = range(start, min(start + _ENCODED_AT_ONCE, len(rows)))
            features = task.encode(
                rows.rows(numbers),
                numbers,
                tokenizer,
                with_labels=with_labels,
                origin=rows.origin,
            )
            if remarks is not None:
                remarks.look_at(features)
            yield from task.augment(features, seed=0, epoch=0) if with_labels else features

    results = engine.run(
        encoded(),
        task.collate,
        loss,
        condense=functools.partial(task.condense, with_labels=with_labels),
        whole_rows=task.keeps_rows_whole,
    )
    for number, parts, outputs in _by_row(results):
        dropped = sum(part.dropped for part in parts)
        yield RowPrediction(number, task.predict(parts, outputs), task.row_label(parts), dropped)


def evaluate_rows(
    engine: Engine,
    task: Task,
    rows: RowSource,
    tokenizer: Tokenizer,
    *,
    metrics: Metric | None = None,
    keep_predictions: bool = False,
) -> Evaluation:
    """Evaluate a model on labelled rows.

    Args:
        engine: Runs the model.
        task: Reads the rows and makes predictions of what the model says.
        rows: The data set; every row has a label.
        tokenizer: The model's tokenizer.
        metrics: Fed with predictions and labels; None takes the task's own.
        keep_predictions: Whether to return every prediction, which takes memory for each row.

    Raises:
        DataError: A row cannot be read; it is named.
    """
    started, loss = time.perf_counter(), LossMeter()
    counters = task.new_metrics() if metrics is None else metrics
    wrong, texts = _WrongRows(task), _WrittenTexts(len(rows), _row_metric(counters))
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    num_truncated, remarks = 0, task.new_remarks()
    found = predict_rows(
        engine, task, rows, tokenizer, with_labels=True, loss=loss, remarks=remarks
    )
    for chunk in _batched(found, _COUNTED_AT_ONCE):
        for arrays in task.to_arrays(
            [row.prediction for row in chunk], [row.label for row in chunk]
        ):
            counters.update(*arrays)
            texts.look_at(chunk, *arrays)
            if keep_predictions:
                kept.append(arrays)
        wrong.look_at(chunk)
        num_truncated += sum(row.dropped > 0 for row in chunk)
    details = counters.details() if hasattr(counters, "details") else None
    return Evaluation(
        metrics={"loss": loss.mean, **counters.compute()},
        details=details,
        wrong=wrong.worst(),
        num_rows=len(rows),
        num_truncated=num_truncated,
        seconds=time.perf_counter() - started,
        precision=engine.precision,
        predictions=join_padded([predictions for predictions, _ in kept]) if kept else None,
        labels=join_padded([labels for _, labels in kept]) if kept else None,
        samples=texts.samples,
        unlike=texts.unlike(),
        unlike_by="" if texts.metric is None else texts.metric.row_figure,
        remarks=remarks.messages(rows.origin),
    )


class _WrongRows:
    """Keeps the rows with one label that were got wrong with the highest scores."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.heap: list[tuple[float, int, str, str]] = []

    def look_at(self, rows: Iterable[RowPrediction]) -> None:
        for row in rows:
            judged = self.task.judge(row.prediction, row.label)
            if judged is None:
                return
            right, predicted, score = judged
            if right != predicted:
                entry = (score, -row.number, right, predicted)
                if len(self.heap) < _MOST_WRONG:
                    heapq.heappush(self.heap, entry)
                else:
                    heapq.heappushpop(self.heap, entry)

    def worst(self) -> list[WrongRow]:
        ranked = sorted(self.heap, reverse=True)
        return [WrongRow(-number, right, said, score) for score, number, right, said in ranked]


class _WrittenTexts:
    """Keeps texts of a few rows, spread over all, and those least like what was wished for."""

    def __init__(self, num_rows: int, metric: TextMetric | None) -> None:
        self.numbers = set(range(0, num_rows, max(1, num_rows // _NUM_SAMPLES)))
        self.metric = metric
        self.samples: list[WrittenSample] = []
        self.heap: list[tuple[float, int, WrittenSample]] = []

    def look_at(
        self, rows: Sequence[RowPrediction], written: np.ndarray, right: np.ndarray
    ) -> None:
        """Look at the arrays that a task made of rows; those that hold no texts tell nothing."""
        if len(written) != len(rows):
            return
        for row, given, label in zip(rows, written, right, strict=True):
            wished = [label] if isinstance(label, str) else label
            if isinstance(given, str) and (self.metric is not None or wished is not label):
                self._look_at_row(row.number, given, wished)

    def _look_at_row(self, number: int, given: str, wished: Sequence[str]) -> None:
        score = None if self.metric is None else self.metric.score(given, wished)
        sample = WrittenSample(number, "\n".join(wished), given, score)
        if number in self.numbers and len(self.samples) < _NUM_SAMPLES:
            self.samples.append(sample)
        if score is None or given in wished:
            return
        entry = (-score, -number, sample)
        if len(self.heap) < _MOST_WRONG:
            heapq.heappush(self.heap, entry)
        else:
            heapq.heappushpop(self.heap, entry)

    def unlike(self) -> list[WrittenSample]:
        return [sample for _, _, sample in sorted(self.heap, reverse=True)]


def _row_metric(metric: Metric) -> TextMetric | None:
    """Return the first metric that says how good the text of a single row is, if there is one."""
    if isinstance(metric, MetricGroup):
        return next((found for part in metric.metrics if (found := _row_metric(part))), None)
    return metric if isinstance(metric, TextMetric) and metric.row_figure else None


def _batched(items: Iterable[RowPrediction], size: int) -> Iterator[list[RowPrediction]]:
    """Cut a stream into lists of `size`; `itertools` has it from Python 3.12 on."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def _chunks(
    items: Iterable[Mapping[str, Any]],
) -> Iterator[tuple[list[Mapping[str, Any]], int]]:
    """Cut a stream into lists, small ones first so that the first answer does not wait long."""
    iterator, first, size = iter(items), 0, 64
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk, first
        first, size = first + len(chunk), min(2 * size, _ENCODED_AT_ONCE)


def _by_row(
    results: Iterable[tuple[Features, Outputs]],
) -> Iterator[tuple[int, list[Features], list[Outputs]]]:
    """Bring the stretches of each row together."""
    for number, group in itertools.groupby(results, key=lambda result: result[0].row):
        parts, outputs = zip(*group, strict=True)
        yield number, list(parts), list(outputs)
