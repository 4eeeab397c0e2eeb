"""Plans: files that say which tasks are learned together, as `fit("multi-task", ...)` takes them.

    {
      "tasks": {
        "intent": {"task": "text-classification", "train": "intents.csv", "label_column": "intent"},
        "names": {"task": "ner", "train": "names.jsonl", "eval": "names-dev.jsonl"}
      },
      "sampling": "equal",
      "weights": {"names": 0.5}
    }

They are JSON or YAML, and their paths are relative to them. They name no code: a task of a user's
own is learned with others in Python.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from abrazo.cli.loading import read_files
from abrazo.data.loading import expand_files
from abrazo.data.mixture import mixing_problems, require_task_name
from abrazo.data.readers.formats import ReadOptions, format_of
from abrazo.data.readers.source import check_file
from abrazo.data.rows import RowSource
from abrazo.data.starter import STARTER_NAME
from abrazo.errors import ConfigError, DataError, did_you_mean, one_of
from abrazo.own_code import is_reference
from abrazo.tasks.auto import ALIASES, TASKS, learn_task
from abrazo.tasks.base import Task
from abrazo.tasks.multi_task import unfit_as_part
from abrazo.training.fit_tasks import ENTRY_FIELDS, MixtureOptions, kind_of
from abrazo.training.held_out import rows_of, rows_to_evaluate

Purpose = Literal["train", "eval"]
"""What a plan is read for, by the field of its tasks that must be there."""

_SHAPE = '{"task": "text-classification", "train": "rows.csv", "eval": "dev.csv"}'


@dataclasses.dataclass(frozen=True)
class PlannedTask:
    """What a plan says of one task."""

    kind: type[Task]
    """The task."""
    settings: dict[str, Any]
    """Settings of the task that it names."""
    train: list[str] | None
    """Files with the rows to train on; None where they are not asked for."""
    eval: list[str] | None
    """Files with the rows to evaluate on, if it names any."""

    @property
    def fields(self) -> list[str]:
        """What the plan may say of the task."""
        return _fields_of(self.kind)

    def entry(self, read: ReadOptions) -> dict[str, Any]:
        """Read the rows, and learn what they mean; return the task's entry in the data of `fit`.

        Raises:
            ConfigError: A setting does not fit the rows.
            DataError: A file cannot be read, or its rows do not have what the task reads.
        """
        train = read_files(self.train or (), read)
        return {
            "task": learn_task(self.kind, rows_of(train)[0], self.settings),
            "train": train,
            "eval": None if self.eval is None else read_files(self.eval, read),
        }

    def rows_to_evaluate(self, read: ReadOptions) -> RowSource:
        """Read the rows to evaluate on.

        Raises:
            DataError: A file cannot be read.
        """
        return rows_to_evaluate(read_files(self.eval or [STARTER_NAME], read))


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a plan says."""

    path: str
    """The file."""
    tasks: dict[str, PlannedTask]
    """The tasks by name."""
    mixing: MixtureOptions
    """How they are mixed."""

    def data(self, read: ReadOptions) -> dict[str, dict[str, Any]]:
        """Read the rows of all tasks, and learn what they mean; return what `fit` takes as data.

        Raises:
            ConfigError: A setting does not fit the rows; all that do not are listed.
            DataError: A file cannot be read, or its rows do not have what a task reads; all such
                tasks are listed.
        """
        data: dict[str, dict[str, Any]] = {}
        problems: list[ConfigError | DataError] = []
        for name, task in self.tasks.items():
            try:
                data[name] = task.entry(read)
            except (ConfigError, DataError) as error:
                line = _placed(f"`tasks.{name}`: {error}", f"tasks.{name}", task.fields)
                problems.append(type(error)(line))
        if problems:
            raise kind_of(problems)(_listing(self.path, map(str, problems))) from problems[0]
        return data


