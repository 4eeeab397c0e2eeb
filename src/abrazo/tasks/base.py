"""What a task is: one file that training, evaluation, pipelines and the command line share.

A task knows which columns it reads, how a row becomes features, which head learns from them, how
the head's tensors become a prediction, and what is counted. It knows nothing of the trainer.

    rows --encode--> features --collate--> packed batch --model--> tensors --predict--> prediction
                                                                     prediction --answer--> JSON
"""

import abc
import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from abrazo.config import Config, require_types
from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, DataError
from abrazo.layers.layout import Layout
from abrazo.layers.packing import PackedBatch
from abrazo.metrics.base import Metric
from abrazo.models.auto import load_model
from abrazo.models.base import PretrainedModel
from abrazo.models.family import HeadPlan
from abrazo.tasks.remarks import Remarks
from abrazo.tasks.windows import Window
from abrazo.tokenization.rows import EncodedRows
from abrazo.tokenization.tokenizer import Tokenizer


def row_name(number: int) -> str:
    """Name a row by its number alone."""
    return f"row {number + 1}"


@dataclasses.dataclass(frozen=True, slots=True)
class Features:
    """One stretch of tokens of one row. Tasks that read long texts make several of a row."""

    input_ids: np.ndarray
    """(n,) int32 token ids, special tokens included."""
    token_type_ids: np.ndarray | None
    """(n,) segments, or None where all are the first."""
    label: Any
    """What the head learns from: a number, an array, or None."""
    row: int
    """Number of the row in its data set."""
    dropped: int = 0
    """Tokens of the row that truncation cut off."""
    window: Window | None = None
    """Where the stretch stands in its row, in tasks that read long texts in windows."""
    source: Any = None
    """What the task remembers of the row to make its answer."""
    part: str = ""
    """Which of several tasks the row belongs to, where they are learned together."""


