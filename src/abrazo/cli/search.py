"""`abrazo search TASK`: the best hyper-parameters of a run, each tried in a process of its own."""

from collections.abc import Callable
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from abrazo.cli.loading import read_files
from abrazo.cli.options import option_name, with_options
from abrazo.cli.tasks import task_app
from abrazo.cli.train import Files, Loss
from abrazo.data.readers.formats import ReadOptions
from abrazo.tasks.base import Task, TaskSettings
from abrazo.training.arguments import TrainingArguments
from abrazo.training.fit import make_trainer
from abrazo.training.search import REPORT_FILE, BestRun, SearchOptions, search
from abrazo.training.search_space import parse_ranges

Ranges = Annotated[list[str], Parameter(negative_iterable=())]


def command_of(kind: type[Task]) -> Callable[..., int | None]:
    """Return the command that searches for one task."""

    def search_task(
        *,
        model: str,
        model_class: str | None = None,
        train: Files,
        eval: Files | None = None,
        space: Ranges | None = None,
        trials: int = 20,
        metric: str | None = None,
        direction: Literal["max", "min"] | None = None,
        timeout: float | None = None,
        pruner: Literal["median", "none"] = "median",
        jobs: int = 1,
        keep: int = 1,
        loss: Loss | None = None,
        settings: TaskSettings,
        args: TrainingArguments,
        read: ReadOptions,
    ) -> None:
        """Search for the best hyper-parameters of a run.

        Args:
            model: The pretrained model: a folder, a built-in name such as `minilm`, or a
                repository.
            model_class: The model's class where its family is your own: `my_file.py:MyModel`.
            train: Files with the rows to learn from, or `-` for JSON lines of the standard input;
                `abrazo/starter` is the data that comes with abrazo.
            eval: Files with the rows to evaluate on; a tenth of the others unless given.
            space: A setting and what to try, such as `learning_rate=1e-5..1e-3:log` or
                `num_train_epochs=1,2,3`; once for each setting. Usual ranges unless given.
            trials: How many, those of earlier stretches of the same search included.
            metric: The figure to search by; the loss unless given.
            direction: Whether the greatest figure is best or the least; as the metric says unless
                given.
            timeout: Seconds after which no further trial starts.
            pruner: What stops trials that fall behind the others.
            jobs: Trials at a time.
            keep: How many runs to keep, the best ones.
            loss: Another loss than the task's own.
            settings: What the task reads, and how.
            args: The run.
            read: How to read the files.
        """
        ranges = None
        if space is not None:
            ranges = parse_ranges(space, (kind.settings_type, TrainingArguments))
        options = SearchOptions(
            n_trials=trials,
            metric=metric,
            direction=direction,
            timeout=timeout,
            pruner=pruner,
            n_jobs=jobs,
            keep=keep,
        )
        trainer = make_trainer(
            kind,
            read_files(train, read),
            model=model,
            model_class=model_class,
            eval_data=None if eval is None else read_files(eval, read),
            loss=loss,
            **args.to_dict(),
            **settings.to_dict(),
        )
        _show(search(trainer, ranges, options), args, Console())

    return with_options(search_task, settings=kind.settings_type)


def _show(best: BestRun, args: TrainingArguments, console: Console) -> None:
    """Print the best trial, as options too, and where its files are."""
    options = " ".join(
        f"{option_name(name)} {value:.4g}"
        if isinstance(value, float)
        else f"{option_name(name)} {value}"
        for name, value in best.hyperparameters.items()
    )
    report = args.folder / REPORT_FILE
    lines = (
        f"The best is trial {best.number}, with {best.value:.4f}:",
        f"  {options}",
        f"Its model is in {best.folder}, the report of the search in {report}.",
    )
    console.print(Text("\n".join(lines)), soft_wrap=True)


app = task_app("search", "Search for the best hyper-parameters of a run.", command_of)
