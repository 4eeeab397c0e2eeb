"""`abrazo predict`: rows in, the same rows with the model's answers out."""

import itertools
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray

from abrazo.cli.loading import Columns, Format, InferenceOptions, load_pipeline
from abrazo.cli.options import with_options
from abrazo.cli.streams import (
    INPUT_NAME,
    READ_AS_THEY_COME,
    WRITTEN_AS_THEY_COME,
    arriving_rows,
    write_arriving,
)
from abrazo.data.loading import read_table
from abrazo.data.readers.formats import ReadOptions, format_of
from abrazo.data.squad import flat_questions
from abrazo.data.writing import write_table
from abrazo.errors import ConfigError, DataError

if TYPE_CHECKING:
    from abrazo.inference.pipeline import Pipeline
    from abrazo.tasks.base import Task

logger = logging.getLogger("abrazo")

Row = Mapping[str, Any]

_ANSWERED_AT_ONCE = 256


def predict(
    model: str,
    input: str,
    /,
    *,
    output: Annotated[str, Parameter(alias="-o")] = "-",
    input_format: Format | None = None,
    output_format: Format | None = None,
    top_k: int = 1,
    columns: Columns,
    inference: InferenceOptions,
    read: ReadOptions,
) -> None:
    """Answer the rows of a file or of a stream, in order.

    The output has the columns of the input and the answer: `predicted_label` and
    `predicted_score` for one class, `predicted` for a list of candidates or of several classes at
    once. A text file gets one answer a line.

    Args:
        model: A folder, also of a training run, a name, or a repository.
        input: A CSV, TSV, JSON, Parquet, Arrow or text file, or `-` for the standard input, whose
            JSON lines or texts are answered as they come.
        output: A file of one of these formats, or `-` for the standard output.
        input_format: Where the file's name does not show it; `-` holds JSON lines unless given.
        output_format: Where the file's name does not show it; `-` gets JSON lines unless given.
        top_k: How many candidates of each answer; 0 gives all.
        columns: Columns of the file.
        inference: How to compute.
        read: How to read the file.
    """
    if top_k < 0:
        raise ConfigError(f"`--top-k` must be 0 or more, but is {top_k}.")
    written = output_format or ("jsonl" if output == "-" else format_of(output))
    streamed = input_format or "jsonl"
    if input == "-" and streamed in READ_AS_THEY_COME:
        pipeline = load_pipeline(model, columns, inference)
        sources = _arriving_sources(pipeline.task, streamed == "text", read.encoding)
    else:
        read_rows = read_table(input, format=input_format, options=read)
        table = flat_questions(read_rows)  # before the model: it is fast
        pipeline = load_pipeline(model, columns, inference)
        sources = iter([_TaskRows(pipeline.task, table.rows, len(table), table.origin)])
    started, answered = time.perf_counter(), _Answers(pipeline, top_k or None, written == "text")
    if output == "-" and written in WRITTEN_AS_THEY_COME:
        chunks = itertools.chain.from_iterable(map(answered.chunks, sources))
        write_arriving(chunks, written)
        return
    rows = (row for source in sources for chunk in answered.chunks(source) for row in chunk)
    write_table(rows, output, format=written)
    seconds, precision = time.perf_counter() - started, pipeline.engine.precision
    logger.info("%d rows answered in %.1f s (%s).", answered.count, seconds, precision)


command = with_options(predict)


class _TaskRows:
    """Rows with the columns that a task reads, each knowing where it came from."""

    def __init__(
        self,
        task: "Task",
        rows: Callable[[Iterable[int]], list[dict[str, Any]]],
        count: int,
        origin: Callable[[int], str],
    ) -> None:
        self.given, self.origin = rows, origin
        self._task, self._count = task, count

    def __len__(self) -> int:
        return self._count

    @property
    def column_names(self) -> list[str]:
        """Names in the first row."""
        return list(self.rows([0])[0])

    def rows(self, indices: Iterable[int] | NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return rows under the names of the task's columns."""
        return [dict(self._task.as_row(row)) for row in self.given(indices)]


def _arriving_sources(task: "Task", is_text: bool, encoding: str | None) -> Iterator[_TaskRows]:
    for arrived in arriving_rows(sys.stdin.buffer, is_text=is_text, encoding=encoding):
        lines, rows = [line for line, _ in arrived], [row for _, row in arrived]
        yield _TaskRows(
            task,
            lambda indices, rows=rows: [rows[int(i)] for i in indices],  # type: ignore[misc]
            len(rows),
            lambda i, lines=lines: f"{INPUT_NAME}, line {lines[i]}",  # type: ignore[misc]
        )


class _Answers:
    """Rows as they were given, with their answers; counts them."""

    def __init__(self, pipeline: "Pipeline", top_k: int | None, as_lines: bool) -> None:
        self.pipeline, self.top_k, self.as_lines = pipeline, top_k, as_lines
        self.count = 0

    def chunks(self, source: _TaskRows) -> Iterator[list[Row]]:
        """Yield the answered rows of a source, some at a time."""
        from abrazo.inference.evaluation import predict_rows

        engine, task = self.pipeline.engine, self.pipeline.task
        found = predict_rows(engine, task, source, self.pipeline.tokenizer)
        while chunk := list(itertools.islice(found, _ANSWERED_AT_ONCE)):
            numbers = [each.number for each in chunk]
            self.count += len(chunk)
            answers = [task.answer(each.prediction, top_k=self.top_k) for each in chunk]
            if self.as_lines:
                yield [{"text": _as_line(answer)} for answer in answers]
            else:
                yield [
                    _with_answer(row, answer, source.origin(number))
                    for number, row, answer in zip(
                        numbers, source.given(numbers), answers, strict=True
                    )
                ]


def _with_answer(row: Row, answer: Any, origin: str) -> Row:
    """Return the row and what was predicted.

    Raises:
        DataError: The row has a column of that name already.
    """
    named = {"predicted": answer}
    if isinstance(answer, Mapping):
        named = {f"predicted_{name}": value for name, value in answer.items()}
    if twice := row.keys() & named:
        listed = ", ".join(f"`{name}`" for name in sorted(twice))
        raise DataError(f"{origin}: the input has {listed} already; rename or remove it.")
    return {**row, **named}


def _as_line(answer: Any) -> str:
    """Return the label or the text of an answer, or all of it as JSON."""
    if isinstance(answer, Mapping) and answer.keys() & {"label", "answer"}:
        return " ".join(str(answer.get("label", answer.get("answer"))).splitlines())
    return json.dumps(answer, ensure_ascii=False)
