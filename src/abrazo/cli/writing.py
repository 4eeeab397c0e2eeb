"""`abrazo translate` and `abrazo summarize`: texts in, what a model writes of them out."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from abrazo.cli.answering import Places, answer_places
from abrazo.cli.loading import Columns, InferenceOptions, load_pipeline
from abrazo.cli.options import as_options, with_options
from abrazo.data.readers.formats import ReadOptions
from abrazo.errors import ConfigError
from abrazo.generation.config import GenerationConfig

if TYPE_CHECKING:
    from abrazo.inference.writing import WritingPipeline
    from abrazo.tasks.base import Task

_NOT_ON_A_LINE = ("bad_words_ids", "extra")
"""Options of `generate` that words cannot say."""


def translate(
    model: str,
    input: str,
    /,
    *,
    src_lang: str | None = None,
    tgt_lang: str | None = None,
    prefix: str | None = None,
    places: Places,
    columns: Columns,
    generation: GenerationConfig,
    inference: InferenceOptions,
    read: ReadOptions,
) -> None:
    """Translate the rows of a file or of a stream, in order.

    The output has the columns of the input and `predicted_translation_text`; a text file gets one
    translation a line, and its empty lines stay. Texts longer than the model reads are translated
    piece by piece.

    From a file to a file, answers are kept as they come: the same command goes on where a run was
    broken off.

    Args:
        model: A folder, also of a training run, a name, or a repository.
        input: A CSV, TSV, JSON, Parquet, Arrow or text file, or `-` for the standard input, whose
            JSON lines or texts are answered as they come.
        src_lang: The language of the texts, in models with several, as the model calls it.
        tgt_lang: The language to translate to, in models with several.
        prefix: What is put before each text, as T5 was taught; the model's own unless given.
        places: Where translations go.
        columns: Columns of the file.
        generation: How is written; what is left out is the model's own.
        inference: How to compute.
        read: How to read the file.
    """
    from abrazo.tasks.text_to_text import Translation

    settings = {"source_language": src_lang, "target_language": tgt_lang, "prefix": prefix}

    def load() -> "WritingPipeline":
        return load_writer(model, Translation, columns, generation, inference, settings)

    answer_places(input, places, read, load, options={"part": inference.part})


def summarize(
    model: str,
    input: str,
    /,
    *,
    prefix: str | None = None,
    places: Places,
    columns: Columns,
    generation: GenerationConfig,
    inference: InferenceOptions,
    read: ReadOptions,
) -> None:
    """Summarize the rows of a file or of a stream, in order.

    The output has the columns of the input and `predicted_summary_text`; a text file gets one
    summary a line. Texts longer than the model reads are summarized piece by piece.

    From a file to a file, answers are kept as they come: the same command goes on where a run was
    broken off.

    Args:
        model: A folder, also of a training run, a name, or a repository.
        input: A CSV, TSV, JSON, Parquet, Arrow or text file, or `-` for the standard input, whose
            JSON lines or texts are answered as they come.
        prefix: What is put before each text, as T5 was taught; the model's own unless given.
        places: Where summaries go.
        columns: Columns of the file.
        generation: How is written; what is left out is the model's own.
        inference: How to compute.
        read: How to read the file.
    """
    from abrazo.tasks.text_to_text import Summarization

    settings = {"prefix": prefix}

    def load() -> "WritingPipeline":
        return load_writer(model, Summarization, columns, generation, inference, settings)

    answer_places(input, places, read, load, options={"part": inference.part})


def load_writer(
    model: str,
    task: "type[Task] | None",
    columns: Columns,
    generation: GenerationConfig,
    inference: InferenceOptions,
    settings: Mapping[str, Any],
) -> "WritingPipeline":
    """Load a model that writes, with the options of `generate`.

    Args:
        model: A folder, a name, or a repository.
        task: The task; None takes the model's own, or text generation where it fills masks.
        columns: Columns of the file.
        generation: Options that go before the model's own.
        inference: How to compute.
        settings: More of the task's settings; those that are None are the model's own.

    Raises:
        ConfigError: The model does not write, or options contradict each other or the model.
    """
    from abrazo.inference.writing import WritingPipeline
    from abrazo.tasks.masked_lm import MaskedLM
    from abrazo.tasks.text_generation import TextGeneration

    pipeline = load_pipeline(model, columns, inference, task=task, settings=settings)
    if task is None and isinstance(pipeline.task, MaskedLM):  # which writes by filling masks
        pipeline = load_pipeline(model, columns, inference, task=TextGeneration, settings=settings)
    if not isinstance(pipeline, WritingPipeline):
        raise ConfigError(
            f"The model's task is {pipeline.task.name!r}, which writes no texts. "
            "`abrazo predict` answers with it."
        )
    return with_generation(pipeline, generation)


def with_generation(pipeline: "WritingPipeline", generation: GenerationConfig) -> "WritingPipeline":
    """Return a pipeline that writes with options of `generate`.

    Args:
        pipeline: A pipeline that writes.
        generation: Options that go before the model's own.

    Raises:
        ConfigError: Options contradict each other or the model.
    """
    try:
        writer = pipeline.writing(**generation.set_fields())
        writer.plan()
    except ConfigError as error:
        raise ConfigError(as_options(str(error), generation.to_dict())) from error
    return writer


def writing_command(
    function: Callable[..., int | None], columns: Collection[str]
) -> Callable[..., int | None]:
    """Return a command that writes.

    Args:
        function: The command, with settings as parameters.
        columns: Those columns that are options of it.
    """
    others = {field.name for field in dataclasses.fields(Columns)} - set(columns)
    return with_options(function, leave_out={*others, *_NOT_ON_A_LINE})


translate_command = writing_command(translate, ["source_column"])
summarize_command = writing_command(summarize, ["source_column"])
