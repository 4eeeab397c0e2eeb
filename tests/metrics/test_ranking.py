import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from abrazo.metrics.ranking import RankingCounts


def gridded(scores, positive, columns=1):
    counts = RankingCounts(columns, exact_scores=0)
    counts.update(scores.reshape(-1, columns), positive.reshape(-1, columns))
    return counts


@pytest.mark.parametrize("scale", [0.05, 1.0, 8.0])
@pytest.mark.parametrize("shift", [0.0, 2.0])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_the_grid_is_within_a_thousandth_of_scikit_learn(scale, shift, share):
    random = np.random.default_rng(3)
    positive = random.random(20_000) < share
    scores = random.normal(size=20_000) * scale + positive * scale * shift
    area, off = (float(figure[0]) for figure in gridded(scores, positive).areas())
    gap = abs(area - roc_auc_score(positive, scores))
    assert gap < 1e-3
    assert gap <= off + 1e-12
    assert off < 1e-3


def test_77_classes_are_within_a_thousandth_too():
    random = np.random.default_rng(4)
    truth = random.integers(0, 77, 4000)
    positive = truth[:, None] == np.arange(77)
    scores = random.normal(size=(4000, 77)) + positive
    areas, _ = gridded(scores, positive, 77).areas()
    expected = [roc_auc_score(positive[:, k], scores[:, k]) for k in range(77)]
    np.testing.assert_allclose(areas, expected, atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(allow_nan=False), st.booleans()), min_size=2, max_size=60).filter(
        lambda rows: len({positive for _, positive in rows}) == 2
    )
)
def test_the_stated_error_holds_for_any_scores(rows):
    scores, positive = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    area, off = (float(figure[0]) for figure in gridded(scores, positive).areas())
    finite = np.clip(scores, -1e300, 1e300)
    below = finite[~positive][:, None] < finite[positive]
    same = finite[~positive][:, None] == finite[positive]
    assert abs(area - (below + same / 2).mean()) <= off + 1e-12


def test_scores_are_exact_until_there_are_too_many():
    counts = RankingCounts(1, exact_scores=4)
    close = np.array([[3.0], [3.0 + 1e-9]])
    truth = np.array([[False], [True]])
    counts.update(close, truth)
    counts.update(close, truth)
    assert counts.areas() == ([1.0], [0.0])
    counts.update(close, truth)
    assert counts.areas()[0] == [0.5]
    assert counts.areas()[1] == [0.5]


@pytest.mark.parametrize("limits", [(0, 100), (100, 0), (0, 0), (100, 100)])
def test_exact_and_gridded_parts_merge(limits):
    random = np.random.default_rng(5)
    scores, positive = random.normal(size=(60, 2)), random.random((60, 2)) < 0.4
    parts = []
    for limit, some in zip(limits, (slice(0, 25), slice(25, 60)), strict=True):
        parts.append(RankingCounts(2, exact_scores=limit))
        parts[-1].update(scores[some], positive[some])
    parts[0].merge(parts[1])
    expected = [roc_auc_score(positive[:, k], scores[:, k]) for k in range(2)]
    np.testing.assert_allclose(parts[0].areas()[0], expected, atol=2e-3)
    again = RankingCounts(2)
    again.load_state_dict(parts[0].state_dict())
    np.testing.assert_array_equal(again.areas(), parts[0].areas())
