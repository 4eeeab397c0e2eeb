import pytest
import torch
from torch import nn

from abrazo.errors import CheckpointError
from abrazo.training.optim import AdamW


class Words(nn.Module):
    def __init__(self, rows: int = 3000) -> None:
        super().__init__()
        self.tokens = nn.Embedding(rows, 8)
        self.norm = nn.LayerNorm(8)
        self.out = nn.Linear(8, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.tokens(ids)))


def run(model, step, ids_of_step):
    for number, ids in enumerate(ids_of_step):
        loss = model(ids).pow(2).sum()
        loss.backward()
        step(number)


def batches(steps, rows, size=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, rows, (size,), generator=generator) for _ in range(steps)]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("steps", [5, 120])  # 120 steps see more than half of the rows
def test_rows_that_were_seen_move_as_in_adamw_over_the_whole_matrix(weight_decay, steps):
    torch.manual_seed(0)
    ours, theirs = Words(), Words()
    theirs.load_state_dict(ours.state_dict())
    optimizer = AdamW(ours, learning_rate=0.01, weight_decay=weight_decay)
    decayed = [theirs.tokens.weight, theirs.out.weight]
    rest = [theirs.out.bias, *theirs.norm.parameters()]
    reference = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}],
        lr=0.01,
    )

    def our_step(number):
        optimizer.step(0.01 / (number + 1), scale=0.5)
        optimizer.zero_grad()

    def their_step(number):
        for group in reference.param_groups:
            group["lr"] = 0.01 / (number + 1)
        for weight in theirs.parameters():
            weight.grad *= 0.5
        reference.step()
        reference.zero_grad()

    run(ours, our_step, batches(steps, 3000))
    run(theirs, their_step, batches(steps, 3000))
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5, msg=name)


def test_the_norm_is_that_of_dense_gradients_with_accumulation():
    torch.manual_seed(0)
    ours, theirs = Words(), Words()
    theirs.load_state_dict(ours.state_dict())
    optimizer = AdamW(ours, learning_rate=0.01)
    for model in (ours, theirs):
        run(model, lambda number: None, batches(3, 3000))
    expected = nn.utils.get_total_norm([weight.grad for weight in theirs.parameters()])
    assert optimizer.gradient_norm() == pytest.approx(float(expected), rel=1e-5)
    assert optimizer.gradient_norm() == pytest.approx(float(expected), rel=1e-5)  # asking twice


@pytest.mark.parametrize("steps", [4, 120])
def test_continuing_from_a_saved_state_is_bit_equal(steps):
    torch.manual_seed(0)
    model = Words()
    optimizer = AdamW(model, learning_rate=0.01, weight_decay=0.1)

    def step(number):
        optimizer.gradient_norm()
        optimizer.step(scale=0.5)
        optimizer.zero_grad()

    run(model, step, batches(steps, 3000))
    state = {name: tensor.clone() for name, tensor in optimizer.state_tensors().items()}
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run(model, step, batches(10, 3000, seed=1))
    finished = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    other = Words()
    other.load_state_dict(weights)
    optimizer = AdamW(other, learning_rate=0.01, weight_decay=0.1)
    optimizer.load_state_tensors(state)
    run(other, step, batches(10, 3000, seed=1))
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, finished[name]), name


def test_a_matrix_shared_with_an_output_is_stepped_whole():
    model = Words()
    model.out = nn.Linear(8, 3000, bias=False)
    model.out.weight = model.tokens.weight
    optimizer = AdamW(model, learning_rate=0.01)
    run(model, lambda number: optimizer.step(), batches(1, 3000))
    assert not model.tokens.sparse


def test_the_state_of_another_model_is_refused():
    state = AdamW(Words(3000), learning_rate=0.1).state_tensors()
    state["norm.weight.first"] = torch.zeros(9)
    with pytest.raises(CheckpointError, match=r"`norm.weight.first` .* must have the shape \(8,\)"):
        AdamW(Words(3000), learning_rate=0.1).load_state_tensors(state)


@pytest.mark.parametrize("size", [40, 700])  # 700 see more than half of the rows
def test_each_block_is_stepped_slower_than_the_one_above(size):
    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Module()
            self.backbone.embeddings = nn.Embedding(3000, 8)
            self.backbone.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
            self.backbone.pooler = nn.Linear(8, 8)
            self.head = nn.Linear(8, 2)

        def forward(self, ids):
            hidden = self.backbone.embeddings(ids)
            for layer in (*self.backbone.blocks, self.backbone.pooler, self.head):
                hidden = layer(hidden)
            return hidden

    torch.manual_seed(0)
    ours, theirs = Layers(), Layers()
    theirs.load_state_dict(ours.state_dict())
    optimizer = AdamW(ours, learning_rate=0.01, layer_decay=0.5, weight_decay=0.1)
    parts = [
        (theirs.backbone.embeddings, 0.125),
        (theirs.backbone.blocks[0], 0.25),
        (theirs.backbone.blocks[1], 0.5),
        (theirs.backbone.pooler, 1.0),
        (theirs.head, 1.0),
    ]
    reference = torch.optim.AdamW(
        [
            {"params": [weight], "lr": 0.01 * factor, "weight_decay": 0.1 * (weight.dim() > 1)}
            for part, factor in parts
            for weight in part.parameters()
        ]
    )
    ids = batches(6, 3000, size)
    run(ours, lambda number: (optimizer.step(), optimizer.zero_grad()), ids)
    run(theirs, lambda number: (reference.step(), reference.zero_grad()), ids)
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5, msg=name)
