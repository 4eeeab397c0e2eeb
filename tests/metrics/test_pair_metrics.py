"""Metrics of pairs against scikit-learn and scipy's definitions, merging, and bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from abrazo.errors import DataError
from abrazo.metrics.regression import RegressionMetrics
from abrazo.metrics.similarity import PairLabelMetrics, SimilarityMetrics


def pairs(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    cosines = np.clip(rng.normal(0.3 + 0.2 * labels, 0.3), -1, 1).round(2)
    return cosines, labels


def test_correlations_are_those_of_regression():
    cosines, _ = pairs(50)
    scores = cosines**3 + np.random.default_rng(1).normal(0, 0.2, 50)
    ours, other = SimilarityMetrics(), RegressionMetrics()
    ours.update(cosines[:, None], scores)
    other.update(cosines, scores)
    figures = other.compute()
    assert ours.compute() == {name: figures[name] for name in ("pearson", "spearman")}
    assert ours.direction_of("spearman") == "max"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 60))
def test_best_thresholds_are_found_and_ap_is_sklearns(seed, count):
    cosines, labels = pairs(count, seed)
    labels[0], labels[1] = 0, 1
    metric = PairLabelMetrics()
    metric.update(cosines, labels)
    figures = metric.compute()
    ends = [-2.0, *np.unique(cosines), 2.0]
    assert figures["accuracy"] == pytest.approx(
        max(((cosines >= end) == labels).mean() for end in ends)
    )
    assert figures["f1"] == pytest.approx(
        max(f1_score(labels, cosines >= end, zero_division=0) for end in ends)
    )
    chosen = cosines >= figures["f1_threshold"]
    assert figures["f1"] == pytest.approx(f1_score(labels, chosen, zero_division=0))
    assert figures["accuracy"] == pytest.approx(
        ((cosines >= figures["accuracy_threshold"]) == labels).mean()
    )
    assert figures["ap"] == pytest.approx(average_precision_score(labels, cosines), abs=1e-9)


def test_batches_merging_and_states_make_no_difference(monkeypatch):
    monkeypatch.setattr("abrazo.metrics.similarity._PENDING", 16)
    cosines, labels = pairs(100)
    whole, first, second = PairLabelMetrics(), PairLabelMetrics(), PairLabelMetrics()
    whole.update(cosines, labels)
    for part in np.array_split(np.arange(60), 7):
        first.update(cosines[part], labels[part])
    second.update(cosines[60:], labels[60:])
    restored = PairLabelMetrics()
    restored.load_state_dict(second.state_dict())
    first.merge(restored)
    assert first.compute() == whole.compute()
    first.reset()
    with pytest.raises(DataError, match="No rows"):
        first.compute()


@pytest.mark.parametrize(
    ("cosines", "labels", "message"),
    [
        ([0.1, np.nan], [0, 1], "row 1 is nan"),
        ([0.1, 1.5], [0, 1], "row 1 is 1.5"),
        ([0.1, 0.2], [0, 2], "row 1 is 2"),
        ([0.1], [0, 1], "1 cosines cannot be compared to 2 labels"),
    ],
)
def test_bad_pairs_are_named(cosines, labels, message):
    with pytest.raises(DataError, match=message):
        PairLabelMetrics().update(np.array(cosines), np.array(labels))
