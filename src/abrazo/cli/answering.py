"""Rows in, the same rows with a model's answers out: what all commands share that answer.

From a file to a file the run keeps its answers as they come (`progress.py`), so that it goes on
where it was broken off. What comes from the standard input, or goes to the standard output, is
answered as it comes.
"""

import dataclasses
import itertools
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from abrazo.cli.loading import Format
from abrazo.cli.progress import Progress, digest_of_folder, shown_progress
from abrazo.cli.streams import (
    INPUT_NAME,
    READ_AS_THEY_COME,
    WRITTEN_AS_THEY_COME,
    arriving_rows,
    write_arriving,
)
from abrazo.config import Config
from abrazo.data.loading import read_table
from abrazo.data.readers.formats import ReadOptions, format_of
from abrazo.data.rows import RowSource
from abrazo.data.squad import flat_questions
from abrazo.data.writing import require_plain_name, write_table
from abrazo.errors import DataError

if TYPE_CHECKING:
    from abrazo.inference.pipeline import Pipeline
    from abrazo.tasks.base import Task

logger = logging.getLogger("abrazo")

Row = Mapping[str, Any]
AsItem = Callable[["Task", Row], Any]
"""From a row of the file to what the task is asked."""

_ANSWERED_AT_ONCE = 256
_ROWS_OF_A_PART = 8_192
_TEXTS_OF_A_PART = {"cpu": 256, "cuda": 1_024}
"""Rows that are kept together, once all of them have an answer; writing takes longer."""
_LINE_KEYS = ("label", "answer", "generated_text", "translation_text", "summary_text")
"""What of an answer is a line of a text file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Places(Config):
    """Where rows come from and where answers go."""

    ALIASES: ClassVar[Mapping[str, str]] = {"o": "output"}

    output: str = "-"
    """A file of one of these formats, or `-` for the standard output."""
    input_format: Format | None = None
    """Where the file's name does not show it; `-` holds JSON lines unless given."""
    output_format: Format | None = None
    """Where the file's name does not show it; `-` gets JSON lines unless given."""
    restart: bool = False
    """Begin anew where an earlier run was broken off."""

    @property
    def written_format(self) -> str:
        """The format of the output."""
        return self.output_format or ("jsonl" if self.output == "-" else format_of(self.output))


