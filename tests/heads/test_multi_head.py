"""Several heads answer for their own rows of a batch as each would alone."""

import pytest
import torch

from abrazo.errors import DataError
from abrazo.heads.multi_task import weigh_parts
from abrazo.layers.packing import PackedBatch, join_parts
from helpers.several import two_task_model
from helpers.tiny import random_batch

LENGTHS = {"intent": [3, 5, 5], "slots": [2, 4, 9, 9]}


def part_batch(task: str, start: int = 0, end: int | None = None) -> PackedBatch:
    lengths = LENGTHS[task][start:end]
    batch = random_batch(lengths, seed=start, segments=2 if task == "intent" else 0)
    generator = torch.Generator().manual_seed(start)
    count = len(lengths) if task == "intent" else sum(lengths)
    batch.labels = torch.randint(0, 2, (count,), generator=generator)
    if task == "slots":
        batch.labels[0] = -100
    batch.rows = tuple(range(start, start + len(lengths)))
    return batch


def test_each_head_says_what_it_says_alone() -> None:
    model = two_task_model(dropout=0.0).eval()
    batches = {task: part_batch(task) for task in LENGTHS}
    answers = model.answer_packed(join_parts(batches))
    for task, batch in batches.items():
        alone = model.part(task).answer_packed(batch)
        torch.testing.assert_close(answers[f"{task}.logits"], alone["logits"])
    assert join_parts(batches).rows == (0, 1, 2, 0, 1, 2, 3)


def test_a_row_weighs_as_any_other_and_tasks_by_their_weights() -> None:
    model = two_task_model(dropout=0.0).eval()
    batches = {task: part_batch(task) for task in LENGTHS}
    means = {t: model.part(t).compute_loss(b)[0].mean for t, b in batches.items()}
    loss, _ = model.compute_loss(join_parts(batches))
    torch.testing.assert_close(loss.mean, (3 * means["intent"] + 4 * means["slots"]) / 7)
    model.head.weights["slots"] = 0.5
    loss, _ = model.compute_loss(join_parts(batches))
    torch.testing.assert_close(loss.mean, (3 * means["intent"] + 2 * means["slots"]) / 7)
    assert {name: float(part.detach().mean) for name, part in loss.parts.items()} == pytest.approx(
        {name: float(mean.detach()) for name, mean in means.items()}
    )


def test_losses_of_a_steps_batches_add_up_to_that_of_one_batch() -> None:
    model = two_task_model(dropout=0.0).eval()
    first = join_parts({"slots": part_batch("slots", 0, 1), "intent": part_batch("intent", 0, 2)})
    second = join_parts({"intent": part_batch("intent", 2), "slots": part_batch("slots", 1)})
    weigh_parts([first, second])
    parts = [model.compute_loss(batch)[0] for batch in (first, second)]
    total = sum(part.total for part in parts) / sum(part.count for part in parts)
    rows = {"intent": 3, "slots": 4}
    expected = 0.0
    for task, count in rows.items():
        of_task = [part.parts[task] for part in parts]
        expected += count * float(
            sum(p.detach().total for p in of_task) / sum(p.count for p in of_task)
        )
    assert float(total.detach()) == pytest.approx(expected / 7)


def test_without_parts_every_head_answers_for_all_rows() -> None:
    model = two_task_model().eval()
    ids = torch.tensor([[2, 15, 16, 3], [2, 17, 3, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    output = model(ids, mask)
    assert output.loss is None
    for task in ("intent", "slots"):
        alone = model.part(task)(ids, mask)
        assert type(output.tasks[task]) is type(alone)
        torch.testing.assert_close(output.tasks[task].logits, alone.logits)


def test_labels_alone_are_refused() -> None:
    with pytest.raises(DataError, match=r"takes no `labels`.*model.part\('intent'\)"):
        two_task_model()(torch.tensor([[2, 15, 3]]), labels=torch.tensor([1]))
    with pytest.raises(DataError, match="no labels"):
        two_task_model().compute_loss(part_batch("intent"))
