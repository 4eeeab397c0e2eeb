"""A whole fine-tuning run in one line.

result = fit("text-classification", "train.csv", model="minilm", output_dir="results")
"""

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from abrazo.data.dataset import DatasetDict
from abrazo.data.loading import load_dataset
from abrazo.data.rows import Indices, Row, RowSource, as_rows
from abrazo.data.sampling import epoch_order
from abrazo.errors import ConfigError, did_you_mean
from abrazo.models.base import PretrainedModel
from abrazo.tasks.auto import learn_task, settled, task_type
from abrazo.tasks.base import Task
from abrazo.training.arguments import TrainingArguments
from abrazo.training.callbacks.base import Callback
from abrazo.training.checkpoint import BEST
from abrazo.training.objectives import LOSS_NAMES, LossFunction
from abrazo.training.trainer import Trainer

logger = logging.getLogger("abrazo")

HELD_OUT = 0.1
"""Share of the rows that evaluation gets when there is no evaluation data."""
FEWEST_TO_SPLIT = 20
"""With fewer rows than this, nothing is held out."""

_SPLITS = ("validation", "dev", "eval", "test")


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What `fit` comes to."""

    trainer: Trainer
    """Ready to evaluate and predict with the best weights."""
    metrics: dict[str, float]
    """`train_loss`, and the `eval_` figures of the best weights."""
    path: Path
    """The folder of the best model."""


def fit(
    task: str | type[Task] | Task,
    data: object,
    *,
    model: str | Path | PretrainedModel,
    model_class: type[PretrainedModel] | str | None = None,
    output_dir: str | Path = "results",
    eval_data: object | None = None,
    loss: str | LossFunction | None = None,
    metrics: object | None = None,
    callbacks: Iterable[Callback] = (),
    **options: Any,
) -> FitResult:
    """Fine-tune a model on one's own rows.

    Args:
        task: Name of the task, such as `text-classification`; or a task of your own: its class,
            where that is, as `my_file.py:MyTask`, or the task itself with settings that hold.
        data: Rows, or the path of a file with rows.
        model: Name or folder of a pretrained model, or a model.
        model_class: A class of the model's family where that is your own, or `my_file.py:MyModel`.
        output_dir: Folder of the run.
        eval_data: Rows or a file to evaluate on; None holds a tenth of `data` out.
        loss: As for `Trainer`, or the setting of that name of a task that has one.
        metrics: As for `Trainer`.
        callbacks: As for `Trainer`.
        options: Fields of `TrainingArguments` and of the task's settings, such as
            `num_train_epochs` and `text_column`.

    Raises:
        ConfigError: An option or a name is unknown; names the nearest.
        DataError: The rows do not have what the task reads.
        TrainingError: The run cannot start or go on.
    """
    trainer = make_trainer(
        task,
        data,
        model=model,
        model_class=model_class,
        eval_data=eval_data,
        loss=loss,
        metrics=metrics,
        callbacks=callbacks,
        output_dir=str(output_dir),
        **options,
    )
    output = trainer.train()
    return FitResult(trainer, output.metrics, trainer.args.folder / BEST)


def make_trainer(
    task: str | type[Task] | Task,
    data: object,
    *,
    model: str | Path | PretrainedModel,
    model_class: type[PretrainedModel] | str | None = None,
    eval_data: object | None = None,
    loss: str | LossFunction | None = None,
    metrics: object | None = None,
    callbacks: Iterable[Callback] = (),
    **options: Any,
) -> Trainer:
    """Return a trainer that is ready to train, or to search for hyper-parameters.

    The arguments are those of `fit`.

    Raises:
        ConfigError: An option or a name is unknown; names the nearest.
        DataError: The rows do not have what the task reads.
    """
    kind = task_type(task)
    if isinstance(loss, str) and loss not in LOSS_NAMES:
        options, loss = {**options, "loss": loss}, None  # one of the task's own, if it has any
    args, settings = _sorted_options(kind, options)
    source, held_out = _rows_of(data)
    learned = (
        settled(task, settings) if isinstance(task, Task) else learn_task(kind, source, settings)
    )
    if eval_data is not None:
        held_out = _rows_of(eval_data)[0]
    if held_out is None:
        source, held_out = _hold_out(source, args.seed)
    return Trainer(
        _model_for(model, learned, args.seed, model_class),
        args,
        source,
        held_out,
        task=learned,
        loss=loss,
        metrics=metrics,
        callbacks=callbacks,
    )


def _sorted_options(
    kind: type[Task], options: Mapping[str, Any]
) -> tuple[TrainingArguments, dict[str, Any]]:
    """Tell settings of the run from those of the task."""
    of_task = {field.name for field in dataclasses.fields(kind.settings_type)}
    of_task |= set(kind.settings_type.ALIASES)
    of_run = {field.name for field in dataclasses.fields(TrainingArguments)}
    of_run |= set(TrainingArguments.ALIASES)
    unknown = [
        f"`fit` has no option `{name}`.{did_you_mean(name, of_run | of_task)}"
        for name in options
        if name not in of_run | of_task
    ]
    if unknown:
        raise ConfigError("\n".join(unknown))
    settings = {name: value for name, value in options.items() if name in of_task}
    rest = {name: value for name, value in options.items() if name not in of_task}
    return TrainingArguments(**rest), settings


def _model_for(
    model: str | Path | PretrainedModel,
    task: Task,
    seed: int,
    model_class: type[PretrainedModel] | str | None,
) -> PretrainedModel:
    if isinstance(model, PretrainedModel):
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # a new head is then the same in every run
        return task.load_model(model, model_class=model_class, **task.model_options())


def _rows_of(data: object) -> tuple[RowSource, RowSource | None]:
    """Return rows to train on and, where the data comes in splits, rows to evaluate on."""
    if isinstance(data, str | Path):
        data = load_dataset(data)
    if isinstance(data, DatasetDict):
        held_out = next((data[name] for name in _SPLITS if name in data), None)
        return as_rows(data["train"]), None if held_out is None else as_rows(held_out)
    return as_rows(data), None


def _hold_out(source: RowSource, seed: int) -> tuple[RowSource, RowSource | None]:
    """Split rows at random, the same way for the same seed."""
    if len(source) < FEWEST_TO_SPLIT:
        logger.warning(
            "There are only %d rows, so none are held out and nothing is evaluated. Give "
            "`eval_data` to see how good the model is.",
            len(source),
        )
        return source, None
    order = epoch_order(len(source), seed, 0)
    count = round(HELD_OUT * len(source))
    logger.warning(
        "No `eval_data` is given: %d of %d rows, drawn at random, are held out for evaluation.",
        count,
        len(source),
    )
    return RowSelection(source, np.sort(order[count:])), RowSelection(
        source, np.sort(order[:count])
    )


class RowSelection:
    """Some rows of a source; each keeps the name of where it came from."""

    def __init__(self, source: RowSource, numbers: np.ndarray) -> None:
        """Select rows.

        Args:
            source: All rows.
            numbers: (rows,) which ones, in order.
        """
        self.source, self.numbers = source, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""
        return self.source.column_names

    def rows(self, indices: Indices) -> list[Row]:
        """Return the rows at `indices`, a dict each."""
        return self.source.rows([int(self.numbers[int(index)]) for index in indices])

    def origin(self, row: int) -> str:
        """Say where a row came from."""
        return self.source.origin(int(self.numbers[row]))
