"""`abrazo evaluate`: a model on labelled rows, its figures and a report."""

import dataclasses
import datetime
import json
import logging
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from abrazo import __version__
from abrazo.cli.loading import (
    Columns,
    Format,
    InferenceOptions,
    load_pipeline,
    load_several,
)
from abrazo.cli.measuring import measure, measure_plan
from abrazo.cli.options import option_name
from abrazo.cli.writing import with_generation, writing_command
from abrazo.data.loading import read_table
from abrazo.data.readers.formats import ReadOptions
from abrazo.data.rows import RowSource
from abrazo.data.squad import flat_questions
from abrazo.errors import ConfigError, DataError, did_you_mean
from abrazo.generation.config import GenerationConfig

if TYPE_CHECKING:
    from abrazo.inference.evaluation import Evaluation
    from abrazo.inference.pipeline import Pipeline
    from abrazo.metrics.classification import ClassificationDetails
    from abrazo.models.base import PretrainedModel
    from abrazo.tasks.base import Task
    from abrazo.training.report import RunReport, SplitSummary

logger = logging.getLogger("abrazo")

METRICS_FILE = "metrics.json"


def evaluate(
    model: str,
    file: str,
    /,
    *,
    report: Annotated[str, Parameter(alias="-o")] = "evaluation/report.html",
    input_format: Format | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    src_lang: str | None = None,
    tgt_lang: str | None = None,
    prefix: str | None = None,
    columns: Columns,
    generation: GenerationConfig,
    inference: InferenceOptions,
    read: ReadOptions,
) -> None:
    """Measure a model on labelled rows.

    Prints the figures, for each class too, and writes a report with the confusion matrix and the
    rows that are most surely wrong, or with texts that the model wrote and those least like what
    was wished for. The figures are in `metrics.json` beside the report.

    A model of several tasks is measured on the rows that a plan names as `eval` of each, in the
    form that `abrazo train multi-task` takes; with `--part`, one of its tasks on labelled rows.

    Args:
        model: A folder, also of a training run, a name, or a repository.
        file: A CSV, TSV, JSON, Parquet, Arrow or text file with labels, or `-` for the standard
            input; or a plan.
        report: Where the report goes.
        input_format: Where the file's name does not show it; `-` holds JSON lines unless given.
        as_json: Print the figures as JSON.
        src_lang: The language of the texts, in models that write in several.
        tgt_lang: The language to write in, in models with several.
        prefix: What is put before each text that is read; the model's own unless given.
        columns: Columns of the file.
        generation: How is written where texts are compared; what is left out is the model's own.
        inference: How to compute.
        read: How to read the file.
    """
    started = datetime.datetime.now().astimezone()
    languages = {"source_language": src_lang, "target_language": tgt_lang, "prefix": prefix}
    several = load_several(model, inference)
    if several is not None:
        given = {"input_format": input_format, **languages, **columns.to_dict()}
        _refuse_options({**given, **generation.set_fields()})
        measured = measure_plan(several, file, inference, read)
    else:
        rows = flat_questions(read_table(file, format=input_format, options=read))
        _require_references(columns.references_column, rows.column_names)
        pipeline = load_pipeline(model, columns, inference, settings=languages)
        if generation.set_fields():
            pipeline = _writing(pipeline, generation)
        measured = measure(pipeline, rows)
    found = measured.found
    figures, title = figures_of(found), f"{model} on {file}"
    write_evaluation(
        Path(report),
        report_of(
            measured.task, measured.model, measured.rows, found, title=title, started=started
        ),
        figures,
    )
    if as_json:
        print(to_json(figures))
    else:
        show_figures(found, Console())
    for message in found.remarks:
        logger.warning("%s", message)
    logger.info("The report is `%s`.", report)


command = writing_command(evaluate, [field.name for field in dataclasses.fields(Columns)])


def _refuse_options(given: Mapping[str, Any]) -> None:
    """Check that no option says what a plan says.

    Raises:
        ConfigError: Some do.
    """
    spelled = {"source_language": "src_lang", "target_language": "tgt_lang"}
    names = [spelled.get(name, name) for name, value in given.items() if value is not None]
    if names:
        listed = ", ".join(f"`{option_name(name)}`" for name in names)
        raise ConfigError(
            f"The model has several tasks, so its plan says how rows are read, not {listed}. Name "
            "columns in the plan, or choose one of the tasks by `--part`."
        )


def _writing(pipeline: "Pipeline", generation: GenerationConfig) -> "Pipeline":
    """Return a pipeline whose texts are written with options of `generate`.

    Raises:
        ConfigError: Evaluation writes no texts, or options contradict each other or the model.
    """
    from abrazo.inference.writing import WritingPipeline
    from abrazo.tasks.writing import WritingTask

    task = pipeline.task
    writes = isinstance(task, WritingTask) and task.writes_in_evaluation
    if not writes or not isinstance(pipeline, WritingPipeline):
        listed = ", ".join(f"`{option_name(name)}`" for name in generation.set_fields())
        raise ConfigError(
            f"Options of writing ({listed}) say nothing here: no texts are written to evaluate "
            f"the model's task, {task.name!r}. Leave them out."
        )
    return with_generation(pipeline, generation)


