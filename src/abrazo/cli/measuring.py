"""What `abrazo evaluate` measures: a model on rows, or each task of a model on those of a plan."""

import dataclasses
from typing import TYPE_CHECKING

from abrazo.cli.loading import InferenceOptions, make_pipeline
from abrazo.data.mixture import Mixture
from abrazo.data.readers.formats import ReadOptions
from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from abrazo.cli.plans import Plan, PlannedTask
    from abrazo.inference.evaluation import Evaluation
    from abrazo.inference.pipeline import Pipeline
    from abrazo.models.base import PretrainedModel
    from abrazo.models.multi_task import MultiTaskModel
    from abrazo.tasks.base import Task


@dataclasses.dataclass(frozen=True)
class Measured:
    """An evaluation, and what it is one of."""

    task: "Task"
    """What the model was asked."""
    model: "PretrainedModel"
    """The model."""
    rows: RowSource
    """The rows that it was asked for."""
    found: "Evaluation"
    """What was found."""


def measure(pipeline: "Pipeline", rows: RowSource) -> Measured:
    """Measure a model on labelled rows.

    Raises:
        DataError: A row cannot be read; it is named.
    """
    from abrazo.inference.evaluation import evaluate_rows

    found = evaluate_rows(pipeline.engine, pipeline.task, rows, pipeline.tokenizer)
    return Measured(pipeline.task, pipeline.engine.model, rows, found)


def measure_plan(
    model: "MultiTaskModel", path: str, options: InferenceOptions, read: ReadOptions
) -> Measured:
    """Measure each task of a model on the rows that a plan names for it.

    Args:
        model: The model.
        path: The plan.
        options: How to compute.
        read: How to read files with rows.

    Raises:
        ConfigError: The plan is wrong, or not one for the model.
        DataError: Rows cannot be read.
    """
    from abrazo.cli.plans import read_plan
    from abrazo.tasks.multi_task import MultiTask
    from abrazo.training.evaluating import join_evaluations

    try:
        plan = read_plan(path, "eval")
    except (ConfigError, DataError) as error:
        names = ", ".join(f"`{name}`" for name in model.names)
        raise type(error)(
            f"{error}\nThe model has several tasks ({names}), so a plan says what rows each is "
            f"evaluated on. For rows of one of them alone, name it: `--part {model.names[0]}`."
        ) from error
    _require_tasks_of(model, plan, path)
    measured = {
        name: _measure_part(model.part(name), name, task, options, read)
        for name, task in plan.tasks.items()
    }
    task = MultiTask({name: one.task for name, one in measured.items()}, plan.mixing.weights)
    found = join_evaluations({name: one.found for name, one in measured.items()}, task.weights)
    return Measured(task, model, Mixture({name: one.rows for name, one in measured.items()}), found)


def _measure_part(
    part: "PretrainedModel",
    name: str,
    task: "PlannedTask",
    options: InferenceOptions,
    read: ReadOptions,
) -> Measured:
    try:
        pipeline = make_pipeline(part, task.kind, task.settings, options)
        return measure(pipeline, task.rows_to_evaluate(read))
    except (ConfigError, DataError) as error:
        raise type(error)(f"The task `{name}`: {error}") from error


def _require_tasks_of(model: "MultiTaskModel", plan: "Plan", path: str) -> None:
    """Check that a model has the tasks of a plan.

    Raises:
        ConfigError: It lacks some, or learned another task under that name; all are listed.
    """
    from abrazo.tasks.auto import require_trained_for

    listed, problems = ", ".join(f"`{name}`" for name in model.names), []
    for name, task in plan.tasks.items():
        if name not in model.names:
            hint = did_you_mean(name, model.names)
            problems.append(f"`tasks.{name}` is no task of the model, which has {listed}.{hint}")
            continue
        try:
            require_trained_for(task.kind, model.part(name))
        except ConfigError as error:
            problems.append(f"`tasks.{name}.task`: {error}")
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ConfigError(f"The plan `{path}` is not one for the model:\n{lines}")
