"""Rows that cannot be used: each is named, with what is wrong and what to do."""

import time
from typing import Any

import pytest

from abrazo.data.rows import as_rows
from abrazo.errors import AbrazoError, DataError
from abrazo.inference.engine import Engine
from abrazo.inference.evaluation import evaluate_rows
from abrazo.inference.pipeline import Pipeline
from abrazo.tasks.auto import learn_task, task_for_model
from helpers.tiny import tiny_bert, tiny_tokenizer

TEXT = "a film"


def rows_with(labels: list[Any]) -> list[dict[str, Any]]:
    return [{"text": TEXT, "label": label} for label in labels]


WRONG_LABELS: list[tuple[list[Any], str]] = [
    (["good", 1], "must all be of one kind, but are: text in row 1; whole number in row 2"),
    ([1, True], "must all be of one kind"),
    ([["a"], "a"], "must all be of one kind, but are: list in row 1; text in row 2"),
    ([0.5, "a"], "must all be of one kind"),
    ([{"a": 1}, {"a": 2}], "row 1: `label` must be a text, .* but is of type dict"),
    ([b"a", b"b"], "row 1: `label` must be a text, .* but is of type bytes"),
    (["good", "good"], "at least two classes, but every row has the label good"),
    ([0, 0, 0], "at least two classes, but every row has the label 0"),
    (["good", None], r"row 2: `label` is missing. Remove or fill such rows"),
    ([1, float("nan")], r"row 2: `label` is missing"),
    ([None, None], r"row 1: `label` is missing"),
    ([[], []], "No row has a label in `label`"),
    ([["a"], [None]], "row 2: a list in `label` must name the labels .* holds None"),
    ([[["a"]], [["b"]]], r"row 1: a list in `label` .* holds \['a'\]"),
    ([["a", 1], ["b"]], "in the lists of `label` must all be of one kind, but are: text in row 1"),
    ([[0, 1, 1], [1, 0, 0]], "row 1: a list in `label` must name .* names a label twice"),
    ([[0.0, 1.0]], "row 1: a list in `label` must name .* holds 0.0"),
]


