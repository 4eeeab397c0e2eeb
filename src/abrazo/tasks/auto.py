"""The table of tasks, and the way from a name, a model or data to one."""

from collections.abc import Mapping
from typing import Any

from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, one_of
from abrazo.models.auto import load_model
from abrazo.models.base import PretrainedModel
from abrazo.models.multi_task import MultiTaskModel
from abrazo.own_code import is_reference, load_class
from abrazo.tasks.base import Task, TaskSettings
from abrazo.tasks.feature_extraction import FeatureExtraction
from abrazo.tasks.masked_lm import MaskedLM
from abrazo.tasks.pretraining import NextSentence, Pretraining
from abrazo.tasks.question_answering import QuestionAnswering
from abrazo.tasks.sentence_similarity import SentenceSimilarity
from abrazo.tasks.text_classification import TextClassification
from abrazo.tasks.text_generation import TextGeneration
from abrazo.tasks.text_to_text import Summarization, TextToText, Translation
from abrazo.tasks.token_classification import TokenClassification

TASKS: dict[str, type[Task]] = {
    "text-classification": TextClassification,
    "token-classification": TokenClassification,
    "question-answering": QuestionAnswering,
    "sentence-similarity": SentenceSimilarity,
    "feature-extraction": FeatureExtraction,
    "fill-mask": MaskedLM,
    "text-generation": TextGeneration,
    "text2text-generation": TextToText,
    "translation": Translation,
    "summarization": Summarization,
    "pretraining": Pretraining,
    "next-sentence-prediction": NextSentence,
}
"""The tasks by name."""

ALIASES = {
    "sentiment-analysis": "text-classification",
    "intent": "text-classification",
    "ner": "token-classification",
    "masked-lm": "fill-mask",
    "causal-lm": "text-generation",
    "summarisation": "summarization",
    "text2text": "text2text-generation",
}
"""Other names of a task that the ecosystem uses."""

BY_HEAD = {task.head_name: name for name, task in reversed(TASKS.items())}
"""The task that a head learns unless the model says otherwise; the first in the table."""


WORD_HEADS = ("masked_lm", "causal_lm")
"""Heads that learn from plain texts, which bare backbones of their families are trained with."""


def task_type(task: str | type[Task] | Task) -> type[Task]:
    """Return the task that a user names, or brings.

    Args:
        task: One of `TASKS` or `ALIASES`, a task of the user's own, its class, or where that is:
            `my_file.py:MyTask`. Never what a file of the world says, which could name code then.

    Raises:
        ConfigError: There is no such task (names the nearest), or the class is not a whole task.
    """
    if isinstance(task, str):
        known = ALIASES.get(task, task)
        if known in TASKS:
            return TASKS[known]
        if not is_reference(task):
            raise ConfigError(
                one_of("The task", task, [*TASKS, *ALIASES])
                + " One of your own is given by its class, or as `my_file.py:MyTask`."
            )
        task = load_class(task, Task)  # type: ignore[type-abstract]
    kind = type(task) if isinstance(task, Task) else task
    _require_whole(kind)
    return kind


def is_own(kind: type[Task]) -> bool:
    """Tell whether a task is a user's own."""
    return kind not in TASKS.values()


def _require_whole(kind: object) -> None:
    """Check the class of a user's own task.

    Raises:
        ConfigError: It is no class of a task, lacks something, or has the name of another task.
    """
    if not isinstance(kind, type) or not issubclass(kind, Task):
        raise ConfigError(f"A task must be a name or a class derived from `Task`, but is {kind!r}.")
    if not is_own(kind):
        return
    lacking = sorted(kind.__abstractmethods__)
    lacking += [name for name in ("name", "head_name") if not hasattr(kind, name)]
    if lacking:
        listed = ", ".join(f"`{name}`" for name in lacking)
        raise ConfigError(f"The task `{kind.__name__}` must define {listed}.")
    if "__dataclass_fields__" not in vars(kind.settings_type):
        raise ConfigError(
            f"`{kind.settings_type.__name__}` must be a dataclass: put "
            "`@dataclasses.dataclass(frozen=True, kw_only=True)` above it."
        )
    if kind.name in TASKS or kind.name in ALIASES:
        raise ConfigError(
            f"`name` of the task `{kind.__name__}` must be one of its own, but {kind.name!r} is a "
            "task of abrazo: models trained for one would be taken for models of the other."
        )