def read_plan(path: str, purpose: Purpose) -> Plan:
    """Read a plan and check all that can be told without reading rows.

    Args:
        path: The file.
        purpose: What the rows are wanted for; each task must name files for it.

    Raises:
        ConfigError: Something is wrong with the plan; all of it is listed, by its place.
        DataError: The file does not exist.
    """
    values, problems = _parsed(path)
    plan = _PlanReader(path, purpose, problems).plan(values)
    if plan is None or problems:
        raise ConfigError(_listing(path, problems))
    return plan


def _listing(path: str, problems: Iterable[str]) -> str:
    lines = [f"  {line}" for problem in problems for line in problem.splitlines()]
    return "\n".join([f"The plan `{path}` cannot be used:", *lines])


class _PlanReader:
    """Reads what a plan says, and collects what is wrong with it."""

    def __init__(self, path: str, purpose: Purpose, problems: list[str]) -> None:
        self.path, self.purpose, self.problems = path, purpose, problems

    def plan(self, values: Mapping[str, Any]) -> Plan | None:
        """Return the plan, or None where problems are in the way."""
        mixing = [field.name for field in dataclasses.fields(MixtureOptions)]
        known = ["tasks", *mixing]
        self.problems += [
            f"`{name}` is no field of a plan, which has {', '.join(f'`{one}`' for one in known)}."
            f"{did_you_mean(str(name), known)}"
            for name in values
            if name not in known
        ]
        entries = values.get("tasks")
        if not isinstance(entries, Mapping) or not entries:
            self.problems.append(
                f'`tasks` must name tasks, as in `"tasks": {{"intent": {_SHAPE}}}`, but is '
                f"{entries!r:.80}."
            )
            return None
        tasks = {name: self.task(name, entry) for name, entry in entries.items()}
        given = {name: values[name] for name in mixing if name in values}
        self.problems += mixing_problems(
            given.get("sampling", "size"), given.get("weights"), entries
        )
        if self.problems:
            return None
        whole = {name: task for name, task in tasks.items() if task is not None}
        return Plan(self.path, whole, MixtureOptions(**given))

    def task(self, name: object, entry: object) -> PlannedTask | None:
        """Return a task, or None where it cannot be known what it is."""
        try:
            require_task_name(name)
        except ConfigError as error:
            self.problems.append(str(error))
        where = f"tasks.{name}"
        if not isinstance(entry, Mapping):
            self.problems.append(f"`{where}` must be like `{_SHAPE}`, but is {entry!r:.80}.")
            return None
        kind = self.kind(f"{where}.task", entry.get("task"))
        train, held_out = (self.files(where, field, entry) for field in ("train", "eval"))
        if kind is None:
            return None
        return PlannedTask(kind, self.settings(where, entry, kind), train, held_out)

    def kind(self, where: str, given: object) -> type[Task] | None:
        """Return what a task is, if it is one that can be learned with others."""
        known = ALIASES.get(given, given) if isinstance(given, str) else given
        reason: str | None
        if given is None:
            reason = f"`{where}` must say what the task is, such as `text-classification`."
        elif isinstance(given, str) and is_reference(given):
            reason = (
                f"`{where}` is {given!r:.80}, but a plan names no code. Learn a task of your own "
                'with others in Python: `fit("multi-task", ...)`.'
            )
        elif not isinstance(known, str) or known not in TASKS:
            fit = [name for name in TASKS if unfit_as_part(TASKS[name]) is None]
            fit += [alias for alias, name in ALIASES.items() if name in fit]
            reason = one_of(f"`{where}`", given, fit)
        else:
            reason = unfit_as_part(TASKS[known])
            if reason is None:
                return TASKS[known]
            reason = f"`{where}`: {reason}"
        self.problems.append(reason)
        return None

    def files(self, where: str, field: Purpose, entry: Mapping[str, Any]) -> list[str] | None:
        """Return the files that a field names, each of which exists."""
        given, starter = entry.get(field), entry.get("train") == STARTER_NAME
        if given is None:
            if field == self.purpose and not starter:
                purpose = "learn from" if field == "train" else "evaluate on"
                self.problems.append(f"`{where}.{field}` must name files with rows to {purpose}.")
            return None
        if given == STARTER_NAME:
            return [STARTER_NAME]
        if field == "train" and self.purpose == "eval":
            return None  # so a plan may be taken to where the training rows are not
        names = [given] if isinstance(given, str) else given
        is_list = isinstance(names, list) and names
        if not is_list or not all(isinstance(one, str) and one for one in names):
            self.problems.append(
                f"`{where}.{field}` must be a file, a pattern such as `news/*.csv`, or a list of "
                f"these, but is {given!r:.80}."
            )
            return None
        try:
            found = [
                str(path)
                for path in expand_files([str(Path(self.path).parent / one) for one in names])
            ]
            for path in found:
                check_file(path)
                format_of(path)
        except DataError as error:
            self.problems.append(f"`{where}.{field}`: {error}")
            return None
        return found

    def settings(self, where: str, entry: Mapping[str, Any], kind: type[Task]) -> dict[str, Any]:
        """Return the settings of a task that its entry names."""
        known = _fields_of(kind)
        for name in entry:
            if name not in known:
                hint = _BESIDE.get(name) or did_you_mean(str(name), known)
                message = f"`{where}.{name}` is no field of {kind.name!r}.{hint}"
                self.problems.append(_placed(message, where, known))
        settings = {
            name: value
            for name, value in entry.items()
            if name in known and name not in ENTRY_FIELDS
        }
        try:
            kind.settings_type.from_dict(settings)
        except ConfigError as error:
            self.problems.append(_placed(str(error), where, known))
        return settings


