"""What is minimised: the head's own loss, or one that the user brings.

Every objective returns a sum over targets and their number, so that micro-batches add up exactly.

Shapes: N targets (rows, or tokens of all rows), C labels.
"""

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from abrazo.errors import ConfigError, DataError, TrainingError, one_of
from abrazo.heads.base import IGNORED_LABEL, Loss
from abrazo.heads.cross_entropy import summed_cross_entropy
from abrazo.heads.outputs import ModelOutput
from abrazo.layers.packing import PackedBatch
from abrazo.models.base import PretrainedModel

LossFunction = Callable[[Tensor, Tensor], Tensor | Loss]
"""From logits (N, C) and labels to the mean loss, to one loss a target, or to a `Loss`."""

FOCUS = 2.0
"""How much `focal` turns from what is easy."""
SMOOTHING = 0.1
"""Share of the target that `label_smoothing` spreads over all labels."""
AGREEMENT = 1.0
"""How much `r_drop` weighs that two passes agree."""


class Objective(Protocol):
    """Computes the loss of a batch."""

    def __call__(self, model: PretrainedModel, batch: PackedBatch) -> Loss:
        """Return the sum of the losses of all targets, and their number."""


class HeadLoss:
    """The loss that the model's head was made for."""

    def __call__(self, model: PretrainedModel, batch: PackedBatch) -> Loss:
        """Return the head's loss."""
        return model.compute_loss(batch)[0]


def targets_of(model: PretrainedModel, batch: PackedBatch) -> Tensor | None:
    """Return what each line of a model's logits is compared with."""
    return None if model.head is None else model.head.targets(batch)


class LogitsLoss:
    """A loss that the user brings, on logits and labels."""

    def __init__(self, function: LossFunction) -> None:
        self.function = function

    def __call__(self, model: PretrainedModel, batch: PackedBatch) -> Loss:
        """Return the user's loss.

        Raises:
            DataError: The batch has no labels.
            TrainingError: The function returns something else than a loss.
        """
        answers, labels = model.answer_packed(batch), targets_of(model, batch)
        if labels is None:
            raise DataError("The batch has no labels, so there is no loss.")
        logits = answers["logits"].float()
        if len(logits) != len(labels):  # the head scores labelled tokens alone
            labels = labels[labels != IGNORED_LABEL]
        return as_loss(self.function(logits, labels), logits, labels)


class RDrop:
    """The head's loss of two passes with dropout, and how far their answers are apart.

    The distance is the mean of both Kullback-Leibler divergences, times `AGREEMENT`. Each step
    takes about twice as long.

    Source: Liang et al. 2021, R-Drop, section 2, https://arxiv.org/abs/2106.14448; the losses of
    both passes are averaged as in the released code.
    """

    def __call__(self, model: PretrainedModel, batch: PackedBatch) -> Loss:
        """Return the mean of both losses and the distance.

        Raises:
            ConfigError: The model does not choose one of several classes.
        """
        (first, one), (second, other) = (model.compute_loss(batch) for _ in range(2))
        labels = targets_of(model, batch)
        if labels is None or "logits" not in one:
            raise ConfigError("`loss='r_drop'` is for models that choose one of several classes.")
        _check_classes("r_drop", labels)
        distance = disagreement(one["logits"], other["logits"], labels)
        return Loss((first.total + second.total) / 2 + AGREEMENT * distance, first.count)


