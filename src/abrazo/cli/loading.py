"""What several commands load: a model with its task, and the rows of a file."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from abrazo.cli.options import as_options
from abrazo.config import Config
from abrazo.data.dataset import Dataset, DatasetDict
from abrazo.data.loading import load_dataset, read_table
from abrazo.data.readers.formats import ReadOptions
from abrazo.data.starter import STARTER_NAME
from abrazo.errors import ConfigError

if TYPE_CHECKING:
    from abrazo.inference.pipeline import Pipeline
    from abrazo.models.base import PretrainedModel
    from abrazo.models.multi_task import MultiTaskModel
    from abrazo.tasks.base import Task

Format = Literal["csv", "tsv", "json", "jsonl", "text", "parquet", "arrow"]
"""The formats of files, by the names of `abrazo.data.readers.formats.FORMATS`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferenceOptions(Config):
    """How a model computes its answers."""

    device: str | None = None
    """Where to compute: cpu, cuda, cuda:0 or mps; the best there is unless given."""
    precision: str = "auto"
    """auto, fp32, bf16 or fp16; auto is bf16 where the device has units for it, else fp32."""
    token_budget: int | None = None
    """Tokens of a batch; what suits the device unless given."""
    revision: str | None = None
    """Branch, tag or commit, for a model of a hub."""
    task: str | None = None
    """The task where it is your own, as `my_file.py:MyTask`; the model's own unless given."""
    model_class: str | None = None
    """The model's class where its family is your own, as `my_file.py:MyModel`."""
    part: str | None = None
    """Which task of a model that has several."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns(Config):
    """Columns of the file, where they are not called as in training."""

    text_column: str | None = None
    """Column of the text."""
    pair_column: str | None = None
    """Column of the second text of a pair."""
    question_column: str | None = None
    """Column of the question."""
    negative_column: str | None = None
    """Column of the text that is unlike."""
    label_column: str | None = None
    """Column of the label."""
    source_column: str | None = None
    """Column of the text that is read to write another."""
    target_column: str | None = None
    """Column of the text that is to be written."""
    references_column: str | None = None
    """Column of lists of texts that are compared with instead."""
    messages_column: str | None = None
    """Column of conversations."""
    prompt_column: str | None = None
    """Column of what is answered."""
    completion_column: str | None = None
    """Column of the answers to learn."""


def load_pipeline(
    name: str,
    columns: Columns,
    options: InferenceOptions,
    *,
    task: "type[Task] | None" = None,
    settings: Mapping[str, Any] | None = None,
) -> "Pipeline":
    """Load a model with the task it was trained for, ready to answer.

    Args:
        name: A folder, also of a training run, a built-in name, or a repository.
        columns: Columns that go before those of the model's own settings.
        options: How to compute.
        task: The task, where the command has one; `options.task` goes before it.
        settings: More of the task's settings; those that are None are the model's own.

    Raises:
        HubError: The name leads to no folder.
        ConfigError: The model has no head that a task is known for, or an option is wrong.
        CheckpointError: The weights are damaged or do not fit.
    """
    from abrazo.layers.devices import find_device
    from abrazo.tasks.auto import load_with_task

    device = find_device(options.device)
    try:
        model, kind = load_with_task(
            name,
            options.task or task,
            model_class=options.model_class,
            revision=options.revision,
            part=options.part,
        )
    except ConfigError as error:
        raise ConfigError(as_options(str(error), ["part"])) from error
    model.to(device)
    return make_pipeline(model, kind, {**columns.to_dict(), **(settings or {})}, options)


def make_pipeline(
    model: "PretrainedModel",
    kind: "type[Task]",
    settings: Mapping[str, Any],
    options: InferenceOptions,
) -> "Pipeline":
    """Return what answers with a model that is loaded.

    Args:
        model: The model.
        kind: Its task.
        settings: Settings of the task that go before the model's own; those that are None do not.
        options: How to compute.

    Raises:
        ConfigError: A setting is wrong.
    """
    from abrazo.inference.pipeline import pipeline_type

    given = {field: value for field, value in settings.items() if value is not None}
    known = kind.settings_type.from_dict({**kind.stored_settings(model), **given})
    return pipeline_type(kind)(
        kind.of_model(model, known),
        model,
        model.tokenizer,
        precision=options.precision,
        token_budget=options.token_budget,
    )


def load_several(name: str, options: InferenceOptions) -> "MultiTaskModel | None":
    """Load a model if it has several tasks and none of them is chosen, else return None.

    Raises:
        HubError: The name leads to no folder.
        CheckpointError: The weights are damaged or do not fit.
    """
    from abrazo.checkpoints.jsonfile import read_json_object
    from abrazo.hub.resolve import find_model
    from abrazo.layers.devices import find_device
    from abrazo.models.auto import is_multi_task
    from abrazo.models.base import CONFIG_FILE
    from abrazo.models.multi_task import MultiTaskModel

    if options.part is not None or options.task is not None:
        return None
    folder = find_model(name, revision=options.revision)
    if not is_multi_task(read_json_object(folder / CONFIG_FILE)):
        return None
    model = MultiTaskModel.from_pretrained(name, revision=options.revision)
    return model.to(find_device(options.device)) if len(model.names) > 1 else None


def read_files(files: Sequence[str], read: ReadOptions) -> Dataset | DatasetDict:
    """Read the rows of files as `--train` and `--eval` name them."""
    if list(files) == [STARTER_NAME]:
        return load_dataset(STARTER_NAME)
    if len(files) == 1:
        return read_table(files[0], options=read)  # which knows what the standard input holds
    return Dataset.from_files(files, options=read)
