"""A cache of blocks with windows reads and keeps no more than they need."""

import pytest
import torch

from abrazo.errors import DataError
from abrazo.layers.cache import Cache
from abrazo.layers.layout import Layout


def step(cache: Cache, lengths: list[int], window: int | None, first: int) -> torch.Tensor:
    """Write numbered tokens and return the keys that may be seen, (R, C)."""
    cache.advance(Layout(lengths))
    count = sum(lengths)
    tokens = torch.arange(first, first + count, dtype=torch.float32)
    return cache.layer(0).write(tokens[:, None, None].expand(count, 2, 1), window)[:, :, 0, 0, 0]


@pytest.mark.parametrize("limit", [None, 500])
def test_a_window_of_columns_is_read_and_older_ones_are_dropped(limit: int | None) -> None:
    cache, window = Cache(1, limit), 10
    step(cache, [300, 300], window, 0)
    rows = torch.stack([torch.arange(300.0), torch.arange(300.0, 600.0)])
    for number in range(150):
        seen = step(cache, [1, 1], window, 1000 + 2 * number)
        new = torch.tensor([[1000.0 + 2 * number], [1001.0 + 2 * number]])
        rows = torch.cat([rows, new], 1)
        assert torch.equal(seen, rows[:, -window - 1 :])
        assert cache.bias(window) is None
    held = cache.layer(0)._held
    assert held is not None
    assert held.shape[1] < 300


def test_several_tokens_at_once_see_their_own_windows() -> None:
    cache = Cache(1)
    step(cache, [6], 2, 0)
    assert step(cache, [3], 2, 6).tolist() == [[4, 5, 6, 7, 8]]
    bias = cache.bias(2)
    assert bias is not None
    assert (bias[0, 0] == 0).int().tolist() == [[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1]]


def test_rows_shorter_than_the_window_hide_what_stands_left_of_them() -> None:
    cache = Cache(1)
    step(cache, [1, 6], 3, 0)
    step(cache, [1, 1], 3, 7)
    bias = cache.bias(3)
    assert bias is not None
    assert (bias[:, 0, 0] == 0).int().tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    for first in (9, 11):
        step(cache, [1, 1], 3, first)
    assert cache.bias(3) is None  # by now both fill their windows


def test_tokens_can_be_taken_back_as_far_as_columns_are_held() -> None:
    cache, window = Cache(1), 4
    step(cache, [400], window, 0)
    step(cache, [1], window, 400)
    cache.rewind(20)
    assert step(cache, [1], window, 900).tolist() == [[377, 378, 379, 380, 900]]
    with pytest.raises(DataError, match="can be taken back now, not 200"):
        cache.rewind(200)
    with pytest.raises(DataError, match="cannot be taken"):
        cache.rewind(400)