def features_of(
    encoded: EncodedRows, numbers: Sequence[int], labels: Sequence[Any] | None = None
) -> list[Features]:
    """Return encoded texts as features, one of each.

    Args:
        encoded: What `Tokenizer.encode_rows` returned.
        numbers: The number of the row that each text is from.
        labels: What the head learns from, for each text; None where there are no labels.
    """
    segments, offsets = encoded.token_type_ids, encoded.offsets.tolist()
    return [
        Features(
            encoded.input_ids[start:end],
            None if segments is None else segments[start:end],
            None if labels is None else labels[place],
            numbers[place],
            int(encoded.dropped[place]),
        )
        for place, (start, end) in enumerate(itertools.pairwise(offsets))
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSettings(Config):
    """How a task reads its rows; each task adds its own fields."""

    max_length: int | None = None
    """The most tokens of a row; None takes what the model can read."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a mapping, such as a model folder holds.

        Raises:
            ConfigError: It is no mapping, or a field is unknown or of another type.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"The task's settings must be a mapping, but are {values!r:.80}.")
        require_types(cls, cls.known_fields(values))
        return super().from_dict(values)


class Task(abc.ABC):
    """Base of all tasks."""

    name: ClassVar[str]
    """The name users write, as `text-classification`."""
    head_name: ClassVar[str]
    """The head of a family that learns it."""
    stand_ins: ClassVar[tuple[str, ...]] = ()
    """Other heads that can serve the task, without having learned it."""
    head_plan: ClassVar[HeadPlan | None] = None
    """How that head is built, where families do not have it."""
    settings_type: ClassVar[type[TaskSettings]] = TaskSettings
    """The settings' dataclass; its fields are the options of the command line."""
    settings: TaskSettings
    reads_tokens: ClassVar[bool] = False
    """Whether `encode` takes rows with `input_ids` too."""
    keeps_rows_whole: ClassVar[bool] = False
    """Whether the loss needs all features of a row in one batch."""
    least_rows: int = 1
    """How many rows a batch needs for the loss to say anything; 2 where it compares them."""
    call_arguments: ClassVar[tuple[str, ...]] = ("texts", "text_pairs")
    """What a model is called with on raw texts, in order, one entry a row each."""
    label_argument: ClassVar[str] = "labels"
    """What the labels of such a call are called, besides `labels`."""
    usual_label_column: ClassVar[str] = "label"
    """The column of labels where the settings name none."""

    @property
    def label_column(self) -> str:
        """The column of labels."""
        return getattr(self.settings, "label_column", None) or self.usual_label_column

    @property
    def labels_are_lists(self) -> bool:
        """Whether the label of one row may be a list."""
        return False

    def __init__(self, settings: TaskSettings) -> None:
        """Take settings that leave nothing open but `max_length`."""
        self.settings = settings

    # From data, from a folder, and back ------------------------------------------------------

    @classmethod
    def learn(cls, rows: RowSource, settings: TaskSettings) -> Self:
        """Look at training rows and settle what the settings leave open: columns, labels.

        Unless a task says otherwise, there is nothing left open.

        Raises:
            DataError: A column is missing or a label cannot be used; row and value are named.
        """
        return cls(settings)

    @classmethod
    def of_model(cls, model: PretrainedModel, settings: TaskSettings | None = None) -> Self:
        """Return the task as the model was trained for it.

        Raises:
            ConfigError: The model has another head than the task needs, or the settings are wrong.
        """
        if model.head_name not in cls.stand_ins:
            cls.require_head(model)
        if settings is None:
            settings = cls.settings_type.from_dict(cls.stored_settings(model))
        task = cls(cls.complete(settings, model))
        task.fit_length(model)
        return task

    @classmethod
    def complete(cls, settings: TaskSettings, model: PretrainedModel) -> TaskSettings:
        """Return the settings with what a trained model, or else usage, says where they are open.

        Raises:
            ConfigError: Settings and model contradict each other.
        """
        return settings

    def model_options(self) -> dict[str, Any]:
        """Return what `from_pretrained` needs to give the model the right head."""
        return {}

    @classmethod
    def load_model(cls, name_or_path: str | Path, **options: Any) -> PretrainedModel:
        """Load a model with the task's head; the options are those of `load_model`.

        Raises:
            ConfigError: The model's family does not have the head.
            HubError: The name leads to no folder.
            CheckpointError: The weights are damaged or do not fit; every tensor is listed.
        """
        return load_model(name_or_path, cls.head_name, plan=cls.head_plan, **options)

    @classmethod
    def load_to_serve(cls, name_or_path: str | Path, **options: Any) -> PretrainedModel:
        """Load a model to ask it, not to train it; tasks with `stand_ins` may take such a head."""
        return cls.load_model(name_or_path, **options)

    @classmethod
    def stored_settings(cls, model: PretrainedModel) -> Mapping[str, Any]:
        """Return the settings that a model was trained with, if that was for this task."""
        is_ours = model.task_settings.get("task") == cls.name
        return model.task_settings.get("settings", {}) if is_ours else {}

    @classmethod
    def known_settings(cls, model: PretrainedModel, columns: Collection[str]) -> dict[str, Any]:
        """Return what a model knows of the task, as far as rows with these columns have it."""
        known = {
            name: value
            for name, value in cls.stored_settings(model).items()
            if not name.endswith("_column") or value in columns
        }
        config = model.config
        of_labels: dict[str, Any] = {"labels": None, "problem": None}
        if config.has_named_labels:
            of_labels = {"labels": config.labels, "problem": config.problem_type}
        elif config.num_labels == 1:
            of_labels["problem"] = "regression"
        fields = cls.settings_type.__dataclass_fields__
        return known | {name: value for name, value in of_labels.items() if name in fields}

    @classmethod
    def adopt(cls, model: PretrainedModel) -> PretrainedModel:
        """Return the model with the task's head, where a head can be had without training it.

        Other tasks return the model as it is.
        """
        return model

    def prepare_model(self, model: PretrainedModel) -> None:
        """Settle how long rows may be, and write into the model what it needs to serve this task.

        Raises:
            ConfigError: The head does not fit the task, or rows may be longer than it reads.
        """
        self.require_head(model)
        self.fit_length(model)
        model.task_settings = {"task": self.name, "settings": self.settings.to_dict()}

    @classmethod
    def require_head(cls, model: PretrainedModel) -> None:
        """Check that the model has the head that learns the task.

        Raises:
            ConfigError: It has another, or none.
        """
        if model.head_name != cls.head_name:
            there = f"the head {model.head_name!r}" if model.head_name else "no head"
            raise ConfigError(
                f"The task {cls.name!r} needs a model with the head {cls.head_name!r}, but "
                f"{type(model).__name__} has {there}. `{cls.__name__}.load_model(name)` loads one."
            )

    def fit_length(self, model: PretrainedModel) -> None:
        """Settle `max_length`: what the settings say, else what model and tokenizer can take.

        Raises:
            ConfigError: The settings ask for more than the model reads.
        """
        limit = model.max_length
        wanted = self.settings.max_length
        if wanted is not None and wanted > limit:
            raise ConfigError(
                f"`max_length` must be at most {limit}, the model's own, but is {wanted}."
            )
        if wanted is None:
            self.settings = self.settings.replace(max_length=limit)

    # The way of a row ------------------------------------------------------------------------

    @abc.abstractmethod
    def encode(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
        origin: Callable[[int], str] = row_name,
    ) -> list[Features]:
        """Turn rows into features, at least one of each, in order.

        Args:
            rows: Rows as mappings from column to value.
            numbers: The rows' numbers in their data set.
            tokenizer: The model's tokenizer.
            with_labels: Whether labels are read; then each row must have one.
            origin: From a row's number to where it came from, for messages.

        Raises:
            DataError: A text is empty or no text, or a label is unknown.
        """

    def choose(self, features: list[Features], *, seed: int, epoch: int) -> list[Features]:
        """Return the features to learn from in one epoch, at least one of each row.

        Evaluation takes all. What is random must depend on the seed, the epoch and the features'
        rows alone, as in `augment`, which comes after.

        Args:
            features: All features of some rows, in order.
            seed: The run's seed.
            epoch: The epoch.
        """
        return features

    def augment(self, features: list[Features], *, seed: int, epoch: int) -> list[Features]:
        """Change labelled features for one epoch, as by hiding words; others stay as they are.

        What is random must depend on the seed, the epoch and the features' rows alone, so that a
        resumed run draws the same. Evaluation always asks for the same seed and epoch.

        Args:
            features: All features of some rows, in order; they are kept for other epochs and must
                not be changed in place.
            seed: The run's seed.
            epoch: The epoch.
        """
        return features

    def collate(self, features: Sequence[Features]) -> PackedBatch:
        """Pack features into a batch, shortest first, so that attention needs no gathering."""
        ordered = sorted(features, key=lambda feature: len(feature.input_ids))
        lengths = [len(feature.input_ids) for feature in ordered]
        return PackedBatch(
            input_ids=torch.from_numpy(np.concatenate([f.input_ids for f in ordered])),
            layout=Layout(lengths),
            token_type_ids=_join_segments(ordered, lengths),
            labels=self.join_labels(ordered),
            rows=tuple(feature.row for feature in ordered),
        )

    def join_labels(self, features: Sequence[Features]) -> Tensor | None:
        """Return the labels of a batch as one tensor, or None without labels."""
        if features[0].label is None:
            return None
        return torch.from_numpy(np.asarray([feature.label for feature in features]))

    def condense(
        self, answers: dict[str, Tensor], batch: PackedBatch, *, with_labels: bool
    ) -> dict[str, Tensor]:
        """Keep of the head's tensors what `predict` needs, before they leave the device.

        Each tensor must have a line for each token, or for each row where the head's has.

        Args:
            answers: What the head said of the batch.
            batch: The batch.
            with_labels: Whether features were made with labels.
        """
        return answers

    @abc.abstractmethod
    def predict(
        self, features: Sequence[Features], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> Any:
        """Turn what the head said of one row's features into the row's prediction."""

    def row_label(self, features: Sequence[Features]) -> Any:
        """Return the label of a row, or None without labels."""
        return features[0].label

    def to_arrays(
        self, predictions: Sequence[Any], labels: Sequence[Any]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield predictions and labels of rows as arrays, in order, as metrics count them.

        Args:
            predictions: One for each row, at least one.
            labels: Their labels, as `row_label` gives them.
        """
        yield np.stack(predictions), np.asarray(labels)

    @abc.abstractmethod
    def answer(self, prediction: Any, *, top_k: int | None = 1) -> Any:
        """Turn a prediction into what a user gets, ready for JSON.

        Args:
            prediction: What `predict` made of the row.
            top_k: How many candidates are wished: a list of the best, or of all for None.
                With 1 the best one stands by itself.
        """

    def judge(self, prediction: Any, label: Any) -> tuple[str, str, float] | None:
        """Return the right answer, the given one and its score from 0 to 1, to list bad mistakes.

        None for tasks whose answers are not one of some labels.
        """
        return None

    @abc.abstractmethod
    def as_row(self, item: Any) -> Mapping[str, Any]:
        """Turn what a user hands to a pipeline (a text, a pair, a mapping) into a row.

        Raises:
            DataError: It is none of these.
        """

    # Raw texts that a model is called with -------------------------------------------------

    def rows_of_call(
        self,
        columns: Sequence[Sequence[Any]],
        labels: Sequence[Any] | None,
        tokenizer: Tokenizer,
    ) -> list[dict[str, Any]]:
        """Turn what a model is called with into rows.

        Args:
            columns: The first of `call_arguments`, as many as are given, one entry a row each.
            labels: One for each row, or None.
            tokenizer: The model's tokenizer.

        Raises:
            DataError: An entry is no text, or what else the task reads; the row is named.
        """
        rows = []
        for number, item in enumerate(zip(*columns, strict=True)):
            try:
                rows.append(dict(self.as_row(item[0] if len(item) == 1 else item)))
            except DataError as error:
                raise DataError(f"{row_name(number)}: {error}") from error
        if labels is not None:
            for row, label in zip(rows, labels, strict=True):
                row[self.label_column] = label
        return rows

    def settle_labels(self, rows: RowSource, model: PretrainedModel) -> Self:
        """Return the task that reads the labels of a call, where the model leaves them open.

        Raises:
            DataError: The labels cannot be used.
        """
        return self

    def encode_call(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
    ) -> list[Features]:
        """Turn rows of a call into features whose outputs a user reads; else as `encode`."""
        return self.encode(rows, numbers, tokenizer, with_labels=with_labels)

    def columns_of_label(self, feature: Features) -> dict[str, Any]:
        """Return the label of features by the names of a model's arguments."""
        return {} if feature.label is None else {"labels": feature.label}

    @abc.abstractmethod
    def new_metrics(self) -> Metric:
        """Return fresh counters of the task's metrics, fed with predictions and labels."""

    def new_remarks(self) -> Remarks:
        """Return what looks at the features of a data set for things that users should know."""
        return Remarks()


def _join_segments(features: Sequence[Features], lengths: Sequence[int]) -> Tensor | None:
    if all(feature.token_type_ids is None for feature in features):
        return None
    parts = [
        np.zeros(length, dtype=np.int32)
        if feature.token_type_ids is None
        else feature.token_type_ids
        for feature, length in zip(features, lengths, strict=True)
    ]
    return torch.from_numpy(np.concatenate(parts).astype(np.int32))