def task_type_of(model: PretrainedModel) -> type[Task]:
    """Return the task that a model was trained for, or that its head suggests.

    Raises:
        ConfigError: No task belongs to the model's head.
    """
    if isinstance(model, MultiTaskModel):
        names = ", ".join(model.names)
        raise ConfigError(
            f"The model has several tasks ({names}), so one of them must be asked: "
            f"`model.part({model.names[0]!r})` is a model like any other."
        )
    name = _trained_for(model) or BY_HEAD.get(model.head_name)
    if name is None:
        raise ConfigError(
            f"{type(model).__name__} has no head that a task is known for. Load it with a head, "
            f"such as BertForSequenceClassification, or name a task: {', '.join(TASKS)}."
        )
    if name not in TASKS:
        raise ConfigError(
            f"The model was trained for the task {name!r:.80}, which is none of abrazo's. Models "
            "never name code, so give the class of the task each time: `task=MyTask`, or on the "
            "command line `--task my_file.py:MyTask`."
        )
    return TASKS[name]


def _trained_for(model: PretrainedModel) -> str | None:
    """Return the task that the model's folder names, unless that is learned by another head.

    So it is where a model of one head is loaded from a folder with several, such as words to be
    guessed from a checkpoint that tells next sentences too.
    """
    name: str | None = model.task_settings.get("task")
    kind = TASKS.get(name or "")
    if kind is None or model.head_name in ("", kind.head_name, *kind.stand_ins):
        return name
    return None


def text_task_of(model: PretrainedModel) -> type[Task]:
    """Return the task of plain texts: the model's own, or what a bare backbone learns from them.

    Raises:
        ConfigError: No task belongs to the model's head.
    """
    if not model.head_name:
        kind = TASKS.get(_trained_for(model) or "")
        if kind is not None and kind.head_name in WORD_HEADS:
            return kind
        for head in WORD_HEADS:
            if head in model.family.heads and head in BY_HEAD:
                return TASKS[BY_HEAD[head]]
    return task_type_of(model)


def task_for_model(model: PretrainedModel, settings: TaskSettings | None = None) -> Task:
    """Return the task as the model was trained for it."""
    return task_type_of(model).of_model(model, settings)


def load_with_task(
    name: str, task: str | type[Task] | None, **options: Any
) -> tuple[PretrainedModel, type[Task]]:
    """Load a model and find the task it was trained for.

    Args:
        name: A folder, a built-in name, or a repository.
        task: The task, as `task_type` takes it; None lets the model say.
        options: As for `load_model`.

    Raises:
        ConfigError: No task is known for the model, or the one given is not one for it.
        HubError: The name leads to no folder.
        CheckpointError: The weights are damaged or do not fit.
    """
    if task is None:
        model = load_model(name, **options)
        model = model.part_for(None) if isinstance(model, MultiTaskModel) else model
        return model, task_type_of(model)
    kind = task_type(task)
    model = kind.load_to_serve(name, **options)
    require_trained_for(kind, model)
    return model, kind


def require_trained_for(kind: type[Task], model: PretrainedModel) -> None:
    """Check that a model can serve a task.

    Raises:
        ConfigError: It was trained for another, or has another head.
    """
    if model.head_name in kind.stand_ins:
        return
    trained_for, reasons, remedy = _trained_for(model), [], ""
    if trained_for not in (None, kind.name):
        reasons.append(f"was trained for {trained_for!r}")
    if model.head_name != kind.head_name:
        reasons.append(f"is a {type(model).__name__} without the head {kind.head_name!r}")
        if trained_for == kind.name:  # as its folder has it
            remedy = f" Load it with that head: `{kind.__name__}.load_model(name)`."
    if reasons:
        listed = " and ".join(reasons)
        raise ConfigError(f"The model {listed}, so it cannot serve {kind.name!r}.{remedy}")


def learn_task(
    task: str | type[Task],
    rows: RowSource,
    settings: TaskSettings | Mapping[str, Any] | None = None,
) -> Task:
    """Return a task with columns and labels found in training rows.

    Args:
        task: As the user names it, or its class.
        rows: The training rows.
        settings: What is known already, as the task's settings or as a mapping.

    Raises:
        ConfigError: There is no such task, or a setting is unknown or wrong.
        DataError: The rows do not have what the task reads.
    """
    kind = task_type(task)
    if not isinstance(settings, TaskSettings):
        settings = kind.settings_type.from_dict(settings or {})
    return kind.learn(rows, settings)


def settled(task: Task, settings: Mapping[str, Any]) -> Task:
    """Return a task that a user made; its settings are settled.

    Raises:
        ConfigError: Settings are given all the same.
    """
    if settings:
        listed = ", ".join(f"`{name}`" for name in settings)
        raise ConfigError(f"The task that is given has its settings already; leave out {listed}.")
    return task
