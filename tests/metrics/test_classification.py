import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from abrazo.errors import ConfigError, DataError
from abrazo.metrics import ClassificationMetrics
from abrazo.metrics.classification import MOST_CLASSES

NAMES = ("负面", "neutral", "positive", "other", "none")


@st.composite
def logits_and_labels(draw):
    """Rows of a few classes, of which some may be absent, with ties among the scores."""
    classes = draw(st.integers(2, 5))
    rows = draw(st.integers(1, 40))
    present = draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=classes))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = random.choice(present, rows)
    few = random.normal(size=(draw(st.integers(1, rows)), classes))
    logits = few[random.integers(0, len(few), rows)] * draw(st.sampled_from([0.1, 1.0, 5.0]))
    logits[np.arange(rows), labels] += draw(st.sampled_from([0.0, 1.0, 5.0]))
    return logits, labels


def counted(logits, labels, **options):
    metric = ClassificationMetrics(NAMES[: logits.shape[-1]], **options)
    metric.update(logits, labels)
    return metric


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@settings(max_examples=80, deadline=None)
@given(logits_and_labels())
def test_figures_equal_scikit_learn(case):
    logits, labels = case
    chosen = logits.argmax(-1)
    figures = counted(logits, labels).compute()
    assert figures["accuracy"] == pytest.approx(oracle.accuracy_score(labels, chosen))
    for average in ("macro", "micro", "weighted"):
        scores = oracle.precision_recall_fscore_support(
            labels, chosen, average=average, zero_division=0
        )
        ours = {a.name: a for a in counted(logits, labels).details().averages}[average]
        assert (ours.precision, ours.recall, ours.f1) == pytest.approx(scores[:3])
    assert figures["macro_f1"] == pytest.approx(
        oracle.f1_score(labels, chosen, average="macro", zero_division=0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of a single class
        matthews = oracle.matthews_corrcoef(labels, chosen)
    assert figures["matthews_correlation"] == pytest.approx(matthews)
    loss = oracle.log_loss(labels, softmax(logits), labels=np.arange(logits.shape[1]))
    assert figures["log_loss"] == pytest.approx(loss)


@settings(max_examples=60, deadline=None)
@given(logits_and_labels())
def test_figures_per_class_and_confusion_equal_scikit_learn(case):
    logits, labels = case
    every = np.arange(logits.shape[1])
    chosen = logits.argmax(-1)
    details = counted(logits, labels).details()
    assert np.array_equal(details.confusion, oracle.confusion_matrix(labels, chosen, labels=every))
    expected = oracle.precision_recall_fscore_support(labels, chosen, labels=every, zero_division=0)
    ours = [(c.precision, c.recall, c.f1, c.support) for c in details.classes]
    np.testing.assert_allclose(np.array(ours).T, expected)


@settings(max_examples=60, deadline=None)
@given(logits_and_labels())
def test_auc_of_few_rows_equals_scikit_learn_exactly(case):
    logits, labels = case
    scores = softmax(logits)
    columns = [1] if logits.shape[1] == 2 else range(logits.shape[1])
    areas = [
        oracle.roc_auc_score(labels == column, scores[:, column])
        for column in columns
        if 0 < (labels == column).sum() < len(labels)
    ]
    auc = counted(logits, labels).compute()["auc"]
    assert np.isnan(auc) if not areas else auc == pytest.approx(np.mean(areas), abs=1e-12)


def test_multiclass_auc_is_scikit_learns_macro_one_vs_rest():
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 300)
    logits = random.normal(size=(300, 4)) + np.eye(4)[labels]
    expected = oracle.roc_auc_score(labels, softmax(logits), multi_class="ovr", average="macro")
    assert counted(logits, labels).compute()["auc"] == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(logits_and_labels(), st.integers(1, 5))
def test_merged_parts_equal_the_whole(case, parts):
    logits, labels = case
    whole = counted(logits, labels)
    merged = ClassificationMetrics(whole.labels)
    for some_logits, some_labels in zip(
        np.array_split(logits, parts), np.array_split(labels, parts), strict=True
    ):
        merged.merge(counted(some_logits, some_labels))
    assert merged.compute() == pytest.approx(whole.compute(), nan_ok=True)
    assert merged.details().confusion == whole.details().confusion


def test_state_travels_as_arrays():
    metric = counted(np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), np.array([0, 1, 1]))
    copy = ClassificationMetrics(metric.labels)
    copy.load_state_dict(metric.state_dict())
    assert copy.compute() == metric.compute()
    copy.update(np.array([[0.0, 9.0]]), np.array([0]))
    assert copy.compute() != metric.compute()


def test_a_state_of_other_labels_is_refused():
    with pytest.raises(ConfigError, match=r"support: expected \(2,\), given \(3,\)"):
        ClassificationMetrics(["a", "b"]).load_state_dict(
            ClassificationMetrics(["a", "b", "c"]).state_dict()
        )


