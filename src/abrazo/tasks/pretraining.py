"""BERT's pretraining: hidden words in pairs of texts, and whether the second follows the first.

Rows have two texts and a label: 0 where the second follows, 1 where it is a random one.
`abrazo.data.sentence_pairs` makes such rows of documents.

Shapes: R rows, N labelled tokens of a batch.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from abrazo.data.rows import RowSource
from abrazo.errors import DataError
from abrazo.heads.base import IGNORED_LABEL
from abrazo.layers.packing import PackedBatch
from abrazo.metrics.base import Metric
from abrazo.metrics.classification import ClassificationMetrics
from abrazo.metrics.masked_words import PretrainingMetrics
from abrazo.models.base import PretrainedModel
from abrazo.tasks.base import Features, Task, TaskSettings, features_of, row_name
from abrazo.tasks.columns import find_column, text_of
from abrazo.tasks.masked_lm import MaskedLM, MaskedLMSettings
from abrazo.tokenization.tokenizer import Tokenizer

FIRST_COLUMNS = ("text", "text1", "sentence1", "sentence_a")
SECOND_COLUMNS = ("text_pair", "text2", "sentence2", "sentence_b")
FOLLOWS_COLUMNS = ("next_sentence_label", "label", "labels")
FOLLOWS, RANDOM = 0, 1
"""The labels of pairs."""
LABELS = ("follows", "random")
"""The names of the labels."""

_HINT = (
    " Make pairs of documents with `SentencePairs(Corpus(['corpus.txt']))`, or learn hidden words "
    "alone with a model for them, such as BertForMaskedLM."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairColumns:
    """The columns of pairs."""

    first: str
    """Column of the first text."""
    second: str
    """Column of the second text."""
    label: str
    """Column of the label."""

    @classmethod
    def find(cls, columns: Sequence[str], settings: "NextSentenceSettings") -> Self:
        """Find the columns by their names.

        Raises:
            DataError: One is missing; says how to make pairs.
        """
        try:
            return cls(
                first=find_column(columns, settings.text_column, FIRST_COLUMNS, "text"),
                second=find_column(columns, settings.pair_column, SECOND_COLUMNS, "pair"),
                label=find_column(columns, settings.label_column, FOLLOWS_COLUMNS, "label"),
            )
        except DataError as error:
            raise DataError(f"{error}{_HINT}") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class NextSentenceSettings(TaskSettings):
    """How pairs are read."""

    text_column: str | None = None
    """Column of the first text; found by its name unless given."""
    pair_column: str | None = None
    """Column of the second text."""
    label_column: str | None = None
    """Column of the label: 0 where the second text follows the first, 1 where it is random."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainingSettings(NextSentenceSettings, MaskedLMSettings):
    """How pairs are read and words are hidden."""


def encode_pairs(
    rows: Sequence[Mapping[str, Any]],
    numbers: Sequence[int],
    tokenizer: Tokenizer,
    settings: NextSentenceSettings,
    *,
    with_labels: bool,
    origin: Callable[[int], str],
) -> list[Features]:
    """Encode pairs, the longer text shortened first; the label is 0, 1 or None.

    Raises:
        DataError: A text is missing, or a label is neither 0 nor 1; the row is named.
    """
    first = settings.text_column or FIRST_COLUMNS[0]
    second = settings.pair_column or SECOND_COLUMNS[0]
    texts, pairs = (
        [
            text_of(row, column, number, origin, may_be_empty=not with_labels)
            for row, number in zip(rows, numbers, strict=True)
        ]
        for column in (first, second)
    )
    labels: list[int | None] = [None] * len(rows)
    if with_labels:
        column = settings.label_column or FOLLOWS_COLUMNS[0]
        labels = [_label_of(row, column, n, origin) for row, n in zip(rows, numbers, strict=True)]
    encoded = tokenizer.encode_rows(texts, pairs, max_length=settings.max_length)
    return features_of(encoded, numbers, labels if with_labels else None)


def _label_of(
    row: Mapping[str, Any], column: str, number: int, origin: Callable[[int], str]
) -> int:
    value = row.get(column)
    if value in LABELS:
        return LABELS.index(value)
    if isinstance(value, bool) or value not in (FOLLOWS, RANDOM):
        raise DataError(
            f"{origin(number)}: `{column}` must be 0 where the second text follows the first, or 1 "
            f"where it is a random one, but is {value!r:.80}."
        )
    return int(value)


def pair_row(item: Any, settings: NextSentenceSettings) -> Mapping[str, Any]:
    """Accept a pair of texts, or a mapping with the columns of pairs."""
    if isinstance(item, Mapping):
        return item
    if isinstance(item, Sequence) and not isinstance(item, str) and len(item) == 2:
        first = settings.text_column or FIRST_COLUMNS[0]
        return {first: item[0], settings.pair_column or SECOND_COLUMNS[0]: item[1]}
    raise DataError(f"A pair of texts or a mapping is wanted, not {item!r:.80}.")


def answer_pair(logits: np.ndarray, top_k: int | None) -> Any:
    """Return `{label, score}` of (2,) logits, or a list of both."""
    shares = np.exp(logits - logits.max())
    shares = shares / shares.sum()
    ranked = [
        {"label": LABELS[i], "score": float(shares[i])}
        for i in np.argsort(-shares, kind="stable")[:top_k]
    ]
    return ranked[0] if top_k == 1 else ranked


