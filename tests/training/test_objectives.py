"""Losses of users, and the factor that keeps fp16 from losing small gradients."""

import math

import pytest
import torch
import torch.nn.functional as F

from abrazo.errors import ConfigError, TrainingError
from abrazo.heads.base import Loss
from abrazo.heads.outputs import SequenceClassifierOutput
from abrazo.training.loss_scale import LossScale
from abrazo.training.objectives import (
    NAMED_LOSSES,
    HeadLoss,
    RDrop,
    as_loss,
    disagreement,
    make_objective,
)
from helpers.tiny import random_batch, tiny_bert

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


def test_two_passes_disagree_by_the_mean_of_both_divergences() -> None:
    p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.9, 0.1]])
    by_hand = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)  # KL(p, q)
    by_hand += 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)  # KL(q, p)
    found = disagreement(p.log(), q.log(), torch.tensor([1]))
    torch.testing.assert_close(found, torch.tensor(by_hand / 2))
    ignored = disagreement(p.log(), q.log(), torch.tensor([-100]))
    assert float(ignored) == 0


@pytest.mark.parametrize("head", ["sequence_classification", "token_classification"])
def test_r_drop_is_the_loss_of_the_head_without_dropout_and_more_with_it(head: str) -> None:
    batch = random_batch([4, 6])
    count = 2 if head == "sequence_classification" else 10
    batch.labels = torch.tensor([0, 1] * (count // 2))
    objective = make_objective("r_drop", None, lambda: torch.zeros(0))
    assert isinstance(objective, RDrop)
    model = tiny_bert(head, num_labels=2, hidden_dropout_prob=0.5)
    same, expected = objective(model.eval(), batch), HeadLoss()(model, batch)
    torch.testing.assert_close(same.total, expected.total)
    assert same.count == expected.count
    torch.manual_seed(0)
    apart = objective(model.train(), batch)
    torch.manual_seed(0)
    mean = (HeadLoss()(model, batch).total + HeadLoss()(model, batch).total) / 2
    assert bool(apart.total > mean + 1e-4)
    apart.total.backward()


def test_r_drop_refuses_what_is_no_choice_of_one_class() -> None:
    batch = random_batch([4, 6])
    batch.labels = torch.tensor([0.5, 1.5])
    with pytest.raises(ConfigError, match="one class a target"):
        RDrop()(tiny_bert("sequence_classification", num_labels=1), batch)
