"""From what is said of pieces to scores of units, and to the arrays that metrics count."""

import numpy as np
import pytest

from abrazo.metrics.tags import TagSet
from abrazo.tasks import tagged_text
from abrazo.tasks.tagged_text import (
    TagPrediction,
    UnitRow,
    log_softmax,
    score_units,
    spans_of,
    to_padded,
)

TAGS = TagSet.of_types(["PER"], "BIO")  # O, B-PER, I-PER
# one word of two pieces, a piece of nothing but space, another word
ROW = UnitRow("Ada la", np.array([[0, 3], [4, 6]]), np.array([0, 3]), np.array([0, 0, -1, 1]))
PIECES = np.array([[0.2, 0.6, 0.2], [0.5, 0.1, 0.4], [0.0, 0.0, 1.0], [0.7, 0.2, 0.1]])


def units(how):
    return np.exp(score_units(np.log(PIECES + 1e-12), ROW, how, TAGS))


def test_a_word_is_read_at_its_first_piece():
    assert units("first") == pytest.approx(PIECES[[0, 3]], abs=1e-6)


def test_all_pieces_say_of_which_type_a_word_is_and_the_first_where_it_begins():
    # P(PER) is the mean of 0.8 and 0.5; three quarters of it begin, as the first piece says
    assert units("average")[0] == pytest.approx([0.35, 0.65 * 0.75, 0.65 * 0.25], abs=1e-6)
    assert units("average")[1] == pytest.approx(PIECES[3], abs=1e-6)


def test_the_surest_piece_counts_and_shares_still_add_up():
    assert units("max")[0] == pytest.approx(np.array([0.5, 0.6, 0.2]) / 1.3, abs=1e-6)


def test_the_score_of_a_span_is_the_mean_share_of_its_type():
    scores = np.log([[0.2, 0.6, 0.2], [0.4, 0.1, 0.5]])
    span = spans_of(TagPrediction(scores, np.array([1, 2]), ROW), TAGS)[0]
    assert (span.start, span.end) == (0, 6)
    assert span.score == pytest.approx((0.8 + 0.6) / 2)


def test_the_greatest_score_is_that_of_the_tag_chosen():
    scores = log_softmax(np.random.default_rng(0).normal(size=(9, 3)))
    scores[0] = scores[0, 0]  # a tie
    tags = np.arange(9) % 3
    tags[0] = 2
    arrays, labels = next(to_padded([TagPrediction(scores, tags, None)], [None], TAGS))
    assert arrays[0].argmax(-1).tolist() == tags.tolist()
    assert (labels == -100).all()
    assert np.sort(arrays[0][1:], -1) == pytest.approx(np.sort(scores[1:], -1))


def test_a_long_row_does_not_widen_all_others(monkeypatch):
    monkeypatch.setattr(tagged_text, "_MOST_PLACES", 40)
    sizes = [3, 4, 30, 2, 2]
    rows = [TagPrediction(np.zeros((size, 3)), np.zeros(size, int), None) for size in sizes]
    parts = list(to_padded(rows, [np.full(size, 1) for size in sizes], TAGS))
    assert [labels.shape for _, labels in parts] == [(2, 4), (1, 30), (2, 2)]
    assert sum(int((labels == 1).sum()) for _, labels in parts) == sum(sizes)
