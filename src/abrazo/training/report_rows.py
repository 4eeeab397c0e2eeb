"""Rows of an evaluation as reports show them: what was read, what was wished for, what came."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from abrazo.data.mixture import Mixture
from abrazo.data.rows import RowSource
from abrazo.inference.evaluation import Evaluation, WrittenSample
from abrazo.tasks.base import Task
from abrazo.tasks.multi_task import MultiTask
from abrazo.tasks.text_to_text import TextToText
from abrazo.tokenization.tokenizer import Tokenizer
from abrazo.training.report import Mistake, RunReport, Sample


def with_rows(
    report: RunReport, found: Evaluation, rows: RowSource, task: Task, tokenizer: Tokenizer
) -> RunReport:
    """Return a report that shows rows of an evaluation: mistakes, and texts that were written.

    Of several tasks, it shows the mistakes of each.

    Args:
        report: The report.
        found: The evaluation.
        rows: The rows that were evaluated.
        task: Reads them.
        tokenizer: The model's tokenizer.
    """
    if isinstance(task, MultiTask) and isinstance(rows, Mixture):
        return dataclasses.replace(
            report, mistakes=_mistakes_of_parts(found, rows, task, tokenizer)
        )
    shown = _ShownRows(rows, task, tokenizer)
    return dataclasses.replace(
        report,
        mistakes=shown.mistakes(found),
        samples=shown.samples(found.samples),
        unlike=shown.samples(found.unlike),
        unlike_by=found.unlike_by,
    )


def _mistakes_of_parts(
    found: Evaluation, rows: Mixture, task: MultiTask, tokenizer: Tokenizer
) -> list[Mistake]:
    """Return the rows of each task that are most surely wrong; where they are from names it."""
    return [
        dataclasses.replace(mistake, origin=f"{name}: {mistake.origin}")
        for name, one in found.parts.items()
        for mistake in _ShownRows(rows.sources[name], task.part(name), tokenizer).mistakes(one)
    ]


class _ShownRows:
    """The rows of a data set, as a task reads them."""

    def __init__(self, rows: RowSource, task: Task, tokenizer: Tokenizer) -> None:
        self._rows, self._task, self._tokenizer = rows, task, tokenizer

    def mistakes(self, found: Evaluation) -> list[Mistake]:
        """Return the rows that are most surely wrong."""
        return [
            Mistake(
                text=self.text(wrong.number),
                label=wrong.label,
                predicted=wrong.predicted,
                score=wrong.score,
                origin=self._rows.origin(wrong.number),
            )
            for wrong in found.wrong
        ]

    def samples(self, written: Sequence[WrittenSample]) -> list[Sample]:
        """Return rows with what a model wrote for them."""
        return [
            Sample(
                text=self.source(sample.number),
                right=sample.right,
                written=sample.written,
                score=sample.score,
                origin=self._rows.origin(sample.number),
            )
            for sample in written
        ]

    def source(self, number: int) -> str:
        """Return what a row gives to read, where a model writes another text for it."""
        if not isinstance(self._task, TextToText):
            return self.text(number)
        (row,) = self._rows.rows([number])
        return str(row.get(self._task.column_read([row]), ""))

    def text(self, number: int) -> str:
        """Return a row's texts; of tokenised rows, the text that their ids stand for."""
        (row,) = self._rows.rows([number])
        if "input_ids" in row:
            ids = np.asarray(row["input_ids"]).reshape(-1).tolist()
            return str(self._tokenizer.decode(ids, skip_special_tokens=True))
        return " | ".join(self._texts_read(row) or _texts(row, self._task.label_column))

    def _texts_read(self, row: Mapping[str, Any]) -> list[str]:
        """Return what stands in the columns that the task's settings name."""
        return [
            str(row[column])
            for name, column in self._task.settings.to_dict().items()
            if name.endswith("_column") and name != "label_column" and column in row
        ]


def _texts(row: Mapping[str, Any], label_column: str) -> list[str]:
    return [value for name, value in row.items() if isinstance(value, str) and name != label_column]
