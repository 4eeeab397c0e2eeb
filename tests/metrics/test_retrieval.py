"""Ranks of right texts: by definition, with copies, ties, samples and merging."""

import numpy as np
import pytest

from abrazo.errors import ConfigError, DataError
from abrazo.metrics.retrieval import RetrievalMetrics


def rows(count: int, texts: int = 2, *, noise: float = 1.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(count, 1, 6))
    return (base + noise * rng.normal(size=(count, texts, 6))).astype(np.float32)


def numbers(count: int, texts: int = 2) -> np.ndarray:
    return np.arange(count * texts).reshape(count, texts)


def counted(vectors: np.ndarray, labels: np.ndarray, **options: object) -> dict[str, float]:
    metric = RetrievalMetrics(has_negatives=vectors.shape[1] == 3, **options)  # type: ignore[arg-type]
    metric.update(vectors, labels)
    return metric.compute()


@pytest.mark.parametrize("texts", [2, 3])
def test_figures_are_those_of_the_definition(texts, monkeypatch):
    monkeypatch.setattr("abrazo.metrics.retrieval._SCORES_AT_ONCE", 200)
    vectors = rows(60, texts)
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    scores = unit[:, 0] @ unit[:, 1:].transpose(1, 0, 2).reshape(-1, 6).T
    own = scores[np.arange(60), np.arange(60)]
    ranks = 1 + (scores > own[:, None]).sum(-1)
    found = counted(vectors, numbers(60, texts))
    near = ranks <= 10
    assert found["recall@1"] == pytest.approx((ranks == 1).mean())
    assert found["recall@10"] == pytest.approx(near.mean())
    assert found["mrr@10"] == pytest.approx((near / ranks).mean())
    assert found["ndcg@10"] == pytest.approx((near / np.log2(ranks + 1)).mean())
    if texts == 3:
        wrong = (unit[:, 0] * unit[:, 2]).sum(-1)
        assert found["triplet_accuracy"] == pytest.approx((own > wrong).mean())


def test_vectors_that_are_all_equal_find_nothing():
    found = counted(np.ones((50, 2, 4), np.float32), numbers(50))
    assert found["recall@1"] == 0
    assert found["recall@10"] == 0


def test_a_text_of_many_rows_competes_once():
    vectors, labels = rows(20, noise=0.01), numbers(20)
    vectors[1:5, 1], labels[1:5, 1] = vectors[0, 1], labels[0, 1]
    vectors[1:5, 0] = vectors[0, 0]
    assert counted(vectors, labels)["recall@1"] == 1


def test_other_right_answers_to_a_question_do_not_count_against_it():
    vectors, labels = rows(20, noise=0.01), numbers(20)
    vectors[1, 0] = vectors[0, 0]
    vectors[1, 1] = vectors[0, 0]  # nearer to the question than row 0's own answer
    assert counted(vectors, labels)["recall@1"] < 1
    labels[1, 0] = labels[0, 0]
    assert counted(vectors, labels)["recall@1"] == 1


def test_a_question_that_is_another_rows_answer_does_not_find_itself():
    vectors, labels = rows(20, noise=0.01), numbers(20)
    vectors[2, :] = vectors[3, 0]
    assert counted(vectors, labels)["recall@1"] < 1
    labels[2, 1] = labels[3, 0]
    assert counted(vectors, labels)["recall@1"] == 1


def test_batches_merging_and_states_make_no_difference():
    vectors, labels = rows(40), numbers(40)
    first, second = RetrievalMetrics(), RetrievalMetrics()
    for part in (slice(0, 7), slice(7, 25)):
        first.update(vectors[part], labels[part])
    second.update(vectors[25:], labels[25:])
    restored = RetrievalMetrics()
    restored.load_state_dict(second.state_dict())
    first.merge(restored)
    assert first.compute() == counted(vectors, labels)
    with pytest.raises(ConfigError, match="does not fit"):
        RetrievalMetrics(has_negatives=True).load_state_dict(second.state_dict())


def test_more_rows_than_are_kept_are_sampled_and_that_is_told(caplog):
    metric = RetrievalMetrics(most_rows=16)
    vectors, labels = rows(200), numbers(200)
    for at in range(0, 200, 8):
        metric.update(vectors[at : at + 8], labels[at : at + 8])
    assert metric.state_dict()["vectors"].shape[0] == 16
    assert 0 < metric.compute()["mrr@10"] <= 1
    assert "sample of 16 of 200 rows" in caplog.text


def test_bad_rows_are_named():
    vectors = rows(3)
    vectors[2, 0, 0] = np.nan
    with pytest.raises(DataError, match="row 2 has NaN"):
        RetrievalMetrics().update(vectors, numbers(3))
    with pytest.raises(DataError, match="must have 3 texts, but has 2"):
        RetrievalMetrics(has_negatives=True).update(rows(3), numbers(3))
    with pytest.raises(DataError, match="the shapes are"):
        RetrievalMetrics().update(rows(3), numbers(4))
    with pytest.raises(DataError, match="No rows"):
        RetrievalMetrics().compute()
