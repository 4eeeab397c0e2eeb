"""A task, a model and a tokenizer behind one call.

classify = pipeline("text-classification", "my-model")
classify("a fine film")                      # {"label": "positive", "score": 0.98}
classify(["a fine film", "a bore"])          # a list, in order
for answer in classify(lines_of_a_file()):   # an iterator for anything read bit by bit
    ...
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from abrazo.errors import ConfigError, DataError
from abrazo.inference.evaluation import predict_items
from abrazo.inference.generating import engine_for
from abrazo.layers.devices import find_device
from abrazo.models.auto import load_model
from abrazo.models.base import PretrainedModel
from abrazo.models.multi_task import MultiTaskModel
from abrazo.tasks.auto import require_trained_for, settled, task_type
from abrazo.tasks.base import Task, row_name
from abrazo.tasks.masked_lm import MaskedLM
from abrazo.tasks.question_answering import QuestionAnswering
from abrazo.tasks.text_classification import TextClassification
from abrazo.tasks.token_classification import TokenClassification
from abrazo.tasks.writing import WritingTask
from abrazo.tokenization.tokenizer import Tokenizer

ZERO_SHOT = "zero-shot-classification"
"""A use of two kinds of models, and no task: nothing is trained for it."""


class Pipeline:
    """Answers for one text or many."""

    def __init__(
        self,
        task: Task,
        model: PretrainedModel,
        tokenizer: Tokenizer,
        *,
        precision: str = "auto",
        token_budget: int | None = None,
    ) -> None:
        """Make a model ready to answer.

        Args:
            task: What is asked of the model.
            model: Left as it is; another precision is computed on a copy of its weights.
            tokenizer: The model's tokenizer.
            precision: `auto`, `fp32`, `bf16` or `fp16`.
            token_budget: Tokens of a batch; None takes what suits the device.
        """
        self.task = task
        self.tokenizer = tokenizer
        self.engine = engine_for(
            task, model, tokenizer, precision=precision, token_budget=token_budget
        )

    def __call__(self, inputs: Any, *, top_k: int | None = 1) -> Any:
        """Answer one input, or many in order.

        Args:
            inputs: A text, a pair of texts as a tuple, or a mapping; a list or data set of these;
                or an iterator, which is read bit by bit and answered by an iterator.
            top_k: How many candidates: 1 gives the best alone, None gives all.

        Raises:
            ConfigError: `top_k` is below 1.
            DataError: An input is none of these; it is named by its number.
        """
        if top_k is not None and top_k < 1:
            raise ConfigError(f"`top_k` must be at least 1, or None for all, but is {top_k}.")
        if isinstance(inputs, str | tuple | Mapping):
            return next(self.stream([inputs], top_k=top_k))
        if isinstance(inputs, bytes) or not (isinstance(inputs, Iterable) or _has_length(inputs)):
            raise DataError(f"A text, or many of them, is wanted, not {inputs!r:.80}.")
        answers = self.stream(inputs, top_k=top_k)
        return list(answers) if isinstance(inputs, Sequence) or _has_length(inputs) else answers

    def stream(self, inputs: Iterable[Any], *, top_k: int | None = 1) -> Iterator[Any]:
        """Answer inputs as they come, in order."""
        rows = (self._row(number, item) for number, item in enumerate(inputs))
        for prediction in predict_items(self.engine, self.task, rows, self.tokenizer):
            yield self.task.answer(prediction, top_k=top_k)

    def _row(self, number: int, item: Any) -> Mapping[str, Any]:
        try:
            return self.task.as_row(item)
        except DataError as error:
            raise DataError(f"{row_name(number)}: {error}") from error

    def __repr__(self) -> str:
        name, precision = type(self.engine.model).__name__, self.engine.precision
        return f"Pipeline({self.task.name!r}, {name}, {precision}, {self.engine.model.device})"


def pipeline(
    task: str | type[Task] | Task,
    model: str | Path | PretrainedModel,
    *,
    model_class: type[PretrainedModel] | str | None = None,
    tokenizer: Tokenizer | None = None,
    device: torch.device | str | None = None,
    precision: str = "auto",
    token_budget: int | None = None,
    revision: str | None = None,
    token: str | None = None,
    part: str | None = None,
    **settings: Any,
) -> Pipeline:
    """Load what a task needs and put it behind one call.

    Args:
        task: The task's name, such as `text-classification` or `sentiment-analysis`, or
            `zero-shot-classification`; or a task of your own: its class, where that is, as
            `my_file.py:MyTask`, or the task itself with settings that hold.
        model: A folder, a name, a repository, or a loaded model.
        model_class: A class of the model's family where that is your own, or `my_file.py:MyModel`.
        tokenizer: Used instead of the model's own.
        device: Where to compute; None takes the best there is.
        precision: `auto` is bf16 where the hardware has units for it, else fp32.
        token_budget: Tokens of a batch; None takes what suits the device.
        revision: Branch, tag or commit of the repository.
        token: Key for a private repository.
        part: Which task of a model that has several; unless given, the one that there is of the
            kind of `task`.
        settings: Fields of the task's settings to change, such as `aggregation_strategy="max"`.

    Raises:
        ConfigError: There is no such task, the model was trained for another, or the task has no
            such setting.
        HubError: The name leads to no folder.
    """
    kind = None if task == ZERO_SHOT else task_type(task)
    if not isinstance(model, PretrainedModel):
        load = load_model if kind is None else kind.load_to_serve
        model = load(model, model_class=model_class, revision=revision, token=token, part=part)
        model.to(find_device(device))
    elif device is not None:
        model.to(find_device(device))
    if isinstance(model, MultiTaskModel):
        model = model.part_for(None if kind is None else kind.head_name, part)
    if kind is None:
        from abrazo.inference.zero_shot import zero_shot_pipeline  # it is built on this module

        if settings:
            raise ConfigError(f"`{task}` has no setting `{next(iter(settings))}`.")
        return zero_shot_pipeline(model, tokenizer, precision=precision, token_budget=token_budget)
    model = kind.adopt(model)
    require_trained_for(kind, model)
    return pipeline_type(kind)(
        settled(task, settings) if isinstance(task, Task) else _task_of(kind, model, settings),
        model,
        tokenizer or model.tokenizer,
        precision=precision,
        token_budget=token_budget,
    )


def pipeline_type(kind: type[Task]) -> type[Pipeline]:
    """Return the pipeline of a task; some have options of their own in a call."""
    if issubclass(kind, MaskedLM):
        from abrazo.inference.fill_mask import FillMaskPipeline  # it is built on this module

        return FillMaskPipeline
    if issubclass(kind, QuestionAnswering):
        from abrazo.inference.question_answering import QuestionAnsweringPipeline

        return QuestionAnsweringPipeline
    if issubclass(kind, TextClassification):
        from abrazo.inference.text_classification import TextClassificationPipeline

        return TextClassificationPipeline
    if issubclass(kind, TokenClassification):
        from abrazo.inference.token_classification import TokenClassificationPipeline

        return TokenClassificationPipeline
    if issubclass(kind, WritingTask):
        from abrazo.inference.writing import WritingPipeline

        return WritingPipeline
    return Pipeline


def _task_of(kind: type[Task], model: PretrainedModel, changes: Mapping[str, Any]) -> Task:
    """Return the task as the model was trained for it, with some settings changed."""
    if not changes:
        return kind.of_model(model)
    changed = kind.settings_type.known_fields(changes)
    stored = kind.stored_settings(model)
    return kind.of_model(model, kind.settings_type.from_dict({**stored, **changed}))


def _has_length(inputs: Any) -> bool:
    return hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__")
