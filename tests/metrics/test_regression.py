import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics as oracle

from abrazo.errors import ConfigError, DataError
from abrazo.metrics import RegressionMetrics

numbers = st.integers(-50, 50).map(lambda number: number / 10)
pairs = st.integers(2, 40).flatmap(lambda rows: arrays(np.float64, (2, rows), elements=numbers))


def counted(predictions, labels, **options):
    metric = RegressionMetrics(**options)
    metric.update(predictions, labels)
    return metric


@settings(max_examples=100, deadline=None)
@given(pairs, st.sampled_from([0.0, 1e6]))
def test_figures_equal_scikit_learn_and_scipy(both, offset):
    predictions, labels = both + offset
    figures = counted(predictions, labels).compute()
    assert figures["mse"] == pytest.approx(oracle.mean_squared_error(labels, predictions))
    assert figures["rmse"] == pytest.approx(oracle.root_mean_squared_error(labels, predictions))
    assert figures["mae"] == pytest.approx(oracle.mean_absolute_error(labels, predictions))
    if len(set(labels)) > 1:  # the oracle divides by what rounding leaves of equal labels
        expected = oracle.r2_score(labels, predictions)
        assert figures["r2"] == pytest.approx(expected, rel=1e-5, abs=1e-9)
    if len(set(predictions)) == 1 or len(set(labels)) == 1:
        assert (figures["pearson"], figures["spearman"]) == (0.0, 0.0)
    else:
        assert figures["pearson"] == pytest.approx(
            stats.pearsonr(predictions, labels).statistic, abs=1e-6
        )
        assert figures["spearman"] == pytest.approx(
            stats.spearmanr(predictions, labels).statistic, abs=1e-9
        )


@settings(max_examples=50, deadline=None)
@given(pairs, st.integers(1, 6))
def test_merged_parts_equal_the_whole(both, parts):
    merged = RegressionMetrics()
    for some in np.array_split(both, parts, axis=1):
        merged.merge(counted(*some))
    assert merged.compute() == pytest.approx(counted(*both).compute(), abs=1e-9)


def test_a_large_common_part_does_not_drown_the_correlation():
    random = np.random.default_rng(0)
    labels = random.normal(size=5000)
    predictions = labels + random.normal(size=5000)
    far = RegressionMetrics()
    for some in np.array_split(np.stack([predictions, labels]) + 1e8, 50, axis=1):
        far.update(*some)
    expected = stats.pearsonr(predictions, labels).statistic
    assert far.compute()["pearson"] == pytest.approx(expected, abs=1e-6)


def test_constant_predictions_have_no_correlation_despite_rounding():
    metric = RegressionMetrics()
    for rows in (3, 5, 6, 7, 11, 13):
        metric.update(np.full(rows, 1e6 / 3), np.arange(float(rows)))
    assert metric._moments["spread"][0] > 0
    assert metric.compute()["pearson"] == 0.0


def test_several_numbers_per_row_are_averaged_as_in_scikit_learn():
    random = np.random.default_rng(1)
    labels = random.normal(size=(50, 3))
    predictions = labels + random.normal(size=(50, 3))
    figures = counted(predictions, labels, outputs=3).compute()
    assert figures["r2"] == pytest.approx(oracle.r2_score(labels, predictions))
    assert figures["rmse"] == pytest.approx(oracle.root_mean_squared_error(labels, predictions))


def test_a_column_of_one_and_a_vector_are_the_same():
    labels = np.arange(5.0)
    assert counted(labels[:, None] * 2, labels).compute() == counted(labels * 2, labels).compute()


def test_rank_correlation_of_many_rows_is_near_and_takes_no_more_memory():
    random = np.random.default_rng(2)
    labels = random.normal(size=40_000)
    predictions = labels + random.normal(size=40_000)
    metric = RegressionMetrics(spearman_rows=4000)
    for some in np.array_split(np.stack([predictions, labels]), 40, axis=1):
        metric.update(*some)
    assert metric.state_dict()["kept"].shape == (2, 4000, 1)
    assert metric._num_kept <= 5000
    expected = stats.spearmanr(predictions, labels).statistic
    assert metric.compute()["spearman"] == pytest.approx(expected, abs=3 / np.sqrt(4000))


def test_the_sample_does_not_depend_on_the_batches():
    labels = np.random.default_rng(3).normal(size=1000)
    at_once = counted(labels**3, labels, spearman_rows=100)
    bit_by_bit = RegressionMetrics(spearman_rows=100)
    for some in np.array_split(labels, 33):
        bit_by_bit.update(some**3, some)
    assert set(at_once.state_dict()["keys"]) == set(bit_by_bit.state_dict()["keys"])


def test_state_travels_as_arrays():
    metric = counted(np.arange(9.0) ** 2, np.arange(9.0))
    again = RegressionMetrics()
    again.load_state_dict(metric.state_dict())
    for each in (metric, again):
        each.update(np.array([3.0, 7.0]), np.array([1.0, 2.0]))
    assert again.compute() == metric.compute()


def test_correlations_of_a_single_row_are_not_numbers():
    figures = counted(np.ones(1), np.zeros(1)).compute()
    assert figures["mse"] == 1.0
    assert all(np.isnan(figures[name]) for name in ("r2", "pearson", "spearman"))


@pytest.mark.parametrize(
    ("predictions", "labels", "said"),
    [
        (np.ones(3), np.ones(2), "3 predictions cannot be compared to 2 labels"),
        (np.ones((3, 2)), np.ones((3, 2)), r"must be 1 numbers, but their shape is \(3, 2\)"),
        (np.array([1.0, np.nan]), np.ones(2), "prediction must be a number, but row 1"),
    ],
)
def test_what_does_not_fit_is_refused(predictions, labels, said):
    with pytest.raises(DataError, match=said):
        RegressionMetrics().update(predictions, labels)


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="at least 1"):
        RegressionMetrics(0)
