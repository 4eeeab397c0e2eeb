"""Small runs for tests: a BERT with dropout on tens of rows."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from abrazo.models.base import PretrainedModel
from abrazo.training.arguments import TrainingArguments
from abrazo.training.callbacks.base import Callback
from abrazo.training.callbacks.html_report import HtmlReportCallback
from abrazo.training.trainer import Trainer
from helpers.tiny import tiny_bert, tiny_rows, tiny_tokenizer

TIMINGS = ("per_second", "runtime")


def small_model(
    head: str = "sequence_classification", *, seed: int = 0, dropout: float = 0.1, **changes: Any
) -> PretrainedModel:
    """Return a tiny model with its tokenizer."""
    changes = {"num_labels": 2, **changes}
    model = tiny_bert(head, seed=seed, hidden_dropout_prob=dropout, **changes)
    model.tokenizer = tiny_tokenizer()
    return model


def small_arguments(folder: Path, **changes: Any) -> TrainingArguments:
    """Return settings for 15 steps: 3 epochs of 5 steps of 8 rows."""
    usual: dict[str, Any] = {
        "output_dir": str(folder),
        "num_train_epochs": 3,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-3,
        "logging_steps": 2,
        "disable_tqdm": True,
        "precision": "fp32",
    }
    return TrainingArguments(**{**usual, **changes})


def small_trainer(
    folder: Path,
    *,
    options: Mapping[str, Any] | None = None,
    reports: bool = False,
    **changes: Any,
) -> Trainer:
    """Return a trainer of 40 rows and 16 for evaluation; `changes` are settings.

    The report is left out unless asked for: its plots take longer than the run.
    """
    usual: dict[str, Any] = {"train_dataset": tiny_rows(40), "eval_dataset": tiny_rows(16)}
    given = {**usual, **(options or {})}
    if "model" not in given and "model_init" not in given:
        given["model"] = small_model()
    trainer = Trainer(args=small_arguments(folder, **changes), **given)
    if not reports:
        trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, HtmlReportCallback)]
    return trainer


def weights_of(model: PretrainedModel) -> dict[str, torch.Tensor]:
    """Return a copy of all weights."""
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def assert_same_weights(first: PretrainedModel, second: PretrainedModel) -> None:
    """Check that two models are equal bit for bit."""
    ours, theirs = weights_of(first), weights_of(second)
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert different == []


def without_timings(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return log entries without what depends on the clock."""
    return [
        {name: value for name, value in entry.items() if not name.endswith(TIMINGS)}
        for entry in entries
    ]


class CrashError(Exception):
    """A run that breaks."""


class CrashAt(Callback):
    """Breaks the run after a step, before anything is saved there."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Trainer) -> None:
        """Break."""
        if trainer.state.global_step == self.step:
            raise CrashError


class EndsItself(Callback):
    """Ends its process as the kernel does when memory runs out, at one learning rate."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate

    def on_step_end(self, trainer: Trainer) -> None:
        if trainer.args.learning_rate == self.learning_rate:
            os.kill(os.getpid(), signal.SIGKILL)
