"""Rows of several tasks come as often as they should, in an order that can be made again."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abrazo.data.dataset import Dataset
from abrazo.data.mixture import Mixture
from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, DataError


def rows(name: str, count: int) -> list[dict[str, str]]:
    return [{"text": f"{name} {number}"} for number in range(count)]


def mixture(first: int = 10, second: int = 4, **options: object) -> Mixture:
    return Mixture({"a": rows("a", first), "b": rows("b", second)}, **options)


def test_rows_know_their_task_and_where_they_came_from(tmp_path) -> None:
    Dataset.from_list(rows("b", 4)).to_csv(tmp_path / "b.csv")
    mixed = Mixture({"a": rows("a", 3), "b": Dataset.from_files([tmp_path / "b.csv"])})
    assert isinstance(mixed, RowSource)
    assert len(mixed) == 7
    assert mixed.rows([3, 0, 6]) == [
        {"task": "b", "row": {"text": "b 0"}},
        {"task": "a", "row": {"text": "a 0"}},
        {"task": "b", "row": {"text": "b 3"}},
    ]
    assert mixed.origin(2) == "a: row 3"
    assert mixed.origin(3).startswith("b: ")
    assert mixed.origin(3).endswith("b.csv, row 1")


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32), st.integers(0, 9))
def test_by_size_every_row_comes_once_an_epoch(first: int, second: int, seed: int, epoch: int):
    order = mixture(first, second).order(seed, epoch)
    assert sorted(order.tolist()) == list(range(first + second))


@given(
    st.integers(1, 30),
    st.integers(1, 30),
    st.one_of(
        st.just("equal"),
        st.fixed_dictionaries({"a": st.floats(0.01, 9), "b": st.floats(0.01, 9)}),
    ),
)
def test_no_row_comes_again_before_all_others_of_its_task(first, second, sampling) -> None:
    mixed = mixture(first, second, sampling=sampling)
    assert sum(mixed.counts.values()) == first + second
    drawn = np.concatenate([mixed.order(7, epoch) for epoch in range(5)])
    assert len(drawn) == 5 * len(mixed)
    times = np.bincount(drawn, minlength=len(mixed))
    assert np.ptp(times[:first]) <= 1
    assert np.ptp(times[first:]) <= 1
    assert times[:first].sum() == 5 * mixed.counts["a"]


def test_shares_say_how_often_a_task_comes() -> None:
    assert mixture().counts == {"a": 10, "b": 4}
    assert mixture(sampling="equal").counts == {"a": 7, "b": 7}
    assert mixture(sampling={"a": 1, "b": 6}).counts == {"a": 2, "b": 12}
    assert Counter(mixture(sampling="equal").order(1, 0) < 10) == {True: 7, False: 7}


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    mixed, again = mixture(30, 30, sampling="equal"), mixture(30, 30, sampling="equal")
    np.testing.assert_array_equal(mixed.order(3, 2), again.order(3, 2))
    assert mixed.order(3, 2).tolist() != mixed.order(3, 1).tolist()
    assert mixed.order(3, 2).tolist() != mixed.order(4, 2).tolist()
    tasks = mixed.order(3, 0) < 30
    assert np.count_nonzero(tasks[1:] != tasks[:-1]) > 5  # mixed, not one after the other


def test_what_decides_the_order_and_the_losses_tells_mixtures_apart() -> None:
    others = [mixture(11), mixture(sampling="equal"), mixture(weights={"b": 2})]
    assert mixture().describe() == mixture().describe()
    assert mixture().describe() not in {other.describe() for other in others}
    assert mixture(weights={"b": 2}).weights == {"a": 1.0, "b": 2.0}


@pytest.mark.parametrize(
    ("tasks", "options", "error", "message"),
    [
        ({}, {}, DataError, "must be a dict of rows by task"),
        ([1], {}, DataError, "must be a dict of rows by task"),
        ({"a": []}, {}, DataError, "The task `a`: The data has no rows"),
        ({"a.b": rows("a", 1)}, {}, ConfigError, "must be letters, digits"),
        ({3: rows("a", 1)}, {}, ConfigError, "must be letters, digits"),
        ({"a": rows("a", 1)}, {"sampling": "size!"}, ConfigError, "'size', 'equal' or a share"),
        ({"a": rows("a", 1)}, {"sampling": {}}, ConfigError, "no share for the task `a`"),
        (
            {"intent": rows("a", 1)},
            {"weights": {"intend": 2}},
            ConfigError,
            r"`weights` names the task 'intend'.*Did you mean `intent`",
        ),
        ({"a": rows("a", 1)}, {"weights": {"a": 0}}, ConfigError, "`weights` of `a` must be above"),
        ({"a": rows("a", 1)}, {"weights": {"a": "2"}}, ConfigError, "must be above 0"),
        ({"a": rows("a", 1)}, {"weights": 2}, ConfigError, "a number for each task, but is 2"),
        ({"a": rows("a", 1)}, {"sampling": {"a": float("nan")}}, ConfigError, "must be above 0"),
    ],
)
def test_mistakes_are_named(tasks, options, error, message) -> None:
    with pytest.raises(error, match=message):
        Mixture(tasks, **options)
