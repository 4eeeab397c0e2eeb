"""Copies of matrices in bf16 that are kept between steps change nothing but the time."""

import copy
import io
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from abrazo.layers import onednn
from abrazo.layers.linear import Linear, bf16_copies_kept
from abrazo.training.optim import AdamW

pytestmark = pytest.mark.skipif(
    torch.bfloat16 not in onednn.DTYPES, reason="this processor does not multiply bf16"
)


class Net(nn.Module):
    """Two layers, one used twice, and a matrix that the loss sees by itself too."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = Linear(16, 16)
        self.last = Linear(16, 8, bias=False)
        self.norm = nn.LayerNorm(16)

    def forward(self, hidden: Tensor) -> Tensor:
        for _ in range(2):
            hidden = self.norm(self.twice(hidden)).relu()
        return self.last(hidden)


def loss_of(net: Net, number: int) -> Tensor:
    hidden = torch.randn(12, 16, generator=torch.Generator().manual_seed(number))
    with torch.autocast("cpu", torch.bfloat16):
        found = net(hidden)
    return found.float().pow(2).sum() + 0.01 * net.last.weight.pow(2).sum()


def trained(steps: int, *, batches: int = 1, kept: bool) -> tuple[Net, list[float]]:
    torch.manual_seed(0)
    net, norms = Net(), []
    optimizer = AdamW(net, learning_rate=0.01, weight_decay=0.1)

    def run() -> None:
        for step in range(steps):
            optimizer.zero_grad()
            for batch in range(batches):
                loss_of(net, 10 * step + batch).backward()
            norms.append(optimizer.gradient_norm())
            optimizer.step(scale=0.5)

    if kept:
        with bf16_copies_kept(net):
            run()
    else:
        run()
    return net, norms


@pytest.mark.parametrize("batches", [1, 3])
def test_weights_move_as_without_copies(batches: int) -> None:
    (found, norms), (expected, known) = (
        trained(5, batches=batches, kept=kept) for kept in (True, False)
    )
    for name, weight in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], weight, atol=1e-6, rtol=1e-5, msg=name)
    assert norms == pytest.approx(known, rel=1e-5)


@pytest.fixture
def net() -> Iterator[Net]:
    torch.manual_seed(0)
    made = Net()
    with bf16_copies_kept(made):
        loss_of(made, 0).backward()
        yield made


def test_gradients_wait_in_the_copies_until_the_norm_is_taken(net: Net) -> None:
    assert net.twice.weight.grad is None
    assert net.twice.bf16_copy is not None
    assert net.twice.bf16_copy.gradient is not None
    optimizer = AdamW(net, learning_rate=0.01)
    norm = optimizer.gradient_norm()
    gradients = [weight.grad for weight in net.parameters() if weight.grad is not None]
    assert len(gradients) == len(list(net.parameters()))
    assert norm == pytest.approx(float(nn.utils.get_total_norm(gradients)), rel=1e-5)
    assert optimizer.gradient_norm() == norm


def test_gradients_that_wait_are_forgotten_too(net: Net) -> None:
    optimizer = AdamW(net, learning_rate=0.01)
    optimizer.zero_grad()
    assert optimizer.gradient_norm() == 0


def loaded(net: Net) -> None:
    net.load_state_dict({name: 2 * weight for name, weight in net.state_dict().items()})


def written(net: Net) -> None:
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(2)


def replaced(net: Net) -> None:
    for weight in net.parameters():
        weight.data = 2 * weight.data


def stepped(net: Net) -> None:
    AdamW(net, learning_rate=0.5).step()


@pytest.mark.parametrize("change", [loaded, written, replaced, stepped])
def test_products_take_weights_as_they_are_now(net: Net, change: Callable[[Net], None]) -> None:
    change(net)
    fresh = Net()
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(loss_of(net, 1), loss_of(fresh, 1))


def test_copies_are_of_the_time_alone() -> None:
    net = Net()
    with bf16_copies_kept(net):
        loss_of(net, 0).backward()
        doubles = [copy.deepcopy(net)]
        stored = io.BytesIO()
        torch.save(net, stored)
        stored.seek(0)
        doubles.append(torch.load(stored, weights_only=False))
        assert net.twice.bf16_copy is not None
    for model in (net, *doubles):
        assert model.twice.bf16_copy is None
    net.zero_grad()
    loss_of(net, 0).backward()
    assert net.twice.weight.grad is not None


def test_matrices_of_two_layers_and_those_with_hooks_are_left_to_autograd() -> None:
    net = Net()
    net.other = Linear(16, 16)
    net.other.weight = net.twice.weight
    net.last.weight.register_hook(lambda gradient: 0 * gradient)
    with bf16_copies_kept(net):
        assert net.twice.bf16_copy is None
        assert net.other.bf16_copy is None
        assert net.last.bf16_copy is None


def test_training_in_fp32_casts_nothing() -> None:
    net = Net()
    optimizer = AdamW(net, learning_rate=0.01)
    with bf16_copies_kept(net):
        net(torch.randn(12, 16)).pow(2).sum().backward()
        optimizer.step()
        assert net.twice.bf16_copy is not None
        assert net.twice.bf16_copy._values is None


def test_fp32_and_other_devices_have_no_copies() -> None:
    net = Net().bfloat16()
    with bf16_copies_kept(net):
        assert net.twice.bf16_copy is None
