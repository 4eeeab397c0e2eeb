"""Questions in every form, and what is wrong with others."""

import numpy as np
import pytest

from abrazo.errors import DataError
from abrazo.tasks.question_rows import Answer, QuestionReader, has_answer

CONTEXT = "Anna 😀 lives in Paris, near Paris."
PLACE = CONTEXT.index("Paris")


def read(row, *, column="answers", places="given"):
    reader = QuestionReader("context", "question", column, places)
    return reader.read({"context": CONTEXT, "question": "Where?", **row}, with_answers=True).answers


@pytest.mark.parametrize(
    "answers",
    [
        {"text": ["Paris"], "answer_start": [PLACE]},
        {"text": np.array(["Paris"]), "answer_start": np.array([PLACE])},
        {"text": "Paris", "answer_start": PLACE},
        [{"text": "Paris", "answer_start": PLACE}],
        [{"text": "Paris", "start": PLACE}],
        [{"text": " Paris", "start": PLACE - 1}],
        [{"text": ["Paris"], "answer_start": [PLACE]}],
        np.array([{"text": "Paris", "start": float(PLACE)}], dtype=object),
    ],
)
def test_answers_come_in_many_forms(answers):
    assert read({"answers": answers}) == (Answer("Paris", PLACE),)


def test_a_flat_answer_has_its_place_in_another_column():
    row = {"answer": "Paris", "answer_start": PLACE}
    assert read(row, column="answer") == (Answer("Paris", PLACE),)
    assert read({"answer": "", "answer_start": -1}, column="answer") == ()


@pytest.mark.parametrize(
    "row",
    [
        {"answers": []},
        {"answers": {"text": [], "answer_start": []}},
        {"answers": None, "is_impossible": True},
        {"answers": [{"text": "Anna", "start": 0}], "is_impossible": True},
    ],
)
def test_questions_may_have_no_answer(row):
    assert read(row) == ()
    assert not has_answer(row, "answers")


def test_several_answers_keep_their_order():
    answers = {"text": ["Paris", "Anna"], "answer_start": [PLACE, 0]}
    assert [answer.text for answer in read({"answers": answers})] == ["Paris", "Anna"]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (None, "must be a text, a list of answers, .* but is missing.*empty list"),
        (float("nan"), "is missing"),
        (3, "but is 3"),
        ([3], "must hold answers with `text` and `start`, but holds 3"),
        ({"answer_start": [0]}, "must have `text` and `answer_start`, but has `answer_start`"),
        ({"text": ["Anna"], "answer_start": []}, "1 texts and 0 places"),
        ([{"text": 5, "start": 0}], r"must be a text, but is 5 \(int\)"),
        ([{"text": None, "start": 0}], "must be a text, but is None"),
        ([{"text": " ", "start": 4}], "must be a text, but is empty.*empty list"),
        ([{"text": "Anna", "start": "0"}], r"must be a whole number, but is '0' \(str\)"),
        ([{"text": "Anna", "start": True}], "must be a whole number, but is True"),
        ([{"text": "Anna", "start": 0.5}], "must be a whole number, but is 0.5"),
        ([{"text": "Anna", "start": 3}], 'is not at 3, where the context has "a .* at 0'),
        ([{"text": "Anna", "start": -31}], 'is not at -31.*answer_places="find"'),
        ([{"text": "Anna", "start": 10**9}], "is not at 1000000000"),
        ([{"text": "Paris", "start": PLACE + 1}], f"it is at {PLACE}, {PLACE + 12}"),
        ([{"text": "Anna"}], r"has no place \(`answer_start`\); it is at 0.*find"),
        (["Anna"], "has no place"),
        (["Berlin"], '"Berlin", is nowhere in the context. Correct it, or remove the row'),
        ([{"text": "anna", "start": 0}], "is nowhere in the context"),
        (
            [{"text": "Anna", "start": 0}, {"text": "Rome", "start": 1}],
            'the answer 2 in `answers`, "Rome"',
        ),
    ],
)
def test_wrong_answers_are_named(answers, message):
    with pytest.raises(DataError, match=message):
        read({"answers": answers})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": ""}, "`question` is empty"),
        ({"question": None}, "`question` must be a text, but is missing"),
        ({"context": " \n"}, "`context` is empty"),
        ({"context": 7}, "`context` must be a text, but is of type int"),
        ({}, "there is no column `answers`, only `context`, `question`"),
    ],
)
def test_wrong_texts_are_named(row, message):
    with pytest.raises(DataError, match=message):
        read(row)


@pytest.mark.parametrize(
    ("stated", "found"),
    [(PLACE + 1, PLACE), (PLACE + 11, PLACE + 12), (None, PLACE), (-5, PLACE), (900, PLACE + 12)],
)
def test_answers_can_be_looked_for(stated, found):
    answers = [{"text": "Paris", "start": stated}]
    assert read({"answers": answers}, places="find") == (Answer("Paris", found),)


def test_places_counted_in_other_units_are_mended_when_looked_for():
    utf16 = len(CONTEXT[:PLACE].encode("utf-16-le")) // 2
    assert utf16 != PLACE
    assert read({"answers": [{"text": "Paris", "start": utf16}]}, places="find")[0].start == PLACE


def test_what_is_nowhere_is_an_error_also_when_looked_for():
    with pytest.raises(DataError, match="nowhere"):
        read({"answers": ["Berlin"]}, places="find")