@pytest.mark.parametrize(("labels", "said"), WRONG_LABELS, ids=lambda value: str(value)[:40])
def test_labels_that_cannot_be_learned_are_named(labels: list[Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        learn_task("text-classification", as_rows(rows_with(labels)))


def evaluate(rows: list[dict[str, Any]], **config: Any) -> Any:
    config = {"id2label": {0: "negative", 1: "positive"}, **config}
    model = tiny_bert("sequence_classification", **config)
    return evaluate_rows(
        Engine(model, precision="fp32"), task_for_model(model), as_rows(rows), tiny_tokenizer()
    )


WRONG_VALUES: list[tuple[dict[str, Any], str]] = [
    (
        {"label": "postive"},
        r'row 2: label "postive" is not one of the model\'s labels \(negative, positive\)\.'
        r" Did you mean `positive`\?",
    ),
    ({"label": 2}, r"row 2: label 2 is not one of"),
    ({"label": -1}, r"row 2: label -1 is not one of"),
    ({"label": 1.0}, r"row 2: label 1.0 is not one of"),
    ({"label": None}, r"row 2: label None is not one of"),
    ({"label": float("nan")}, r"row 2: label nan is not one of"),
    ({"label": ["positive"]}, r"row 2: label \['positive'\] is not one of"),
    ({"text": None}, r"row 2: `text` must be a text, but is missing\. Remove or fill"),
    ({"text": float("nan")}, r"row 2: `text` must be a text, but is missing"),
    ({"text": 7}, r"row 2: `text` must be a text, but is of type int"),
    ({"text": ["a", "b"]}, r"row 2: `text` must be a text, but is of type list"),
    ({"text": ""}, r"row 2: `text` is empty\. Remove or fill"),
    ({"text": " \n\t"}, r"row 2: `text` is empty"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG_VALUES, ids=lambda value: str(value)[:40])
def test_wrong_value_is_named_with_its_row(changes: dict[str, Any], said: str) -> None:
    good = {"text": TEXT, "label": "positive"}
    with pytest.raises(DataError, match=said):
        evaluate([good, {**good, **changes}])


def test_column_that_is_missing_is_named_with_those_there() -> None:
    with pytest.raises(DataError, match=r"no column `text`, only `words`, `label`"):
        evaluate([{"words": TEXT, "label": "positive"}])
    with pytest.raises(DataError, match=r"no column `label`, only `text`"):
        evaluate([{"text": TEXT}])


@pytest.mark.parametrize("value", ["3", None, True, float("nan"), float("inf"), [1.0]], ids=str)
def test_number_that_is_none_is_named_in_a_regression(value: Any) -> None:
    with pytest.raises(DataError, match="row 1: `label` must be a number"):
        evaluate([{"text": TEXT, "label": value}], num_labels=1, id2label={0: "score"})


@pytest.mark.parametrize("value", ["positive", 1, None], ids=str)
def test_label_that_is_no_list_is_named_where_lists_are_learned(value: Any) -> None:
    with pytest.raises(DataError, match="row 1: `label` must be a list"):
        evaluate([{"text": TEXT, "label": value}], problem_type="multi_label_classification")


def test_unknown_label_in_a_list_is_named() -> None:
    with pytest.raises(DataError, match=r"row 1: label \"negativ\" .* mean `negative`"):
        evaluate(
            [{"text": TEXT, "label": ["positive", "negativ"]}],
            problem_type="multi_label_classification",
        )


@pytest.mark.parametrize("value", [[1, 1], [1.0, 0.0], [None]], ids=str)
def test_marks_in_place_of_names_are_refused(value: Any) -> None:
    with pytest.raises(DataError, match="row 1: a list in `label` must name the labels that apply"):
        evaluate([{"text": TEXT, "label": value}], problem_type="multi_label_classification")


def test_very_many_labels_are_not_all_listed() -> None:
    names = {i: f"label{i}" for i in range(1000)}
    with pytest.raises(DataError) as caught:
        evaluate([{"text": TEXT, "label": "x" * 10_000}], id2label=names)
    assert len(str(caught.value)) < 1_000


@pytest.fixture(scope="module")
def answer() -> Pipeline:
    model = tiny_bert("sequence_classification")
    return Pipeline(task_for_model(model), model, tiny_tokenizer(), precision="fp32")


@pytest.mark.parametrize(
    "item", [3, None, b"bytes", ["a", "b", "c"], [], {"words": "a"}, {"text": 3}, ("a", 3)], ids=str
)
def test_pipeline_names_what_it_cannot_read(answer: Pipeline, item: Any) -> None:
    with pytest.raises(DataError, match="row 2: "):
        answer([TEXT, item])


@pytest.mark.parametrize("item", [3, None, b"bytes", {"words": "a"}], ids=str)
def test_single_input_that_cannot_be_read_is_refused(answer: Pipeline, item: Any) -> None:
    with pytest.raises(AbrazoError):
        answer(item)


def test_text_of_ten_megabytes_is_answered_in_bounded_time(answer: Pipeline) -> None:
    for text in ("good film " * 1_000_000, "好" * 3_000_000, "a" * 1_000_000):
        started = time.process_time()
        assert answer(text)["label"]
        assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\0",
        "\u202e\ufeff",
        "😀" * 50,
        "[CLS] [SEP] [PAD]",
        "\U0010ffff",
        "é" * 99,
    ],
    ids=ascii,
)
def test_strange_texts_are_answered(answer: Pipeline, text: str) -> None:
    found = answer([text, "good"])
    assert 0 <= found[0]["score"] <= 1
    alone = answer("good")  # the same but for the last digits, which products of other sizes have
    assert found[1] == {"label": alone["label"], "score": pytest.approx(alone["score"], abs=1e-5)}


def test_half_a_character_is_refused(answer: Pipeline) -> None:
    with pytest.raises(AbrazoError, match="half a surrogate pair"):
        answer(["good", "\ud800"])
