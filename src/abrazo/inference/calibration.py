"""Scores that are true, and the score below which a classifier had better not answer.

    calibration = calibrate(trainer, validation_rows, wanted_precision=0.95)
    classify = pipeline("intent", trainer.model)
    classify("colourless green ideas")        # {"label": None, "score": 0.31}

A trained classifier is surer than it is right. Its logits are divided by one number, the
temperature, that makes its scores on rows it has not learned from as true as can be; which class
is best does not change.

Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2.

Shapes: N rows, C labels, M rows that fit no label.
"""

import dataclasses
import logging
import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from abrazo.data.rows import as_rows
from abrazo.errors import ConfigError, DataError
from abrazo.inference.engine import Engine
from abrazo.inference.evaluation import predict_items, predict_rows
from abrazo.metrics.classification import ClassificationMetrics
from abrazo.models.base import PretrainedModel
from abrazo.tasks.auto import task_for_model
from abrazo.tasks.text_classification import TextClassification

logger = logging.getLogger("abrazo")

_LOWEST, _HIGHEST = 0.05, 20.0
_GOLDEN = (math.sqrt(5) - 1) / 2


class HasModel(Protocol):
    """Something with a model, such as a trainer."""

    @property
    def model(self) -> PretrainedModel:
        """The model."""
        ...


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What calibrating came to, on the rows it was made with."""

    temperature: float
    """What logits are divided by."""
    threshold: float | None
    """The score below which the answer is no label; None answers always."""
    error_before: float
    """Expected calibration error without the temperature."""
    error_after: float
    """Expected calibration error with it."""
    coverage: float
    """Share of the labelled rows that are answered."""
    precision: float
    """Share of right answers among all that are given, also to rows that fit no label."""
    rejected: float | None
    """Share of the rows that fit no label which get none; None without such rows."""
    num_rows: int
    """Labelled rows."""


def calibrate(
    model: PretrainedModel | HasModel,
    dataset: object,
    *,
    wanted_precision: float | None = None,
    out_of_scope: Iterable[Any] | None = None,
) -> Calibration:
    """Find a temperature and a threshold for a classifier and write them into the model.

    They are settings of the task, which `save_pretrained` keeps in `abrazo.json`: pipelines and
    evaluations that are made from now on use them; a pipeline or trainer that is there already
    goes on without. Scores are computed in fp32.

    Args:
        model: A text classifier of one class a row, or a trainer of one.
        dataset: Labelled rows that the model has not learned from, a few hundred or more.
        wanted_precision: The threshold is the lowest with that share of right answers among those
            given. Without it, rows in `out_of_scope` choose the threshold: right answers and
            rejections weigh alike. Without either there is no threshold.
        out_of_scope: Texts or rows that fit none of the labels.

    Raises:
        ConfigError: The model is no such classifier, or no threshold reaches the precision.
        DataError: A row cannot be used; it is named.
    """
    found = model if isinstance(model, PretrainedModel) else model.model
    if wanted_precision is not None and not 0 < wanted_precision <= 1:
        raise ConfigError(
            f"`wanted_precision` must be above 0 and at most 1, but is {wanted_precision}."
        )
    task = task_for_model(found)
    if not isinstance(task, TextClassification) or task.problem != "single_label_classification":
        raise ConfigError(
            "`calibrate` needs a text classifier of one class a row, but the task of the model is "
            f"{getattr(task, 'problem', task.name)}."
        )
    logits, labels, strangers = _scores(found, task, dataset, out_of_scope)
    temperature = fit_temperature(logits, labels)
    scores, is_right = _best(logits / temperature, labels)
    foreign = _best(strangers / temperature, None)[0]
    threshold = None
    if wanted_precision is not None:
        threshold = _threshold_for(wanted_precision, scores, is_right, foreign)
    elif len(foreign):
        threshold = _balanced_threshold(scores, is_right, foreign)
    settings = task.settings.replace(temperature=temperature, rejection_threshold=threshold)
    found.task_settings = {"task": task.name, "settings": settings.to_dict()}
    limit = 0.0 if threshold is None else threshold
    answered, wrong = scores >= limit, int((foreign >= limit).sum())
    given = int(answered.sum()) + wrong
    return Calibration(
        temperature=temperature,
        threshold=threshold,
        error_before=_calibration_error(task, logits, labels),
        error_after=_calibration_error(task, logits / temperature, labels),
        coverage=float(answered.mean()),
        precision=float(is_right[answered].sum()) / given if given else 0.0,
        rejected=1 - wrong / len(foreign) if len(foreign) else None,
        num_rows=len(labels),
    )


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature with the least log loss, from 0.05 to 20.

    Args:
        logits: (N, C) in fp64.
        labels: (N,) numbers of classes.
    """

    def loss(inverse: float) -> float:
        scaled = logits * inverse
        chosen = scaled[np.arange(len(labels)), labels]
        return float((np.logaddexp.reduce(scaled, axis=-1) - chosen).mean())

    inverse = _lowest_point(loss, 1 / _HIGHEST, 1 / _LOWEST)  # convex in the inverse
    if not 1.01 / _HIGHEST < inverse < 0.99 / _LOWEST:
        logger.warning(
            "The temperature is at its limit, %.3g: the rows to calibrate with are too few, or %s. "
            "Take more that the model has not learned from%s.",
            1 / inverse,
            *(
                ("all answered right", "")
                if inverse > 1
                else ("the answers no better than chance", ", or train longer")
            ),
        )
    return 1 / inverse


