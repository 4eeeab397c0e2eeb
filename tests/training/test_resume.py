"""A run that was broken off and goes on is the run that was never broken off."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abrazo.checkpoints.atomic import is_whole
from abrazo.checkpoints.safetensors import open_tensors
from abrazo.errors import CheckpointError, TrainingError
from abrazo.training.callbacks.base import Callback
from abrazo.training.callbacks.early_stopping import EarlyStoppingCallback
from abrazo.training.trainer import Trainer
from helpers.tiny import tiny_rows
from helpers.training import (
    CrashAt,
    CrashError,
    assert_same_weights,
    small_model,
    small_trainer,
    without_timings,
)


def broken_then_resumed(folder: Path, step: int, **changes: Any) -> Trainer:
    options = changes.pop("options", {})
    callbacks = options.get("callbacks", [])
    with pytest.raises(CrashError):
        small_trainer(
            folder, options={**options, "callbacks": [*callbacks, CrashAt(step)]}, **changes
        ).train()
    model = small_model(seed=9) if "model" not in options else options["model"]
    torch.manual_seed(step)  # whatever the process drew before must not matter
    trainer = small_trainer(folder, options={**options, "model": model}, **changes)
    trainer.train()
    return trainer


def assert_same_run(resumed: Trainer, whole: Trainer) -> None:
    assert_same_weights(resumed.model, whole.model)
    assert without_timings(resumed.state.log_history) == without_timings(whole.state.log_history)
    assert resumed.state.train_loss == whole.state.train_loss
    assert resumed.state.best_metric == whole.state.best_metric
    assert resumed.state.best_step == whole.state.best_step
    last = f"checkpoint-{whole.state.global_step}"
    for name in ("model", "optimizer", "rng"):
        ours = open_tensors(resumed.args.folder / last / f"{name}.safetensors")
        theirs = open_tensors(whole.args.folder / last / f"{name}.safetensors")
        assert ours.names == theirs.names
        different = [n for n in ours.names if not torch.equal(ours.tensor(n), theirs.tensor(n))]
        assert different == []
    ours, theirs = resumed.predict(["a fine film", "坏"]), whole.predict(["a fine film", "坏"])
    np.testing.assert_array_equal(ours.predictions, theirs.predictions)


@pytest.mark.parametrize("step", [3, 5, 8, 14])
def test_resuming_at_any_step_equals_never_having_stopped(tmp_path: Path, step: int) -> None:
    settings = {"save_steps": 2, "load_best_model_at_end": False, "warmup_steps": 3}
    whole = small_trainer(tmp_path / "whole", **settings)
    whole.train()
    assert_same_run(broken_then_resumed(tmp_path / "broken", step, **settings), whole)


@pytest.mark.parametrize(
    "settings",
    [
        {"gradient_accumulation_steps": 3, "per_device_train_batch_size": 3},
        {"precision": "bf16"},
        {"group_by_length": True},
        {"eval_steps": 2, "metric_for_best_model": "accuracy"},
        {"max_steps": 9, "lr_scheduler_type": "cosine", "weight_decay": 0.1},
        {"num_train_epochs": 1.7},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_resuming_is_exact_with_any_setting(tmp_path: Path, settings: dict[str, Any]) -> None:
    settings = {"save_steps": 3, **settings}
    whole = small_trainer(tmp_path / "whole", **settings)
    whole.train()
    assert_same_run(broken_then_resumed(tmp_path / "broken", 7, **settings), whole)


def test_resuming_is_exact_with_a_large_vocabulary(tmp_path: Path) -> None:
    def options() -> dict[str, Any]:
        return {"model": small_model(vocab_size=6000)}

    whole = small_trainer(tmp_path / "whole", options=options(), save_steps=4)
    whole.train()
    resumed = broken_then_resumed(tmp_path / "broken", 7, options=options(), save_steps=4)
    assert_same_run(resumed, whole)


class MaskedRows(torch.utils.data.Dataset[dict[str, Any]]):
    """Draws random numbers in every way there is, as data sets with random masking do."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        row = self.rows[number]
        words = row["text"].split()
        if torch.rand(()) < 0.5 and np.random.rand() < 0.8:
            words[int(torch.randint(len(words), ()))] = "plot"
        return {"text": " ".join(words), "label": row["label"]}


@pytest.mark.parametrize("workers", [0, 2])
def test_random_masking_is_resumed_exactly_with_any_number_of_workers(
    tmp_path: Path, workers: int
) -> None:
    options = {"train_dataset": MaskedRows(tiny_rows(40))}
    whole = small_trainer(tmp_path / "whole", options=options, save_steps=3)
    whole.train()
    resumed = broken_then_resumed(
        tmp_path / "broken", 8, options=options, save_steps=3, dataloader_num_workers=workers
    )
    assert_same_run(resumed, whole)
    plain = small_trainer(tmp_path / "plain", options={"train_dataset": tiny_rows(40)})
    plain.train()
    assert plain.state.train_loss != whole.state.train_loss  # the masks do something


def test_an_early_stop_is_resumed_with_its_count(tmp_path: Path) -> None:
    settings = {"eval_steps": 1, "save_steps": 1, "num_train_epochs": 30, "learning_rate": 1e-7}

    def options() -> dict[str, Any]:
        return {"callbacks": [EarlyStoppingCallback(6, early_stopping_threshold=10.0)]}

    whole = small_trainer(tmp_path / "whole", options=options(), **settings)
    whole.train()
    assert whole.state.global_step == 7
    resumed = broken_then_resumed(tmp_path / "broken", 5, options=options(), **settings)
    assert resumed.state.global_step == 7
    assert resumed.state.stop_reason == whole.state.stop_reason


