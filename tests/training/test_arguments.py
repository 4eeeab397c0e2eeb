"""Settings: names users know, all mistakes at once, schedules as they are defined."""

from pathlib import Path
from typing import Any

import pytest

from abrazo.config import field_docs
from abrazo.errors import ConfigError
from abrazo.training.arguments import TrainingArguments
from abrazo.training.plan import Cadence, Plan
from abrazo.training.schedules import SHAPES, learning_rate_factor


def test_every_field_is_documented_and_there_are_not_too_many() -> None:
    names = list(TrainingArguments().to_dict())
    assert len(names) <= 40
    assert set(names) <= set(field_docs(TrainingArguments))


def test_old_spellings_mean_the_same() -> None:
    args = TrainingArguments(evaluation_strategy="steps", per_gpu_train_batch_size=4, epochs=2)
    assert args.eval_strategy == "steps"
    assert args.per_device_train_batch_size == 4
    assert args.num_train_epochs == 2


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"no field `learing_rate`\. Did you mean `learning_rate`"
    ):
        TrainingArguments(learing_rate=1e-5)


def test_all_wrong_values_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingArguments(
            learning_rate="5e-5",
            num_train_epochs=0,
            per_device_train_batch_size=2.5,
            warmup_ratio=1.5,
            seed=-1,
            lr_scheduler_type="cosin",
            report_to="tensorbord",
            bf16=True,
            fp16=True,
            eval_steps=5,
            eval_strategy="epoch",
        )
    message = str(caught.value)
    for part in (
        "`learning_rate` must be a number, but is '5e-5' (YAML reads 5e-5 as text",
        "`num_train_epochs` must be above 0, but is 0",
        "`per_device_train_batch_size` must be a whole number, but is 2.5",
        "`warmup_ratio` must be from 0 to below 1, but is 1.5",
        "`seed` must be",
        "Did you mean `cosine`?",
        "Did you mean `tensorboard`?",
        "`bf16` and `fp16` cannot both be true",
        "`eval_steps` is 5, but `eval_strategy` is 'epoch'",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("given", "has_rows", "evaluation", "saving"),
    [
        ({}, True, "epoch", "epoch"),
        ({}, False, "no", "epoch"),
        ({"eval_steps": 5, "save_steps": 7}, True, "steps", "steps"),
        ({"eval_strategy": "no", "save_strategy": "no"}, True, "no", "no"),
        ({"eval_strategy": "steps"}, False, "steps", "epoch"),
    ],
)
def test_when_to_evaluate_and_save_follows_from_what_is_given(
    given: dict[str, Any], has_rows: bool, evaluation: str, saving: str
) -> None:
    args = TrainingArguments(**given)
    assert args.cadence_of_evaluation(has_rows=has_rows) == evaluation
    assert args.cadence_of_saving == saving


def test_settings_come_from_files(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("learning_rate: 3.0e-5\nnum_train_epochs: 2\nreport_to: none\n")
    args = TrainingArguments.from_file(file)
    assert (args.learning_rate, args.num_train_epochs, args.report_to) == (3e-5, 2, ())
    assert TrainingArguments.from_dict(args.to_dict()) == args


@pytest.mark.parametrize(
    ("rows", "given", "per_epoch", "total"),
    [
        (40, {"per_device_train_batch_size": 8}, 5, 15),
        (41, {"per_device_train_batch_size": 8}, 6, 18),
        (41, {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}, 6, 18),
        (40, {"per_device_train_batch_size": 8, "num_train_epochs": 0.5}, 5, 3),
        (40, {"per_device_train_batch_size": 8, "max_steps": 4}, 5, 4),
    ],
)
def test_steps_are_counted(rows: int, given: dict[str, Any], per_epoch: int, total: int) -> None:
    plan = Plan.of(TrainingArguments(**given), rows, has_eval_rows=True)
    assert (plan.steps_per_epoch, plan.total_steps) == (per_epoch, total)


def test_what_is_due_is_due_at_the_end_too() -> None:
    cadence = Cadence("steps", 5)
    assert [s for s in range(1, 13) if cadence.is_due(s, ends_epoch=False, is_last=s == 12)] == [
        5,
        10,
        12,
    ]
    assert not Cadence("no").is_due(12, ends_epoch=True, is_last=True)


def test_schedules_equal_those_of_transformers() -> None:
    import torch
    from transformers import get_scheduler

    for name in SHAPES:
        weight = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([weight], lr=2.0)
        options = {"power": 2.0, "lr_end": 2e-7} if name == "polynomial" else {}
        theirs = get_scheduler(name, optimizer, 4, 20, scheduler_specific_kwargs=options)
        for step in range(20):
            ours = 2.0 * learning_rate_factor(name, step, warmup_steps=4, total_steps=20)
            assert ours == pytest.approx(theirs.get_last_lr()[0]), (name, step)
            optimizer.step()
            theirs.step()
