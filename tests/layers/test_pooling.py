"""Pooling on packed tokens is what it would be on each row by itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from abrazo.layers.layout import Layout
from abrazo.layers.pooling import POOLINGS


def row_by_row(name: str, hidden: Tensor, lengths: list[int]) -> Tensor:
    def pooled(row: Tensor) -> Tensor:
        places = torch.arange(1, len(row) + 1, dtype=row.dtype)[:, None]
        return {
            "mean": lambda: row.mean(0),
            "cls": lambda: row[0],
            "max": lambda: row.amax(0),
            "last": lambda: row[-1],
            "weighted_mean": lambda: (row * places).sum(0) / places.sum(),
            "mean_sqrt_len": lambda: row.sum(0) / len(row) ** 0.5,
        }[name]()

    return torch.stack([pooled(row) for row in hidden.split(lengths)])


@pytest.mark.parametrize("name", POOLINGS)
@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_rows_are_pooled_as_each_by_itself(name, lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(sum(lengths), 5, generator=generator)
    found = POOLINGS[name](hidden, Layout(lengths))
    torch.testing.assert_close(found, row_by_row(name, hidden, lengths), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", POOLINGS)
def test_gradients_are_right(name):
    hidden = torch.randn(9, 3, dtype=torch.float64, requires_grad=True)
    layout = Layout([4, 1, 4])
    assert torch.autograd.gradcheck(lambda tokens: POOLINGS[name](tokens, layout), hidden)


@pytest.mark.parametrize("name", POOLINGS)
def test_a_row_is_the_same_alone_and_among_others(name):
    hidden = torch.randn(40, 7)
    lengths = [11, 3, 20, 6]
    together = POOLINGS[name](hidden, Layout(lengths))
    for row, tokens in enumerate(hidden.split(lengths)):
        alone = POOLINGS[name](tokens, Layout([len(tokens)]))
        assert torch.equal(alone[0], together[row])


@pytest.mark.parametrize("name", POOLINGS)
def test_half_precision_is_pooled_in_fp32(name):
    hidden = torch.randn(300, 4).bfloat16()
    found = POOLINGS[name](hidden, Layout([300]))
    assert found.dtype == torch.float32
    wide = row_by_row(name, hidden.float(), [300])
    torch.testing.assert_close(found, wide, rtol=1e-5, atol=1e-5)
