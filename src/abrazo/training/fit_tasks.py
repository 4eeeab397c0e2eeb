"""What `fit` does with several tasks: each learned from rows of its own, then mixed.

fit("multi-task", {"intent": {"task": "text-classification", "train": "intents.csv"},
                   "names": {"task": "ner", "train": "names.jsonl", "eval": "dev.jsonl"}}, ...)
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from abrazo.config import Config
from abrazo.data.mixture import Mixture, Sampling
from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, DataError
from abrazo.tasks.auto import learn_task, settled, task_type
from abrazo.tasks.base import Task
from abrazo.tasks.multi_task import MultiTask, unfit_as_part
from abrazo.training.held_out import hold_out, rows_of, rows_to_evaluate

ENTRY_FIELDS = ("task", "train", "eval")
"""What the entry of a task says besides the task's settings."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixtureOptions(Config):
    """How several tasks are mixed; see `Mixture`."""

    sampling: Sampling = "size"
    """`size`, `equal`, or the share of each task."""
    weights: Mapping[str, float] | None = None
    """What the loss of each task is multiplied with."""


@dataclasses.dataclass(frozen=True)
class Learned:
    """A task that knows what its rows mean, and the rows."""

    task: Task
    """The task."""
    train: RowSource
    """The rows to train on."""
    held_out: RowSource | None
    """The rows to evaluate on, if any."""


def learn_tasks(data: object, options: MixtureOptions, seed: int) -> Learned:
    """Learn each task from its rows.

    Args:
        data: For each task by its name: `task`, what it is; `train`, its rows or a file of rows;
            perhaps `eval`, rows to evaluate on, in place of a tenth of the others; and settings of
            the task, such as `label_column`.
        options: How tasks are mixed.
        seed: Decides which rows are held out.

    Raises:
        ConfigError: An entry lacks something, or a name or a setting is wrong.
        DataError: The rows do not have what a task reads.
    """
    entries = _entries(data)
    learned: dict[str, Learned] = {}
    problems: list[ConfigError | DataError] = []
    for name, entry in entries.items():
        try:
            learned[name] = _learn_one(name, entry, seed)
        except (ConfigError, DataError) as error:
            problems.append(type(error)(f"The task `{name}`: {error}"))
    if problems:
        raise kind_of(problems)("\n".join(map(str, problems))) from problems[0]
    held_out = {name: one.held_out for name, one in learned.items() if one.held_out is not None}
    lacking = [name for name in entries if name not in held_out]
    if held_out and lacking:
        raise ConfigError(
            f"There are no rows to evaluate {', '.join(f'`{name}`' for name in lacking)} on, but "
            "there are for the other tasks. Give each its `eval`."
        )
    train = {name: one.train for name, one in learned.items()}
    mixed = Mixture(train, sampling=options.sampling, weights=options.weights)
    evaluated = Mixture(held_out) if held_out else None
    tasks = {name: one.task for name, one in learned.items()}
    return Learned(MultiTask(tasks, mixed.weights), mixed, evaluated)


def kind_of(problems: Sequence[ConfigError | DataError]) -> type[ConfigError | DataError]:
    """Return what is raised for several problems at once: one of settings if any is."""
    has_wrong_settings = any(isinstance(problem, ConfigError) for problem in problems)
    return ConfigError if has_wrong_settings else DataError


def _learn_one(name: str, entry: Mapping[str, Any], seed: int) -> Learned:
    """Learn one of the tasks from its rows, a tenth of which are held out if there are no others.

    Raises:
        ConfigError: There is no such task, it cannot be learned with others, or a setting is wrong.
        DataError: The rows do not have what the task reads.
    """
    settings = {key: entry[key] for key in entry if key not in ENTRY_FIELDS}
    given = entry["task"]
    kind = type(given) if isinstance(given, Task) else task_type(given)
    reason = unfit_as_part(kind)
    if reason is not None:
        raise ConfigError(reason)
    source, others = rows_of(entry["train"])
    task = (
        settled(given, settings) if isinstance(given, Task) else learn_task(kind, source, settings)
    )
    if entry.get("eval") is not None:
        others = rows_to_evaluate(entry["eval"])
    if others is None:
        source, others = hold_out(source, seed, data=f"`eval` of the task `{name}`")
    return Learned(task, source, others)


def _entries(data: object) -> Mapping[str, Mapping[str, Any]]:
    """Return what was given for each task.

    Raises:
        ConfigError: There is no task, or something is missing; all of it is listed.
    """
    shape = "{'task': 'text-classification', 'train': rows, 'eval': rows}"
    if not isinstance(data, Mapping) or not data:
        raise ConfigError(
            "The data of several tasks must be a dict of tasks, such as "
            f"`{{'intent': {shape}, ...}}`, but is {data!r:.80}."
        )
    problems = []
    for name, entry in data.items():
        if not isinstance(entry, Mapping):
            problems.append(f"`{name}` must be like `{shape}`, but is {entry!r:.80}.")
            continue
        problems += [
            f"`{name}` must say its `{key}`." for key in ("task", "train") if entry.get(key) is None
        ]
    if problems:
        raise ConfigError("\n".join(problems))
    return data
