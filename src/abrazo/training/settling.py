"""From what a user hands to the trainer to a task and rows."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from abrazo.data.collate import DataCollatorForLanguageModeling
from abrazo.data.mixture import Mixture
from abrazo.data.rows import RowSource, as_rows
from abrazo.errors import ConfigError, DataError
from abrazo.models.base import PretrainedModel
from abrazo.models.multi_task import MultiTaskModel
from abrazo.models.sharing import with_head
from abrazo.tasks.auto import WORD_HEADS, learn_task, task_type_of, text_task_of
from abrazo.tasks.base import Task
from abrazo.tasks.masked_lm import MaskedLM
from abrazo.tasks.multi_task import MultiTask
from abrazo.training.collating import CollatedTask, Collator
from abrazo.training.tokenised import learns_per_token

logger = logging.getLogger("abrazo")

_BESIDE_TEXT = {"token_type_ids", "attention_mask", "special_tokens_mask", "position_ids"}
"""Columns that may stand beside the text, or its ids, in rows without labels."""


def settle_model(
    model: PretrainedModel,
    task: Task | type[Task] | None,
    source: RowSource | None,
    collator: Collator | None,
) -> PretrainedModel:
    """Return the model to train: a bare backbone gets its task's head, or one for plain texts.

    Args:
        model: The model that the user gave.
        task: The task, where the user gave one.
        source: Training rows.
        collator: The user's own way from rows to tensors.
    """
    if task is not None:
        model = task.adopt(model)
    if model.head_name or source is None:
        return model
    hides = collator.mlm if isinstance(collator, DataCollatorForLanguageModeling) else None
    is_plain = len(set(source.column_names) - _BESIDE_TEXT) <= 1 and collator is None
    if task is None and hides is None and not is_plain:
        return model
    if task is not None and task.head_name not in WORD_HEADS:
        return model
    head_name = text_task_of(model).head_name if task is None else task.head_name
    if hides is not None and hides != (head_name == MaskedLM.head_name):
        return model
    learner = with_head(model, head_name)
    assert learner is not None
    logger.warning(
        "%s has no head, and the rows have no labels: it learns to guess %s words. "
        "`trainer.model` is a %s on the same weights.",
        type(model).__name__,
        "masked" if head_name == MaskedLM.head_name else "next",
        type(learner).__name__,
    )
    return learner


def settle_task(
    task: Task | type[Task] | None,
    model: PretrainedModel,
    source: RowSource | None,
    collator: Collator | None,
) -> Task:
    """Return the task that a model is trained for.

    Args:
        task: The task itself, its class, or None to go by the model.
        model: The model; if it was trained for a task, its labels and columns are taken over.
        source: Training rows, in which columns and labels are found.
        collator: The user's own way from rows to tensors, which then reads the rows.

    Raises:
        ConfigError: No task is known for the model's head, or it is another one than asked for.
        DataError: The rows do not have what the task reads.
    """
    if isinstance(model, MultiTaskModel) and not isinstance(task, Task):
        return _settle_parts(model, source, collator)
    if collator is not None:
        inner = task if isinstance(task, Task) else _task_of_head(model, task)
        return CollatedTask(inner, collator, per_token=learns_per_token(model))
    if isinstance(task, Task):
        return task
    kind = task or task_type_of(model)
    if source is None or "input_ids" in source.column_names:
        return kind.of_model(model)
    return learn_task(kind, source, kind.known_settings(model, source.column_names))


def _settle_parts(
    model: MultiTaskModel, source: RowSource | None, collator: Collator | None
) -> MultiTask:
    """Return the tasks of a model's parts, each settled by its own rows."""
    if collator is not None:
        raise ConfigError("`data_collator` reads the rows of one task, but the model has several.")
    rows, weights = {}, None
    if isinstance(source, Mixture):
        rows, weights = source.sources, source.weights
    parts = {
        name: settle_task(None, model.part(name), rows.get(name), None) for name in model.names
    }
    return MultiTask(parts, weights)


def _task_of_head(model: PretrainedModel, task: type[Task] | None) -> Task | None:
    try:
        return (task or task_type_of(model)).of_model(model)
    except ConfigError:
        return None  # the collator alone knows what the rows mean


def rows_to_predict(inputs: object, task: Task) -> tuple[RowSource, Task]:
    """Return rows of what a user wants predictions for, and the task that reads them.

    Plain texts are read by the model's own task, also where a collator reads the data sets.

    Args:
        inputs: A text, several texts or pairs, a row, a data set, or what a tokenizer returned.
        task: Turns a text into a row.

    Raises:
        DataError: It is none of these.
    """
    plain = task.inner or task if isinstance(task, CollatedTask) else task
    if isinstance(inputs, str):
        return as_rows([dict(plain.as_row(inputs))]), plain
    if isinstance(inputs, Mapping):
        if "input_ids" in inputs:
            return as_rows(_tokenised_rows(inputs)), plain
        is_row = all(isinstance(v, str | int | float | None) for v in inputs.values())
        return as_rows([dict(inputs)] if is_row else inputs), task
    if isinstance(inputs, Sequence) and not all(isinstance(item, Mapping) for item in inputs):
        return as_rows([dict(plain.as_row(item)) for item in inputs]), plain
    return as_rows(inputs), task


def _tokenised_rows(inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Cut what a tokenizer returned into rows without padding."""
    columns = {name: inputs[name] for name in inputs}
    ids = columns["input_ids"]
    if len(ids) and not isinstance(ids[0], Sequence | torch.Tensor):
        columns = {name: [values] for name, values in columns.items()}
    elif isinstance(ids, torch.Tensor) and ids.dim() == 1:
        columns = {name: values[None] for name, values in columns.items()}
    masks = columns.pop("attention_mask", None)
    rows = []
    for number in range(len(columns["input_ids"])):
        row = {name: list(map(int, values[number])) for name, values in columns.items()}
        if masks is not None:
            mask = [bool(kept) for kept in masks[number]]
            if len(mask) != len(row["input_ids"]):
                raise DataError("`attention_mask` and `input_ids` must be equally long.")
            row = {
                name: [v for v, kept in zip(values, mask, strict=True) if kept]
                for name, values in row.items()
            }
        rows.append(row)
    return rows


def has_labels(task: Task, source: RowSource) -> bool:
    """Return whether rows have what the task learns from."""
    names = {getattr(task.settings, "label_column", None)}
    if isinstance(task, CollatedTask) or "input_ids" in source.column_names:
        names |= {"label", "labels", "start_positions"}
    return bool(names & set(source.column_names))
