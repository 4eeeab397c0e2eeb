"""Losses over pairs: what they equal, and how texts of a row find each other in a batch."""

import pytest
import torch
import torch.nn.functional as F

from abrazo.errors import ConfigError
from abrazo.heads.base import Encoded
from abrazo.heads.similarity import (
    EmbeddingHead,
    PairObjective,
    ProjectionPlan,
    cosent,
    cosine_mse,
    in_batch_negatives,
    whole_rows,
)
from helpers.tiny import random_batch


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator), dim=-1)


def encoded(lengths: list[int], width: int = 6) -> Encoded:
    batch = random_batch(lengths)
    return Encoded(torch.randn(sum(lengths), width), None, batch)


def marked(rows: list[int], texts: list[int], values: torch.Tensor) -> torch.Tensor:
    marks = torch.tensor([rows, texts], dtype=torch.float32).T
    return torch.cat([marks, values], 1)


def test_cosent_compares_every_two_pairs():
    vectors, targets = unit(5, 2, 8), torch.tensor([0.1, 0.9, 0.5, 0.5, 0.0])[:, None]
    cosines = (vectors[:, 0] * vectors[:, 1]).sum(-1)
    total = 1.0 + sum(
        torch.exp((cosines[j] - cosines[i]) / 0.05)
        for i in range(5)
        for j in range(5)
        if targets[i] > targets[j]
    )
    loss = cosent(vectors, targets, 0.05)
    torch.testing.assert_close(loss.mean, torch.log(torch.as_tensor(total)))
    assert loss.count == 5


def test_cosent_sees_the_order_of_scores_alone():
    vectors = unit(6, 2, 8)
    targets = torch.tensor([0.0, 1, 2, 3, 4, 5])[:, None]
    one, other = cosent(vectors, targets, 0.05), cosent(vectors, targets**3 / 7, 0.05)
    assert torch.equal(one.total, other.total)


def test_equal_scores_give_no_loss():
    assert cosent(unit(4, 2, 8), torch.ones(4, 1), 0.05).total == 0


def test_squared_errors_add_up_over_parts_of_a_batch():
    vectors, targets = unit(8, 2, 4), torch.rand(8, 1)
    whole = cosine_mse(vectors, targets, 1.0)
    parts = [cosine_mse(vectors[at], targets[at], 1.0) for at in (slice(0, 3), slice(3, 8))]
    torch.testing.assert_close(whole.total, parts[0].total + parts[1].total)
    assert whole.count == parts[0].count + parts[1].count


def test_in_batch_negatives_are_the_other_rows_texts():
    vectors = unit(4, 3, 8)
    targets = torch.arange(12).reshape(4, 3)
    candidates = torch.cat([vectors[:, 1], vectors[:, 2]])
    scores = vectors[:, 0] @ candidates.T / 0.1
    expected = F.cross_entropy(scores, torch.arange(4), reduction="sum")
    torch.testing.assert_close(in_batch_negatives(vectors, targets, 0.1).total, expected)


def test_the_same_text_in_another_row_is_no_wrong_answer():
    vectors = unit(3, 2, 8)
    vectors[2, 1] = vectors[0, 1]
    same = torch.tensor([[0, 1], [2, 3], [4, 1]])
    apart = torch.tensor([[0, 1], [2, 3], [4, 5]])
    with_mask = in_batch_negatives(vectors, same, 0.1).total
    scores = vectors[:, 0] @ vectors[:, 1].T / 0.1
    scores[0, 2] = scores[2, 0] = -torch.inf
    expected = F.cross_entropy(scores, torch.arange(3), reduction="sum")
    torch.testing.assert_close(with_mask, expected)
    assert in_batch_negatives(vectors, apart, 0.1).total > with_mask


def test_texts_of_a_row_find_each_other_in_any_order():
    vectors = torch.arange(6.0)[:, None] * torch.ones(6, 2)
    labels = marked([2, 0, 1, 0, 2, 1], [0, 1, 0, 0, 1, 1], torch.zeros(6, 1))
    found, _ = whole_rows(vectors, labels)
    assert found[..., 0].tolist() == [[3, 1], [2, 5], [0, 4]]


def test_rows_that_lack_a_text_do_not_count():
    labels = marked([0, 1, 1], [0, 0, 1], torch.tensor([[0.1], [0.2], [0.2]]))
    found, targets = whole_rows(torch.randn(3, 4), labels)
    assert found.shape == (1, 2, 4)
    assert targets.tolist() == [[pytest.approx(0.2)]]


def test_a_single_text_has_a_loss_of_nothing_unless_its_vector_is_no_number():
    head = EmbeddingHead(("mean",))
    part = encoded([3])
    part.batch.labels = marked([0], [0], torch.ones(1, 1))
    loss = head.loss(head(part), part.batch)
    assert loss is not None
    assert float(loss.total) == 0
    assert loss.count == 0
    part.hidden[0, 0] = torch.nan
    broken = head.loss(head(part), part.batch)
    assert broken is not None
    assert bool(broken.total.isnan())


def test_matryoshka_is_the_mean_over_leading_parts():
    vectors, targets = unit(5, 2, 8), torch.rand(5, 1)
    each = [PairObjective("cosine_mse", sizes=(size,))(vectors, targets).total for size in (2, 8)]
    both = PairObjective("cosine_mse", sizes=(2, 8))(vectors, targets)
    torch.testing.assert_close(both.total, (each[0] + each[1]) / 2)
    assert both.count == 5


def test_several_poolings_stand_side_by_side_and_projections_follow():
    part = encoded([2, 5])
    wide = EmbeddingHead(("cls", "mean"), normalize=False)(part)["embeddings"]
    assert wide.shape == (2, 12)
    plan = ProjectionPlan(in_width=12, out_width=3, activation="tanh")
    head = EmbeddingHead(("cls", "mean"), [plan])
    found = head(part)["embeddings"]
    linear = head.projections[0].linear
    torch.testing.assert_close(found, F.normalize(torch.tanh(linear(wide)), dim=-1))


def test_an_unknown_pooling_is_named():
    with pytest.raises(ConfigError, match="Did you mean `mean`"):
        EmbeddingHead(("maen",))