def _lowest_point(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a convex function is lowest, by golden sections."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(60):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = function(right)
    return (low + high) / 2


def _scores(
    model: PretrainedModel,
    task: TextClassification,
    dataset: object,
    out_of_scope: Iterable[Any] | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (N, C) logits and (N,) labels of the data set, and (M, C) logits of foreign rows."""
    engine = Engine(model, precision="fp32")
    rows = list(predict_rows(engine, task, as_rows(dataset), model.tokenizer, with_labels=True))
    if not rows:
        raise DataError("There are no rows to calibrate with.")
    if isinstance(out_of_scope, str):
        raise DataError("`out_of_scope` must be a list of texts or rows, but is one text.")
    items = [task.as_row(item) for item in out_of_scope or ()]
    strangers = list(predict_items(engine, task, items, model.tokenizer))
    return (
        np.stack([row.prediction for row in rows]).astype(np.float64),
        np.asarray([row.label for row in rows]),
        np.reshape(strangers, (len(strangers), len(task.labels))).astype(np.float64),
    )


def _best(logits: np.ndarray, labels: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's best score, and whether it is right."""
    highest = logits.max(-1, keepdims=True)
    scores: np.ndarray = 1 / np.exp(logits - highest).sum(-1)
    return scores, np.zeros(len(scores), bool) if labels is None else logits.argmax(-1) == labels


def _cuts(scores: np.ndarray) -> np.ndarray:
    """Return thresholds that tell the scores apart, ascending: 0, and between each two."""
    levels = np.unique(scores)
    cuts: np.ndarray = np.concatenate([[0.0], (levels[:-1] + levels[1:]) / 2])
    return cuts


def _threshold_for(
    wanted: float, scores: np.ndarray, is_right: np.ndarray, foreign: np.ndarray
) -> float:
    """Return the lowest threshold with the wanted share of right answers among those given."""
    reached = 0.0
    order = np.sort(np.concatenate([scores, foreign]))
    right = np.sort(scores[is_right])
    for cut in _cuts(order):
        given = len(order) - int(np.searchsorted(order, cut))
        share = (len(right) - int(np.searchsorted(right, cut))) / given
        if share >= wanted:
            return float(cut)
        reached = max(reached, share)
    raise ConfigError(
        f"No threshold comes to `wanted_precision` {wanted} on these rows; the highest is "
        f"{reached:.3f}. Wish for less, or train more."
    )


def _balanced_threshold(scores: np.ndarray, is_right: np.ndarray, foreign: np.ndarray) -> float:
    """Return the threshold with most right answers and most rejections, as shares."""
    cuts = _cuts(np.concatenate([scores, foreign]))
    right, order = np.sort(scores[is_right]), np.sort(foreign)
    kept = 1 - np.searchsorted(right, cuts) / max(1, len(right))
    rejected = np.searchsorted(order, cuts) / len(order)
    return float(cuts[int((kept + rejected).argmax())])


def _calibration_error(task: TextClassification, logits: np.ndarray, labels: np.ndarray) -> float:
    metrics = ClassificationMetrics(task.labels)
    metrics.update(logits, labels)
    return metrics.compute()["calibration_error"]
