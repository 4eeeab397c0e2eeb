"""Losses that are no numbers, full disks, and signals in the middle of an evaluation."""

import errno
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from abrazo.checkpoints.atomic import is_whole
from abrazo.data.dataset import Dataset
from abrazo.errors import CheckpointError, TrainingError
from abrazo.training import checkpoint, evaluating
from abrazo.training.callbacks.base import Callback
from abrazo.training.trainer import Trainer
from helpers.tiny import tiny_rows
from helpers.training import (
    assert_same_weights,
    small_model,
    small_trainer,
    weights_of,
    without_timings,
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """More than one thread would wait longer for the others than it works."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_loss_that_is_no_number_names_the_row(tmp_path: Path) -> None:
    """Row 18 alone has the word `berlin`, whose vector is made so large that the loss breaks."""
    rows = tiny_rows(40)
    rows[17]["text"] = "berlin"
    model = small_model(dropout=0.0)
    with torch.no_grad():
        place = model.tokenizer.get_vocab()["berlin"]
        model.backbone.word_embeddings.weight[place] = torch.nan
    (tmp_path / "train.jsonl").write_text(
        "".join(f'{{"text": "{row["text"]}", "label": "{row["label"]}"}}\n' for row in rows)
    )
    data = Dataset.from_json(tmp_path / "train.jsonl")
    trainer = small_trainer(
        tmp_path / "run", options={"model": model, "train_dataset": data}, save_steps=1
    )
    with pytest.raises(TrainingError) as caught:
        trainer.train()
    message = str(caught.value)
    assert message.startswith("The loss is nan, so training cannot go on. It comes from ")
    assert "train.jsonl, row 18. Look at" in message
    assert "learning_rate" in message
    for folder in (tmp_path / "run").glob("checkpoint-*"):
        assert is_whole(folder)


def test_a_gradient_that_is_no_number_leaves_the_weights_alone(tmp_path: Path) -> None:
    def vertical(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return (logits - logits.detach()).abs().sqrt().sum()  # 0, with an infinite slope

    model = small_model()
    before = weights_of(model)
    trainer = small_trainer(tmp_path, options={"model": model, "loss": vertical})
    with pytest.raises(TrainingError, match=r"The gradient is nan.* no row alone makes it"):
        trainer.train()
    after = weights_of(model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_full_disk_leaves_the_checkpoint_before_and_the_run_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = small_trainer(tmp_path / "whole", save_steps=4)
    whole.train()
    save, calls = checkpoint.save_tensors, []

    def full(tensors: Any, path: Path, *rest: Any) -> None:
        calls.append(path)
        if len(calls) == 4:  # the second file of the second checkpoint
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        save(tensors, path, *rest)

    monkeypatch.setattr(checkpoint, "save_tensors", full)
    folder = tmp_path / "full"
    with pytest.raises(CheckpointError) as caught:
        small_trainer(folder, save_steps=4).train()
    message = str(caught.value)
    assert "No space left on device" in message
    assert "checkpoint-8" in message
    assert "checkpoint-4` is untouched: run the same command again" in message
    assert is_whole(folder / "checkpoint-4")
    assert not (folder / "checkpoint-8").exists()
    monkeypatch.undo()
    again = small_trainer(folder, save_steps=4)
    again.train()
    assert_same_weights(again.model, whole.model)


def test_a_signal_in_an_evaluation_leaves_it_for_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = small_trainer(tmp_path / "whole", save_steps=4)
    whole.train()
    evaluate, calls = evaluating.evaluate_rows, []

    def interrupted(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(*args, **options)

    monkeypatch.setattr(evaluating, "evaluate_rows", interrupted)
    folder = tmp_path / "stopped"
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        small_trainer(folder, save_steps=4).train()
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert is_whole(folder / "checkpoint-10")
    monkeypatch.undo()
    again = small_trainer(folder, save_steps=4)
    again.train()
    assert_same_weights(again.model, whole.model)
    ours, theirs = again.state.log_history, whole.state.log_history
    assert without_timings(ours) == without_timings(theirs)


def test_handlers_are_put_back_after_an_error(tmp_path: Path) -> None:
    class Breaks(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            raise ValueError("mine")

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ValueError, match="mine"):
        small_trainer(tmp_path, options={"callbacks": [Breaks()]}).train()
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_training_works_in_a_thread(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, num_train_epochs=1)
    thread = threading.Thread(target=trainer.train)
    thread.start()
    thread.join()
    assert trainer.state.is_finished
