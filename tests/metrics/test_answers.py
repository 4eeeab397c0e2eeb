"""Exact match and F1 of answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abrazo.errors import ConfigError, DataError
from abrazo.metrics.answers import AnswerMetrics, answer_f1, exact_match


def arrays(predictions, labels):
    given, right = np.empty(len(labels), dtype=object), np.empty(len(labels), dtype=object)
    given[:] = predictions
    for place, label in enumerate(labels):
        right[place] = label
    return given, right


def counted(predictions, labels):
    metric = AnswerMetrics()
    metric.update(*arrays(predictions, labels))
    return metric


@pytest.mark.parametrize(
    ("given", "right", "exact", "f1"),
    [
        ("The Eiffel Tower!", ["eiffel tower"], 1, 1),
        ("an apple", ["the  apple"], 1, 1),
        ("theatre", ["atre"], 0, 0),  # `the` is an article only as a word
        ("in Paris", ["Paris"], 0, 2 / 3),
        ("Paris Paris", ["Paris"], 0, 2 / 3),
        ("U.S.", ["US"], 1, 1),
        ("Rome", ["Paris", "Rome"], 1, 1),
        ("tower Eiffel", ["Eiffel tower"], 0, 1),
        ("", ["Paris"], 0, 0),
        ("", [], 1, 1),
        ("Paris", [], 0, 0),
        ("the", ["the"], 1, 1),
        ("北京", ["北京"], 1, 1),
        ("在北京", ["北京"], 0, 2 * 2 / 5),
        ("《北京》。", ["北京"], 1, 1),
        ("京北", ["北京"], 0, 2 * 1 / 4),  # the longest stretch, not a bag of characters
        ("2008年 BERT", ["2008年bert"], 1, 1),
        ("2008年", ["2008年奥运会"], 0, 2 * 2 / 7),
        ("Paris", ["北京", "Paris"], 1, 1),
    ],
)
def test_answers_are_compared_as_the_official_scripts_do(given, right, exact, f1):
    assert exact_match(given, right) == exact
    assert answer_f1(given, right) == pytest.approx(f1)


def test_questions_with_and_without_answer_are_counted_apart():
    figures = counted(["Paris", "in Rome", "", "Rome"], [["Paris"], ["Rome"], [], []]).compute()
    assert figures == pytest.approx(
        {
            "exact_match": 2 / 4,
            "f1": (1 + 2 / 3 + 1 + 0) / 4,
            "has_answer_exact_match": 1 / 2,
            "has_answer_f1": (1 + 2 / 3) / 2,
            "no_answer_accuracy": 1 / 2,
        }
    )
    assert figures.keys() == AnswerMetrics().better.keys()


def test_figures_of_a_kind_that_is_not_there_are_left_out():
    assert "no_answer_accuracy" not in counted(["a b"], [["b"]]).compute()
    assert "has_answer_f1" not in counted([""], [()]).compute()


ANSWERS = st.lists(
    st.tuples(
        st.sampled_from(["", "Paris", "in Paris", "北京", "在北京", "the"]),
        st.lists(st.sampled_from(["Paris", "北京", "Rome"]), max_size=2),
    ),
    min_size=1,
    max_size=12,
)


@given(ANSWERS, st.integers(0, 12))
def test_parts_add_up_to_the_whole(pairs, cut):
    predictions, labels = zip(*pairs, strict=True)
    whole, first = counted(predictions, labels), counted(predictions[:cut], labels[:cut])
    rest = counted(predictions[cut:], labels[cut:])
    first.merge(rest)
    again = AnswerMetrics()
    again.load_state_dict(first.state_dict())
    assert again.compute() == pytest.approx(whole.compute())
    assert all(0 <= value <= 1 for value in whole.compute().values())


def test_wrong_arrays_and_states_are_refused():
    metric = AnswerMetrics()
    with pytest.raises(DataError, match="No rows were evaluated"):
        metric.compute()
    with pytest.raises(DataError, match="need as many labels"):
        metric.update(np.array(["a"]), np.array([]))
    with pytest.raises(DataError, match="Answers are counted as texts"):
        metric.update(np.zeros(1), np.zeros((1, 2)))
    with pytest.raises(DataError, match="Answers are counted as texts"):
        metric.update(*arrays(["a"], ["a"]))
    with pytest.raises(ConfigError, match="does not fit"):
        metric.load_state_dict({"has_answer": np.zeros(2)})
