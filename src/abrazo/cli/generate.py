"""`abrazo generate`: prompts in, what a model writes to them out; one prompt as it is written."""

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abrazo.cli.answering import AsItem, Places, Row, answer_places
from abrazo.cli.loading import Columns, InferenceOptions
from abrazo.cli.writing import load_writer, writing_command
from abrazo.data.readers.formats import ReadOptions
from abrazo.errors import ConfigError
from abrazo.generation.config import GenerationConfig

if TYPE_CHECKING:
    from abrazo.inference.writing import WritingPipeline
    from abrazo.tasks.base import Task


def generate(
    model: str,
    input: str | None = None,
    /,
    *,
    prompt: str | None = None,
    chat: bool = False,
    system: str | None = None,
    return_full_text: bool = False,
    places: Places,
    columns: Columns,
    generation: GenerationConfig,
    inference: InferenceOptions,
    read: ReadOptions,
) -> None:
    """Write on from the prompts of a file or of a stream, in order, or from one prompt.

    The output has the columns of the input and `predicted_generated_text`; a text file gets one
    text a line. Rows with `messages` are conversations. With `--prompt`, the text is shown while
    it is written.

    From a file to a file, answers are kept as they come: the same command goes on where a run was
    broken off.

    Args:
        model: A folder, also of a training run, a name, or a repository.
        input: A CSV, TSV, JSON, Parquet, Arrow or text file, or `-` for the standard input, whose
            JSON lines or texts are answered as they come.
        prompt: One prompt, instead of a file.
        chat: Whether prompts are what a user says in a conversation, as the model was taught.
        system: What conversations begin with, in the role `system`; implies `--chat`.
        return_full_text: Whether texts begin with their prompt.
        places: Where texts go.
        columns: Columns of the file.
        generation: How is written; what is left out is the model's own.
        inference: How to compute.
        read: How to read the file.
    """
    if (prompt is None) == (input is None):
        raise ConfigError("Give either a file (or `-`), or one prompt by `--prompt`.")
    if input is not None and " " in input and not Path(input).exists():
        raise ConfigError(f"There is no file {input!r:.60}. A prompt is given by `--prompt`.")
    is_chat = chat or system is not None

    def load() -> "WritingPipeline":
        pipeline = load_writer(model, None, columns, generation, inference, {})
        return _going_on(pipeline, is_chat=is_chat, return_full_text=return_full_text)

    if prompt is not None:
        if places != Places():
            raise ConfigError("What is written to `--prompt` is shown, so it takes no file.")
        item = _messages(system, prompt) if is_chat else prompt
        _show(load(), item, before=prompt if return_full_text else "")
        return
    assert input is not None
    answer_places(
        input,
        places,
        read,
        load,
        as_item=_in_chat(system) if is_chat else None,
        options={"system": system, "chat": is_chat, "part": inference.part},
    )


command = writing_command(generate, ["prompt_column", "messages_column", "source_column"])


def _going_on(
    pipeline: "WritingPipeline", *, is_chat: bool, return_full_text: bool
) -> "WritingPipeline":
    """Return a pipeline that gives out what is asked for.

    Raises:
        ConfigError: The model does not go on from prompts, or knows no conversations.
    """
    from abrazo.tasks.text_generation import TextGeneration

    task = pipeline.task
    if isinstance(task, TextGeneration):
        task.settings = task.settings.replace(return_full_text=return_full_text)
        if is_chat:
            pipeline.tokenizer.get_chat_template()  # which says what is to be done without one
    elif is_chat or return_full_text:
        option = "--chat" if is_chat else "--return-full-text"
        raise ConfigError(
            f"`{option}` is for models that go on from prompts, but the model's task is "
            f"{task.name!r}."
        )
    return pipeline


def _in_chat(system: str | None) -> AsItem:
    """Return what makes a conversation of a row: of its messages, or of its text as a user's."""

    def as_conversation(task: "Task", row: Row) -> Any:
        from abrazo.tasks.text_generation import TextGeneration

        assert isinstance(task, TextGeneration)
        messages, text = row.get(task.messages_column), row.get(task.prompt_column(row))
        if isinstance(messages, list):
            return [*_messages(system), *messages]
        return _messages(system, text) if isinstance(text, str) else row

    return as_conversation


def _messages(system: str | None, text: str | None = None) -> list[dict[str, str]]:
    """Return the messages that a conversation begins with."""
    told = [] if system is None else [{"role": "system", "content": system}]
    return told if text is None else [*told, {"role": "user", "content": text}]


def _show(pipeline: "WritingPipeline", item: Any, before: str) -> None:
    """Write to one prompt and show it, while it is written where that can be."""
    if pipeline.plan().rows_per_source == 1:
        for piece in itertools.chain([before], pipeline.as_written(item)):
            sys.stdout.write(piece)
            sys.stdout.flush()
        print()
        return
    answers = pipeline(item)
    for answer in answers if isinstance(answers, list) else [answers]:
        (text,) = answer.values()
        print(text if isinstance(text, str) else before + text[-1]["content"])
