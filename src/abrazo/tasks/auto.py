"""The table of tasks, and the way from a name, a model or data to one."""

from collections.abc import Mapping
from typing import Any

from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, one_of
from abrazo.models.base import PretrainedModel
from abrazo.tasks.base import Task, TaskSettings
from abrazo.tasks.feature_extraction import FeatureExtraction
from abrazo.tasks.masked_lm import MaskedLM
from abrazo.tasks.pretraining import NextSentence, Pretraining
from abrazo.tasks.question_answering import QuestionAnswering
from abrazo.tasks.sentence_similarity import SentenceSimilarity
from abrazo.tasks.text_classification import TextClassification
from abrazo.tasks.token_classification import TokenClassification

TASKS: dict[str, type[Task]] = {
    "text-classification": TextClassification,
    "token-classification": TokenClassification,
    "question-answering": QuestionAnswering,
    "sentence-similarity": SentenceSimilarity,
    "feature-extraction": FeatureExtraction,
    "fill-mask": MaskedLM,
    "pretraining": Pretraining,
    "next-sentence-prediction": NextSentence,
}
"""The tasks by name."""

ALIASES = {
    "sentiment-analysis": "text-classification",
    "intent": "text-classification",
    "ner": "token-classification",
    "masked-lm": "fill-mask",
}
"""Other names of a task that the ecosystem uses."""

BY_HEAD = {task.head_name: name for name, task in reversed(TASKS.items())}
"""The task that a head learns unless the model says otherwise; the first in the table."""


def task_type(name: str) -> type[Task]:
    """Return the task of that name.

    Raises:
        ConfigError: There is no such task; names the nearest.
    """
    known = ALIASES.get(name, name)
    if known not in TASKS:
        raise ConfigError(one_of("The task", name, [*TASKS, *ALIASES]))
    return TASKS[known]


def task_type_of(model: PretrainedModel) -> type[Task]:
    """Return the task that a model was trained for, or that its head suggests.

    Raises:
        ConfigError: No task belongs to the model's head.
    """
    name = model.task_settings.get("task") or BY_HEAD.get(model.head_name)
    if name is None:
        raise ConfigError(
            f"{type(model).__name__} has no head that a task is known for. Load it with a head, "
            f"such as BertForSequenceClassification, or name a task: {', '.join(TASKS)}."
        )
    return task_type(str(name))


def task_for_model(model: PretrainedModel, settings: TaskSettings | None = None) -> Task:
    """Return the task as the model was trained for it."""
    return task_type_of(model).of_model(model, settings)


def learn_task(
    name: str, rows: RowSource, settings: TaskSettings | Mapping[str, Any] | None = None
) -> Task:
    """Return the task of that name, with columns and labels found in training rows.

    Args:
        name: One of `TASKS` or `ALIASES`.
        rows: The training rows.
        settings: What is known already, as the task's settings or as a mapping.

    Raises:
        ConfigError: There is no such task, or a setting is unknown or wrong.
        DataError: The rows do not have what the task reads.
    """
    kind = task_type(name)
    if not isinstance(settings, TaskSettings):
        settings = kind.settings_type.from_dict(settings or {})
    return kind.learn(rows, settings)
