import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from abrazo.errors import ConfigError, DataError
from abrazo.metrics import MultiLabelMetrics

cases = st.tuples(
    st.integers(1, 5), st.integers(1, 30), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 2**32)
)


def example(case):
    columns, rows, share, seed = case
    random = np.random.default_rng(seed)
    truth = (random.random((rows, columns)) < share).astype(np.int64)
    few = random.normal(size=(rows // 2 + 1, columns))
    return few[random.integers(0, len(few), rows)] + truth, truth


def counted(logits, truth, threshold=0.5, **options):
    metric = MultiLabelMetrics("abcde"[: truth.shape[1]], threshold, **options)
    metric.update(logits, truth)
    return metric


@settings(max_examples=80, deadline=None)
@given(cases, st.sampled_from([0.3, 0.5, 0.8]))
def test_figures_equal_scikit_learn(case, threshold):
    logits, truth = example(case)
    chosen = (1 / (1 + np.exp(-logits)) >= threshold).astype(np.int64)
    metric = counted(logits, truth, threshold)
    figures = metric.compute()
    assert figures["subset_accuracy"] == pytest.approx((chosen == truth).all(-1).mean())
    assert figures["hamming_loss"] == pytest.approx((chosen != truth).mean())
    for average in ("macro", "micro", "weighted"):
        if truth.shape[1] == 1:
            break  # scikit-learn takes a single column for two classes
        expected = oracle.precision_recall_fscore_support(
            truth, chosen, average=average, zero_division=0
        )[:3]
        ours = {each.name: each for each in metric.details().averages}[average]
        assert (ours.precision, ours.recall, ours.f1) == pytest.approx(expected)
    areas = [
        oracle.roc_auc_score(truth[:, k], logits[:, k])
        for k in range(truth.shape[1])
        if 0 < truth[:, k].sum() < len(truth)
    ]
    expected_area = np.mean(areas) if areas else np.nan
    assert figures["auc"] == pytest.approx(expected_area, nan_ok=True)


def test_merged_parts_and_exchanged_states_equal_the_whole():
    logits, truth = example((4, 30, 0.3, 7))
    whole, first, second = (
        counted(logits[s], truth[s]) for s in (slice(None), slice(0, 9), slice(9, None))
    )
    first.merge(second)
    assert first.compute() == whole.compute()
    again = MultiLabelMetrics(whole.labels)
    again.load_state_dict(whole.state_dict())
    assert again.details() == whole.details()


def test_probabilities_and_logits_give_the_same_figures():
    logits, truth = example((3, 30, 0.3, 1))
    same = counted(1 / (1 + np.exp(-logits)), truth, predictions="probabilities").compute()
    assert same == pytest.approx(counted(logits, truth).compute())


def test_an_even_chance_is_a_yes():
    assert counted(np.zeros((1, 1)), np.ones((1, 1))).compute()["subset_accuracy"] == 1


@pytest.mark.parametrize(
    ("logits", "labels", "said"),
    [
        (np.zeros((2, 3)), np.zeros((2, 2)), r"shapes \(2, 3\) and \(2, 2\)"),
        (np.zeros((2, 2)), np.array([[0, 2], [0, 0]]), "0 or 1, but one is 2"),
        (np.array([[np.nan, 0.0]]), np.zeros((1, 2)), "NaN or infinite in row 0"),
    ],
)
def test_what_does_not_fit_is_refused(logits, labels, said):
    with pytest.raises(DataError, match=said):
        MultiLabelMetrics("ab").update(logits, labels)


def test_a_threshold_outside_0_and_1_is_refused():
    with pytest.raises(ConfigError, match=r"between 0 and 1, but is 1\.5"):
        MultiLabelMetrics("ab", 1.5)
