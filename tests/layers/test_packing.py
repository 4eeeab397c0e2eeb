"""Padded tensors become packed ones and come back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from abrazo.errors import DataError
from abrazo.layers.layout import Layout
from abrazo.layers.packing import PackedBatch, Padding, pack
from helpers.tiny import padded, random_batch

FEW = settings(max_examples=40, deadline=None)


@st.composite
def masks(draw: st.DrawFn) -> Tensor:
    """Masks of any form that leave each row a token."""
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    cells = draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    mask = torch.tensor(cells).view(rows, columns).long()
    mask[torch.arange(rows), torch.randint(0, columns, (rows,))] = 1
    return mask


@FEW
@given(masks())
def test_packing_and_padding_round_trip(mask: Tensor) -> None:
    padding = Padding(mask)
    values = torch.randn(*mask.shape, 3)
    packed = padding.pack(values)
    assert packed.shape == (int(mask.sum()), 3)
    assert torch.equal(padding.pad(packed), values * mask[..., None])
    assert padding.layout.lengths.tolist() == mask.sum(1).tolist()
    columns = torch.arange(mask.shape[1]).expand(mask.shape)
    assert torch.equal(padding.column_of_token, columns[mask.bool()])


@FEW
@given(masks(), st.integers(-3, 12))
def test_columns_become_places_among_real_tokens(mask: Tensor, column: int) -> None:
    places = Padding(mask).count_tokens_before(torch.full((len(mask), 1), column), otherwise=-100)
    for row, place in zip(mask, places[:, 0].tolist(), strict=True):
        is_token = 0 <= column < len(row) and bool(row[column])
        assert place == (int(row[:column].sum()) if is_token else -100)


@FEW
@given(masks())
def test_pairs_of_tokens_go_to_the_columns_they_stood_in(mask: Tensor) -> None:
    padding = Padding(mask)
    stands = padding.column_of_token.split(padding.layout.lengths.tolist())
    grouped = []
    for group in padding.layout.groups:
        values = torch.zeros(group.num_lines, 1, group.length, group.length)
        for place, row in enumerate(group.rows.tolist()):
            at = stands[row].float() + 1
            values[place, 0, : len(at), : len(at)] = at[:, None] * 100 + at
        grouped.append(values)
    columns = torch.arange(mask.shape[1]) + 1.0
    expected = (columns[:, None] * 100 + columns) * (mask[:, :, None] * mask[:, None, :])
    assert torch.equal(padding.pad_pairs(grouped)[:, 0], expected)


@pytest.mark.parametrize("left", [False, True])
def test_batch_packs_to_what_it_was(left: bool) -> None:
    batch = random_batch([4, 1, 7])
    inputs = padded(batch, extra=3, left=left)
    packed, _ = pack(inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"])
    assert torch.equal(packed.input_ids, batch.input_ids)
    assert torch.equal(packed.token_type_ids, batch.token_type_ids)


def test_row_alone_needs_no_second_dimension_and_no_mask() -> None:
    packed, padding = pack(torch.tensor([5, 6, 7]), None, None)
    assert padding.shape == (1, 3)
    assert packed.input_ids.tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    ("ids", "mask", "segments", "said"),
    [
        (torch.zeros(2, 3, 4), None, None, "`input_ids` must have the shape"),
        (torch.zeros(2, 3), torch.zeros(2, 3), None, "at least one token, but row 0"),
        (torch.zeros(2, 3), torch.ones(2, 4), None, r"\(2, 4\), but .* \(2, 3\)"),
        (torch.zeros(2, 3), torch.ones(2, 1, 1, 3), None, "`attention_mask` must have the shape"),
        (torch.zeros(2, 3), torch.ones(2, 3), torch.zeros(2, 2), r"\(2, 3\), but .* \(2, 2\)"),
        (torch.zeros(0, 3), None, None, "at least one row"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    ids: Tensor, mask: Tensor | None, segments: Tensor | None, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        pack(ids, mask, segments)


def test_batch_moves_with_all_its_tensors() -> None:
    batch = PackedBatch(
        input_ids=torch.tensor([1, 2, 3]),
        layout=Layout([2, 1]),
        labels=torch.tensor([0, 1]),
        rows=(4, 9),
    )
    assert batch.to("cpu") is batch
    moved = batch.to("meta")
    assert {moved.input_ids.device.type, moved.labels.device.type} == {"meta"}
    assert moved.layout.device.type == "meta"
    assert moved.rows == (4, 9)
    assert moved.token_type_ids is None
