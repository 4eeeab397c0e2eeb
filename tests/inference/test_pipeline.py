"""A task, a model and a tokenizer behind one call."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from abrazo.data.dataset import Dataset
from abrazo.data.rows import as_rows
from abrazo.errors import ConfigError
from abrazo.inference.engine import Engine
from abrazo.inference.evaluation import evaluate_rows
from abrazo.inference.pipeline import Pipeline, pipeline
from abrazo.tasks.auto import learn_task, task_for_model
from helpers.tiny import tiny_bert, tiny_folder, tiny_rows, tiny_tokenizer

TEXTS = [
    "a fine film .",
    "boring",
    "这部电影很好看。",
    "the story is very very bad , and i",
    "",
] * 5


def make(**config: Any) -> Pipeline:
    model = tiny_bert("sequence_classification", **config)
    return Pipeline(task_for_model(model), model, tiny_tokenizer(), precision="fp32")


CLASSIFY = make(id2label={0: "bad", 1: "good", 2: "so so"})


def test_folder_or_loaded_model_and_each_name_of_the_task_give_the_same(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, labels=["bad", "good"])
    first = pipeline("text-classification", str(folder), precision="fp32", device="cpu")
    expected = first(TEXTS)
    assert {answer["label"] for answer in expected} <= {"bad", "good"}
    again = pipeline("sentiment-analysis", first.engine.model, precision="fp32")
    assert again(TEXTS) == expected
    assert repr(first) == (
        "Pipeline('text-classification', BertForSequenceClassification, fp32, cpu)"
    )


def test_text_alone_answers_as_in_any_company() -> None:
    together = CLASSIFY(TEXTS)
    for text, answer in zip(TEXTS, together, strict=True):
        alone = CLASSIFY(text)
        assert alone["label"] == answer["label"]
        assert alone["score"] == pytest.approx(answer["score"], abs=1e-5)


def test_every_form_of_input_is_one_question() -> None:
    expected = CLASSIFY("a fine film")
    assert CLASSIFY({"text": "a fine film"}) == expected
    assert CLASSIFY({"text": "a fine film", "other": 3}) == expected
    assert CLASSIFY(["a fine film"]) == [expected]
    assert list(CLASSIFY(iter(["a fine film"]))) == [expected]
    assert CLASSIFY(Dataset.from_list([{"text": "a fine film"}])) == [expected]
    assert CLASSIFY([]) == []


def test_pairs_are_read_as_pairs_and_mix_with_texts_alone() -> None:
    pair = CLASSIFY(("a fine film", "the story"))
    assert pair == CLASSIFY({"text": "a fine film", "text_pair": "the story"})
    assert pair != CLASSIFY("a fine film the story")
    mixed = CLASSIFY(["boring", ("a fine film", "the story"), "boring"])
    alone = CLASSIFY("boring")
    assert [answer["label"] for answer in mixed] == [alone["label"], pair["label"], alone["label"]]
    assert mixed[0]["score"] == pytest.approx(alone["score"], abs=1e-5)
    assert mixed[1]["score"] == pytest.approx(pair["score"], abs=1e-5)


def test_columns_of_the_training_data_and_stock_names_both_work() -> None:
    rows = as_rows([{"review": "good", "mood": "up"}, {"review": "bad", "mood": "down"}])
    task = learn_task(
        "text-classification", rows, {"text_column": "review", "label_column": "mood"}
    )
    model = tiny_bert("sequence_classification")
    task.prepare_model(model)
    ask = Pipeline(task, model, tiny_tokenizer(), precision="fp32")
    assert ask({"review": "good"}) == ask({"text": "good"}) == ask("good")


@pytest.mark.parametrize("top_k", [2, 3, None, 99])
def test_top_k_gives_the_best_few(top_k: int | None) -> None:
    answer = CLASSIFY("a fine film", top_k=top_k)
    assert len(answer) == min(top_k or 3, 3)
    scores = [candidate["score"] for candidate in answer]
    assert scores == sorted(scores, reverse=True)
    assert answer[0] == CLASSIFY("a fine film")


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_below_one_is_refused(top_k: int) -> None:
    with pytest.raises(ConfigError, match="`top_k` must be at least 1"):
        CLASSIFY("a fine film", top_k=top_k)


def test_several_labels_and_numbers() -> None:
    several = make(num_labels=3, problem_type="multi_label_classification")
    shares = several("a fine film", top_k=None)
    assert sum(candidate["score"] for candidate in shares) != pytest.approx(1)
    assert several("a fine film") == [each for each in shares if each["score"] >= 0.5]
    number = make(num_labels=1)("a fine film")
    assert list(number) == ["score"]


def test_endless_stream_is_answered_as_it_goes() -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        for text in itertools.cycle(TEXTS[:4]):
            taken += 1
            yield text

    answers = CLASSIFY(endless())
    expected = CLASSIFY(TEXTS[:4])
    assert taken == 0
    found = list(itertools.islice(answers, 8))
    assert [answer["label"] for answer in found] == [answer["label"] for answer in expected] * 2
    assert taken < 5_000


def test_text_beyond_the_model_is_cut_not_refused() -> None:
    long = "very " * 500
    assert CLASSIFY(long)["score"] == pytest.approx(CLASSIFY(long + "bad")["score"], abs=1e-6)


@pytest.mark.parametrize(
    ("head", "trained_for", "message"),
    [
        (
            "masked_lm",
            None,
            "The model is a BertForMaskedLM without the head 'sequence_classification', so it "
            "cannot serve 'text-classification'.",
        ),
        (
            "sequence_classification",
            "something-else",
            "The model was trained for 'something-else', so it cannot serve 'text-classification'.",
        ),
        (
            "masked_lm",
            "fill-mask",
            "The model was trained for 'fill-mask' and is a BertForMaskedLM without the head "
            "'sequence_classification', so it cannot serve 'text-classification'.",
        ),
        (
            "",
            "text-classification",  # whose folder was loaded without its head
            "The model is a BertModel without the head 'sequence_classification', so it cannot "
            "serve 'text-classification'. Load it with that head: "
            "`TextClassification.load_model(name)`.",
        ),
    ],
)
def test_a_model_that_cannot_serve_a_task_is_refused_with_the_reason(
    head: str, trained_for: str | None, message: str
) -> None:
    model = tiny_bert(head)
    model.task_settings = {} if trained_for is None else {"task": trained_for}
    with pytest.raises(ConfigError) as caught:
        pipeline("text-classification", model, tokenizer=tiny_tokenizer())
    assert str(caught.value) == message


# What is trained is what is served ------------------------------------------------------------


@pytest.mark.parametrize("problem", ["single", "several", "number"])
def test_evaluation_counts_what_the_pipeline_answers(problem: str) -> None:
    config: dict[str, Any] = {"id2label": {0: "bad", 1: "good"}}
    labels: tuple[Any, ...] = ("bad", "good")
    if problem == "several":
        config["problem_type"] = "multi_label_classification"
        labels = (["bad"], ["good", "bad"], [])
    if problem == "number":
        config = {"num_labels": 1}
        labels = (0.5, 1.0, -2.0)
    ask = make(**config)
    rows = tiny_rows(23, labels=labels)
    found = evaluate_rows(ask.engine, ask.task, as_rows(rows), ask.tokenizer, keep_predictions=True)
    answers = ask([row["text"] for row in rows])
    right = [row["label"] for row in rows]
    if problem == "single":
        hits = [answer["label"] == label for answer, label in zip(answers, right, strict=True)]
        assert found.metrics["accuracy"] == pytest.approx(sum(hits) / len(hits))
        assert len(found.wrong) == min(20, hits.count(False))
        for wrong in found.wrong:
            assert answers[wrong.number]["label"] == wrong.predicted != wrong.label
            assert answers[wrong.number]["score"] == pytest.approx(wrong.score, abs=1e-5)
            assert right[wrong.number] == wrong.label
        assert [w.score for w in found.wrong] == sorted(
            (w.score for w in found.wrong), reverse=True
        )
        by_hand = [
            -torch.tensor(next(c["score"] for c in ask(text, top_k=None) if c["label"] == label))
            .log()
            .item()
            for text, label in ((row["text"], row["label"]) for row in rows)
        ]
        assert found.metrics["loss"] == pytest.approx(sum(by_hand) / len(by_hand), abs=1e-4)
    elif problem == "several":
        exact = [
            {candidate["label"] for candidate in answer} == set(label)
            for answer, label in zip(answers, right, strict=True)
        ]
        assert found.metrics["subset_accuracy"] == pytest.approx(sum(exact) / len(exact))
    else:
        errors = [
            (answer["score"] - label) ** 2 for answer, label in zip(answers, right, strict=True)
        ]
        assert found.metrics["mse"] == pytest.approx(sum(errors) / len(errors), rel=1e-4)
        assert found.metrics["loss"] == pytest.approx(found.metrics["mse"], rel=1e-4)
    assert found.num_rows == 23
    assert found.precision == "fp32"
    assert found.predictions is not None
    assert len(found.predictions) == 23
    assert found.rows_per_second > 0


def test_evaluation_is_the_same_for_any_batches_and_counts_what_was_cut() -> None:
    rows = [*tiny_rows(9), {"text": "very " * 100, "label": "good"}]
    model = tiny_bert("sequence_classification", id2label={0: "bad", 1: "good"})
    task = task_for_model(model)
    results = [
        evaluate_rows(
            Engine(model, precision="fp32", token_budget=budget),
            task,
            as_rows(rows),
            tiny_tokenizer(),
        )
        for budget in (1, 50, 4096)
    ]
    assert [result.num_truncated for result in results] == [1, 1, 1]
    for result in results[1:]:
        assert result.metrics == pytest.approx(results[0].metrics, abs=1e-5)
        assert result.predictions is None


def test_evaluation_of_rows_that_are_a_table_or_a_list_is_one() -> None:
    rows = tiny_rows(6, labels=("LABEL_0", "LABEL_1"))
    ask = make()
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    as_list, as_table = (
        evaluate_rows(ask.engine, ask.task, as_rows(data), ask.tokenizer).metrics
        for data in (rows, columns)
    )
    assert as_list == as_table
