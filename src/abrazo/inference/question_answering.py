"""Asking texts: `ask = pipeline("question-answering", model)`, `ask(question=..., context=...)`."""

import copy
from collections.abc import Sequence
from typing import Any

from abrazo.errors import ConfigError, DataError
from abrazo.inference.pipeline import Pipeline
from abrazo.tasks.question_answering import QuestionAnswering


class QuestionAnsweringPipeline(Pipeline):
    """Answers out of contexts, for one question or many."""

    def __call__(
        self,
        inputs: Any = None,
        *,
        question: str | Sequence[str] | None = None,
        context: str | Sequence[str] | None = None,
        top_k: int | None = 1,
        **settings: Any,
    ) -> Any:
        """Return `{score, start, end, answer}` for each question, or a list of the best.

        Args:
            inputs: A mapping with `question` and `context`, or the two as a tuple; a list or data
                set of these; or an iterator, which is read bit by bit and answered by an iterator.
            question: In place of `inputs`: one question or several.
            context: The context of each question, or one for all.
            top_k: How many answers: 1 gives the best alone, None gives all.
            settings: Fields of the task's settings to change for this call, such as
                `handle_impossible_answer=True`.

        Raises:
            DataError: An input is none of these, or a text is empty; it is named by its number.
            ConfigError: The task has no such setting.
        """
        assert isinstance(self.task, QuestionAnswering)
        if top_k is not None and top_k < 1:
            raise ConfigError(f"`top_k` must be at least 1, or None for all, but is {top_k}.")
        asked = copy.copy(self)
        asked.task = self.task.asking(settings) if settings else self.task
        if (question is None) != (context is None) or (inputs is None) == (question is None):
            raise DataError(
                "Give `question` and `context`, or in their place mappings that have both."
            )
        if question is not None and context is not None:
            inputs = _paired(question, context)
        return Pipeline.__call__(asked, inputs, top_k=top_k)


def _paired(question: str | Sequence[str], context: str | Sequence[str]) -> Any:
    """Return one pair, or a list of them."""
    if isinstance(question, str) and isinstance(context, str):
        return question, context
    number = len(context) if isinstance(question, str) else len(question)
    questions, contexts = (
        [each] * number if isinstance(each, str) else list(each) for each in (question, context)
    )
    if len(questions) != len(contexts):
        raise DataError(
            f"There must be a context for each question, but there are {len(questions)} questions "
            f"and {len(contexts)} contexts."
        )
    return list(zip(questions, contexts, strict=True))
