"""The best spans of windows, against a reference that tries every span."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abrazo.tasks.answer_spans import (
    AnswerPrediction,
    ContextRow,
    WindowScores,
    best_spans,
    find_answers,
    score_window,
    token_span,
)
from abrazo.tasks.windows import Window


def all_spans(windows, max_tokens):
    """Return every span of every window, the best first."""
    spans = [
        (w.first + start, w.first + end, w.starts[start] + w.ends[end])
        for w in windows
        for start in range(len(w.starts))
        for end in range(start, min(start + max_tokens, len(w.ends)))
    ]
    return sorted(spans, key=lambda span: -span[2])


SCORES = st.floats(-8, 0, allow_nan=False, width=16)


@st.composite
def some_windows(draw):
    windows = []
    for number in range(draw(st.integers(1, 3))):
        size = draw(st.integers(0, 9))
        starts, ends = (draw(st.lists(SCORES, min_size=size, max_size=size)) for _ in range(2))
        windows.append(WindowScores(4 * number, np.array(starts), np.array(ends), draw(SCORES)))
    return windows


@settings(deadline=None)
@given(some_windows(), st.integers(1, 12))
def test_spans_are_those_of_a_search_through_all(windows, max_tokens):
    assert list(best_spans(windows, max_tokens)) == all_spans(windows, max_tokens)


@settings(deadline=None)
@given(some_windows(), st.integers(1, 12), st.integers(1, 30), st.floats(-2, 2))
def test_answers_are_those_of_a_search_through_all(windows, max_tokens, count, threshold):
    words = ["ab", "a", "ab", " ", "c", "d", "ab", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"]
    context = " ".join(words)
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    places = np.stack([ends - [len(word) for word in words], ends], axis=1).astype(np.int32)
    row = ContextRow(context, places, None)
    expected, seen = [], set()
    for first, last, score in all_spans(windows, max_tokens):
        text = context[places[first, 0] : places[last, 1]].strip()
        if text and text not in seen:
            seen.add(text)
            expected.append((text, score))
    nothing = min(window.nothing for window in windows)
    place = sum(score >= nothing - threshold for _, score in expected)
    expected.insert(place, ("", nothing))
    found = find_answers(
        AnswerPrediction(row, tuple(windows)),
        count,
        max_tokens=max_tokens,
        null_threshold=threshold,
    )
    assert [(one.text, one.score) for one in found] == expected[:count]
    assert all(context[one.start : one.start + len(one.text)] == one.text for one in found)


def test_scores_of_a_window_are_probabilities_of_context_and_no_answer():
    window = Window(first=3, start=10, count=4, kept=(10, 14))
    logits = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
    logits[:, [1, 2, 7]] = 1e4  # the question and special tokens cannot be answers
    scores = score_window(window, logits[0], logits[1])
    assert scores.first == 10
    exps = np.exp(logits[:, [0, 3, 4, 5, 6]].astype(np.float64))
    shares = exps / exps.sum(-1, keepdims=True)
    np.testing.assert_allclose(np.exp(scores.starts), shares[0, 1:])
    np.testing.assert_allclose(np.exp(scores.ends), shares[1, 1:])
    assert np.exp(scores.nothing) == pytest.approx(shares[0, 0] * shares[1, 0])


def test_nothing_is_as_likely_as_in_the_window_that_is_least_sure_of_it():
    windows = tuple(
        WindowScores(0, np.zeros(1), np.zeros(1), score) for score in (-1.0, -7.0, -3.0)
    )
    prediction = AnswerPrediction(ContextRow("a", np.array([[0, 1]], np.int32), None), windows)
    assert prediction.nothing == -7.0


def test_a_context_without_tokens_has_no_answer():
    prediction = AnswerPrediction(
        ContextRow("\x00", np.empty((0, 2), np.int32), None),
        (WindowScores(0, np.empty(0), np.empty(0), 0.0),),
    )
    (found,) = find_answers(prediction, 3, max_tokens=5, null_threshold=None)
    assert found.text == ""
    assert np.exp(found.score) == 0


def test_tokens_that_share_a_character_are_all_of_its_span():
    places = np.array([[0, 1], [1, 2], [1, 2], [1, 2], [3, 5]], np.int32)
    assert token_span(places, 1, 2) == (1, 3)
    assert token_span(places, 1, 4) == (1, 4)
    assert token_span(places, 2, 3) is None


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.data())
def test_token_spans_are_those_of_a_search(sizes, data):
    ends = np.cumsum(sizes)
    places = np.stack([ends - sizes, ends], axis=1).astype(np.int32)
    start = data.draw(st.integers(0, int(ends[-1]) - 1))
    end = data.draw(st.integers(start + 1, int(ends[-1])))
    touched = [i for i, (a, b) in enumerate(places.tolist()) if a < end and b > start]
    assert token_span(places, start, end) == (touched[0], touched[-1])


def test_a_long_list_of_answers_is_in_order():
    rng = np.random.default_rng(1)
    windows = [WindowScores(0, rng.normal(size=300), rng.normal(size=300), 0.0)]
    found = list(itertools.islice(best_spans(windows, 30), 2000))
    assert found == all_spans(windows, 30)[:2000]
