"""Losses of users, and the factor that keeps fp16 from losing small gradients."""

import math

import pytest
import torch
import torch.nn.functional as F

from abrazo.errors import ConfigError, TrainingError
from abrazo.heads.base import Loss
from abrazo.heads.outputs import SequenceClassifierOutput
from abrazo.training.loss_scale import LossScale
from abrazo.training.objectives import NAMED_LOSSES, as_loss, make_objective

LOGITS = torch.tensor([[2.0, -1.0], [0.5, 0.3], [-1.0, 3.0]], requires_grad=True)
LABELS = torch.tensor([0, 1, -100])


def test_a_mean_and_single_losses_come_to_the_same_sum() -> None:
    mean = as_loss(F.cross_entropy(LOGITS, LABELS), LOGITS, LABELS)
    each = as_loss(F.cross_entropy(LOGITS, LABELS, reduction="none"), LOGITS, LABELS)
    assert int(mean.count) == int(each.count) == 2
    torch.testing.assert_close(mean.total, each.total)
    given = Loss(LOGITS.sum(), 7)
    assert as_loss(given, LOGITS, LABELS) is given


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3.0, "must return a tensor, but returned float"),
        (torch.tensor(3), "must return a tensor"),
        (torch.tensor(3.0), "without a gradient"),
    ],
)
def test_what_is_no_loss_is_refused(value: object, words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        as_loss(value, LOGITS, LABELS)


def test_weights_of_labels_have_a_mean_of_one() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    logits = torch.zeros(4, 2, requires_grad=True)
    loss = NAMED_LOSSES["weighted"](torch.tensor([3, 1]))(logits, labels)
    assert isinstance(loss, torch.Tensor)
    torch.testing.assert_close(loss.mean(), torch.tensor(math.log(2)))
    assert loss[3] == 3 * loss[0]


def test_focal_loss_passes_over_what_is_right() -> None:
    focal = NAMED_LOSSES["focal"](torch.zeros(0))
    logits = torch.tensor([[6.0, 0.0], [0.0, 0.0]])
    loss = focal(logits, torch.tensor([0, 0]))
    assert isinstance(loss, torch.Tensor)
    assert loss[0] < 1e-6
    torch.testing.assert_close(loss[1], torch.tensor(0.25 * math.log(2)))


def test_wrong_losses_are_refused() -> None:
    def none() -> torch.Tensor:
        raise AssertionError("only `weighted` counts labels")

    with pytest.raises(ConfigError, match="both give a loss"):
        make_objective("focal", SequenceClassifierOutput, none)
    with pytest.raises(ConfigError, match=r"must define `loss\(self, logits, labels\)`"):
        make_objective(None, SequenceClassifierOutput, none)
    with pytest.raises(ConfigError, match="must be a subclass"):
        make_objective(None, int, none)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a name or a function"):
        make_objective(3, None, none)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="one class a target"):
        NAMED_LOSSES["focal"](torch.zeros(0))(LOGITS, torch.ones(3, 2))


def test_the_scale_halves_on_overflow_and_grows_after_a_while() -> None:
    scale = LossScale.for_precision("fp16")
    start = scale.factor
    assert scale.overflowed(math.inf)
    assert scale.factor == start / 2
    assert not any(scale.overflowed(1.0) for _ in range(2000))
    assert scale.factor == start
    fixed = LossScale.for_precision("bf16")
    assert not fixed.overflowed(math.inf)
    assert fixed.factor == 1