def _require_references(column: str | None, there: Sequence[str]) -> None:
    """Check that the column of right texts is there, which a single row need not have.

    Raises:
        DataError: It is not.
    """
    if column is not None and column not in there:
        listed = ", ".join(f"`{name}`" for name in there)
        hint = did_you_mean(column, there)
        raise DataError(f"There is no column `{column}` of right texts, only {listed}.{hint}")


def figures_of(found: "Evaluation") -> dict[str, Any]:
    """Return all that was measured, fit for JSON."""
    details = _class_details(found)
    return {
        **found.metrics,
        "num_rows": found.num_rows,
        "num_truncated": found.num_truncated,
        "seconds": found.seconds,
        "rows_per_second": found.rows_per_second,
        "precision": found.precision,
        **({} if details is None else {"details": details.to_dict()}),
        **({"tasks": {n: figures_of(p) for n, p in found.parts.items()}} if found.parts else {}),
    }


def to_json(figures: Mapping[str, Any]) -> str:
    """Return figures as JSON; what is no number becomes null."""
    return json.dumps(_finite(figures), indent=2, ensure_ascii=False)


def show_figures(found: "Evaluation", console: Console) -> None:
    """Print the figures, those of classes in a table of their own."""
    table = Table("figure", "value", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for name, value in found.metrics.items():
        table.add_row(name.replace("_", " "), _shown(value))
    console.print(table)
    for name, part in {"": found, **found.parts}.items():
        details = _class_details(part)
        if details is not None:
            console.print(f"\n{name}" if name else "", highlight=False)
            console.print(_class_table(details))
    cut = f", {found.num_truncated:,} of them cut" if found.num_truncated else ""
    speed = f"{found.rows_per_second:,.0f} rows a second in {found.precision}"
    console.print(f"\n{found.num_rows:,} rows{cut}; {speed}.", highlight=False)


def report_of(
    task: "Task",
    model: "PretrainedModel",
    rows: RowSource,
    found: "Evaluation",
    *,
    title: str,
    started: datetime.datetime,
) -> "RunReport":
    """Return the report of an evaluation.

    Args:
        task: What the model was asked.
        model: The model.
        rows: The rows that were evaluated.
        found: What was found.
        title: Of the report.
        started: When the evaluation began.
    """
    from abrazo.training.report import RunReport
    from abrazo.training.report_rows import with_rows

    report = RunReport(
        title=title,
        task=task.name,
        model=f"{type(model).__name__} from {model.source}",
        started=started,
        ended=datetime.datetime.now().astimezone(),
        settings=task.settings.to_dict(),
        environment={
            "device": str(model.device),
            "precision": found.precision,
            "processors": str(os.cpu_count()),
            "system": platform.platform(),
            "packages": f"abrazo {__version__}, Python {platform.python_version()}",
        },
        data=_splits(task, found),
        metrics=found.metrics,
        details=_class_details(found),
    )
    return with_rows(report, found, rows, task, model.tokenizer)


def _splits(task: "Task", found: "Evaluation") -> "list[SplitSummary]":
    """Return what the rows were like, those of each task for itself."""
    from abrazo.tasks.multi_task import MultiTask
    from abrazo.training.report import SplitSummary

    evaluated = [("evaluation", task, found)]
    if isinstance(task, MultiTask):
        evaluated = [(name, task.part(name), part) for name, part in found.parts.items()]
    splits = []
    for name, one, part in evaluated:
        details = _class_details(part)
        classes = () if details is None else details.classes
        splits.append(
            SplitSummary(
                name=name,
                rows=part.num_rows,
                label_counts={each.label: each.support for each in classes},
                max_length=one.settings.max_length,
                truncated_rows=part.num_truncated,
            )
        )
    return splits


def write_evaluation(path: Path, report: "RunReport", figures: Mapping[str, Any]) -> None:
    """Write a report, and the figures beside it.

    Raises:
        DataError: One of the files cannot be written.
    """
    from abrazo.training.report import write_report

    try:
        write_report(path, report)
        (path.parent / METRICS_FILE).write_text(to_json(figures) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"The report `{path}` cannot be written: {error}") from error


def _class_details(found: "Evaluation") -> "ClassificationDetails | None":
    from abrazo.metrics.classification import ClassificationDetails

    return found.details if isinstance(found.details, ClassificationDetails) else None


def _class_table(details: "ClassificationDetails") -> Table:
    table = Table("class", "precision", "recall", "F1", "rows", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for each in details.classes:
        figures = map(_shown, (each.precision, each.recall, each.f1))
        table.add_row(Text(each.label), *figures, f"{each.support:,}")
    table.add_section()
    for average in details.averages:
        figures = map(_shown, (average.precision, average.recall, average.f1))
        table.add_row(f"{average.name} average", *figures, "")
    return table


def _shown(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value
