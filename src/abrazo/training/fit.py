"""A whole fine-tuning run in one line.

result = fit("text-classification", "train.csv", model="minilm", output_dir="results")
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from abrazo.config import Config
from abrazo.errors import ConfigError, did_you_mean
from abrazo.models.base import PretrainedModel
from abrazo.models.multi_task import MULTI_TASK
from abrazo.tasks.auto import learn_task, settled, task_type
from abrazo.tasks.base import Task
from abrazo.tasks.multi_task import MultiTask
from abrazo.training.arguments import TrainingArguments
from abrazo.training.callbacks.base import Callback
from abrazo.training.checkpoint import BEST
from abrazo.training.fit_tasks import Learned, MixtureOptions, learn_tasks
from abrazo.training.held_out import hold_out, rows_of, rows_to_evaluate
from abrazo.training.objectives import LOSS_NAMES, LossFunction
from abrazo.training.trainer import Trainer


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
            `multi-task` learns several at once.
        data: Rows, or the path of a file with rows; for several tasks an entry for each, such as
            `{"intent": {"task": "text-classification", "train": rows, "eval": rows}}`, with
            settings of the task if need be.
        model: Name or folder of a pretrained model, or a model.
        model_class: A class of the model's family where that is your own, or `my_file.py:MyModel`.
        output_dir: Folder of the run.
        eval_data: Rows or a file to evaluate on; None holds a tenth of `data` out.
        loss: As for `Trainer`, or the setting of that name of a task that has one.
        metrics: As for `Trainer`.
        callbacks: As for `Trainer`.
        options: Fields of `TrainingArguments` and of the task's settings, such as
            `num_train_epochs` and `text_column`; for several tasks `sampling` and `weights`, as
            for `Mixture`.

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
    if isinstance(loss, str) and loss not in LOSS_NAMES:
        options, loss = {**options, "loss": loss}, None  # one of the task's own, if it has any
    if task == MULTI_TASK:
        args, mixing = _sorted_options(MixtureOptions, options)
        if eval_data is not None:
            raise ConfigError("Several tasks have rows of their own: give each its `eval`.")
        learned = learn_tasks(data, MixtureOptions(**mixing), args.seed)
    else:
        args, settings = _sorted_options(task_type(task).settings_type, options)
        learned = _learn(task, data, eval_data, settings, args.seed)
    return Trainer(
        _model_for(model, learned.task, args.seed, model_class),
        args,
        learned.train,
        learned.held_out,
        task=learned.task,
        loss=loss,
        metrics=metrics,
        callbacks=callbacks,
    )


def _learn(
    task: str | type[Task] | Task,
    data: object,
    eval_data: object | None,
    settings: Mapping[str, Any],
    seed: int,
) -> Learned:
    """Return the task with its rows, a tenth of which are held out unless there are others."""
    train, held_out = rows_of(data)
    if isinstance(task, Task):
        learned = settled(task, settings)
    else:
        learned = learn_task(task, train, settings)
    if eval_data is not None:
        held_out = rows_to_evaluate(eval_data)
    if held_out is None:
        train, held_out = hold_out(train, seed)
    return Learned(learned, train, held_out)


def _sorted_options(
    kind: type[Config], options: Mapping[str, Any]
) -> tuple[TrainingArguments, dict[str, Any]]:
    """Tell settings of the run from those of the task."""
    of_task = {field.name for field in dataclasses.fields(kind)} | set(kind.ALIASES)
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
        if isinstance(task, MultiTask):
            return task.load_parts(model, model_class=model_class)
        return task.load_model(model, model_class=model_class, **task.model_options())
