"""`abrazo train TASK`: a whole fine-tuning run, with every setting of run and task as an option."""

from collections.abc import Callable
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from abrazo.cli.loading import read_files
from abrazo.cli.options import with_options
from abrazo.cli.plans import read_plan
from abrazo.cli.tasks import task_app
from abrazo.data.readers.formats import ReadOptions
from abrazo.models.multi_task import MULTI_TASK
from abrazo.own_code import reference_to
from abrazo.tasks.auto import is_own
from abrazo.tasks.base import Task, TaskSettings
from abrazo.training.arguments import TrainingArguments
from abrazo.training.callbacks.early_stopping import EarlyStoppingCallback
from abrazo.training.fit import FitResult, fit

Loss = Literal["weighted", "focal", "label_smoothing", "r_drop"]
Files = Annotated[list[str], Parameter(consume_multiple=True, negative_iterable=())]


def command_of(kind: type[Task]) -> Callable[..., int | None]:
    """Return the command that trains one task."""

    def train(
        *,
        model: str,
        model_class: str | None = None,
        train: Files,
        eval: Files | None = None,
        loss: Loss | None = None,
        early_stopping_patience: int | None = None,
        settings: TaskSettings,
        args: TrainingArguments,
        read: ReadOptions,
    ) -> None:
        """Fine-tune a model on your own rows.

        Args:
            model: The pretrained model: a folder, a built-in name such as `minilm`, or a
                repository.
            model_class: The model's class where its family is your own: `my_file.py:MyModel`.
            train: Files with the rows to learn from, or `-` for JSON lines of the standard input;
                `abrazo/starter` is the data that comes with abrazo.
            eval: Files with the rows to evaluate on; a tenth of the others unless given.
            loss: Another loss than the task's own.
            early_stopping_patience: End the run after so many evaluations without a better figure.
            settings: What the task reads, and how.
            args: The run.
            read: How to read the files.
        """
        patience = early_stopping_patience
        options = {"loss": loss, **args.to_dict(), **settings.to_dict()}
        result = fit(
            kind,
            read_files(train, read),
            model=model,
            model_class=model_class,
            eval_data=None if eval is None else read_files(eval, read),
            callbacks=() if patience is None else (EarlyStoppingCallback(patience),),
            **options,
        )
        show_result(result, Console(), own_options(kind, model_class))

    return with_options(train, settings=kind.settings_type)


def own_options(kind: type[Task], model_class: str | None) -> str:
    """Return the options that say where a user's own task and family are, wherever needed."""
    options = f" --task {reference_to(kind)}" if is_own(kind) else ""
    return options if model_class is None else f"{options} --model-class {model_class}"


def train_several(
    plan: str,
    /,
    *,
    model: str,
    early_stopping_patience: int | None = None,
    args: TrainingArguments,
    read: ReadOptions,
) -> None:
    """Fine-tune one model on several tasks at once, each from rows of its own.

    The plan says what `fit("multi-task", ...)` is told in Python: `tasks`, by names that you
    choose, each with its `task`, the files `train` and, perhaps, `eval`, and settings of that task
    such as `text_column`; beside them, perhaps, `sampling` (`size`, `equal` or a share for each
    task) and `weights` (a factor of the loss for each). Paths are relative to the plan. Such as:

    {"tasks": {"intent": {"task": "text-classification", "train": "intents.csv"},
    "names": {"task": "ner", "train": "names.jsonl", "eval": "dev.jsonl"}}}

    Args:
        plan: A JSON or YAML file.
        model: The pretrained model: a folder, a built-in name such as `minilm`, or a repository.
        early_stopping_patience: End the run after so many evaluations without a better figure.
        args: The run.
        read: How to read the files with rows.
    """
    planned, patience = read_plan(plan, "train"), early_stopping_patience
    result = fit(
        MULTI_TASK,
        planned.data(read),
        model=model,
        callbacks=() if patience is None else (EarlyStoppingCallback(patience),),
        **planned.mixing.to_dict(),
        **args.to_dict(),
    )
    first, *others = planned.tasks
    evaluated = plan if others else f"FILE --part {first}"
    show_result(result, Console(), f" --part {first}", evaluated=evaluated)


def show_result(
    result: FitResult, console: Console, options: str = "", *, evaluated: str | None = None
) -> None:
    """Print the figures of a run, where its files are, and what to do next.

    Args:
        result: Of the run.
        console: Where to print.
        options: What the commands to come need.
        evaluated: What `abrazo evaluate` takes, where that is no file with these options.
    """
    for name, value in result.metrics.items():
        console.print(f"{name.replace('_', ' '):<32}{value:>12.4f}", highlight=False)
    folder = result.trainer.args.output_dir
    console.print(Text(f"\nThe best model is in {result.path}. What you can do with it:"))
    console.print(Text(f"  abrazo predict {folder} FILE{options}"))
    console.print(Text(f"  abrazo evaluate {folder} {evaluated or f'FILE{options}'}"))


app = task_app("train", "Fine-tune a model on your own rows.", command_of)
app.command(with_options(train_several), name=MULTI_TASK)
