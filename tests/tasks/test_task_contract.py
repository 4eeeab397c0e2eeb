"""What every task of encoders promises: it learns, serves what it measures and stays as it was."""

import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import abrazo as az
from abrazo.data.rows import as_rows
from abrazo.errors import AbrazoError
from abrazo.inference.evaluation import predict_rows
from abrazo.tasks.auto import TASKS, learn_task
from abrazo.training.trainer import Trainer
from helpers.task_cases import CASES, Case, new_task, train_by_heart
from helpers.tiny import tiny_bert, tiny_folder, tiny_tokenizer
from helpers.training import small_arguments

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
LESS_IS_BETTER = ("mae", "perplexity")
WRITTEN_BY_DECODERS = {"text-generation", "text2text-generation", "translation", "summarization"}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread: on so small models two would wait for each other."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function from a case to its trainer, which is trained once."""
    return functools.cache(
        lambda case_name: train_by_heart(
            next(case for case in CASES if case.name == case_name), tmp_path_factory.mktemp("task")
        )
    )


def pipeline_of(case: Case, model: Any) -> az.Pipeline:
    return az.pipeline(case.task, model, precision="fp32")


def same(first: Any, second: Any) -> bool:
    """Tell whether two answers are the same but for the last digits of numbers."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, float | np.ndarray):
        return bool(np.allclose(first, second, atol=1e-5))
    return bool(first == second)


def test_every_task_of_encoders_has_a_case() -> None:
    there = {case.task for case in CASES} | {"feature-extraction"}
    assert there == set(TASKS) - WRITTEN_BY_DECODERS


@each_case
def test_thirty_two_rows_are_learned_by_heart(case: Case, trained: Any) -> None:
    figures = trained(case.name).evaluate(case.rows())
    found = figures[f"eval_{case.figure}"]
    if case.figure in LESS_IS_BETTER:
        assert found <= case.least, figures
    else:
        assert found >= case.least, figures


@each_case
def test_a_pipeline_answers_what_evaluation_counts(case: Case, trained: Any) -> None:
    if case.task in ("fill-mask", "pretraining"):
        pytest.skip("evaluation hides words, of which a pipeline is asked for none")
    trainer, rows = trained(case.name), case.rows()
    answer = pipeline_of(case, trainer.model)
    task = answer.task
    predicted = predict_rows(answer.engine, task, as_rows(rows), answer.tokenizer, with_labels=True)
    counted = [task.answer(row.prediction) for row in predicted]
    assert all(map(same, answer([case.ask(row) for row in rows]), counted))


@each_case
def test_a_saved_model_gives_the_same_answers_bit_for_bit(
    case: Case, trained: Any, tmp_path: Path
) -> None:
    trainer = trained(case.name)
    trainer.save_model(tmp_path)
    inputs = [case.ask(row) for row in case.rows()]
    assert pipeline_of(case, tmp_path)(inputs) == pipeline_of(case, trainer.model)(inputs)
    rows = as_rows(case.rows())
    loaded = Trainer.from_pretrained(trainer.args.folder)
    args = copy.copy(trainer.args)
    same_precision = Trainer(loaded.model, args, task=loaded.task).evaluate(rows)
    figures = trainer.evaluate(rows)
    for name in figures.keys() - {"eval_rows_per_second"}:
        assert figures[name] == same_precision[name], name


@each_case
def test_transformers_answers_the_same(case: Case, trained: Any, tmp_path: Path) -> None:
    trainer = trained(case.name)
    trainer.save_model(tmp_path)
    theirs = getattr(transformers, f"Bert{case.oracle}").from_pretrained(tmp_path).eval()
    tokens = tiny_tokenizer()(
        ["a good film .", "这部电影很好看"], padding=True, return_tensors="pt"
    )
    mask = tokens["attention_mask"].bool()
    ours = trainer.model
    if case.oracle == "Model":
        ours = az.BertModel.from_pretrained(tmp_path)
    with torch.no_grad():
        expected, found = theirs(**tokens), ours(**tokens)
    for name in found.keys():  # noqa: SIM118  an output iterates over values
        mine, yours = found[name], expected[name]
        here = mask if mine.shape[:2] == mask.shape else ...
        torch.testing.assert_close(mine[here], yours[here], atol=1e-4, rtol=1e-4)


# Rows that cannot be used ----------------------------------------------------------------------

NAN, HALF = float("nan"), "\ud800"
NO_TEXT = [None, NAN, 7, b"bytes", [], {}, ["a", None], 0.5, HALF]
EMPTY = ["", " \n"]
EMOJI = "anna 😀 lives in paris"
SPANS = {"text": EMOJI, "spans": [{"start": 0, "end": 4, "label": "PER"}]}
ANSWERS = {
    "question": "where ?",
    "context": EMOJI,
    "answers": {"text": ["paris"], "answer_start": [16]},
}


def spans(start: int, end: int, label: Any = "PER") -> list[dict[str, Any]]:
    return [{"start": start, "end": end, "label": label}]


def answers(text: Any, start: Any) -> dict[str, Any]:
    return {"text": [text], "answer_start": [start]}


GOOD: dict[str, dict[str, Any]] = {case.name: case.rows()[0] for case in CASES} | {
    "spans": SPANS,
    "answers in emoji": ANSWERS,
    "pairs alone": {"text1": "a good film", "text2": "a fine film"},
    "triplets": {"anchor": "a film", "positive": "a fine film", "negative": "paris"},
}
TASK_OF = {case.name: case.task for case in CASES} | {
    "spans": "token-classification",
    "answers in emoji": "question-answering",
    "pairs alone": "sentence-similarity",
    "triplets": "sentence-similarity",
}
BAD: dict[tuple[str, str], list[Any]] = {
    ("one class", "text"): [*NO_TEXT, *EMPTY],
    ("one class", "label"): [None, NAN, b"a", {}, HALF, "", 0.5, ["yes"]],
    ("several classes", "text"): [*NO_TEXT, *EMPTY],
    ("several classes", "label"): [None, NAN, "fine", [None], [["fine"]], ["fine", "fine"], [HALF]],
    ("numbers", "label"): [None, NAN, float("inf"), "much", [0.5], b"1", 10**300],
    ("pairs", "text_pair"): NO_TEXT,
    ("tags", "tokens"): [None, NAN, 7, b"bytes", {}, [], ["a", 7], ["anna"] * 3, [HALF] * 6],
    ("tags", "tags"): [None, NAN, 7, [], ["O"], ["O"] * 7, ["O", None] * 3, ["X-NAME"] * 6],
    ("spans", "text"): [*NO_TEXT, *EMPTY],
    ("spans", "spans"): [
        None,
        7,
        "PER",
        spans(0, 99),
        spans(3, 3),
        spans(-1, 2),
        spans(2, 1),
        spans(0, 4, None),
        spans(0, 4, HALF),
        spans("0", 4),  # type: ignore[arg-type]
        [{"start": 0, "label": "PER"}],
        [*spans(0, 4), *spans(2, 6)],
        [{"start": 7, "end": 12, "label": "PER", "text": "lives in"}],  # counted as UTF-16 is
    ],
    ("answers", "context"): [*NO_TEXT, *EMPTY],
    ("answers", "question"): [*NO_TEXT, *EMPTY],
    ("answers in emoji", "answers"): [
        7,
        answers("berlin", 16),
        answers("paris", 17),
        answers("paris", 99),
        answers("paris", -1),
        answers("paris", None),
        answers("paris", "16"),
        answers(7, 16),
        answers("", 16),
        {"text": ["paris"], "answer_start": []},
    ],
    ("scores", "text1"): [*NO_TEXT, *EMPTY],
    ("scores", "text2"): [*NO_TEXT, *EMPTY],
    ("scores", "score"): [None, NAN, float("inf"), "high", [0.5]],
    ("pairs alone", "text2"): [*NO_TEXT, *EMPTY],
    ("triplets", "negative"): [*NO_TEXT, *EMPTY],
    ("words", "text"): NO_TEXT,
    ("words and sentences", "text"): [*NO_TEXT, *EMPTY],
    ("words and sentences", "next_sentence_label"): [None, NAN, 2, -1, "yes", [0], 0.5],
    ("next sentence", "text_pair"): [*NO_TEXT, *EMPTY],
    ("next sentence", "next_sentence_label"): [None, NAN, 2, -1, "yes", [0], 0.5],
}
"""For columns of good rows, values of which none can be used."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("bad") / "base", "")


