"""Evaluation while training and after it, and which of two evaluations is the better one."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from abrazo.data.mixture import Mixture
from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, TrainingError
from abrazo.inference.evaluation import Evaluation, evaluate_rows, predict_rows
from abrazo.inference.generating import engine_for
from abrazo.metrics.base import Metric, as_metric, join_padded
from abrazo.metrics.parts import PartMetrics
from abrazo.models.base import PretrainedModel
from abrazo.models.multi_task import MultiTaskModel
from abrazo.tasks.base import Task
from abrazo.tasks.multi_task import MultiTask
from abrazo.tokenization.tokenizer import Tokenizer

PREFIX = "eval_"


class PredictionOutput(NamedTuple):
    """Predictions for some rows."""

    predictions: np.ndarray
    """One line a row, such as (rows, labels) logits."""
    label_ids: np.ndarray | None
    """The rows' labels as numbers, where they have some."""
    metrics: dict[str, float]
    """`test_` figures, where there are labels."""


@dataclasses.dataclass
class Evaluator:
    """Evaluates a model on data sets, always in the same way."""

    task: Task
    """Reads the rows and makes predictions."""
    tokenizer: Tokenizer
    """The model's tokenizer."""
    metric: Metric
    """Counts rows; used again and again."""
    precision: str
    """What the model computes in."""

    def evaluate(
        self, model: PretrainedModel, rows: RowSource, *, keep_predictions: bool = False
    ) -> Evaluation:
        """Evaluate a model, which is left as it is."""
        self.metric.reset()
        engine = engine_for(self.task, model, self.tokenizer, precision=self.precision)
        return evaluate_rows(
            engine,
            self.task,
            rows,
            self.tokenizer,
            metrics=self.metric,
            keep_predictions=keep_predictions,
        )

    def predict(
        self, model: PretrainedModel, rows: RowSource, *, with_labels: bool
    ) -> PredictionOutput:
        """Return what a model says of rows, and where they have labels, how well it does."""
        if with_labels:
            whole = self.evaluate(model, rows, keep_predictions=True)
            assert whole.predictions is not None
            return PredictionOutput(whole.predictions, whole.labels, with_prefix(whole, "test_"))
        engine = engine_for(self.task, model, self.tokenizer, precision=self.precision)
        found = [row.prediction for row in predict_rows(engine, self.task, rows, self.tokenizer)]
        arrays = self.task.to_arrays(found, [None] * len(found))
        return PredictionOutput(join_padded([array for array, _ in arrays]), None, {})


class PartsEvaluator(Evaluator):
    """Evaluates each task on its rows, always in the same way."""

    def evaluate(
        self, model: PretrainedModel, rows: RowSource, *, keep_predictions: bool = False
    ) -> Evaluation:
        """Evaluate a model, which is left as it is; predictions are not kept.

        The figures are those of each task, and the mean loss of all, by their weights.
        """
        assert isinstance(self.task, MultiTask)
        assert isinstance(self.metric, PartMetrics)
        assert isinstance(model, MultiTaskModel)
        assert isinstance(rows, Mixture)
        found = {
            name: Evaluator(
                self.task.part(name), self.tokenizer, self.metric.parts[name], self.precision
            ).evaluate(model.part(name), source)
            for name, source in rows.sources.items()
        }
        return join_evaluations(found, self.task.weights)


def join_evaluations(found: Mapping[str, Evaluation], weights: Mapping[str, float]) -> Evaluation:
    """Return the figures of several tasks, each behind its name, and the mean loss of all.

    Args:
        found: What was found of each task.
        weights: What the loss of each counts.
    """
    parts = list(found.values())
    loss = np.average([one.metrics["loss"] for one in parts], weights=[weights[n] for n in found])
    figures = {
        f"{name}_{key}": value for name, one in found.items() for key, value in one.metrics.items()
    }
    details: dict[str, Any] = {name: one.details for name, one in found.items()}
    return Evaluation(
        metrics={"loss": float(loss), **figures},
        details=details,
        wrong=[],
        num_rows=sum(one.num_rows for one in parts),
        num_truncated=sum(one.num_truncated for one in parts),
        seconds=sum(one.seconds for one in parts),
        precision=parts[0].precision,
        remarks=[f"{name}: {line}" for name, one in found.items() for line in one.remarks],
        parts=found,
    )