def test_every_moment_comes_once_however_often_the_run_is_broken(tmp_path: Path) -> None:
    class Moments(Callback):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def on_epoch_start(self, trainer: Trainer) -> None:
            self.seen.append(f"epoch {trainer.state.epoch_number} starts")

        def on_epoch_end(self, trainer: Trainer) -> None:
            self.seen.append(f"epoch {trainer.state.epoch_number} ends")

        def state_dict(self) -> dict[str, Any]:
            return {"seen": list(self.seen)}

        def load_state_dict(self, state: Any) -> None:
            self.seen = list(state["seen"])

    for step in (5, 6, 10, 13):
        with pytest.raises(CrashError):
            small_trainer(
                tmp_path, options={"callbacks": [Moments(), CrashAt(step)]}, save_steps=1
            ).train()
    last = Moments()
    small_trainer(tmp_path, options={"callbacks": [last]}, save_steps=1).train()
    assert last.seen == [f"epoch {n} {what}" for n in range(3) for what in ("starts", "ends")]


def test_the_log_file_goes_on_without_doubles(tmp_path: Path) -> None:
    resumed = broken_then_resumed(tmp_path, 9, save_steps=4)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == resumed.state.log_history
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == sorted(set(steps))


def test_a_checkpoint_loads_like_any_model(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, load_best_model_at_end=False)
    trainer.train()
    model = type(trainer.model).from_pretrained(tmp_path / "checkpoint-15")
    assert_same_weights(model, trainer.model)
    assert model.tokenizer("a fine film").input_ids == trainer.tokenizer("a fine film").input_ids
    assert not list(tmp_path.rglob("*.bin")) + list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize("damage", ["flip", "cut", "no manifest"])
def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = small_trainer(tmp_path / "whole", save_steps=3)
    whole.train()
    folder = tmp_path / "broken"
    with pytest.raises(CrashError):
        small_trainer(folder, options={"callbacks": [CrashAt(8)]}, save_steps=3).train()
    newest = folder / "checkpoint-6" / "model.safetensors"
    if damage == "no manifest":
        (folder / "checkpoint-6" / "MANIFEST.json").unlink()
    else:
        data = bytearray(newest.read_bytes())
        data[-40] ^= 1
        newest.write_bytes(data if damage == "flip" else data[:-40])
    resumed = small_trainer(folder, save_steps=3)
    with caplog.at_level(logging.WARNING, "abrazo"):
        resumed.train()
    assert "checkpoint-6` is damaged" in caplog.text
    assert "goes on from" in caplog.text
    assert "checkpoint-3`" in caplog.text
    assert_same_run(resumed, whole)


def test_a_finished_run_says_so_and_trains_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = small_trainer(tmp_path)
    output = first.train()
    again = small_trainer(tmp_path, options={"model": small_model(seed=5)})
    with caplog.at_level(logging.WARNING, "abrazo"):
        assert again.train() == output
    assert "is finished (15 steps): nothing is trained" in caplog.text
    assert_same_weights(again.model, first.model)


def test_changed_settings_are_named(tmp_path: Path) -> None:
    small_trainer(tmp_path).train()
    with pytest.raises(TrainingError) as caught:
        small_trainer(tmp_path, learning_rate=2e-3, max_grad_norm=0.5).train()
    message = str(caught.value)
    assert "`learning_rate` was 0.001 and is 0.002" in message
    assert "`max_grad_norm` was 1.0 and is 0.5" in message
    assert "overwrite_output_dir=True" in message
    assert "batch" not in message


def test_a_finished_run_goes_on_for_longer_when_asked(tmp_path: Path) -> None:
    small_trainer(tmp_path).train()
    longer = small_trainer(tmp_path, num_train_epochs=4)
    assert longer.train(resume_from_checkpoint=True).global_step == 20


def test_another_runs_folder_is_refused(tmp_path: Path) -> None:
    small_trainer(tmp_path).train()
    rows = {"train_dataset": tiny_rows(24)}
    with pytest.raises(TrainingError, match="belongs to another run:\n  the training data"):
        small_trainer(tmp_path, options=rows).train()
    other = {"model": small_model(num_hidden_layers=1)}
    with pytest.raises(TrainingError, match="the model's configuration is another"):
        small_trainer(tmp_path, options=other).train()
    trainer = small_trainer(tmp_path, options=rows, overwrite_output_dir=True)
    assert trainer.train().global_step == 9
    assert sorted(p.name for p in tmp_path.glob("checkpoint-*")) == [
        "checkpoint-3",
        "checkpoint-6",
        "checkpoint-9",
    ]


def test_asking_to_resume_needs_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no whole checkpoint to go on from"):
        small_trainer(tmp_path).train(resume_from_checkpoint=True)


def test_a_model_folder_is_no_run(tmp_path: Path) -> None:
    small_model().save_pretrained(tmp_path / "model")
    with pytest.raises(CheckpointError, match="no run can go on from it"):
        small_trainer(tmp_path / "run").train(resume_from_checkpoint=str(tmp_path / "model"))


def test_old_checkpoints_go_but_not_the_best_nor_the_newest(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, save_steps=1, eval_steps=1, save_total_limit=2)
    trainer.train()
    names = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    assert names == ["checkpoint-14", "checkpoint-15"]
    assert is_whole(tmp_path / "best")
