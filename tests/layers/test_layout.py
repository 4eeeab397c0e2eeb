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
from abrazo.layers.layout import Group, Layout
from abrazo.layers.lines import WIDTH_STEP, fill_lines

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


@FEW
@given(st.lists(st.integers(1, 200), min_size=1, max_size=60), st.sampled_from([0, 4_096, 10**9]))
def test_lines_hold_each_row_once_and_have_few_widths(lengths: list[int], cost: int) -> None:
    shelves = fill_lines(np.array(lengths), cost)
    assert sorted(row for shelf in shelves for row in shelf.rows) == list(range(len(lengths)))
    for shelf in shelves:
        assert shelf.width % WIDTH_STEP == 0
        taken = np.zeros(shelf.num_lines * shelf.width, np.int64)
        for row, start in zip(shelf.rows, shelf.starts, strict=True):
            taken[start : start + lengths[row]] += 1
            assert start // shelf.width == (start + lengths[row] - 1) // shelf.width
        assert taken.max() == 1
        lines = taken.reshape(shelf.num_lines, shelf.width)
        assert (np.diff(lines, axis=1) <= 0).all()  # no gaps: padding stands at the ends
        assert lines[:, 0].all()
    assert len(shelves) == 1 or cost < 10**9


def test_short_rows_fill_the_ends_of_long_lines_and_long_ones_get_lines_of_their_own() -> None:
    shelves = fill_lines(np.array([20, 300, 12, 15]), 4_096)
    assert [(shelf.width, shelf.num_lines) for shelf in shelves] == [(320, 1), (32, 1)]
    assert [shelf.rows for shelf in shelves] == [[1, 0], [3, 2]]
    shelves = fill_lines(np.array([300, *[20] * 40]), 4_096)
    assert [(shelf.width, shelf.num_lines) for shelf in shelves] == [(320, 1), (32, 39)]
    assert len(fill_lines(np.array([300, *[20] * 40]), 10**6)) == 1


@FEW
@given(LENGTHS)
def test_full_groups_hold_each_token_once_and_keep_rows_apart(lengths: list[int]) -> None:
    layout = Layout(lengths)
    tokens, parts = torch.arange(layout.num_tokens), []
    for group in layout.full_groups:
        lines = spread(tokens[:, None], group)  # (N, L, 1)
        rows = layout.row_of_token[lines[..., 0]]
        parts.append(lines.flatten() if group.give_back is None else group_tokens(lines, group))
        if group.key_bias is None:
            assert group.start is not None
            continue
        size = (group.num_lines, group.length)
        is_token = torch.zeros(size[0] * size[1], dtype=torch.bool)
        assert group.give_back is not None
        is_token[group.give_back] = True
        is_token = is_token.view(size)
        seen = (group.key_bias == 0).expand(group.num_lines, 1, group.length, group.length)[:, 0]
        same = (rows[:, :, None] == rows[:, None, :]) & is_token[:, None, :]
        assert torch.equal(seen & is_token[:, :, None], same & is_token[:, :, None])
        assert seen.any(-1).all()  # padding sees something, which gradients need
    together, order = torch.cat(parts), layout.packed_order_of_full
    assert torch.equal(together if order is None else together[order], tokens)


def group_tokens(lines: Tensor, group: Group) -> Tensor:
    """The real tokens of lines, (N, L, 1)."""
    assert group.give_back is not None
    return lines.flatten()[group.give_back]


def test_rows_that_fill_their_lines_are_a_view() -> None:
    (group,) = Layout([64, 64]).full_groups
    assert (group.start, group.take, group.key_bias) == (0, None, None)


def test_biases_are_converted_once() -> None:
    (group,) = Layout([7, 9]).full_groups
    assert group.bias(torch.bfloat16) is group.bias(torch.bfloat16)
    assert group.bias(torch.float32) is group.key_bias


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
