"""Which rows are what, how they are packed, and what is said of bad ones."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from abrazo.data.rows import as_rows
from abrazo.errors import ConfigError, DataError
from abrazo.inference.engine import Engine
from abrazo.inference.evaluation import evaluate_rows
from abrazo.inference.pipeline import pipeline
from abrazo.models.base import PretrainedModel
from abrazo.models.sentence import SentenceModel
from abrazo.models.sentence_files import SentenceRecipe
from abrazo.tasks.auto import learn_task, task_for_model, task_type
from abrazo.tasks.sentence_similarity import SentenceSimilarity
from abrazo.tasks.similarity_rows import SentenceSimilaritySettings
from helpers.tiny import WORDS, tiny_bert, tiny_tokenizer

Row = dict[str, Any]


def bare_model() -> PretrainedModel:
    model = tiny_bert()
    model.tokenizer = tiny_tokenizer()
    return model


def text(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(WORDS, rng.integers(1, 9)))


def rows_of(problem: str, count: int = 24) -> list[Row]:
    rng = np.random.default_rng(3)
    rows: list[Row] = []
    for number in range(count):
        row: Row = {"text1": text(rng), "text2": text(rng)}
        if problem == "scores":
            row["score"] = float(number % 11) / 2
        elif problem == "labels":
            row["label"] = number % 2
        else:
            row = {"anchor": row["text1"], "positive": row["text2"]}
            if problem == "triplets":
                row["negative"] = text(rng)
        rows.append(row)
    return rows


def learned(rows: list[Row], **settings: Any) -> SentenceSimilarity:
    task = learn_task("sentence-similarity", as_rows(rows), settings)
    assert isinstance(task, SentenceSimilarity)
    return task


def prepared(task: SentenceSimilarity, recipe: SentenceRecipe | None = None) -> SentenceModel:
    model = SentenceModel(bare_model(), recipe)
    task.prepare_model(model)
    return model


PROBLEMS = ("scores", "labels", "pairs", "triplets")


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_columns_tell_what_is_learned_from(problem):
    task = learned(rows_of(problem))
    assert task.problem == problem
    assert task.loss_name == ("cosent" if problem in ("scores", "labels") else "in_batch_negatives")


@pytest.mark.parametrize(
    ("problem", "given", "expected"),
    [
        ("scores", {}, 0.2),
        ("labels", {}, 0.2),
        ("pairs", {}, 0.05),
        ("triplets", {}, 0.05),
        ("scores", {"temperature": 0.3}, 0.3),
    ],
)
def test_each_loss_has_a_temperature_of_its_own_unless_one_is_given(problem, given, expected):
    task = learned(rows_of(problem), **given)
    objective = prepared(task).head.objective
    num_texts = len(task.text_columns)
    vectors = torch.randn(4, num_texts, 8)
    num_values = 1 if problem in ("scores", "labels") else num_texts
    targets = torch.arange(4.0 * num_values).reshape(4, num_values)
    wanted = dataclasses.replace(objective, temperature=expected)(vectors, targets).total
    torch.testing.assert_close(objective(vectors, targets).total, wanted)
    other = dataclasses.replace(objective, temperature=2 * expected)(vectors, targets).total
    assert not torch.allclose(wanted, other)


@pytest.mark.parametrize(
    "names",
    [
        ("sentence1", "sentence2", "similarity_score"),
        ("query", "document", "score"),
        ("text", "text_pair", "label"),
        ("question", "answer", "score"),
    ],
)
def test_usual_names_of_columns_are_found(names):
    rows = [dict(zip(names, ("a film", "the end", 0.25 * n), strict=True)) for n in range(4)]
    task = learned(rows)
    assert (*task.text_columns, task.settings.label_column) == names


@pytest.mark.parametrize(
    ("scores", "scale"),
    [
        ([0.0, 0.7], (0, 1)),
        ([-0.5, 1.0], (-1, 1)),
        ([0.5, 4.75], (0, 5)),
        ([1, 3, 5], (0, 5)),
        ([0, 7.5], (0, 10)),
        ([3, 88], (0, 100)),
        ([-7.0, 300.0], (-7, 300)),
    ],
)
def test_the_scale_of_scores_is_told_from_them(scores, scale, caplog):
    caplog.set_level("INFO", logger="abrazo")
    task = learned([{"text1": "a", "text2": "b", "score": score} for score in scores])
    assert (task.settings.lowest, task.settings.highest) == scale
    assert f"from {scale[0]:g} to {scale[1]:g}" in caplog.text


@pytest.mark.parametrize(("scale", "expected"), [((0, 5), 0.6), ((-5, 5), 0.6), ((1, 4), 2 / 3)])
def test_scores_are_brought_to_the_scale_of_cosines(scale, expected):
    rows = [{"text1": "a", "text2": "b", "score": score} for score in (3, 2)]
    task = learned(rows, lowest=scale[0], highest=scale[1])
    features = task.encode(rows, [0, 1], tiny_tokenizer(), with_labels=True)
    assert float(features[0].label) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_loss_does_not_depend_on_how_a_batch_is_packed(problem):
    rows = rows_of(problem, 8)
    task = learned(rows)
    model = prepared(task)
    features = task.encode(rows, range(8), model.tokenizer, with_labels=True)
    batch = task.collate(features)
    assert batch.labels is not None
    assert (np.diff(batch.layout.lengths) >= 0).all()
    count = len(task.text_columns)
    alone = [model.answer_packed(task.collate([feature]))["embeddings"] for feature in features]
    vectors = torch.cat(alone).unflatten(0, (8, count))
    labels = torch.tensor(np.stack([np.atleast_1d(f.label) for f in features[::count]]))
    expected = model.head.objective(vectors, labels)
    loss, _ = model.compute_loss(batch)
    torch.testing.assert_close(loss.mean, expected.mean.float(), rtol=1e-4, atol=1e-5)
    assert loss.count == expected.count == 8


@pytest.mark.parametrize("token_budget", [20, 4096])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_evaluation_keeps_the_texts_of_a_row_together(problem, token_budget):
    rows = rows_of(problem)
    task = learned(rows)
    model = prepared(task)
    engine = Engine(model, precision="fp32", token_budget=token_budget)
    found = evaluate_rows(engine, task, as_rows(rows), model.tokenizer, keep_predictions=True)
    assert np.isfinite(found.metrics["loss"])
    assert found.predictions is not None
    first = model.encode([row[task.text_columns[0]] for row in rows], precision="fp32")
    second = model.encode([row[task.text_columns[1]] for row in rows], precision="fp32")
    if problem in ("scores", "labels"):
        expected = (first * second).sum(1, keepdims=True)
        np.testing.assert_allclose(found.predictions, expected, atol=1e-5)
    else:
        np.testing.assert_allclose(found.predictions[:, 0], first, atol=1e-5)
        np.testing.assert_allclose(found.predictions[:, 1], second, atol=1e-5)
    watched = {"scores": "spearman", "labels": "ap"}.get(problem, "mrr@10")
    assert task.new_metrics().direction_of(watched) == "max"
    assert watched in found.metrics


def test_squared_errors_of_an_evaluation_do_not_depend_on_its_batches():
    rows = rows_of("scores")
    task = learned(rows, loss="cosine_mse")
    model = prepared(task)
    losses = [
        evaluate_rows(
            Engine(model, precision="fp32", token_budget=budget),
            task,
            as_rows(rows),
            model.tokenizer,
        ).metrics["loss"]
        for budget in (20, 100, 4096)
    ]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


def test_what_was_learned_comes_back_with_the_model(tmp_path):
    task = learned(rows_of("triplets"), temperature=0.1, matryoshka_sizes=[8, 16], max_length=9)
    model = prepared(task)
    assert model.head.objective.sizes == (8, 16, 32)
    model.save_pretrained(tmp_path)
    loaded = SentenceModel.from_pretrained(tmp_path)
    again = task_for_model(loaded)
    assert isinstance(again, SentenceSimilarity)
    assert again.settings.to_dict() == {**task.settings.to_dict(), "label_column": "score"}
    assert loaded.text_length == 9
    assert again.text_columns == ("anchor", "positive", "negative")


def test_a_pooling_that_is_asked_for_is_set_and_saved(tmp_path):
    model = prepared(learned(rows_of("pairs"), pooling="cls"))
    model.save_pretrained(tmp_path)
    assert SentenceModel.from_pretrained(tmp_path).recipe.poolings == ("cls",)


def test_prompts_go_before_questions_and_answers_and_stay_with_the_model():
    rows = rows_of("pairs", 4)
    task = learned(rows, text_prompt="who ", pair_prompt="what ")
    model = prepared(task)
    features = task.encode(rows, range(4), model.tokenizer, with_labels=True)
    expected = model.tokenizer("who " + rows[0]["anchor"])["input_ids"]
    assert features[0].input_ids.tolist() == expected
    expected = model.tokenizer("what " + rows[0]["positive"])["input_ids"]
    assert features[1].input_ids.tolist() == expected
    assert model.recipe.prompts == {"query": "who ", "document": "what "}


def test_rows_of_another_kind_are_learned_as_they_are_and_that_is_told(caplog):
    task = learned(rows_of("pairs"), problem="scores")
    assert task.problem == "pairs"
    assert "the rows lack a column for it" in caplog.text
    assert learned(rows_of("scores"), problem="pairs").problem == "pairs"
    assert "`score` is not used" in caplog.text


def broken(problem: str, **changes: Any) -> list[Row]:
    rows = rows_of(problem, 6)
    rows[4] = {**rows[4], **changes}
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (broken("scores", score=float("nan")), "row 5: `score` must be a number, but is missing"),
        (broken("scores", score=None), "row 5: `score` must be a number, but is missing"),
        (broken("scores", score="high"), "row 5: `score` must be a number, but is 'high'"),
        (broken("scores", score=float("inf")), "row 5: `score` must be a number, but is inf"),
        ([{"text": "a", "score": 1.0}], "No column for the text of the pair .* `pair_column=..."),
        ([{"a": "a", "b": "b"}], "No column for the first text .* `text_column=..."),
        ([{"text1": "a", "text2": "b", "label": 1}] * 3, "Every row has the same `label`"),
    ],
)
def test_rows_that_cannot_be_learned_from_are_named(rows, message):
    with pytest.raises(DataError, match=message):
        learned(rows)


@pytest.mark.parametrize(
    ("problem", "changes", "message"),
    [
        ("scores", {"score": 6.0}, "row 5: `score` must be from 0 to 5, but is 6"),
        ("scores", {"text2": None}, "row 5: `text2` must be a text, but is missing"),
        ("scores", {"text2": "  "}, "row 5: `text2` is empty"),
        ("scores", {"text1": 7}, "row 5: `text1` must be a text, but is of type int"),
        ("labels", {"label": 2}, "row 5: `label` must be 0 or 1, but is 2.*problem='scores'"),
        ("triplets", {"negative": float("nan")}, "row 5: `negative` must be a text, but is miss"),
    ],
)
def test_bad_rows_are_named_when_they_are_encoded(problem, changes, message):
    task = learned(rows_of(problem))
    with pytest.raises(DataError, match=message):
        task.encode(broken(problem, **changes), range(6), tiny_tokenizer(), with_labels=True)


def test_a_row_that_lacks_a_column_is_named():
    task = learned(rows_of("scores"))
    for column in ("text2", "score"):
        rows = rows_of("scores", 3)
        del rows[1][column]
        with pytest.raises(DataError, match=f"row 2: there is no column `{column}`, only `text1`"):
            task.encode(rows, range(3), tiny_tokenizer(), with_labels=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "cosnet"}, "Did you mean `cosent`"),
        ({"problem": "pears"}, "Did you mean `pairs`"),
        ({"pooling": "cls_token"}, "`pooling` must be one of"),
        ({"temperature": 0.0}, "`temperature` must be above 0"),
        ({"lowest": 0.0}, "given together"),
        ({"lowest": 5.0, "highest": 0.0}, "`lowest` must be below `highest`"),
        ({"matryoshka_sizes": [0]}, "`matryoshka_sizes` must be numbers from 1"),
    ],
)
def test_wrong_settings_are_told(settings, message):
    with pytest.raises(ConfigError, match=message):
        SentenceSimilaritySettings(**settings)


def test_what_does_not_fit_the_rows_or_the_model_is_told():
    with pytest.raises(ConfigError, match="`loss` must be `in_batch_negatives` for rows that are"):
        learned(rows_of("pairs"), loss="cosent")
    with pytest.raises(ConfigError, match="at most 32, the width of the vectors, but has 64"):
        prepared(learned(rows_of("pairs"), matryoshka_sizes=[16, 64]))
    with pytest.raises(ConfigError, match="Make it one: `SentenceModel"):
        learned(rows_of("pairs")).prepare_model(bare_model())
    with pytest.raises(ConfigError, match="`max_length` must be at most 64"):
        prepared(learned(rows_of("pairs"), max_length=65))
    with pytest.raises(ConfigError, match="has nothing to learn"):
        learn_task("feature-extraction", as_rows(rows_of("pairs")))


def test_pipelines_give_scores_of_pairs_and_vectors_of_texts(tmp_path):
    model = prepared(learned(rows_of("pairs")))
    model.save_pretrained(tmp_path)
    compare = pipeline("sentence-similarity", tmp_path, precision="fp32")
    expected = float(model.similarity("the film", "a story", precision="fp32"))
    assert compare(("the film", "a story"))["score"] == pytest.approx(expected, abs=1e-5)
    for pair in (
        {"anchor": "the film", "positive": "a story"},
        {"text1": "the film", "text2": "a story"},
    ):
        assert compare(pair)["score"] == pytest.approx(expected, abs=1e-5)
    assert len(compare([("a", "b"), ("c", "d")])) == 2
    with pytest.raises(DataError, match="take `feature-extraction`"):
        compare("one text alone")
    for source in (tmp_path, model, model._bare()):
        extract = pipeline("feature-extraction", source, precision="fp32")
        found = extract(["the film", "a story"])
        vectors = model.encode(["the film", "a story"], precision="fp32")
        np.testing.assert_allclose(found, vectors, atol=1e-6)
        assert isinstance(extract("the film")[0], float)


def test_the_first_task_of_a_head_is_the_one_it_learns():
    assert task_type("sentence-similarity") is SentenceSimilarity
    assert isinstance(task_for_model(SentenceModel(bare_model())), SentenceSimilarity)
