"""What text classification learns of rows, and how rows become features and answers."""

from typing import Any

import numpy as np
import pytest
import torch

from abrazo.data.rows import as_rows
from abrazo.errors import ConfigError, DataError
from abrazo.models.bert import BertForSequenceClassification
from abrazo.tasks.auto import learn_task, task_for_model, task_type, task_type_of
from abrazo.tasks.base import row_name
from abrazo.tasks.text_classification import TextClassification, TextClassificationSettings
from helpers.tiny import tiny_bert, tiny_folder, tiny_rows, tiny_tokenizer


def learn(values: list[Any], **settings: Any) -> TextClassification:
    """Return the task as it is learned of rows with these labels."""
    rows = [{"text": "a film", "label": value} for value in values]
    task = learn_task("text-classification", as_rows(rows), settings)
    assert isinstance(task, TextClassification)
    return task


# Labels ---------------------------------------------------------------------------------------

SINGLE = "single_label_classification"
MULTI = "multi_label_classification"
LEARNED: list[tuple[list[Any], str, tuple[str, ...]]] = [
    (["b", "a", "b"], SINGLE, ("a", "b")),
    (["差", "好"], SINGLE, ("好", "差")),
    ([1, 0, 2], SINGLE, ("0", "1", "2")),
    ([10, 9, 2], SINGLE, ("2", "9", "10")),
    ([-1, 1], SINGLE, ("-1", "1")),
    ([True, False], SINGLE, ("false", "true")),
    (["10", "9"], SINGLE, ("10", "9")),
    ([0.5, 1.5], "regression", ("score",)),
    ([1, 2.5], "regression", ("score",)),
    ([["b"], [], ["a", "b"]], MULTI, ("a", "b")),
    pytest.param([("b",), {"a", "b"}], MULTI, ("a", "b"), id="a tuple and a set"),
    ([np.int64(3), np.int64(10)], SINGLE, ("3", "10")),
    ([np.float32(0.5), np.float32(1)], "regression", ("score",)),
    ([torch.tensor(1), torch.tensor(0)], SINGLE, ("0", "1")),
    ([np.bool_(True), np.bool_(False)], SINGLE, ("false", "true")),
    ([np.array(["b"]), np.array(["a"])], MULTI, ("a", "b")),
    ([[2], [10, 2]], MULTI, ("2", "10")),
]


@pytest.mark.parametrize(("labels", "problem", "names"), LEARNED, ids=lambda value: str(value)[:30])
def test_labels_tell_the_problem_and_its_names(
    labels: list[Any], problem: str, names: tuple[str, ...]
) -> None:
    task = learn(labels)
    assert task.problem == problem
    assert task.labels == names
    assert task.model_options() == {"labels": names, "problem_type": problem}


def encoded_labels(task: TextClassification, labels: list[Any]) -> list[Any]:
    task.settings = task.settings.replace(max_length=16)
    rows = [{"text": "a film", "label": label} for label in labels]
    features = task.encode(rows, range(len(rows)), tiny_tokenizer(), with_labels=True)
    return [np.asarray(feature.label).tolist() for feature in features]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["b", "a", "b"], [1, 0, 1]),
        ([10, 9, 2], [2, 1, 0]),
        ([True, False], [1, 0]),
        ([0.5, 2], [0.5, 2.0]),
        ([["b"], [], ["a", "b"]], [[0, 1], [0, 0], [1, 1]]),
    ],
    ids=str,
)
def test_labels_become_what_the_head_learns_from(labels: list[Any], expected: list[Any]) -> None:
    assert encoded_labels(learn(labels), labels) == expected


def test_numbers_stand_for_named_labels() -> None:
    assert encoded_labels(learn(["bad", "good"]), [1, 0, "good"]) == [1, 0, 1]


def test_number_names_are_names_not_places() -> None:
    task = learn([1, 2])
    assert encoded_labels(task, [1, 2]) == [0, 1]
    with pytest.raises(DataError, match=r"label 0 is not one of the model's labels \(1, 2\)"):
        encoded_labels(task, [0])


