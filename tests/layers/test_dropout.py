"""Dropout by 16 bits of a shared draw does what dropout should."""

import pytest
import torch

from abrazo.layers.dropout import Dropout, dropout


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_share_and_scale_are_as_asked(probability: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    values = torch.ones(400, 501, dtype=dtype)
    dropped = dropout(values, probability)
    share = float((dropped == 0).float().mean())
    assert abs(share - probability) < 0.005
    kept = dropped[dropped != 0].unique()
    assert len(kept) == 1
    assert abs(float(kept) * (1 - probability) - 1) < 1e-2
    assert dropped.dtype == dtype


def test_elements_are_dropped_independently_of_their_neighbours() -> None:
    torch.manual_seed(1)
    kept = (dropout(torch.ones(100_000), 0.5) != 0).float()
    for step in range(1, 5):
        both = float((kept[step:] * kept[:-step]).mean())
        assert abs(both - 0.25) < 0.01


def test_gradient_flows_through_what_was_kept_alone() -> None:
    torch.manual_seed(2)
    values = torch.rand(33, 7) + 1
    values.requires_grad_()
    dropped = dropout(values, 0.3)
    dropped.sum().backward()
    assert torch.equal(values.grad != 0, dropped != 0)
    torch.testing.assert_close(values.grad * values, dropped)


def test_same_seed_drops_the_same() -> None:
    values = torch.ones(1000)
    torch.manual_seed(5)
    first, second = dropout(values, 0.5), dropout(values, 0.5)
    torch.manual_seed(5)
    assert torch.equal(dropout(values, 0.5), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("probability", [1.0, 1 - 1e-7])
def test_everything_can_be_dropped(probability: float) -> None:
    assert not dropout(torch.ones(50), probability).any()


@pytest.mark.parametrize("shape", [(0,), (3, 0), (1,), (5,), (2, 3, 7)])
def test_any_shape_and_layout_will_do(shape: tuple[int, ...]) -> None:
    assert dropout(torch.ones(shape), 0.5).shape == shape
    turned = torch.ones(6, 10).t()
    assert dropout(turned, 0.5).shape == (10, 6)


def test_module_drops_in_training_only_and_not_at_all_at_zero() -> None:
    values = torch.ones(100)
    module = Dropout(0.5)
    assert not torch.equal(module(values), values)
    assert module.eval()(values) is values
    assert Dropout(0.0)(values) is values
    assert repr(module) == "Dropout(0.5)"
