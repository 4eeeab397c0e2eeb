"""Evaluation while training and after it, and which of two evaluations is the better one."""

import dataclasses
import math
from typing import Literal

from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, TrainingError
from abrazo.inference.engine import Engine
from abrazo.inference.evaluation import Evaluation, evaluate_rows
from abrazo.metrics.base import Metric, as_metric
from abrazo.models.base import PretrainedModel
from abrazo.tasks.base import Task
from abrazo.tokenization.tokenizer import Tokenizer

PREFIX = "eval_"


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
        engine = Engine(model, precision=self.precision)
        return evaluate_rows(
            engine,
            self.task,
            rows,
            self.tokenizer,
            metrics=self.metric,
            keep_predictions=keep_predictions,
        )


def choose_metric(compute_metrics: object, metrics: object, task: Task) -> Metric:
    """Return what is counted: what the user brings, or the task's own.

    Raises:
        ConfigError: Both arguments are given, or one is no metric.
    """
    if compute_metrics is not None and metrics is not None:
        raise ConfigError("`compute_metrics` and `metrics` are one thing; leave one out.")
    given = metrics if compute_metrics is None else compute_metrics
    return task.new_metrics() if given is None else as_metric(given)


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