def rows_like(name: str) -> list[dict[str, Any]]:
    """Return good rows; those that a row alone would not teach enough have all of their case."""
    cases = {case.name: case.rows for case in CASES}
    return cases[name]()[:8] if name in cases else [dict(GOOD[name]) for _ in range(8)]


def train_a_step(name: str, rows: list[dict[str, Any]], base: Path, folder: Path) -> None:
    """Train a tiny model for one step."""
    task = learn_task(name, as_rows(rows))
    model = task.load_model(base, **task.model_options())
    model.tokenizer = tiny_tokenizer()
    args = small_arguments(folder, max_steps=1, save_strategy="no")
    Trainer(model, args, rows, task=task).train()


@pytest.mark.parametrize(
    ("name", "column", "bad"),
    [(*place, bad) for place, values in BAD.items() for bad in [*values, "left out"]],
    ids=lambda value: ascii(value)[:30],
)
def test_a_bad_row_is_named_before_the_first_step(
    name: str, column: str, bad: Any, base: Path, tmp_path: Path
) -> None:
    rows = rows_like(name)
    rows[2] = {key: value for key, value in rows[2].items() if key != column}
    if bad != "left out":
        rows[2][column] = bad
    elif (name, column) == ("pairs", "text_pair"):
        pytest.skip("a text may stand alone")
    with pytest.raises(AbrazoError, match=r"row 3\b") as caught:
        train_a_step(TASK_OF[name], rows, base, tmp_path / "run")
    assert len(str(caught.value)) > len("row 3: ") + 20
    assert not (tmp_path / "run" / "best").exists()


