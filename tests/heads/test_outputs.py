"""Outputs unpack, index and name their fields; losses are sums with counts."""

from typing import Any

import pytest
import torch

from abrazo.errors import ConfigError, DataError
from abrazo.heads.base import IGNORED_LABEL, Loss, cross_entropy
from abrazo.heads.outputs import SequenceClassifierOutput
from abrazo.heads.sequence import sequence_loss
from abrazo.heads.spans import log_softmax_by_row
from abrazo.layers.layout import Layout
from helpers.tiny import padded, random_batch, tiny_bert


def test_output_leaves_out_what_was_not_computed() -> None:
    logits, loss = torch.ones(2, 3), torch.tensor(0.5)
    output = SequenceClassifierOutput(logits=logits)
    assert output.keys() == ["logits"]
    assert len(output) == 1
    assert output[0] is output["logits"] is output.logits
    both = SequenceClassifierOutput(logits=logits, loss=loss)
    found_loss, found_logits = both
    assert found_loss is loss
    assert found_logits is logits
    assert both[:1] == (loss,)
    assert both.to_tuple() == (loss, logits)
    with pytest.raises(KeyError, match="`loss` is not in this output; it has logits"):
        output["loss"]


def test_loss_is_a_sum_and_ignores_what_has_no_label() -> None:
    logits = torch.randn(4, 3)
    labels = torch.tensor([0, IGNORED_LABEL, 2, 1])
    loss = cross_entropy(logits, labels)
    assert int(loss.count) == 3
    expected = torch.nn.functional.cross_entropy(logits[[0, 2, 3]], labels[[0, 2, 3]])
    torch.testing.assert_close(loss.mean, expected)
    nothing = cross_entropy(logits, torch.full((4,), IGNORED_LABEL))
    assert float(nothing.mean) == 0
    assert float(Loss(torch.tensor(6.0), 4).mean) == 1.5


def test_kind_of_loss_is_told_from_labels_unless_given() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 3)
    classes, marks = torch.tensor([0, 2, 1, 1]), torch.randint(0, 2, (4, 3)).float()
    functional = torch.nn.functional
    torch.testing.assert_close(
        sequence_loss(logits, classes).mean, functional.cross_entropy(logits, classes)
    )
    torch.testing.assert_close(
        sequence_loss(logits, marks).mean,
        functional.binary_cross_entropy_with_logits(logits, marks),
    )
    torch.testing.assert_close(
        sequence_loss(logits[:, :1], marks[:, 0]).mean,
        functional.mse_loss(logits[:, 0], marks[:, 0]),
    )
    with pytest.raises(ConfigError, match="`problem_type` must be one of"):
        sequence_loss(logits, classes, "x")


@pytest.mark.parametrize(
    ("head", "labels", "said"),
    [
        ("sequence_classification", [0, 1], r"one for each of the 1 rows, .*\(2,\)"),
        ("sequence_classification", [7], "A label is out of range: there are 2 classes"),
        ("token_classification", [[0, 1]], r"one for each token.*\(1, 2\) .*\(1, 4\)"),
        ("token_classification", [[0, 1, 2, -100]], "A label is out of range"),
        ("masked_lm", [[0, 1]], r"one for each token"),
        ("next_sentence", [0, 1], r"one for each of the 1 rows"),
    ],
)
def test_labels_that_do_not_fit_the_ids_are_named(head: str, labels: Any, said: str) -> None:
    model = tiny_bert(head)
    with pytest.raises(DataError, match=said):
        model(torch.tensor([[2, 7, 8, 3]]), labels=torch.tensor(labels))


def test_a_label_without_dimension_is_that_of_the_one_row() -> None:
    ids = torch.tensor([[2, 7, 8, 3]])
    model = tiny_bert("sequence_classification")
    assert model(ids, labels=torch.tensor(1)).loss == model(ids, labels=torch.tensor([1])).loss


def test_softmax_by_row_is_the_softmax_of_each_row() -> None:
    values = torch.randn(10) * 50
    lengths = [1, 4, 5]
    expected = torch.cat([row.log_softmax(0) for row in values.split(lengths)])
    torch.testing.assert_close(log_softmax_by_row(values, Layout(lengths)), expected)


def test_packed_masked_lm_scores_labelled_tokens_alone() -> None:
    model = tiny_bert("masked_lm")
    batch = random_batch([4, 6])
    batch.labels = torch.full((10,), IGNORED_LABEL)
    batch.labels[[1, 7]] = torch.tensor([9, 12])
    with torch.no_grad():
        packed = model(batch)
        inputs = padded(batch)
        labels = torch.full((2, 6), IGNORED_LABEL)
        labels[0, 1], labels[1, 3] = 9, 12
        whole = model(**inputs, labels=labels)
    assert packed.logits.shape == (2, 78)
    torch.testing.assert_close(packed.logits, whole.logits[[0, 1], [1, 3]])
    torch.testing.assert_close(packed.loss, whole.loss)


def test_spans_without_an_answer_do_not_count() -> None:
    model = tiny_bert("question_answering")
    batch = random_batch([5, 7])
    batch.labels = torch.tensor([[1, 2], [IGNORED_LABEL, IGNORED_LABEL]])
    loss, _ = model.compute_loss(batch)
    assert int(loss.count) == 1
    batch.labels = torch.full((2, 2), IGNORED_LABEL)
    loss, _ = model.compute_loss(batch)
    assert not loss.mean.any()
    loss.mean.backward()
