"""Commands that there are for each task: `abrazo train TASK`, `abrazo search TASK`."""

import inspect
from collections.abc import Callable

from cyclopts import App

from abrazo.tasks.auto import ALIASES, TASKS, task_type
from abrazo.tasks.base import Task

MakeCommand = Callable[[type[Task]], Callable[..., int | None]]


def task_app(name: str, summary: str, make: MakeCommand) -> App:
    """Return a command that has one command within it for each task.

    Args:
        name: The command's name.
        summary: What it does.
        make: Makes the command of a task.
    """
    app = App(
        name=name,
        help=f"{summary}\n\n`abrazo {name} TASK --help` tells the options of a task. `TASK` may be "
        "one of your own, as `my_file.py:MyTask`.",
    )
    for task, kind in TASKS.items():
        aliases = [alias for alias, meant in ALIASES.items() if meant == task]
        app.command(make(kind), name=task, alias=aliases, help=_help(kind))
    return app


def own_task_app(name: str, reference: str, make: MakeCommand) -> App:
    """Return the command for a user's own task alone, called as the user refers to it.

    Raises:
        ConfigError: The file or the class in it cannot be used.
    """
    app, kind = App(name=name), task_type(reference)
    app.command(make(kind), name=reference, help=_help(kind))
    return app


def _help(kind: type[Task]) -> str:
    summary = (inspect.getdoc(kind) or "").partition("\n")[0]
    return f"{summary}\n\nAn option that is left out counts as None where None is mentioned."