def test_given_labels_keep_their_order() -> None:
    assert learn(["a", "b"], labels=["b", "a", "c"]).labels == ("b", "a", "c")


def test_given_problem_is_believed() -> None:
    assert learn([0, 1, 5], problem="regression").problem == "regression"


def test_label_twice_among_given_ones_is_refused() -> None:
    with pytest.raises(ConfigError, match="must not name a label twice"):
        learn(["a"], labels=["a", "a"])


# Columns ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (("text", "label"), ("text", None, "label")),
        (("review", "sentiment"), ("review", None, "sentiment")),
        (("sentence1", "sentence2", "label"), ("sentence1", "sentence2", "label")),
        (("premise", "hypothesis", "category"), ("premise", "hypothesis", "category")),
        (("id", "intent", "text", "extra"), ("text", None, "intent")),
    ],
)
def test_usual_columns_are_found(
    columns: tuple[str, ...], found: tuple[str, str | None, str]
) -> None:
    rows = [dict.fromkeys(columns, "a"), dict.fromkeys(columns, "b")]
    settings = learn_task("text-classification", as_rows(rows)).settings
    assert isinstance(settings, TextClassificationSettings)
    assert (settings.text_column, settings.pair_column, settings.label_column) == found


def test_column_that_cannot_be_found_tells_how_to_name_it() -> None:
    rows = as_rows([{"words": "a", "label": 0}])
    with pytest.raises(DataError, match=r"among `words`, `label`. Name it with `text_column="):
        learn_task("text-classification", rows)


def test_misspelt_column_is_refused_with_the_nearest() -> None:
    rows = as_rows(tiny_rows(4))
    with pytest.raises(DataError, match=r"no column `lable` for the label.*mean `label`"):
        learn_task("text-classification", rows, {"label_column": "lable"})


def test_misspelt_setting_and_task_are_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean `label_column`"):
        learn_task("text-classification", as_rows(tiny_rows(4)), {"lable_column": "x"})
    with pytest.raises(ConfigError, match=r"The task must be one of .*`text-classification`"):
        task_type("text-clasification")


# Features -----------------------------------------------------------------------------------


def test_row_is_cut_at_the_length_and_the_rest_counted() -> None:
    task = learn(["a", "b"], max_length=6)
    rows = [{"text": "the film is very very good", "label": "a"}, {"text": "good", "label": "b"}]
    long, short = task.encode(rows, [7, 8], tiny_tokenizer(), with_labels=True)
    assert len(long.input_ids) == 6
    assert (long.dropped, short.dropped) == (2, 0)
    assert (long.row, short.row) == (7, 8)


def test_pairs_have_two_segments() -> None:
    rows = [{"text1": "a film", "text2": "the story", "label": label} for label in "ab"]
    task = learn_task("text-classification", as_rows(rows), {"max_length": 16})
    first, _ = task.encode(rows, [0, 1], tiny_tokenizer(), with_labels=True)
    expected = tiny_tokenizer()("a film", "the story")
    assert first.input_ids.tolist() == expected["input_ids"]
    assert first.token_type_ids is not None
    assert first.token_type_ids.tolist() == expected["token_type_ids"]


def test_batch_is_packed_shortest_first_with_rows_and_labels_along() -> None:
    task = learn(["a", "b"], max_length=16)
    texts = ["very very good film", "good", "the film"]
    rows = [{"text": text, "label": "b" if "very" in text else "a"} for text in texts]
    features = task.encode(rows, [5, 6, 7], tiny_tokenizer(), with_labels=True)
    batch = task.collate(features)
    assert batch.layout.lengths.tolist() == [3, 4, 6]
    assert batch.rows == (6, 7, 5)
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 0, 1]
    unlabelled = task.encode(rows, [5, 6, 7], tiny_tokenizer(), with_labels=False)
    assert task.collate(unlabelled).labels is None


# Answers ------------------------------------------------------------------------------------