_WEIGHTS = ' Weights of tasks stand beside `tasks`: `"weights": {"NAME": 0.5}`.'
_BESIDE = {
    "weight": _WEIGHTS,
    "weights": _WEIGHTS,
    "sampling": ' It stands beside `tasks`: `"sampling": "equal"`.',
}
"""What to do with fields that are none of a single task."""


def _fields_of(kind: type[Task]) -> list[str]:
    """Return what a plan may say of a task, all its names included."""
    settings = kind.settings_type
    names = [field.name for field in dataclasses.fields(settings)]
    return [*ENTRY_FIELDS, *names, *settings.ALIASES]


def _placed(text: str, where: str, fields: list[str]) -> str:
    """Return a text with the fields in backticks named by their place in the plan."""
    return re.sub(
        r"`(\w+)(?=[`=])",
        lambda found: f"`{where}.{found[1]}" if found[1] in fields else found[0],
        text,
    )


def _parsed(path: str) -> tuple[Mapping[str, Any], list[str]]:
    """Return what a file holds, and a line for each name that comes twice, which parsers let pass.

    Raises:
        ConfigError: The file is not JSON or YAML, or not a mapping.
        DataError: The file does not exist.
    """
    file, suffix = check_file(path), Path(path).suffix.lower()
    if suffix not in (".json", ".yaml", ".yml"):
        raise ConfigError(f"A plan must be a .json, .yaml or .yml file, but is `{path}`.")
    twice: list[str] = []
    try:
        text = file.read_text(encoding="utf-8-sig")
        values = _parse_json(text, twice) if suffix == ".json" else _parse_yaml(text, twice)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"The plan `{path}` cannot be read: {error}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"The plan `{path}` must be a mapping with `tasks`, such as "
            f'`{{"tasks": {{"intent": {_SHAPE}}}}}`, but holds {values!r:.80}.'
        )
    return values, [
        f"`{name}` comes twice in one mapping. Rename or remove one."
        for name in dict.fromkeys(twice)
    ]


def _parse_json(text: str, twice: list[str]) -> Any:
    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice.extend(_repeated([name for name, _ in pairs]))
        return dict(pairs)

    return json.loads(text, object_pairs_hook=mapping)


def _parse_yaml(text: str, twice: list[str]) -> Any:
    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
            keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            twice.extend(_repeated([key.value for key in keys if not key.tag.endswith(":merge")]))
            return super().construct_mapping(node, deep)

    return yaml.load(text, Loader)


def _repeated(names: list[str]) -> list[str]:
    return [name for number, name in enumerate(names) if name in names[:number]]
