"""Several right texts to a row: the first is learned, evaluation compares with all."""

from typing import Any

import numpy as np
import pytest

from abrazo.data.rows import as_rows
from abrazo.errors import DataError
from abrazo.inference.evaluation import evaluate_rows
from abrazo.inference.generating import engine_for
from abrazo.metrics.summaries import RougeMetrics
from abrazo.metrics.translation import BleuMetrics
from abrazo.tasks.auto import learn_task
from abrazo.tasks.base import Task
from helpers.writers import tiny_bart

RIGHT = ["the film is good", "a fine film"]


def settled(name: str, rows: list[dict[str, Any]], **settings: Any) -> tuple[Task, Any]:
    model = tiny_bart()
    task = learn_task(name, as_rows(rows), settings)
    task.prepare_model(model)
    return task, model


def labels_of(task: Task, model: Any, rows: list[dict[str, Any]]) -> list[Any]:
    features = task.encode(rows, range(len(rows)), model.tokenizer, with_labels=True)
    return [task.row_label([feature]) for feature in features]


@pytest.mark.parametrize(
    ("row", "learned", "compared"),
    [
        ({"text": "a", "summary": RIGHT[0], "all_summaries": RIGHT}, RIGHT[0], RIGHT),
        ({"text": "a", "summary": RIGHT[0], "summaries": RIGHT[1]}, RIGHT[0], RIGHT[1]),
        ({"text": "a", "summary": RIGHT[0], "summaries": None}, RIGHT[0], RIGHT[0]),
        ({"text": "a", "title": RIGHT[0], "references": ["Lin 2004"]}, RIGHT[0], RIGHT[0]),
        ({"text": "a", "summary": RIGHT}, RIGHT[0], RIGHT),
        ({"text": "a", "summary": np.array(RIGHT, dtype=object)}, RIGHT[0], RIGHT),
        ({"text": "a", "summaries": RIGHT}, RIGHT[0], RIGHT),
        ({"text": "a", "all_summaries": RIGHT[:1]}, RIGHT[0], RIGHT[0]),
    ],
)
def test_the_first_is_learned_and_all_are_compared_with(
    row: dict[str, Any], learned: str, compared: Any
) -> None:
    task, model = settled("summarization", [row])
    (feature,) = task.encode([row], [0], model.tokenizer, with_labels=True)
    assert feature.label.tolist() == model.tokenizer(learned)["input_ids"]
    assert task.row_label([feature]) == compared
    (unlabelled,) = task.encode([row], [0], model.tokenizer, with_labels=False)
    assert task.row_label([unlabelled]) is None


def test_a_column_can_be_named_and_rows_need_not_have_it() -> None:
    rows = [{"source": "a film", "target": "b", "more": RIGHT}, {"source": "a", "target": "b"}]
    task, model = settled("translation", rows, references_column="more")
    assert labels_of(task, model, rows) == [RIGHT, "b"]


def test_rows_for_evaluation_may_have_more_right_texts_than_those_of_training() -> None:
    task, model = settled("summarization", [{"text": "a", "summary": "b"}])
    assert labels_of(task, model, [{"text": "a", "all_summaries": RIGHT, "summary": "b"}]) == [
        RIGHT
    ]


@pytest.mark.parametrize("name", ["translation", "summarization", "text2text-generation"])
def test_figures_of_evaluation_are_those_of_the_metrics(name: str) -> None:
    column = "all_summaries" if name == "summarization" else "references"
    rows = [
        {"source": "a good film", column: [*RIGHT, "a film"]},
        {"source": "a bad film", column: RIGHT[:1]},
        {"source": "anna lives in paris", column: RIGHT},
    ]
    task, model = settled(name, rows)
    engine = engine_for(task, model, model.tokenizer, precision="fp32")
    found = evaluate_rows(engine, task, as_rows(rows), model.tokenizer, keep_predictions=True)
    assert found.labels is not None
    assert found.predictions is not None
    assert found.labels.tolist() == [rows[0][column], RIGHT[0], RIGHT]
    metric = BleuMetrics() if name == "translation" else RougeMetrics()
    metric.update(found.predictions, found.labels)
    expected = metric.compute()
    assert {key: found.metrics[key] for key in expected} == expected


BAD = [[], [None], ["good", 7], ["good", ""], 7, b"good", "", " ", ["\ud800"], {"a": "b"}]


@pytest.mark.parametrize(
    ("column", "bad"),
    [*(("target", bad) for bad in [None, *BAD]), *(("references", bad) for bad in BAD)],
    ids=lambda value: ascii(value)[:20],
)
def test_what_is_no_text_is_named_by_its_row(column: str, bad: Any) -> None:
    good = {"source": "a", "target": "b", "references": ["b"]}
    task, model = settled("translation", [good])
    with pytest.raises(DataError, match=rf"^row 2: `{column}`") as caught:
        task.encode([good, {**good, column: bad}], [0, 1], model.tokenizer, with_labels=True)
    assert len(str(caught.value)) > 40


def test_neither_targets_nor_references_is_told() -> None:
    with pytest.raises(DataError, match=r"Name it with `target_column=\.\.\.`"):
        settled("translation", [{"source": "a", "note": "b"}])
    with pytest.raises(DataError, match=r"Name it with `source_column=\.\.\.`"):
        settled("translation", [{"note": "a", "target": "b"}])
    task, model = settled("translation", [{"source": "a", "target": "b"}])
    with pytest.raises(DataError, match="row 1: there is no column `target`"):
        task.encode([{"source": "a"}], [0], model.tokenizer, with_labels=True)
