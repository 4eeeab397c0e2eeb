"""A user's own collator: rows in, padded tensors out, packed at the door.

Shapes: B rows, S padded columns, T tokens of all rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from abrazo.data.collate import CountingCollator
from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, DataError, one_of
from abrazo.heads.base import IGNORED_LABEL, pack_token_labels
from abrazo.layers.packing import PackedBatch, pack
from abrazo.metrics.base import Metric, MetricGroup
from abrazo.models.base import PretrainedModel
from abrazo.tasks.base import Features, Task, TaskSettings, row_name
from abrazo.tokenization.tokenizer import Tokenizer

Collator = Callable[[list[Mapping[str, Any]]], Mapping[str, Any]]
"""From rows to a mapping of padded tensors, as `DataCollatorWithPadding` is."""

PLACES = ("start_positions", "end_positions")
"""Columns where answers start and end, (B,), in place of `labels`."""
_KNOWN = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "position_ids",
    "labels",
    "next_sentence_label",
    *PLACES,
)


def pack_collated(
    collated: Mapping[str, Any], *, per_token: bool, rows: tuple[int, ...] = ()
) -> PackedBatch:
    """Pack what a collator made.

    Args:
        collated: `input_ids` (B, S), perhaps `attention_mask`, `token_type_ids` and
            `position_ids` of the same shape, `labels` (B, ...) or, where the head answers for each
            token, (B, S), `next_sentence_label` (B,), and where answers start and end,
            `start_positions` and `end_positions` (B,).
        per_token: Whether the head learns from a label for each token.
        rows: Numbers of the rows, for messages.

    Raises:
        DataError: There are no `input_ids`, a name is unknown, or shapes do not fit.
    """
    if not isinstance(collated, Mapping):
        raise DataError(
            "`data_collator` must return a mapping with `input_ids`, but returned "
            f"{collated!r:.80}."
        )
    tensors = {name: _tensor(name, value) for name, value in dict(collated).items()}
    if "input_ids" not in tensors:
        raise DataError(
            "`data_collator` must return a mapping with `input_ids`, but it has "
            f"{', '.join(f'`{name}`' for name in tensors) or 'nothing'}."
        )
    batch, padding = pack(
        tensors["input_ids"], tensors.get("attention_mask"), tensors.get("token_type_ids")
    )
    labels = tensors.get("labels")
    if labels is not None:
        batch.labels = pack_token_labels(labels, padding) if per_token else labels
    if all(name in tensors for name in PLACES):
        columns = torch.stack([tensors[name].reshape(-1) for name in PLACES], -1)  # (B, 2)
        batch.labels = padding.count_tokens_before(columns, otherwise=IGNORED_LABEL)
    if "position_ids" in tensors:
        batch.position_ids = padding.pack(tensors["position_ids"].expand(padding.shape))
    batch.next_sentence_label = tensors.get("next_sentence_label")
    batch.rows = rows
    return batch


def call_collator(
    collator: Collator,
    rows: Sequence[Mapping[str, Any]],
    numbers: Sequence[int],
    seed: int,
    epoch: int,
) -> Mapping[str, Any]:
    """Collate rows of a data set; with randomness by counter, where the collator knows it."""
    if isinstance(collator, CountingCollator):
        return collator.collate_rows(list(rows), numbers, seed=seed, epoch=epoch)
    return collator(list(rows))


def _tensor(name: str, value: Any) -> Tensor:
    if name not in _KNOWN:
        raise DataError(
            one_of("What `data_collator` returns", name, _KNOWN) + " Leave other columns out."
        )
    try:
        return value if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"`data_collator` must return tensors, but `{name}` cannot be one: {error}. Pad it."
        ) from error


class CollatedTask(Task):
    """A task whose rows are read by the user's collator, for evaluation and prediction.

    Each row is collated by itself; what a row means, its metrics and answers are those of the task
    inside, where there is one.
    """

    name = "collated"
    head_name = ""
    settings_type = TaskSettings

    def __init__(self, inner: Task | None, collator: Collator, *, per_token: bool) -> None:
        """Wrap.

        Args:
            inner: The task that the model was made for; None where abrazo has none for its head.
            collator: The user's collator.
            per_token: Whether the head learns from a label for each token.
        """
        self.inner, self.collator, self.per_token = inner, collator, per_token
        self.settings = TaskSettings() if inner is None else inner.settings

    @classmethod
    def learn(cls, rows: RowSource, settings: TaskSettings) -> Self:
        """Refuse: it is made from a collator."""
        raise ConfigError("A collated task is made from a collator, not learned from rows.")

    @classmethod
    def of_model(cls, model: PretrainedModel, settings: TaskSettings | None = None) -> Self:
        """Refuse: it is made from a collator."""
        raise ConfigError("A collated task is made from a collator, not from a model.")

    def model_options(self) -> dict[str, Any]:
        """Return those of the task inside."""
        return {} if self.inner is None else self.inner.model_options()

    def prepare_model(self, model: PretrainedModel) -> None:
        """Let the task inside prepare the model."""
        if self.inner is not None:
            self.inner.prepare_model(model)

    def encode(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
        origin: Callable[[int], str] = row_name,
    ) -> list[Features]:
        """Collate each row by itself."""
        features = []
        for row, number in zip(rows, numbers, strict=True):
            try:
                features.append(self._features(row, number, with_labels))
            except DataError as error:
                raise DataError(f"{origin(number)}: {error}") from error
        return features

    def _features(self, row: Mapping[str, Any], number: int, with_labels: bool) -> Features:
        collated = call_collator(self.collator, [row], [number], seed=0, epoch=0)
        batch = pack_collated(collated, per_token=self.per_token, rows=(number,))
        label = batch.labels if with_labels else None
        if with_labels and label is None and batch.next_sentence_label is None:
            raise DataError("there is no label (`labels`).")
        if label is not None and not self.per_token:
            label = label[0]
        segments = batch.token_type_ids
        if segments is not None and not segments.any():
            segments = None  # all of the first segment, as the task leaves it
        return Features(
            batch.input_ids.numpy().astype(np.int32),
            None if segments is None else segments.numpy().astype(np.int32),
            None if label is None else label.numpy(),
            number,
        )

    def join_labels(self, features: Sequence[Features]) -> Tensor | None:
        """Stack labels of rows; join those of tokens."""
        if features[0].label is None:
            return None
        join = np.concatenate if self.per_token else np.stack
        return torch.from_numpy(join([feature.label for feature in features]))

    def condense(
        self, answers: dict[str, Tensor], batch: PackedBatch, *, with_labels: bool
    ) -> dict[str, Tensor]:
        """Keep what the task inside keeps."""
        if self.inner is None:
            return answers
        return self.inner.condense(answers, batch, with_labels=with_labels)

    def predict(
        self, features: Sequence[Features], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> np.ndarray:
        """Return what the task inside makes of the outputs, or else the first of them."""
        if self.inner is not None:
            prediction: np.ndarray = self.inner.predict(features, outputs)
            return prediction
        first: np.ndarray = next(iter(outputs[0].values()))
        return first

    def row_label(self, features: Sequence[Features]) -> Any:
        """Return what the task inside takes as the row's label."""
        return super().row_label(features) if self.inner is None else self.inner.row_label(features)

    def to_arrays(
        self, predictions: Sequence[Any], labels: Sequence[Any]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield arrays as the task inside does."""
        if self.inner is None:
            return super().to_arrays(predictions, labels)
        return self.inner.to_arrays(predictions, labels)

    def answer(self, prediction: np.ndarray, *, top_k: int | None = 1) -> Any:
        """Return the answer of the task inside, or else the plain numbers."""
        if self.inner is not None:
            return self.inner.answer(prediction, top_k=top_k)
        return prediction.tolist()

    def judge(self, prediction: np.ndarray, label: Any) -> tuple[str, str, float] | None:
        """Judge as the task inside does."""
        return None if self.inner is None else self.inner.judge(prediction, label)

    def as_row(self, item: Any) -> Mapping[str, Any]:
        """Turn an item into a row as the task inside does; mappings are rows already."""
        if isinstance(item, Mapping) or self.inner is None:
            return dict(item)
        return self.inner.as_row(item)

    def new_metrics(self) -> Metric:
        """Return the metrics of the task inside; none without."""
        return MetricGroup() if self.inner is None else self.inner.new_metrics()
