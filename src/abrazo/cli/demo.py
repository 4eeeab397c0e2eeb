"""`abrazo demo`: a classifier from start to end on the data that comes with the package."""

import datetime
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from abrazo.errors import ConfigError, TrainingError

if TYPE_CHECKING:
    from abrazo.data.dataset import Dataset
    from abrazo.inference.pipeline import Pipeline
    from abrazo.training.fit import FitResult

logger = logging.getLogger("abrazo")

FOLDER = "demo-results"

_ENGLISH_MODEL = "minilm"
_NUM_SHOWN = 6
_MOST_TEXT = 90


def demo(
    *,
    language: Literal["en", "zh"] = "en",
    model: str | None = None,
    about: Literal["sentiment", "intent"] = "sentiment",
    output: Annotated[str, Parameter(alias="-o")] = FOLDER,
    epochs: float = 4,
    learning_rate: float = 2e-4,
    fresh: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Train, evaluate and use a classifier on the starter data.

    About 400 short customer messages are learned from, which takes a minute on two processor
    cores. Where a run was broken off, or is finished, the next call goes on from there.

    Args:
        language: Of the messages.
        model: The pretrained model; for English the built-in `minilm` unless given.
        about: What is learned: how a message sounds, or what it wants.
        output: Folder of the run.
        epochs: How often all messages are seen.
        learning_rate: The highest learning rate of the run.
        fresh: Start anew, even if there is a run in the folder.
    """
    from abrazo.data.starter import load_starter
    from abrazo.hub.resolve import find_model
    from abrazo.inference.pipeline import Pipeline
    from abrazo.training.fit import fit

    if model is None and language != "en":
        raise ConfigError(
            f"`{_ENGLISH_MODEL}` reads English. For Chinese, name a model that knows it by "
            "`--model`, such as `bert-base-chinese` or a folder."
        )
    find_model(model or _ENGLISH_MODEL)  # whose error says how to get it, before anything is shown
    splits = load_starter(language).apply(lambda rows: rows.select_columns(["text", about]))
    _tell_data(splits["train"], about)
    try:
        result = fit(
            "text-classification",
            splits["train"],
            model=model or _ENGLISH_MODEL,
            output_dir=output,
            eval_data=splits["validation"],
            label_column=about,
            num_train_epochs=epochs,
            learning_rate=learning_rate,
            warmup_ratio=0.1,
            logging_steps=10,
            metric_for_best_model="accuracy",
            save_total_limit=1,
            overwrite_output_dir=fresh,
        )
    except TrainingError as error:
        raise TrainingError(f"{error}\nFor the demo: `--fresh` starts anew.") from error
    trainer = result.trainer
    pipeline = Pipeline(trainer.task, trainer.model, trainer.tokenizer)
    console = Console()
    report = _evaluate(pipeline, splits["test"], Path(output), console)
    _show_answers(pipeline, splits["test"], about, console)
    _tell_next(result, report, console)


def _tell_data(rows: "Dataset", about: str) -> None:
    labels = ", ".join(sorted(set(rows[about].to_list())))
    logger.info("%d messages to learn from, by %s: %s.", len(rows), about, labels)


def _evaluate(pipeline: "Pipeline", rows: "Dataset", folder: Path, console: Console) -> Path:
    """Measure on messages that training has not seen, and write a report of it."""
    from abrazo.cli.evaluate import figures_of, report_of, show_figures, write_evaluation
    from abrazo.inference.evaluation import evaluate_rows

    started = datetime.datetime.now().astimezone()
    found = evaluate_rows(pipeline.engine, pipeline.task, rows, pipeline.tokenizer)
    console.print(Text("\nOn messages that it has not seen:\n", style="bold"))
    show_figures(found, console)
    path = folder / "test" / "report.html"
    title, model = "Test messages of the demo", pipeline.engine.model
    report = report_of(pipeline.task, model, rows, found, title=title, started=started)
    write_evaluation(path, report, figures_of(found))
    return path


def _show_answers(pipeline: "Pipeline", rows: "Dataset", about: str, console: Console) -> None:
    shown = rows.take(_NUM_SHOWN)
    answers = pipeline(shown["text"].to_list())
    table = Table("message", "right", "predicted", "score", box=None, pad_edge=False)
    for row, answer in zip(shown, answers, strict=True):
        is_right = answer["label"] == row[about]
        table.add_row(
            Text(row["text"][:_MOST_TEXT]),
            Text(row[about]),
            Text(answer["label"], style="green" if is_right else "red"),
            f"{answer['score']:.2f}",
        )
    console.print(Text("\nSome of them:\n", style="bold"))
    console.print(table)


def _tell_next(result: "FitResult", report: Path, console: Console) -> None:
    folder = result.trainer.args.output_dir
    lines: Sequence[str] = (
        f"\nThe model is in {result.path}, the report of its training in {folder}/report.html,",
        f"that of the test in {report}. What to try next:\n",
        f"  echo 'Thank you, that was quick!' | abrazo predict {folder} - --input-format text",
        f"  abrazo explain {folder}",
        "  abrazo train text-classification --model minilm --train YOUR.csv --output results",
        "  abrazo --help",
    )
    console.print(Text("\n".join(lines)), soft_wrap=True)
