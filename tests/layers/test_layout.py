"""Groups of rows, the order of tokens, and attention in groups against attention row by row."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from abrazo.errors import DataError
from abrazo.layers.attention import Attention, spread
from abrazo.layers.layout import Layout

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=24)
FEW = settings(max_examples=25, deadline=None)
TELLING = [[1], [1, 1, 1], [200], [1, 200, 1], [5, 5, 5], [9, 3, 7, 3], [100] * 3 + [2] * 9]


def attend_row_by_row(attention: Attention, hidden: Tensor, lengths: list[int]) -> Tensor:
    """The definition: each row for itself, each head for itself."""
    heads, width = attention.num_heads, attention.head_width
    rows = []
    for row in hidden.split(lengths):
        weight, bias = attention.query_key_value.weight, attention.query_key_value.bias
        query, key, value = (row @ weight.t() + bias).chunk(3, -1)
        mixed = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            scores = query[:, part] @ key[:, part].t() / math.sqrt(width)
            mixed.append(scores.softmax(-1) @ value[:, part])
        rows.append(torch.cat(mixed, -1))
    return torch.cat(rows) @ attention.output.weight.t() + attention.output.bias


def check_against_rows(lengths: list[int]) -> None:
    torch.manual_seed(sum(lengths))
    attention = Attention(8, 2, 0.0)
    layout = Layout(lengths)
    hidden = torch.randn(layout.num_tokens, 8)
    goal = torch.randn(layout.num_tokens, 8)
    weights = list(attention.parameters())

    given_in = hidden.clone().requires_grad_()
    found = attention(given_in, layout)
    gradients = torch.autograd.grad((found * goal).sum(), [given_in, *weights])
    wanted_in = hidden.clone().requires_grad_()
    wanted = attend_row_by_row(attention, wanted_in, lengths)
    expected = torch.autograd.grad((wanted * goal).sum(), [wanted_in, *weights])

    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    for gradient, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(attention(hidden, layout), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lengths", TELLING, ids=str)
def test_attention_in_groups_is_attention_by_row(lengths: list[int]) -> None:
    check_against_rows(lengths)


@FEW
@given(LENGTHS)
def test_attention_in_groups_is_attention_by_row_for_any_lengths(lengths: list[int]) -> None:
    check_against_rows(lengths)
    check_against_rows(sorted(lengths))


@FEW
@given(LENGTHS)
def test_groups_hold_each_row_and_each_token_once(lengths: list[int]) -> None:
    layout = Layout(lengths)
    rows = np.concatenate([group.rows for group in layout.groups])
    assert sorted(rows.tolist()) == list(range(len(lengths)))
    tokens = torch.arange(layout.num_tokens)
    real = [
        spread(tokens[:, None], group).flatten()
        if group.give_back is None
        else spread(tokens[:, None], group).flatten()[group.give_back]
        for group in layout.groups
    ]
    together = torch.cat(real)
    order = layout.packed_order
    assert torch.equal(together if order is None else together[order], tokens)


@FEW
@given(LENGTHS)
def test_layout_tells_where_tokens_stand(lengths: list[int]) -> None:
    layout = Layout(lengths)
    expected = [(row, place) for row, length in enumerate(lengths) for place in range(length)]
    assert layout.row_of_token.tolist() == [row for row, _ in expected]
    assert layout.positions.tolist() == [place for _, place in expected]
    assert layout.num_tokens == len(expected)
    assert layout.max_length == max(lengths)
    ends = layout.cumulative_lengths.tolist()
    assert [end - start for start, end in itertools.pairwise(ends)] == lengths
    assert layout.first_tokens.tolist() == ends[:-1]


def test_rows_of_one_length_in_a_row_are_a_view() -> None:
    equal = Layout([7, 7, 7]).groups
    assert len(equal) == 1
    assert equal[0].take is None
    assert equal[0].key_bias is None
    hidden = torch.randn(21, 4)
    assert spread(hidden, equal[0]).data_ptr() == hidden.data_ptr()


def test_sorted_rows_need_no_reordering() -> None:
    assert Layout([2, 2, 5, 9]).packed_order is None
    assert Layout([5, 2]).packed_order is not None


def test_very_different_lengths_are_not_padded_to_one_another() -> None:
    groups = Layout([500, *[4] * 50]).groups
    assert [group.length for group in groups] == [4, 500]


def test_training_in_bf16_sees_few_lengths_of_groups_that_are_at_most_an_eighth_longer() -> None:
    lengths = list(range(64, 385))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        groups = [Layout([*[length] * 4, 400]).groups[0] for length in lengths]
        with torch.no_grad():
            assert [group.length for group in Layout([150, 400]).groups] == [150, 400]
        assert [group.length for group in Layout([*[63] * 4, 150]).groups] == [63, 150]
    assert {group.length for group in groups} == {*range(64, 128, 8), *range(128, 256, 16)} | {
        *range(256, 385, 32)
    }
    for length, group in zip(lengths, groups, strict=True):
        assert length <= group.length <= length * 9 / 8
        assert (group.key_bias is None) == (length == group.length)


def test_attention_in_longer_groups_is_attention_by_row() -> None:
    torch.manual_seed(0)
    attention, lengths = Attention(8, 2, 0.0), [70, 3, 130, 65, 200]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layout = Layout(lengths)
        assert any(group.length > max(layout.lengths[group.rows]) for group in layout.groups)
    hidden = torch.randn(layout.num_tokens, 8)
    goal = torch.randn(layout.num_tokens, 8)
    given_in, wanted_in = (hidden.clone().requires_grad_() for _ in range(2))
    found = attention(given_in, layout)
    wanted = attend_row_by_row(attention, wanted_in, lengths)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    for output in (found, wanted):
        (output * goal).sum().backward()
    torch.testing.assert_close(given_in.grad, wanted_in.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lengths", [[], [3, 0], [-1]], ids=str)
def test_rows_without_tokens_are_refused(lengths: list[int]) -> None:
    with pytest.raises(DataError, match="at least one"):
        Layout(lengths)


def test_attention_weights_are_shares_of_real_tokens_alone() -> None:
    attention = Attention(8, 2, 0.0)
    layout = Layout([3, 5, 4])
    weights: list[Tensor] = []
    attention(torch.randn(12, 8), layout, weights)
    assert len(weights) == len(layout.groups)
    for group, shares in zip(layout.groups, weights, strict=True):
        torch.testing.assert_close(shares.sum(-1), torch.ones(shares.shape[:-1]))
        for place, row in enumerate(group.rows.tolist()):
            assert not shares[place, :, :, layout.lengths[row] :].any()


def test_attention_dropout_acts_in_training_only() -> None:
    attention = Attention(8, 2, 0.5)
    layout = Layout([6, 4])
    hidden = torch.randn(10, 8)
    kept = attention.eval()(hidden, layout)
    assert torch.equal(attention(hidden, layout), kept)
    attention.train()
    assert not torch.allclose(attention(hidden, layout), kept)
    with torch.no_grad():
        assert not torch.allclose(attention(hidden, layout), kept)
