"""Rows that were tokenised before: dicts with `input_ids`, as a tokenizer returns them.

Values may be lists, arrays or tensors, (n,) or with a leading batch dimension of 1, as
`tokenizer(text, return_tensors="pt")` gives. Padding is taken off by the `attention_mask`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from abrazo.data.rows import RowSource
from abrazo.errors import DataError, did_you_mean
from abrazo.heads.spans import QuestionAnsweringHead
from abrazo.inference.raw_text import RawTextOutput, require_tokenizer
from abrazo.models.base import PretrainedModel
from abrazo.tasks.base import Task
from abrazo.training.collating import PLACES, CollatedTask

_FLAT = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
_LABELS = ("labels", "label")


def learns_per_token(model: PretrainedModel) -> bool:
    """Return whether the model's head learns from a label for each token.

    One that finds answers has scores for each token, but learns two places a row.
    """
    head = model.head
    return head is not None and head.per_token and not isinstance(head, QuestionAnsweringHead)


def reading_task(task: Task, source: RowSource, model: PretrainedModel) -> Task:
    """Return a task that reads these rows: itself, or one that takes tokenised rows as they are.

    Raises:
        DataError: The rows were made by a model with another tokenizer.
    """
    require_tokenizer(source, model)
    if isinstance(task, CollatedTask) or task.reads_tokens:
        return task
    if "input_ids" not in source.column_names:
        return task
    per_token = learns_per_token(model)
    return CollatedTask(task, TokenisedRow(model.config.labels, per_token), per_token=per_token)


def with_ids(data: object, model: PretrainedModel) -> object:
    """Return data for a user's collator: of a call on raw texts the rows of ids.

    Raises:
        DataError: The rows were made by a model with another tokenizer.
    """
    require_tokenizer(data, model)
    return data.dataset if isinstance(data, RawTextOutput) else data


class TokenisedRow:
    """A collator of one tokenised row."""

    def __init__(self, labels: Sequence[str], per_token: bool) -> None:
        """Take the names of the classes, and whether each token has a label."""
        self.labels, self.per_token = tuple(labels), per_token

    def __call__(self, rows: list[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return the row as tensors with a leading dimension of 1; other columns are left out.

        Raises:
            DataError: Values are no numbers, or a label is unknown.
        """
        row = rows[0]
        tensors = {name: _flat(name, row[name]) for name in _FLAT if name in row}
        given = next((row[name] for name in _LABELS if row.get(name) is not None), None)
        if given is not None:
            tensors["labels"] = self._label(given)
        for name in PLACES:
            if row.get(name) is not None:
                tensors[name] = _numbers(name, row[name]).reshape(-1)
        return tensors

    def _label(self, given: Any) -> Tensor:
        if isinstance(given, str):
            if given not in self.labels:
                raise DataError(
                    f'label "{given}" is not one of the model\'s labels '
                    f"({', '.join(self.labels)}).{did_you_mean(given, self.labels)}"
                )
            return torch.tensor([self.labels.index(given)])
        if self.per_token:
            return _flat("labels", given)
        label = _numbers("label", given)
        return label if label.dim() == 2 or label.shape == (1,) else label[None]


def _flat(name: str, value: Any) -> Tensor:
    numbers = _numbers(name, value)
    if numbers.dim() == 2 and len(numbers) == 1:
        return numbers
    if numbers.dim() != 1:
        raise DataError(
            f"`{name}` of a tokenised row must have the shape (tokens,) or (1, tokens), but has "
            f"{tuple(numbers.shape)}."
        )
    return numbers[None]


def _numbers(name: str, value: Any) -> Tensor:
    try:
        return value if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError) as error:
        raise DataError(f"`{name}` of a tokenised row must be numbers: {error}.") from error
