import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abrazo.data.sampling import (
    EpochSampler,
    epoch_order,
    generator_for,
    group_by_length,
    uniforms,
)
from abrazo.errors import ConfigError

ORDER_OF_8 = [6, 1, 2, 7, 3, 0, 5, 4]
UNIFORMS_OF_ROW_7 = [0.11784585894134547, 0.09754883076541798]


def test_the_order_is_the_same_on_every_machine_and_version():
    assert epoch_order(8, seed=42, epoch=0).tolist() == ORDER_OF_8
    assert uniforms(42, 1, [7], 2, "mask")[0].tolist() == UNIFORMS_OF_ROW_7


@pytest.mark.parametrize("num_rows", [0, 1, 2, 1000])
def test_an_epoch_visits_every_row_once(num_rows):
    order = epoch_order(num_rows, 1, 2)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(num_rows))


def test_the_order_depends_on_seed_and_epoch():
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_without_shuffling_the_order_is_that_of_the_rows():
    assert epoch_order(5, 1, 1, shuffle=False).tolist() == [0, 1, 2, 3, 4]


def test_every_place_is_equally_likely():
    places = np.array([epoch_order(4, 7, epoch).tolist().index(0) for epoch in range(4000)])
    counts = np.bincount(places, minlength=4)
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000 * 3 / 4)


@given(
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**40),
    st.lists(st.integers(0, 2**62), max_size=4),
    st.integers(0, 13),
    st.text(max_size=5),
)
def test_all_rows_at_once_equal_each_row_by_numpys_own_philox(seed, epoch, rows, count, purpose):
    numbers = uniforms(seed, epoch, rows, count, purpose)
    assert numbers.shape == (len(rows), count)
    for row, ours in zip(rows, numbers, strict=True):
        assert ours.tolist() == generator_for(seed, epoch, row, purpose).random(count).tolist()


def test_a_rows_numbers_depend_on_no_other_row_and_no_count():
    few, many = uniforms(1, 2, [5], 3, "mask"), uniforms(1, 2, [9, 5, 0], 40, "mask")
    assert few[0].tolist() == many[1, :3].tolist()


def test_seed_epoch_row_and_purpose_all_matter():
    draws = {
        uniforms(seed, epoch, [row], 1, purpose).item()
        for seed in (1, 2)
        for epoch in (0, 1)
        for row in (0, 1)
        for purpose in ("mask", "drop")
    }
    assert len(draws) == 16


def test_uniforms_are_uniform():
    numbers = uniforms(3, 0, range(1000), 16, "mask").ravel()
    counts = np.bincount((numbers * 10).astype(int), minlength=10)
    assert len(counts) == 10
    assert abs(counts - 1600).max() < 5 * np.sqrt(1600)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: epoch_order(3, -1, 0),
        lambda: epoch_order(3, 2**64, 0),
        lambda: generator_for(1, -1, 0, "mask"),
        lambda: generator_for(1, 1, -1, "mask"),
        lambda: uniforms(1, 0, [-1], 1, "mask"),
        lambda: uniforms(1, -1, [], 1, "mask"),
    ],
)
def test_negative_and_too_large_numbers_are_refused(draw):
    with pytest.raises(ConfigError, match=r"must be from 0 to 2\^64 - 1|count from 0"):
        draw()


def _steps(world_size, batch_size, epoch=0, start=0, **options):
    """Return the rows of each step, over all processes."""
    ranks = [
        list(
            EpochSampler(
                batch_size=batch_size, world_size=world_size, rank=rank, **options
            ).batches(epoch, start)
        )
        for rank in range(world_size)
    ]
    return [np.concatenate(step).tolist() for step in zip(*ranks, strict=True)]


@pytest.mark.parametrize("num_rows", [0, 1, 15, 16, 17, 64, 101])
@pytest.mark.parametrize("lengths", [False, True])
def test_one_two_and_four_processes_see_the_same_rows_in_each_step(num_rows, lengths):
    options = {"num_rows": num_rows, "lengths": np.arange(num_rows) % 7 if lengths else None}
    alone = _steps(1, 16, epoch=3, **options)
    assert alone == _steps(2, 8, epoch=3, **options) == _steps(4, 4, epoch=3, **options)
    assert sorted(row for step in alone for row in step) == list(range(num_rows))


@given(
    num_rows=st.integers(0, 60),
    worlds=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=4
    ),
)
def test_the_number_of_processes_may_change_amid_an_epoch(num_rows, worlds):
    done: list[int] = []
    for world_size, batch_size, steps in worlds:
        for step in _steps(world_size, batch_size, start=len(done), num_rows=num_rows)[:steps]:
            done.extend(step)
    for step in _steps(1, 7, start=len(done), num_rows=num_rows):
        done.extend(step)
    assert done == epoch_order(num_rows, 42, 0).tolist()


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_all_processes_take_the_same_number_of_steps(rank):
    sampler = EpochSampler(num_rows=13, batch_size=4, world_size=3, rank=rank)
    sizes = [len(batch) for batch in sampler.batches(0)]
    assert sizes == [4, 1 if rank == 0 else 0]
    assert sampler.num_batches() == 2
    assert sampler.num_batches(start=12) == len(list(sampler.batches(0, start=12))) == 1


def test_what_is_left_is_shared_evenly():
    sizes = [
        len(next(EpochSampler(num_rows=5, batch_size=4, world_size=2, rank=rank).batches(0)))
        for rank in range(2)
    ]
    assert sizes == [3, 2]


def test_a_position_beyond_the_data_is_refused():
    with pytest.raises(ConfigError, match=r"number of rows \(5\), but is 6. Was the data changed"):
        list(EpochSampler(num_rows=5, batch_size=2).batches(0, start=6))


def test_all_wrong_settings_are_listed():
    with pytest.raises(ConfigError) as caught:
        EpochSampler(num_rows=-1, batch_size=0, world_size=2, rank=2)
    assert len(str(caught.value).splitlines()) == 3


@given(st.lists(st.integers(0, 500), max_size=300), st.integers(1, 9), st.integers(1, 5))
def test_grouping_by_length_keeps_every_row(lengths, group_size, groups_per_pool):
    order = epoch_order(len(lengths), 1, 0)
    grouped = group_by_length(
        order, lengths, seed=1, epoch=0, group_size=group_size, groups_per_pool=groups_per_pool
    )
    assert sorted(grouped) == list(range(len(lengths)))


def test_grouping_by_length_puts_like_lengths_together_at_random():
    lengths = np.random.default_rng(0).integers(1, 500, 3200)
    order = epoch_order(3200, 1, 0)
    grouped = group_by_length(order, lengths, seed=1, epoch=0)
    spread = np.ptp(lengths[grouped].reshape(-1, 16), axis=1).mean()
    assert spread < 0.05 * np.ptp(lengths[order].reshape(-1, 16), axis=1).mean()
    longest = lengths[grouped].reshape(-1, 64).max(axis=1)
    assert (np.diff(longest) > 0).any()
    assert (np.diff(longest) < 0).any()
    other = group_by_length(epoch_order(3200, 1, 1), lengths, seed=1, epoch=1)
    assert other.tolist() != grouped.tolist()


def test_lengths_must_be_one_per_row():
    with pytest.raises(ConfigError, match=r"one per row \(3\), but holds 2"):
        group_by_length(np.arange(3), [1, 2], seed=1, epoch=0)
