"""The way of rows into steps: each once, in an order that position and seed alone decide."""

import random
from typing import Any

import numpy as np
import pytest
import torch

from abrazo.data.rows import as_rows
from abrazo.errors import DataError
from abrazo.tasks.auto import learn_task
from abrazo.tasks.base import Task
from abrazo.training import feeding
from abrazo.training.collating import pack_collated
from abrazo.training.feeding import Feeder
from abrazo.training.randomness import own_randomness
from helpers.tiny import tiny_bert, tiny_rows, tiny_tokenizer


def feeder_of(rows: list[dict[str, Any]], **options: Any) -> Feeder:
    task = learn_task("text-classification", as_rows(rows))
    task.fit_length(tiny_bert())
    return Feeder(rows, task, tiny_tokenizer(), **{"seed": 1, "batch_size": 4, **options})


def rows_and_ids(feeder: Feeder, epoch: int, start: int = 0) -> list[tuple[Any, ...]]:
    return [
        (tuple(step.rows.tolist()), *(batch.input_ids.tolist() for batch in step.batches))
        for step in feeder.steps(epoch, start)
    ]


@pytest.mark.parametrize("start", [0, 8, 16, 24])
def test_any_start_gives_the_rest_of_the_epoch(start: int) -> None:
    rows = tiny_rows(27)
    whole = rows_and_ids(feeder_of(rows, accumulation=2), 3)
    assert rows_and_ids(feeder_of(rows, accumulation=2), 3, start) == whole[start // 8 :]
    assert sorted(row for step in whole for row in step[0]) == list(range(27))


def test_rows_beyond_the_memory_kept_are_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tiny_rows(27)
    expected = rows_and_ids(feeder_of(rows), 0)
    monkeypatch.setattr(feeding, "KEPT_TOKENS", 60)
    feeder = feeder_of(rows)
    assert rows_and_ids(feeder, 0) == expected == rows_and_ids(feeder, 0)
    assert 0 < len(feeder._kept) < 27


def test_features_are_made_once_for_all_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    feeder, calls = feeder_of(tiny_rows(27)), []
    encode = type(feeder.task).encode

    def counted(self: Task, rows: Any, *rest: Any, **options: Any) -> Any:
        calls.append(len(rows))
        return encode(self, rows, *rest, **options)

    monkeypatch.setattr(type(feeder.task), "encode", counted)
    for epoch in range(3):
        list(feeder.steps(epoch))
    assert calls == [27]


def test_fingerprints_tell_data_apart_and_nothing_else() -> None:
    rows = tiny_rows(27)
    plain = feeder_of(rows).fingerprint(100)
    assert feeder_of(tiny_rows(27), batch_size=9, seed=5).fingerprint(100) == plain
    other_label = [*rows[:9], {**rows[9], "label": "bad"}, *rows[10:]]
    other_text = [*rows[:9], {**rows[9], "text": "a film"}, *rows[10:]]
    digests = {feeder_of(kind).fingerprint(100) for kind in (other_label, other_text, rows[:26])}
    assert plain not in digests
    assert len(digests) == 3


def test_classes_are_counted() -> None:
    assert feeder_of(tiny_rows(27)).count_labels(2).tolist() == [14, 13]


def draws() -> tuple[float, float, float]:
    return float(torch.rand(())), float(np.random.rand()), random.random()


def test_own_randomness_depends_on_its_purpose_and_disturbs_nothing() -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    before = draws()
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    seen = []
    for key in [(1, 0, 5, "row"), (1, 0, 5, "row"), (1, 0, 6, "row"), (1, 1, 5, "row")]:
        with own_randomness(*key):
            seen.append(draws())
    assert draws() == before
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3


def test_padding_of_a_collator_is_taken_off() -> None:
    batch = pack_collated(
        {
            "input_ids": torch.tensor([[2, 7, 3, 0], [2, 7, 8, 3]]),
            "attention_mask": torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]),
            "labels": torch.tensor([[-100, 1, -100, -100], [-100, 0, 1, -100]]),
        },
        per_token=True,
    )
    assert batch.input_ids.tolist() == [2, 7, 3, 2, 7, 8, 3]
    assert batch.labels is not None
    assert batch.labels.tolist() == [-100, 1, -100, -100, 0, 1, -100]
    assert batch.layout.lengths.tolist() == [3, 4]


def test_labels_of_tokens_that_do_not_match_the_ids_are_refused() -> None:
    collated = {"input_ids": torch.tensor([[2, 7, 8, 3]]), "labels": torch.tensor([[0, 1]])}
    with pytest.raises(DataError, match=r"one for each token.* \(1, 2\) .*shape \(1, 4\)"):
        pack_collated(collated, per_token=True)


@pytest.mark.parametrize("returned", [3, None, [1, 2]])
def test_a_collator_that_returns_no_mapping_is_told(returned: Any) -> None:
    with pytest.raises(DataError, match="must return a mapping with `input_ids`, but returned"):
        pack_collated(returned, per_token=False)