class Pretraining(MaskedLM):
    """Pairs of texts to the words hidden in them, and whether the second follows the first."""

    name = "pretraining"
    head_name = "pretraining"
    settings_type: ClassVar[type[TaskSettings]] = PretrainingSettings
    settings: PretrainingSettings
    reads_tokens = False
    logits_name = "prediction_logits"
    call_arguments = Task.call_arguments
    usual_label_column = FOLLOWS_COLUMNS[0]

    @classmethod
    def learn(cls, rows: RowSource, settings: TaskSettings) -> Self:
        """Find the columns of pairs."""
        assert isinstance(settings, PretrainingSettings)
        found = PairColumns.find(rows.column_names, settings)
        return cls(
            settings.replace(
                text_column=found.first, pair_column=found.second, label_column=found.label
            )
        )

    @classmethod
    def adopt(cls, model: PretrainedModel) -> PretrainedModel:
        """Return the model as it is."""
        return model

    def as_row(self, item: Any) -> Mapping[str, Any]:
        """Accept a pair of texts, or a mapping with the task's columns."""
        return pair_row(item, self.settings)

    def encode(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
        origin: Callable[[int], str] = row_name,
    ) -> list[Features]:
        """Encode pairs; the words of each are known then, and hidden by `augment`."""
        features = encode_pairs(
            rows, numbers, tokenizer, self.settings, with_labels=with_labels, origin=origin
        )
        if not with_labels:
            return features
        masker = self.masker(tokenizer)
        return [
            dataclasses.replace(
                feature,
                label=np.full(len(feature.input_ids), IGNORED_LABEL, dtype=np.int32),
                source=(masker.words(feature.input_ids), feature.label),
            )
            for feature in features
        ]

    def _hidden(self, feature: Features, generator: np.random.Generator) -> Features:
        words, follows = feature.source
        hidden = super()._hidden(dataclasses.replace(feature, source=words), generator)
        return dataclasses.replace(hidden, source=follows)

    def collate(self, features: Sequence[Features]) -> PackedBatch:
        """Pack pairs with both kinds of labels."""
        batch = super().collate(features)
        ordered = sorted(features, key=lambda feature: len(feature.input_ids))
        if ordered[0].label is not None:
            batch.next_sentence_label = torch.tensor([feature.source for feature in ordered])
        return batch

    def rows_of_call(
        self,
        columns: Sequence[Sequence[Any]],
        labels: Sequence[Any] | None,
        tokenizer: Tokenizer,
    ) -> list[dict[str, Any]]:
        """Turn pairs into rows."""
        return Task.rows_of_call(self, columns, labels, tokenizer)

    def encode_call(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
    ) -> list[Features]:
        """Encode pairs; their words are hidden as in evaluation where there are labels."""
        return self.encode(rows, numbers, tokenizer, with_labels=with_labels)

    def columns_of_label(self, feature: Features) -> dict[str, Any]:
        """Return the hidden words, and whether the second text follows."""
        if feature.label is None:
            return {}
        return {"labels": feature.label, "next_sentence_label": feature.source}

    def condense(
        self, answers: dict[str, Tensor], batch: PackedBatch, *, with_labels: bool
    ) -> dict[str, Tensor]:
        """Keep what is counted of words, with labels, and the (R, 2) logits of the pairs."""
        pairs = {"seq_relationship_logits": answers["seq_relationship_logits"].float()}
        if not with_labels:
            return pairs
        return {**super().condense(answers, batch, with_labels=True), **pairs}

    def predict(
        self, features: Sequence[Features], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> Any:
        """Return the row's counts as `metrics.masked_words.PAIR_COUNTS`, or its (2,) logits."""
        logits = outputs[0]["seq_relationship_logits"]
        if features[0].source is None:
            return logits
        follows = int(features[0].source)
        loss = F.cross_entropy(torch.from_numpy(logits), torch.tensor(follows))
        pair = [float(loss), float(logits.argmax() == follows), 1.0]
        return np.concatenate([super().predict(features, outputs), pair])

    def answer(self, prediction: Any, *, top_k: int | None = 1) -> Any:
        """Return `{label, score}`: `follows` or `random`."""
        return answer_pair(prediction, top_k)

    def new_metrics(self) -> Metric:
        """Return counters of guessed words and of pairs."""
        return PretrainingMetrics()


class NextSentence(Task):
    """Pairs of texts to whether the second follows the first."""

    name = "next-sentence-prediction"
    head_name = "next_sentence"
    settings_type: ClassVar[type[TaskSettings]] = NextSentenceSettings
    settings: NextSentenceSettings
    usual_label_column = FOLLOWS_COLUMNS[0]

    @classmethod
    def learn(cls, rows: RowSource, settings: TaskSettings) -> Self:
        """Find the columns of pairs."""
        assert isinstance(settings, NextSentenceSettings)
        found = PairColumns.find(rows.column_names, settings)
        return cls(
            settings.replace(
                text_column=found.first, pair_column=found.second, label_column=found.label
            )
        )

    def as_row(self, item: Any) -> Mapping[str, Any]:
        """Accept a pair of texts, or a mapping with the task's columns."""
        return pair_row(item, self.settings)

    def encode(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
        origin: Callable[[int], str] = row_name,
    ) -> list[Features]:
        """Encode pairs."""
        return encode_pairs(
            rows, numbers, tokenizer, self.settings, with_labels=with_labels, origin=origin
        )

    def predict(
        self, features: Sequence[Features], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> np.ndarray:
        """Return the row's (2,) logits."""
        return outputs[0]["logits"]

    def answer(self, prediction: np.ndarray, *, top_k: int | None = 1) -> Any:
        """Return `{label, score}`: `follows` or `random`."""
        return answer_pair(prediction, top_k)

    def new_metrics(self) -> Metric:
        """Return counters of the two classes."""
        return ClassificationMetrics(LABELS)