def answer_places(
    input: str,
    places: Places,
    read: ReadOptions,
    load: Callable[[], "Pipeline"],
    *,
    top_k: int | None = 1,
    as_item: AsItem | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Answer the rows of a file or a stream.

    Args:
        input: The file, or `-`.
        places: Where answers go.
        read: How to read the file.
        load: Loads the model; called once the file has been read.
        top_k: How many candidates of each answer; None gives all.
        as_item: What of a row is asked; by default the row, or its text in a file of texts.
        options: What else decides the answers, by name, besides the task's settings.

    Raises:
        DataError: A row cannot be read, the output cannot be written, or an earlier run to the
            same output had other rows or options.
    """
    written, streamed = places.written_format, places.input_format or "jsonl"
    require_plain_name(places.output)
    if input == "-" and streamed in READ_AS_THEY_COME:
        answering = Answering(load(), top_k, as_item, written)
        sources = answering.arriving(is_text=streamed == "text", encoding=read.encoding)
        answering.write_as_they_come(sources, places.output)
        return
    table = flat_questions(read_table(input, format=places.input_format, options=read))
    is_text = (places.input_format or format_of(input)) == "text"
    answering = Answering(load(), top_k, as_item, written)
    source = answering.source(table.rows, len(table), table.origin, is_text=is_text)
    if input == "-" or places.output == "-" or _is_special(places.output):
        answering.write_as_they_come([source], places.output)
    else:
        run = answering.describe(options or {})
        answering.write_keeping(source, places.output, run, restart=places.restart)


class TaskRows:
    """Rows as a task reads them, each knowing where it came from."""

    def __init__(
        self,
        task: "Task",
        rows: Callable[[Iterable[int]], list[dict[str, Any]]],
        count: int,
        origin: Callable[[int], str],
        as_item: AsItem | None,
        is_text: bool,
    ) -> None:
        self.given, self.origin = rows, origin
        self._task, self._count = task, count
        self._is_text = is_text
        self._as_item = as_item or (_text_alone if is_text else _as_it_is)

    def __len__(self) -> int:
        return self._count

    @property
    def column_names(self) -> list[str]:
        """Names in the first row."""
        return list(self.rows([0])[0]) if self._count else []

    def rows(self, indices: Iterable[int] | NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return rows under the names of the task's columns.

        Raises:
            DataError: The task can make nothing of one; it is named.
        """
        numbers = [int(number) for number in indices]
        return [
            self._task_row(row, number)
            for row, number in zip(self.given(numbers), numbers, strict=True)
        ]

    def _task_row(self, row: Row, number: int) -> dict[str, Any]:
        try:
            return dict(self._task.as_row(self._as_item(self._task, row)))
        except DataError as error:
            raise DataError(f"{self.origin(number)}: {error}") from error

    def empty_lines(self, numbers: Sequence[int]) -> set[int]:
        """Return which of some rows are lines of a text file with nothing in them."""
        if not self._is_text:
            return set()
        rows = zip(numbers, self.given(numbers), strict=True)
        return {number for number, row in rows if not row["text"].strip()}


class Answering:
    """A model at work on rows."""

    def __init__(
        self, pipeline: "Pipeline", top_k: int | None, as_item: AsItem | None, written: str
    ) -> None:
        """Take what answers.

        Args:
            pipeline: The model and its task.
            top_k: How many candidates of each answer.
            as_item: What of a row is asked.
            written: The format of the output.
        """
        self.pipeline, self.top_k, self.as_item, self.written = pipeline, top_k, as_item, written
        self.count = 0
        self.num_empty = 0
        self._started = time.perf_counter()

    # Rows ----------------------------------------------------------------------------------

    def source(
        self,
        rows: Callable[[Iterable[int]], list[dict[str, Any]]],
        count: int,
        origin: Callable[[int], str],
        *,
        is_text: bool,
    ) -> TaskRows:
        """Return rows as the task reads them."""
        return TaskRows(self.pipeline.task, rows, count, origin, self.as_item, is_text)

    def arriving(self, *, is_text: bool, encoding: str | None) -> Iterator[TaskRows]:
        """Yield what has come in the standard input so far, and wait for more."""
        for arrived in arriving_rows(sys.stdin.buffer, is_text=is_text, encoding=encoding):
            lines, rows = [line for line, _ in arrived], [row for _, row in arrived]
            yield self.source(
                lambda indices, rows=rows: [rows[int(i)] for i in indices],  # type: ignore[misc]
                len(rows),
                lambda i, lines=lines: f"{INPUT_NAME}, line {lines[i]}",  # type: ignore[misc]
                is_text=is_text,
            )

    # Answers -------------------------------------------------------------------------------

    def answers(self, source: TaskRows, numbers: Sequence[int]) -> Iterator[Any]:
        """Yield the answer of each of some rows; empty lines of a text stay empty."""
        from abrazo.inference.evaluation import predict_rows

        empty = source.empty_lines(numbers) if self._keeps_empty_lines() else set()
        asked: RowSource = _Chosen(source, [number for number in numbers if number not in empty])
        pipeline = self.pipeline
        found = predict_rows(pipeline.engine, pipeline.task, asked, pipeline.tokenizer)
        for number in numbers:
            self.count += 1
            self.num_empty += number in empty
            prediction = _nothing() if number in empty else next(found).prediction
            yield pipeline.task.answer(prediction, top_k=self.top_k)

    def _keeps_empty_lines(self) -> bool:
        """Tell whether the task has nothing to write for an empty line."""
        from abrazo.tasks.text_to_text import TextToText

        return isinstance(self.pipeline.task, TextToText)

    def answered_rows(
        self, source: TaskRows, numbers: Sequence[int], answers: Sequence[Any]
    ) -> list[Row]:
        """Return rows with their answers as they are written.

        Raises:
            DataError: A row has a column of the answer's name already.
        """
        if self.written == "text":
            return [{"text": _as_line(answer)} for answer in answers]
        return [
            _with_answer(row, answer, source, number)
            for number, row, answer in zip(numbers, source.given(numbers), answers, strict=True)
        ]

    # To where they go ----------------------------------------------------------------------

    def write_as_they_come(self, sources: Iterable[TaskRows], output: str) -> None:
        """Write the answered rows of sources as soon as there are some."""
        chunks = itertools.chain.from_iterable(map(self._chunks, sources))
        if output == "-" and self.written in WRITTEN_AS_THEY_COME:
            write_arriving(chunks, self.written)
            if self.num_empty:
                self._tell()
            return
        write_table(itertools.chain.from_iterable(chunks), output, format=self.written)
        self._tell()

    def _chunks(self, source: TaskRows) -> Iterator[list[Row]]:
        numbers = range(len(source))
        answers = self.answers(source, numbers)
        for start in range(0, len(numbers), _ANSWERED_AT_ONCE):
            some = numbers[start : start + _ANSWERED_AT_ONCE]
            yield self.answered_rows(source, some, list(itertools.islice(answers, len(some))))

    def write_keeping(
        self, source: TaskRows, output: str, run: Mapping[str, Any], *, restart: bool
    ) -> None:
        """Write the answered rows of a file, in parts that are kept when the run is broken off."""
        with Progress(output, run, source.given, len(source), self._part_size(), restart) as kept:
            with shown_progress(len(source), kept.num_rows) as show:
                for part in kept.parts_to_do():
                    answers = []
                    for answer in self.answers(source, part):
                        answers.append(answer)
                        show(kept.num_rows + len(answers))
                    self.answered_rows(source, part, answers)  # which refuses what is there twice
                    kept.add(answers)
            rows = (
                row
                for part, answers in kept.answers()
                for row in self.answered_rows(source, part, answers)
            )
            write_table(rows, output, format=self.written)
        self._tell()

    def _part_size(self) -> int:
        from abrazo.tasks.writing import WritingTask

        engine = self.pipeline.engine
        if not isinstance(self.pipeline.task, WritingTask):
            return _ROWS_OF_A_PART
        return _TEXTS_OF_A_PART.get(engine.model.device.type, _TEXTS_OF_A_PART["cpu"])

    def describe(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return all that decides the answers, besides the rows."""
        task, engine = self.pipeline.task, self.pipeline.engine
        settings = task.settings.to_dict()
        generation = settings.pop("generation", {})
        return {
            "task": task.name,
            "model": digest_of_folder(engine.model.source),
            "top_k": self.top_k,
            **settings,
            **generation,
            **options,
            "device": engine.model.device.type,
            "precision": engine.precision,
            "token_budget": engine.token_budget,
        }

    def _tell(self) -> None:
        seconds, precision = time.perf_counter() - self._started, self.pipeline.engine.precision
        empty = f"; {self.num_empty} empty lines stay empty" if self.num_empty else ""
        logger.info("%d rows answered in %.1f s (%s)%s.", self.count, seconds, precision, empty)


class _Chosen:
    """Some rows of a source."""

    def __init__(self, source: TaskRows, numbers: Sequence[int]) -> None:
        self._source, self._numbers = source, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def column_names(self) -> list[str]:
        return self._source.column_names

    def rows(self, indices: Iterable[int] | NDArray[np.int64]) -> list[dict[str, Any]]:
        return self._source.rows([self._numbers[int(index)] for index in indices])

    def origin(self, row: int) -> str:
        return self._source.origin(self._numbers[row])


def _as_it_is(task: "Task", row: Row) -> Any:
    return row


def _text_alone(task: "Task", row: Row) -> Any:
    return row["text"]


def _is_special(output: str) -> bool:
    """Tell whether an output is a pipe or a device, which keeps nothing."""
    return Path(output).exists() and not Path(output).is_file()


def _nothing() -> Any:
    """Return what a model that writes says of an empty text."""
    from abrazo.tasks.written import WrittenText

    return WrittenText([""], [None])


def _with_answer(row: Row, answer: Any, source: TaskRows, number: int) -> Row:
    """Return the row and what was predicted.

    Raises:
        DataError: The row has a column of that name already.
    """
    named = {"predicted": answer}
    if isinstance(answer, Mapping):
        named = {f"predicted_{name}": value for name, value in answer.items()}
    if twice := row.keys() & named:
        listed = ", ".join(f"`{name}`" for name in sorted(twice))
        where = source.origin(number)
        raise DataError(f"{where}: the input has {listed} already; rename or remove it.")
    return {**row, **named}


def _as_line(answer: Any) -> str:
    """Return the label or the text of an answer, or all of it as JSON."""
    if isinstance(answer, Mapping):
        for key in _LINE_KEYS:
            if key in answer and not isinstance(answer[key], list):
                return " ".join(str(answer[key]).splitlines())
    return json.dumps(answer, ensure_ascii=False)
