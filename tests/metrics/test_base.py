import logging

import numpy as np
import pytest

from abrazo.errors import ConfigError, DataError
from abrazo.metrics import (
    ClassificationMetrics,
    EvalPrediction,
    FunctionMetric,
    Metric,
    MetricGroup,
    MultiLabelMetrics,
    PlainMetric,
    RegressionMetrics,
    as_metric,
)

EVERY = [
    ClassificationMetrics(["a", "b"]),
    ClassificationMetrics(["a", "b"], predictions="classes"),
    MultiLabelMetrics(["a", "b"]),
    RegressionMetrics(),
]


class CountRows:
    """The least a user's metric can be."""

    def __init__(self):
        self.rows = 0

    def update(self, predictions, labels):
        self.rows += len(labels)

    def compute(self):
        return {"rows": np.int64(self.rows)}


class MergeableCount(CountRows):
    def __init__(self):
        super().__init__()
        self.better = {"rows": "higher"}

    def merge(self, other):
        self.rows += other.rows

    def state_dict(self):
        return {"rows": np.array(self.rows)}

    def load_state_dict(self, state):
        self.rows = int(state["rows"])


def accuracy(eval_prediction):
    predictions, labels = eval_prediction
    return {"accuracy": (predictions.argmax(-1) == labels).mean()}


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: type(metric).__name__)
def test_known_keys_are_those_computed(metric):
    shape = {RegressionMetrics: (4,), MultiLabelMetrics: (4, 2)}.get(type(metric))
    if shape:
        metric.update(np.ones(shape), np.ones(shape))
    elif metric.predictions == "classes":
        metric.update(np.array([0, 1, 1]), np.array([0, 1, 0]))
    else:
        metric.update(np.eye(2), np.arange(2))
    assert tuple(metric.compute()) == metric.known_keys()


@pytest.mark.parametrize(
    ("key", "direction"),
    [
        ("accuracy", "max"),
        ("eval_macro_f1", "max"),
        ("log_loss", "min"),
        ("eval_calibration_error", "min"),
        ("loss", "min"),
        ("eval_loss", "min"),
    ],
)
def test_each_figure_knows_which_way_is_better(key, direction):
    assert ClassificationMetrics(["a", "b"]).direction_of(key) == direction


@pytest.mark.parametrize(("key", "direction"), [("mse", "min"), ("r2", "max"), ("mae", "min")])
def test_errors_of_numbers_are_better_low(key, direction):
    assert RegressionMetrics().direction_of(key) == direction


@pytest.mark.parametrize(
    ("key", "nearest"), [("eval_acuracy", "accuracy"), ("f1", "macro_f1"), ("los", "loss")]
)
def test_watching_what_will_not_be_computed_names_the_nearest(key, nearest):
    with pytest.raises(ConfigError, match=f"but is .* Did you mean `{nearest}`"):
        ClassificationMetrics(["a", "b"]).direction_of(key)


def test_without_metrics_only_the_loss_can_be_watched():
    assert MetricGroup().direction_of("eval_loss") == "min"
    with pytest.raises(ConfigError, match="one of `loss`, but is 'accuracy'"):
        MetricGroup().direction_of("eval_accuracy")


def test_a_group_is_one_metric():
    group = as_metric([ClassificationMetrics(["a", "b"]), MergeableCount()])
    group.update(np.eye(2), np.arange(2))
    other = as_metric([ClassificationMetrics(["a", "b"]), MergeableCount()])
    other.load_state_dict(group.state_dict())
    group.merge(other)
    assert group.compute()["rows"] == 4
    assert group.compute()["accuracy"] == 1
    assert group.direction_of("rows") == "max"
    group.reset()
    with pytest.raises(DataError, match="No rows"):
        group.compute()


def test_a_group_refuses_two_figures_of_one_name():
    with pytest.raises(ConfigError, match="Two metrics of one group give `auc`"):
        MetricGroup([ClassificationMetrics("ab", predictions="logits"), MultiLabelMetrics("ab")])
    group = as_metric([CountRows(), CountRows()])
    group.update(np.ones(2), np.ones(2))
    with pytest.raises(ConfigError, match="give `rows`"):
        group.compute()


def test_groups_of_other_kinds_are_not_merged():
    with pytest.raises(ConfigError, match="same kinds"):
        MetricGroup([RegressionMetrics()]).merge(MetricGroup())


def test_a_plain_object_is_a_metric():
    metric = as_metric(CountRows())
    metric.update(np.ones(3), np.ones(3))
    assert metric.compute() == {"rows": 3.0}
    assert type(metric.compute()["rows"]) is float
    metric.reset()
    assert metric.compute() == {"rows": 0.0}


def test_a_plain_object_that_cannot_be_merged_says_so():
    with pytest.raises(ConfigError, match=r"`CountRows` has no `merge`.*one process"):
        as_metric(CountRows()).merge(PlainMetric(CountRows()))


def test_a_plain_object_need_not_list_its_keys():
    metric = as_metric(CountRows())
    assert (metric.direction_of("rows"), metric.direction_of("word_error")) == ("max", "min")
    with pytest.raises(ConfigError, match="Did you mean `rows`"):
        as_metric(MergeableCount()).direction_of("row")


def test_a_function_gets_all_predictions_and_says_that_it_keeps_them(caplog):
    with caplog.at_level(logging.INFO, logger="abrazo"):
        metric = as_metric(accuracy)
    assert "`accuracy` is called with all predictions at once" in caplog.text
    metric.update(np.eye(2), np.array([0, 1]))
    metric.update(np.eye(2), np.array([1, 1]))
    assert metric.compute() == {"accuracy": 0.75}


def test_a_function_over_several_processes_gets_the_rows_of_all():
    first, second = FunctionMetric(accuracy), FunctionMetric(accuracy)
    second.load_state_dict(second.state_dict())
    second.update(np.eye(2), np.array([0, 1]))
    first.load_state_dict(second.state_dict())
    second.update(np.eye(2), np.array([1, 0]))
    first.merge(second)
    assert first.compute()["accuracy"] == pytest.approx(4 / 6)


def test_rows_of_several_lengths_are_filled_up_as_in_transformers():
    seen = []
    metric = FunctionMetric(lambda both: seen.append(both) or {})
    metric.update(np.ones((1, 2, 3)), np.ones((1, 2), np.int64))
    metric.update(np.ones((2, 4, 3)), np.ones((2, 4), np.int64))
    metric.compute()
    assert isinstance(seen[0], EvalPrediction)
    assert seen[0].predictions.shape == (3, 4, 3)
    assert seen[0].label_ids.tolist()[0] == [1, 1, -100, -100]


def test_a_function_without_rows_is_not_called():
    with pytest.raises(DataError, match="No rows"):
        FunctionMetric(accuracy).compute()


@pytest.mark.parametrize(
    ("result", "said"),
    [(0.5, "must return a mapping"), ({"f1": "good"}, "`f1` is 'good'"), ({"f1": None}, "None")],
)
def test_what_a_function_returns_is_checked(result, said):
    metric = as_metric(lambda both: result)
    metric.update(np.ones(1), np.ones(1))
    with pytest.raises(ConfigError, match=said):
        metric.compute()


@pytest.mark.parametrize(("given", "said"), [(3, "but is 3"), (CountRows, "class `CountRows`")])
def test_what_is_no_metric_is_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        as_metric(given)


def test_a_metric_stays_itself():
    metric: Metric = RegressionMetrics()
    assert as_metric(metric) is metric