def test_answer_is_the_best_label_or_the_best_few() -> None:
    task = learn(["a", "b", "c"])
    logits = np.log(np.array([0.2, 0.5, 0.3]))
    assert task.answer(logits) == {"label": "b", "score": pytest.approx(0.5)}
    ranked = task.answer(logits, top_k=2)
    assert [answer["label"] for answer in ranked] == ["b", "c"]
    everything = task.answer(logits, top_k=None)
    assert sum(answer["score"] for answer in everything) == pytest.approx(1)
    assert len(task.answer(logits, top_k=99)) == 3


def test_answer_of_several_labels_takes_those_above_the_threshold() -> None:
    task = learn([["a"], ["b", "c"]], threshold=0.6)
    logits = np.array([2.0, 0.3, -3.0])
    assert [answer["label"] for answer in task.answer(logits)] == ["a"]
    assert [answer["label"] for answer in task.answer(logits, top_k=None)] == ["a", "b", "c"]
    assert task.answer(np.array([-2.0, -2.0, -2.0])) == []


def test_answer_of_a_regression_is_the_number() -> None:
    assert learn([0.5, 1.5]).answer(np.array([3.25])) == {"score": 3.25}


def test_extreme_logits_give_finite_probabilities() -> None:
    for task in (learn(["a", "b"]), learn([["a"], ["b"]])):
        shares = task.probabilities(np.array([1e4, -1e4], dtype=np.float32))
        assert np.isfinite(shares).all()
        assert shares.tolist() == [1.0, 0.0]


def test_judgement_names_right_and_given_answer() -> None:
    task = learn(["a", "b"])
    assert task.judge(np.log([0.25, 0.75]), 0) == ("a", "b", pytest.approx(0.75))
    assert learn([0.5, 1.5]).judge(np.array([1.0]), 2.0) is None


# Models -------------------------------------------------------------------------------------


def test_prepared_model_serves_the_task_after_a_round_trip(tmp_path: Any) -> None:
    rows = [{"review": "good", "mood": "up"}, {"review": "bad", "mood": "down"}]
    settings = {"text_column": "review", "label_column": "mood", "max_length": 20}
    task = learn_task("text-classification", as_rows(rows), settings)
    model = tiny_bert("sequence_classification")
    task.prepare_model(model)
    model.tokenizer = tiny_tokenizer()
    model.save_pretrained(tmp_path)
    again = task_for_model(BertForSequenceClassification.from_pretrained(tmp_path))
    assert again.settings.to_dict() == {**task.settings.to_dict(), "labels": ["down", "up"]}


def test_model_with_other_labels_or_no_classifier_is_refused() -> None:
    task = learn(["a", "b", "c"])
    with pytest.raises(ConfigError, match=r"has 2 classes, but 3 labels .*`num_labels=3`"):
        task.prepare_model(tiny_bert("sequence_classification"))
    with pytest.raises(ConfigError, match="needs a model with a classifier"):
        task.prepare_model(tiny_bert("masked_lm"))


def test_rows_longer_than_the_model_reads_are_refused_beforehand() -> None:
    task = learn(["a", "b"], max_length=65)
    with pytest.raises(ConfigError, match="`max_length` must be at most 64, the model's own"):
        task.prepare_model(tiny_bert("sequence_classification"))


def test_model_of_transformers_is_understood_by_its_config(tmp_path: Any) -> None:
    folder = tiny_folder(tmp_path, labels=["NEGATIVE", "POSITIVE"])
    model = BertForSequenceClassification.from_pretrained(folder)
    task = task_for_model(model)
    assert isinstance(task, TextClassification)
    assert task.labels == ("NEGATIVE", "POSITIVE")
    assert task.problem == SINGLE
    assert task.settings.max_length == 64
    number = task_for_model(tiny_bert("sequence_classification", num_labels=1))
    assert isinstance(number, TextClassification)
    assert number.problem == "regression"


def test_model_without_a_task_says_so() -> None:
    with pytest.raises(ConfigError, match="no head that a task is known for"):
        task_type_of(tiny_bert())


def test_rows_are_named_from_one() -> None:
    assert row_name(0) == "row 1"
