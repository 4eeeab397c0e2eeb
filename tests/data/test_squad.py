"""SQuAD's nested files as flat rows."""

import json

import pytest

from abrazo.data.dataset import Dataset
from abrazo.data.loading import load_dataset
from abrazo.data.rows import as_rows
from abrazo.data.squad import NestedQuestions, flat_questions
from abrazo.errors import DataError

DOCUMENT = {
    "version": "v2.0",
    "data": [
        {
            "title": "People",
            "paragraphs": [
                {
                    "context": "Anna lives in Paris.",
                    "qas": [
                        {
                            "id": "where",
                            "question": "Where does Anna live?",
                            "answers": [{"text": "Paris", "answer_start": 14}],
                            "is_impossible": False,
                        },
                        {
                            "id": "why",
                            "question": "Why?",
                            "answers": [],
                            "plausible_answers": [{"text": "Anna", "answer_start": 0}],
                            "is_impossible": True,
                        },
                    ],
                },
                {"context": "Nothing is asked.", "qas": []},
            ],
        },
        {
            "title": "城市",
            "paragraphs": [
                {
                    "context": "我住在北京。",
                    "qas": [
                        {
                            "id": "哪里",
                            "question": "住在哪里？",
                            "answers": [{"text": "北京", "answer_start": 3}],
                        }
                    ],
                }
            ],
        },
    ],
}
ARTICLES = DOCUMENT["data"]
PARAGRAPHS = [paragraph for article in ARTICLES for paragraph in article["paragraphs"]]


def test_a_file_gives_a_row_for_each_question(tmp_path):
    path = tmp_path / "train-v2.0.json"
    path.write_text(json.dumps(DOCUMENT))
    rows = as_rows(load_dataset("json", data_files=str(path)))
    assert len(rows) == 3
    assert {"id", "question", "answers", "context", "title", "is_impossible"} <= set(
        rows.column_names
    )
    found = rows.rows([2, 0])
    assert [row["context"] for row in found] == ["我住在北京。", "Anna lives in Paris."]
    assert [row["title"] for row in found] == ["城市", "People"]
    assert found[0]["answers"] == [{"text": "北京", "answer_start": 3}]
    assert rows.rows([1])[0]["answers"] == []
    assert rows.origin(2) == f"{path}, row 2, question `哪里`"


@pytest.mark.parametrize(
    "data",
    [
        DOCUMENT,
        [DOCUMENT],
        ARTICLES,
        PARAGRAPHS,
        Dataset.from_list(ARTICLES),
        Dataset.from_list(ARTICLES).to_arrow(),
        Dataset.from_list(ARTICLES).to_pandas(),
    ],
    ids=["document", "documents", "articles", "paragraphs", "dataset", "arrow", "pandas"],
)
def test_every_level_can_be_given(data):
    rows = as_rows(data)
    assert isinstance(rows, NestedQuestions)
    assert [row["id"] for row in rows.rows(range(len(rows)))] == ["where", "why", "哪里"]
    assert [row["context"][:4] for row in rows.rows(range(len(rows)))] == [
        "Anna",
        "Anna",
        "我住在北",
    ]


def test_selected_articles_keep_their_origin(tmp_path):
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(DOCUMENT))
    rows = as_rows(load_dataset(path).select([1]))
    assert rows.origin(0) == f"{path}, row 2, question `哪里`"


def test_questions_without_id_are_numbered():
    rows = as_rows([{"context": "a", "qas": [{"question": "b"}, {"question": "c"}]}])
    assert rows.origin(1) == "row 1, question 2"


def test_names_of_a_question_go_before_those_around_it():
    rows = as_rows([{"id": "paragraph", "context": "a", "qas": [{"id": "own", "question": "b"}]}])
    assert rows.rows([0])[0]["id"] == "own"


@pytest.mark.parametrize(
    "rows",
    [
        [{"data": "text", "label": 1}],
        [{"data": [1, 2], "label": 1}],
        [{"paragraphs": ["one", "two"]}],
        [{"paragraphs": [{"text": "one"}]}],
    ],
)
def test_other_rows_stay_as_they_are(rows):
    assert as_rows(rows).rows([0]) == rows
    assert isinstance(flat_questions(Dataset.from_list(rows)), Dataset)


def test_a_file_without_questions_is_named(tmp_path):
    path = tmp_path / "empty.json"
    text = json.dumps(DOCUMENT["data"][0]["paragraphs"][0])
    path.write_text(f"[{text}]")
    dataset = load_dataset(path)
    table = dataset.to_arrow()
    empty = Dataset(table.set_column(1, "qas", [[[]]]).cast(table.schema))
    with pytest.raises(DataError, match="there are no questions"):
        flat_questions(empty)