def make_evaluator(task: Task, tokenizer: Tokenizer, metric: Metric, precision: str) -> Evaluator:
    """Return what evaluates a task, or each of several tasks."""
    kind = PartsEvaluator if isinstance(task, MultiTask) else Evaluator
    return kind(task, tokenizer, metric, precision)


def choose_metric(compute_metrics: object, metrics: object, task: Task) -> Metric:
    """Return what is counted: what the user brings, or the task's own.

    Raises:
        ConfigError: Both arguments are given, or one is no metric.
    """
    if compute_metrics is not None and metrics is not None:
        raise ConfigError("`compute_metrics` and `metrics` are one thing; leave one out.")
    given = metrics if compute_metrics is None else compute_metrics
    if isinstance(task, MultiTask):
        return _metrics_by_task(given, task)
    return task.new_metrics() if given is None else as_metric(given)


def _metrics_by_task(given: object, task: MultiTask) -> Metric:
    """Return what is counted of each task: what the user brings for it, or the task's own.

    Args:
        given: None, or metrics by task.
        task: The tasks.

    Raises:
        ConfigError: There is a metric for no task, or one that is no metric.
    """
    parts = {name: part.new_metrics() for name, part in task.parts.items()}
    if given is None:
        return PartMetrics(parts)
    if not isinstance(given, Mapping) or not set(given) <= set(parts):
        raise ConfigError(
            f"The metrics of several tasks must be a dict by task ({', '.join(parts)}), but are "
            f"{given!r:.80}."
        )
    return PartMetrics({**parts, **{name: as_metric(one) for name, one in given.items()}})


@dataclasses.dataclass(frozen=True)
class Watch:
    """The figure that says which weights are best."""

    name: str
    """Its name, without `eval_`."""
    direction: Literal["max", "min"]
    """Whether the greatest or the least is best."""

    @classmethod
    def of(cls, name: str | None, greater_is_better: bool | None, metric: Metric) -> "Watch":
        """Settle on a figure.

        Raises:
            ConfigError: No evaluation will give it; names the nearest.
        """
        plain = (name or "loss").removeprefix(PREFIX)
        known: Literal["max", "min"] = metric.direction_of(plain)
        if greater_is_better is None:
            return cls(plain, known)
        return cls(plain, "max" if greater_is_better else "min")

    def figure(self, evaluation: Evaluation) -> float:
        """Return the figure of an evaluation.

        Raises:
            TrainingError: The evaluation did not give it.
        """
        if self.name not in evaluation.metrics:
            names = ", ".join(f"`{name}`" for name in evaluation.metrics)
            raise TrainingError(
                f"`metric_for_best_model` is `{self.name}`, but the evaluation gave {names}."
            )
        return evaluation.metrics[self.name]

    def is_better(self, new: float, old: float | None, *, by: float = 0.0) -> bool:
        """Return whether a figure is better than another by more than `by`; NaN never is."""
        if math.isnan(new):
            return False
        if old is None or math.isnan(old):
            return True
        return new > old + by if self.direction == "max" else new < old - by


def with_prefix(evaluation: Evaluation, prefix: str = PREFIX) -> dict[str, float]:
    """Return an evaluation's figures as users know them: `eval_loss`, `eval_accuracy`, ..."""
    figures = {f"{prefix}{name}": value for name, value in evaluation.metrics.items()}
    figures[f"{prefix}rows_per_second"] = round(evaluation.rows_per_second, 3)
    return figures
