"""Pairs of groups: every row with its own source, however rows are ordered."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from abrazo.errors import DataError
from abrazo.layers.cross_attention import CrossAttention, Pairing, ReadSources
from abrazo.layers.layout import TRAINING_GROUP_COST, Layout

LENGTHS = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 90)), min_size=1, max_size=12)


def one_by_one(
    attention: CrossAttention, hidden: torch.Tensor, encoded: torch.Tensor, pairing: Pairing
) -> torch.Tensor:
    """Return what each row alone makes of its source alone."""
    rows = hidden.split(pairing.target.lengths.tolist())
    sources = encoded.split(pairing.source.lengths.tolist())
    return torch.cat(
        [
            attention(row, ReadSources(source, Pairing(Layout([len(row)]), Layout([len(source)]))))
            for row, source in zip(rows, sources, strict=True)
        ]
    )


@settings(max_examples=40, deadline=None)
@given(LENGTHS)
def test_groups_give_what_each_row_alone_gives(lengths: list[tuple[int, int]]) -> None:
    torch.manual_seed(0)
    attention = CrossAttention(8, 2, 0.0, source_width=6)
    targets, sources = zip(*lengths, strict=True)
    pairing = Pairing(Layout(list(targets)), Layout(list(sources)))
    hidden, encoded = torch.randn(sum(targets), 8), torch.randn(sum(sources), 6)
    with torch.no_grad():
        found = attention(hidden, ReadSources(encoded, pairing))
        expected = one_by_one(attention, hidden, encoded, pairing)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(LENGTHS)
def test_groups_hold_every_row_once_and_little_padding(lengths: list[tuple[int, int]]) -> None:
    targets, sources = (np.array(side) for side in zip(*lengths, strict=True))
    pairing = Pairing(Layout(targets), Layout(sources))
    held = np.concatenate([target.rows for target, _ in pairing.groups])
    assert sorted(held) == list(range(len(lengths)))
    for target, source in pairing.groups:
        assert target.rows.tolist() == source.rows.tolist()
        needed = (targets[target.rows] * sources[source.rows]).sum()
        assert target.num_lines * target.length * source.length - needed <= TRAINING_GROUP_COST


def test_gradients_of_groups_are_those_of_rows_alone() -> None:
    torch.manual_seed(0)
    attention = CrossAttention(8, 2, 0.0)
    pairing = Pairing(Layout([9, 2, 30, 4]), Layout([70, 3, 5, 80]))
    given_ = [torch.randn(45, 8, requires_grad=True), torch.randn(158, 8, requires_grad=True)]
    weights = [*given_, *attention.parameters()]
    hidden, encoded = given_
    together = attention(hidden, ReadSources(encoded, pairing)).square().sum()
    alone = one_by_one(attention, hidden, encoded, pairing).square().sum()
    for found, expected in zip(
        torch.autograd.grad(together, weights), torch.autograd.grad(alone, weights), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_equal_rows_are_one_group_without_a_mask() -> None:
    pairing = Pairing(Layout([3] * 4), Layout([5] * 4))
    ((target, source),) = pairing.groups
    assert target.take is None
    assert source.take is None
    assert source.key_bias is None
    assert pairing.packed_order is None


def test_rows_without_a_source_are_refused() -> None:
    with pytest.raises(DataError, match="2 rows and 1 sources"):
        Pairing(Layout([3, 2]), Layout([4]))


def test_weights_are_shares_of_the_source() -> None:
    attention = CrossAttention(8, 2, 0.0)
    pairing = Pairing(Layout([3, 2]), Layout([4, 6]))
    weights: list[torch.Tensor] = []
    attention(torch.randn(5, 8), ReadSources(torch.randn(10, 8), pairing), weights)
    assert [tuple(shares.shape) for shares in weights] == [(2, 2, 3, 6)]
    torch.testing.assert_close(weights[0].sum(-1), torch.ones(2, 2, 3))
    assert not weights[0][0, ..., 4:].any()