def test_good_rows_of_each_kind_are_learned(base: Path, tmp_path: Path) -> None:
    for name in sorted({name for name, _ in BAD}):
        train_a_step(TASK_OF[name], rows_like(name), base, tmp_path / name)


@pytest.mark.parametrize("value", [0.5, -0.5, 6.0, 10**30], ids=str)
def test_a_score_outside_the_scale_of_training_is_named(value: float) -> None:
    task = learn_task("sentence-similarity", as_rows(GOOD_SCORES), {"lowest": 1.0, "highest": 5.0})
    bad = [*GOOD_SCORES, {**GOOD_SCORES[0], "score": value}]
    with pytest.raises(AbrazoError, match=r"row 3: `score` must be from 1 to 5.*Correct it"):
        task.encode(bad, range(3), tiny_tokenizer(), with_labels=True)


GOOD_SCORES: list[dict[str, Any]] = [
    {"text1": "a film", "text2": "a film", "score": 5.0},
    {"text1": "a film", "text2": "paris", "score": 1.0},
]


@each_case
def test_a_pipeline_names_what_it_cannot_read(case: Case, base: Path) -> None:
    task, model = new_task(case, base.parent)
    task.prepare_model(model)
    answer = pipeline_of(case, model)
    good = case.ask(case.rows()[0])
    for bad in (3, None, b"bytes", {}, NAN, HALF, ("a", 3), ("a", HALF)):
        with pytest.raises(AbrazoError, match=r"row 2\b"):
            answer([good, bad])


# Tasks that are not trained ---------------------------------------------------------------------


def test_vectors_are_those_of_encode_and_come_back_with_the_model(tmp_path: Path) -> None:
    model = tiny_bert()
    model.tokenizer = tiny_tokenizer()
    texts = ["a good film", "这部电影很好看", "paris"]
    vectors = az.pipeline("feature-extraction", model, precision="fp32")(texts)
    np.testing.assert_array_equal(vectors, model.encode(texts, precision="fp32"))
    model.save_pretrained(tmp_path)
    again = az.pipeline("feature-extraction", tmp_path, precision="fp32")(texts)
    np.testing.assert_array_equal(again, vectors)
    for bad in (None, 7, HALF, {"words": "a"}):
        with pytest.raises(AbrazoError, match=r"row 2\b"):
            az.pipeline("feature-extraction", model)(["a", bad])


def test_zero_shot_answers_come_back_with_the_model(tmp_path: Path) -> None:
    labels = {0: "entailment", 1: "neutral", 2: "contradiction"}
    model = tiny_bert("sequence_classification", id2label=labels)
    model.tokenizer = tiny_tokenizer()
    model.save_pretrained(tmp_path)
    texts = ["a good film", "这部电影很好看"]
    first, second = (
        az.pipeline("zero-shot-classification", given, precision="fp32")(texts, ["film", "工作"])
        for given in (model, tmp_path)
    )
    assert first == second
    for bad in (None, 7, HALF, b"bytes"):
        with pytest.raises(AbrazoError, match=r"row 2\b"):
            az.pipeline("zero-shot-classification", model)(["a", bad], ["film"])