def test_reset_forgets_all_rows():
    metric = counted(np.eye(3), np.arange(3))
    metric.reset()
    with pytest.raises(DataError, match="No rows"):
        metric.compute()


def test_probabilities_and_logits_give_the_same_figures():
    random = np.random.default_rng(1)
    labels, logits = random.integers(0, 3, 50), random.normal(size=(50, 3))
    same = counted(softmax(logits), labels, predictions="probabilities").compute()
    assert same == pytest.approx(counted(logits, labels).compute())


def test_numbers_of_classes_suffice_for_what_needs_no_probabilities():
    metric = ClassificationMetrics(["a", "b"], predictions="classes")
    metric.update(np.array([0, 1, 1]), np.array([0, 1, 0]))
    assert set(metric.compute()) == set(metric.known_keys())
    assert metric.compute()["accuracy"] == pytest.approx(2 / 3)
    assert "auc" not in metric.known_keys()
    assert metric.details().calibration == ()


def test_rows_to_ignore_and_leading_dimensions_are_understood():
    logits = np.random.default_rng(2).normal(size=(2, 3, 4))
    labels = np.array([[0, 1, -100], [3, -100, -100]])
    padded = ClassificationMetrics("abcd")
    padded.update(logits, labels)
    flat = ClassificationMetrics("abcd")
    flat.update(logits[labels >= 0], labels[labels >= 0])
    assert padded.compute() == flat.compute()


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    """Three rows said with 0.9, of which one is right, and one with 0.6, which is right."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    metric = counted(probabilities, np.array([0, 1, 1, 1]), predictions="probabilities")
    expected = 3 / 4 * abs(0.9 - 1 / 3) + 1 / 4 * abs(0.6 - 1)
    assert metric.compute()["calibration_error"] == pytest.approx(expected)
    assert [b.rows for b in metric.details().calibration if b.rows] == [1, 3]


def test_confident_scores_are_still_ordered():
    """In single precision both have probability 1."""
    logits = np.array([[0.0, 40.0], [0.0, 60.0]], np.float32)
    assert counted(logits, np.array([0, 1])).compute()["auc"] == 1.0
    three = np.array([[0.0, 0.0, 40.0], [0.0, 0.0, 60.0]])
    assert counted(three, np.array([0, 2])).details().classes[2].auc == 1.0


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_broken_predictions_are_named(broken):
    with pytest.raises(DataError, match="row 1"):
        counted(np.array([[0.0, 1.0], [broken, 0.0]]), np.array([0, 1]))


@pytest.mark.parametrize(
    ("logits", "labels", "said"),
    [
        (np.zeros((2, 2)), [0, 2], "from 0 to 1.*one is 2"),
        (np.zeros((2, 2)), [0, -1], "one is -1"),
        (np.zeros((2, 2)), [0, 0.5], "one is 0.5"),
        (np.zeros((2, 2)), [0, np.nan], "one is nan"),
        (np.zeros((2, 3)), [0, 1], r"\(2, 2\), but theirs is \(2, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused(logits, labels, said):
    with pytest.raises(DataError, match=said):
        ClassificationMetrics(["a", "b"]).update(logits, np.array(labels))


def test_logits_given_as_probabilities_are_refused():
    with pytest.raises(DataError, match=r'row 0 is \[3\.0, 1\.0\].*predictions="logits"'):
        counted(np.array([[3.0, 1.0]]), np.array([0]), predictions="probabilities")


@pytest.mark.parametrize(
    ("labels", "said"), [(["a"], "at least 2 names, but holds 1"), (["a", "b", "a"], "repeats a")]
)
def test_labels_are_checked(labels, said):
    with pytest.raises(ConfigError, match=said):
        ClassificationMetrics(labels)


def test_metrics_of_other_labels_are_not_merged():
    with pytest.raises(ConfigError, match="same labels"):
        ClassificationMetrics(["a", "b"]).merge(ClassificationMetrics(["a", "c"]))


def test_very_many_classes_keep_no_matrix():
    metric = ClassificationMetrics([str(n) for n in range(MOST_CLASSES + 1)])
    metric.update(np.eye(MOST_CLASSES + 1)[:3], np.array([0, 1, 1]))
    assert metric.compute()["accuracy"] == pytest.approx(2 / 3)
    assert metric.details().confusion is None
    assert "auc" not in metric.known_keys()


def test_memory_does_not_grow_with_the_rows():
    metric = ClassificationMetrics(["a", "b", "c"])
    metric._ranking.exact_scores = 3000
    sizes = []
    for _ in range(4):
        metric.update(np.random.default_rng(0).normal(size=(2000, 3)), np.arange(2000) % 3)
        sizes.append(sum(array.nbytes for array in metric.state_dict().values()))
    assert len(set(sizes)) == 1


def test_counts_beyond_64_bits_do_not_break_the_correlation():
    metric = counted(np.eye(2), np.arange(2))
    for name in ("support", "predicted", "hits"):
        metric._counts[name][:] = 2**40
    assert metric.compute()["matthews_correlation"] == pytest.approx(1.0)
