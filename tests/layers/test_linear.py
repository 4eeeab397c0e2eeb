"""The product on oneDNN is the product of torch."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abrazo.errors import ConfigError
from abrazo.layers import linear as module
from abrazo.layers import onednn
from abrazo.layers.feedforward import ACTIVATIONS, FeedForward, activation
from abrazo.layers.linear import Linear, pack_weights

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float64: 1e-12}


def inputs_of(kind: str, dtype: torch.dtype) -> Tensor:
    torch.manual_seed(3)
    values = torch.randn(10, 24, dtype=dtype)
    return {
        "plain": values,
        "one row": values[:1],
        "no rows": values[:0],
        "every other row": torch.randn(20, 24, dtype=dtype)[::2],
        "transposed": torch.randn(24, 10, dtype=dtype).t(),
        "part of wider rows": torch.randn(10, 40, dtype=dtype)[:, 7:31],
        "three dimensions": values.view(2, 5, 24),
    }[kind]


KINDS = [
    "plain",
    "one row",
    "no rows",
    "every other row",
    "transposed",
    "part of wider rows",
    "three dimensions",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_product_and_gradients_are_those_of_torch(
    kind: str, dtype: torch.dtype, bias: bool
) -> None:
    layer = Linear(24, 16, bias=bias).to(dtype)
    given = inputs_of(kind, dtype)
    close = {"atol": 4 * TOLERANCE[dtype], "rtol": TOLERANCE[dtype]}
    results = []
    for compute in (layer, lambda values: F.linear(values, layer.weight, layer.bias)):
        layer.zero_grad()
        values = given.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        output = compute(values)
        generator = torch.Generator().manual_seed(8)
        goal = torch.randn(output.shape, generator=generator).to(dtype)
        (output * goal).sum().backward()
        gradients = [weight.grad.clone() for weight in layer.parameters()]
        results.append([output.detach(), values.grad, *gradients])
    for found, expected in zip(*results, strict=True):
        assert found.dtype == dtype
        torch.testing.assert_close(found, expected, **close)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_product_without_gradients_is_that_of_torch(
    kind: str, dtype: torch.dtype, bias: bool
) -> None:
    layer = Linear(24, 16, bias=bias).to(dtype)
    values = inputs_of(kind, dtype)
    with torch.inference_mode():
        found, expected = layer(values), F.linear(values, layer.weight, layer.bias)
    close = {"atol": 4 * TOLERANCE[dtype], "rtol": TOLERANCE[dtype]}
    torch.testing.assert_close(found, expected, **close)


def test_gradients_of_a_part_of_the_inputs() -> None:
    layer = Linear(6, 4)
    layer.weight.requires_grad_(False)
    values = torch.randn(3, 6)
    layer(values).sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(layer.bias.grad, torch.full((4,), 3.0))
    values.requires_grad_()
    layer.requires_grad_(False)(values).sum().backward()
    torch.testing.assert_close(values.grad, layer.weight.sum(0).expand(3, 6))


def test_gradient_of_an_expanded_tensor() -> None:
    layer = Linear(6, 4)
    values = torch.randn(3, 6, requires_grad=True)
    layer(values).mean().expand(2).sum().backward()
    assert torch.isfinite(values.grad).all()


@pytest.mark.parametrize("name", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rows", [0, 1, 9])
def test_feedforward_without_gradients_is_that_with_them(
    name: str, dtype: torch.dtype, rows: int
) -> None:
    torch.manual_seed(4)
    layer = FeedForward(16, 40, name).to(dtype)
    values = torch.randn(rows, 16, dtype=dtype)
    expected = layer(values)
    with torch.no_grad():
        found = layer(values)
    close = TOLERANCE[dtype]
    torch.testing.assert_close(found, expected.detach(), atol=close, rtol=close)


needs_bf16 = pytest.mark.skipif(
    torch.bfloat16 not in onednn.DTYPES, reason="this processor does not multiply bf16"
)


def packed_pair() -> nn.Sequential:
    """Return two layers that keep their matrices in blocks."""
    torch.manual_seed(5)
    layers = nn.Sequential(Linear(24, 40), Linear(40, 24)).bfloat16().eval()
    pack_weights(layers)
    assert all(layer._blocks() is not layer.weight for layer in layers)
    return layers


@needs_bf16
@pytest.mark.parametrize("rows", [1, 3, 64, 200])
def test_products_with_packed_weights_are_the_same(rows: int) -> None:
    layers, values = packed_pair(), torch.randn(rows, 24).bfloat16()
    with torch.inference_mode():
        for layer, given in ((layers[0], values), (layers[1], layers[0](values))):
            expected = F.linear(given, layer.weight, layer.bias)
            torch.testing.assert_close(layer(given), expected, atol=2e-2, rtol=2e-2)


@needs_bf16
def test_packed_weights_follow_the_weights() -> None:
    layers, values = packed_pair(), torch.randn(3, 24).bfloat16()
    with torch.no_grad():
        before = layers(values)
        layers[0].weight.mul_(2)
        torch.testing.assert_close(layers(values), copy.deepcopy(layers)(values))
        assert not torch.equal(layers(values), before)
        pack_weights(layers)
        layers[0].weight = nn.Parameter(layers[0].weight / 2)
        torch.testing.assert_close(layers(values), before)
        assert layers.float()(values.float()).dtype == torch.float32


@needs_bf16
def test_packed_weights_are_given_up_when_training_goes_on() -> None:
    for changed in (
        packed_pair().train(),
        packed_pair().double(),
        copy.deepcopy(packed_pair()),
    ):
        assert all(layer._packed is None for layer in changed)


def test_weights_are_packed_in_bf16_and_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Linear(24, 40).eval()
    pack_weights(layer)
    assert layer._packed is None
    monkeypatch.setattr(module, "_MOST_PACKED", 2 * 24 * 40 - 1)
    pack_weights(layer.bfloat16())
    assert layer._packed is None


def test_autocast_computes_in_its_own_dtype() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert Linear(4, 4)(torch.randn(2, 4)).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "three dimensions"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("given_in", [torch.float32, torch.bfloat16], ids=str)
def test_product_and_gradients_under_autocast_are_those_of_torch(
    kind: str, bias: bool, given_in: torch.dtype
) -> None:
    layer = Linear(24, 16, bias=bias)
    given = inputs_of(kind, given_in)
    results = []
    for compute in (layer, lambda values: F.linear(values, layer.weight, layer.bias)):
        layer.zero_grad()
        values = given.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            output = compute(values)
        output.backward(torch.cos(torch.arange(output.numel())).view(output.shape).bfloat16())
        results.append([output, values.grad, *(weight.grad for weight in layer.parameters())])
    for found, expected in zip(*results, strict=True):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, atol=8e-2, rtol=2e-2)


def test_gradient_under_autocast_comes_as_the_weight_lies() -> None:
    layer = Linear(24, 16)
    for _ in range(2):  # a step that changed the weight is seen by the next product
        with torch.autocast("cpu", torch.bfloat16):
            layer(torch.ones(8, 24)).sum().backward()
        assert layer.weight.grad is not None
        assert layer.weight.grad.dtype == torch.float32
        assert layer.weight.grad.is_contiguous()
        with torch.no_grad():
            layer.weight.data.fill_(1)
            layer.bias.zero_()
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.ones(1, 24))[0, 0] == 24


def test_builds_without_onednn_use_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "product", None)
    monkeypatch.setattr(onednn, "DTYPES", ())
    layer, values = Linear(4, 4), torch.randn(2, 4)
    torch.testing.assert_close(layer(values), F.linear(values, layer.weight, layer.bias))
    assert not layer.fuses(values, "gelu")


def test_unknown_activation_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"`hidden_act` must be one of .*Did you mean `gelu_new`"):
        activation("gelu_neww")
    assert activation("relu") is ACTIVATIONS["relu"]