def disagreement(first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of both Kullback-Leibler divergences, summed over targets.

    Args:
        first: (N, C) logits of one pass.
        second: (N, C) logits of another.
        labels: (N,) where ignored ones are no targets; or more, if the head has left those out.
    """
    if len(first) == len(labels):
        is_target = labels != IGNORED_LABEL
        first, second = first[is_target], second[is_target]
    one, other = first.float().log_softmax(-1), second.float().log_softmax(-1)
    # KL(p, q) + KL(q, p) = sum of (p - q) * (log p - log q)
    return ((one.exp() - other.exp()) * (one - other)).sum() / 2


def as_loss(value: object, logits: Tensor, labels: Tensor) -> Loss:
    """Return what a user's function gave as a sum and a count.

    Args:
        value: A `Loss`; a scalar, taken as the mean over the targets; or one loss a target.
        logits: (N, C) what the model said.
        labels: What it should have said; ignored ones are no targets.

    Raises:
        TrainingError: It is none of these, or has no gradient.
    """
    if isinstance(value, Loss):
        return value
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise TrainingError(
            f"`loss` must return a tensor, but returned {type(value).__name__}. Compute it from "
            "the logits with torch functions."
        )
    if torch.is_grad_enabled() and not value.requires_grad:
        raise TrainingError(
            "`loss` returned a tensor without a gradient. Compute it from the logits with torch "
            "functions; `.item()`, `.detach()` and NumPy cut the gradient off."
        )
    if value.numel() > 1:
        return Loss(value.sum(), _num_targets(labels))
    count = _num_targets(labels)
    return Loss(value.reshape(()) * count, count)


def _num_targets(labels: Tensor) -> int | Tensor:
    """Count rows, or tokens that are not ignored."""
    if labels.dim() > 1 or labels.is_floating_point():
        return len(labels)
    return (labels != IGNORED_LABEL).sum()


def _check_classes(name: str, labels: Tensor) -> None:
    if labels.is_floating_point() or labels.dim() > 1:
        raise ConfigError(
            f"`loss='{name}'` is for one class a target; for several labels a row or for numbers "
            "give a function of logits and labels."
        )


def weighted_cross_entropy(label_counts: Tensor) -> LossFunction:
    """Return a cross-entropy in which rare labels weigh more.

    A label weighs N / (C * its number of targets), so that the mean weight is 1.

    Args:
        label_counts: (C,) targets of each label in the training data.
    """
    counts = label_counts.clamp(min=1).float()
    weights = label_counts.sum() / (len(counts) * counts)

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        _check_classes("weighted", labels)
        weight = weights.to(logits.device)
        return F.cross_entropy(
            logits, labels.long(), weight, ignore_index=IGNORED_LABEL, reduction="none"
        )

    return loss


def focal_loss(_label_counts: Tensor) -> LossFunction:
    """Return the focal loss, in which what is already right weighs little.

    Source: Lin et al. 2017, Focal loss for dense object detection, section 3.2, without alpha.
    """

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        _check_classes("focal", labels)
        each = F.cross_entropy(logits, labels.long(), ignore_index=IGNORED_LABEL, reduction="none")
        focused: Tensor = (1 - torch.exp(-each)) ** FOCUS * each
        return focused

    return loss


def smoothed_cross_entropy(_label_counts: Tensor) -> LossFunction:
    """Return a cross-entropy whose targets are spread a little over all labels.

    Source: Szegedy et al. 2015, Rethinking the Inception architecture, section 7.
    """

    def loss(logits: Tensor, labels: Tensor) -> Loss:
        _check_classes("label_smoothing", labels)
        return Loss(summed_cross_entropy(logits, labels.long(), SMOOTHING), _num_targets(labels))

    return loss


NAMED_LOSSES: dict[str, Callable[[Tensor], LossFunction]] = {
    "weighted": weighted_cross_entropy,
    "focal": focal_loss,
    "label_smoothing": smoothed_cross_entropy,
}
"""Losses by the names users write; each is built from the number of targets of each label."""

LOSS_NAMES = (*NAMED_LOSSES, "r_drop")
"""All names that users can write."""


def loss_of_output(output_class: type[ModelOutput]) -> LossFunction:
    """Return the `loss(self, logits, labels)` of a user's output class as a function.

    Raises:
        ConfigError: The class is no output or does not define `loss` as a method.
    """
    method = getattr(output_class, "loss", None)
    if not isinstance(output_class, type) or not issubclass(output_class, ModelOutput):
        raise ConfigError(
            "`output_class` must be a subclass of `SequenceClassifierOutput`, but is "
            f"{output_class!r}."
        )
    if not callable(method):
        raise ConfigError(
            f"`{output_class.__name__}` must define `loss(self, logits, labels)` to be used for "
            "training."
        )

    def loss(logits: Tensor, labels: Tensor) -> Tensor | Loss:
        value: Tensor | Loss = method(output_class(logits=logits), logits, labels)  # type: ignore[call-arg]
        return value

    return loss


def make_objective(
    loss: str | LossFunction | None,
    output_class: type[ModelOutput] | None,
    count_labels: Callable[[], Tensor],
) -> Objective:
    """Return the objective that the user asked for.

    Args:
        loss: A name in `LOSS_NAMES`, a function of logits and labels, or None.
        output_class: An output class that defines a loss, or None.
        count_labels: Gives the number of targets of each label; called for `weighted` alone.

    Raises:
        ConfigError: The name is unknown, or both are given.
    """
    if output_class is not None:
        if loss is not None:
            raise ConfigError("`loss` and `output_class` both give a loss; leave one out.")
        return LogitsLoss(loss_of_output(output_class))
    if loss is None:
        return HeadLoss()
    if not isinstance(loss, str):
        if not callable(loss):
            raise ConfigError(
                f"`loss` must be a name or a function of logits and labels, but is {loss!r}."
            )
        return LogitsLoss(loss)
    if loss not in LOSS_NAMES:
        raise ConfigError(one_of("`loss`", loss, LOSS_NAMES))
    if loss == "r_drop":
        return RDrop()
    counts = count_labels() if loss == "weighted" else torch.zeros(0)
    return LogitsLoss(NAMED_LOSSES[loss](counts))
