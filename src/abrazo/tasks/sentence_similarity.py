"""Sentence similarity: texts to vectors that lie close where the texts mean the same.

Each text is encoded by itself: a row becomes two or three features, and the head finds them again
in the packed batch by the marks that `collate` puts into the labels. Losses of `scores`, `labels`
(CoSENT), `pairs` and `triplets` compare the rows of one batch with each other, so two batches of 8
do not make the step of one of 16; the squared error does, row by row.

Shapes: R texts of a batch, N rows, M texts of a row, D width of the vectors.
"""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, DataError
from abrazo.heads.similarity import LossName, PairObjective
from abrazo.layers.packing import PackedBatch
from abrazo.metrics.base import Metric
from abrazo.metrics.retrieval import RetrievalMetrics
from abrazo.metrics.similarity import PairLabelMetrics, SimilarityMetrics
from abrazo.models.base import PretrainedModel
from abrazo.models.sentence import SentenceModel
from abrazo.models.sentence_files import SentenceRecipe
from abrazo.tasks.base import Features, Task, TaskSettings, row_name
from abrazo.tasks.columns import text_of
from abrazo.tasks.feature_extraction import prepared, text_features
from abrazo.tasks.similarity_rows import (
    LABEL_COLUMNS,
    NEGATIVE_COLUMNS,
    PAIR_COLUMNS,
    TEXT_COLUMNS,
    USABLE_LOSSES,
    WITH_LABELS,
    Problem,
    SentenceSimilaritySettings,
    find_problem,
    read_score,
)
from abrazo.tokenization.tokenizer import Tokenizer


class SentenceSimilarity(Task):
    """Two or three texts to vectors, and how alike they are."""

    name = "sentence-similarity"
    head_name = "similarity"
    keeps_rows_whole = True
    settings_type: ClassVar[type[TaskSettings]] = SentenceSimilaritySettings
    settings: SentenceSimilaritySettings
    call_arguments = ("texts", "text_pairs", "negatives")

    def __init__(self, settings: SentenceSimilaritySettings) -> None:
        """Take settings that leave open only what the model decides."""
        assert settings.problem is not None
        self.problem: Problem = settings.problem
        self.loss_name: LossName = settings.loss or USABLE_LOSSES[self.problem][0]
        if self.loss_name not in USABLE_LOSSES[self.problem]:
            usable = " or ".join(f"`{name}`" for name in USABLE_LOSSES[self.problem])
            raise ConfigError(
                f"`loss` must be {usable} for rows that are {self.problem}, but is "
                f"'{self.loss_name}'."
            )
        self.settings = settings
        is_of_one = self.loss_name == "cosine_mse" or self.problem == "triplets"
        self.least_rows = 1 if is_of_one else 2
        columns = [settings.text_column, settings.pair_column]
        if self.problem == "triplets":
            columns.append(settings.negative_column)
        self.text_columns = tuple(column for column in columns if column is not None)

    # From data, from a folder, and back ------------------------------------------------------

    @classmethod
    def learn(cls, rows: RowSource, settings: TaskSettings) -> Self:
        """Find columns, and what the scores mean, in training rows."""
        assert isinstance(settings, SentenceSimilaritySettings)
        return cls(find_problem(settings, rows))

    @classmethod
    def adopt(cls, model: PretrainedModel) -> PretrainedModel:
        """Return pooling on the model's backbone, unless it has that already."""
        return SentenceModel.of(model)

    @classmethod
    def complete(cls, settings: TaskSettings, model: PretrainedModel) -> TaskSettings:
        """Return the settings with pairs, scores and their usual columns."""
        assert isinstance(settings, SentenceSimilaritySettings)
        return settings.replace(
            problem=settings.problem or "scores",
            text_column=settings.text_column or TEXT_COLUMNS[0],
            pair_column=settings.pair_column or PAIR_COLUMNS[0],
            label_column=settings.label_column or LABEL_COLUMNS[0],
        )

    @classmethod
    def require_head(cls, model: PretrainedModel) -> None:
        """Check that the model pools texts to vectors."""
        if not isinstance(model, SentenceModel):
            raise ConfigError(
                f"{cls.name} needs a model that pools texts to vectors, but was given a "
                f"{type(model).__name__}. Make it one: `SentenceModel(model)`."
            )

    def prepare_model(self, model: PretrainedModel) -> None:
        """Set pooling and loss, and write settings and prompts into the model."""
        self.require_head(model)
        assert isinstance(model, SentenceModel)
        if self.settings.pooling is not None and model.recipe.projections:
            raise ConfigError(
                "`pooling` cannot be changed: the model has a product after it, which was learned "
                "for its own."
            )
        if self.settings.pooling is not None:
            model.change_recipe(poolings=(self.settings.pooling,))
        wide = [size for size in self.settings.matryoshka_sizes or () if size > model.width]
        if wide:
            raise ConfigError(
                f"`matryoshka_sizes` must be at most {model.width}, the width of the vectors, but "
                f"has {', '.join(map(str, wide))}."
            )
        self.fit_length(model)
        settings = self.settings
        sizes = sorted({*(settings.matryoshka_sizes or ()), model.width})
        model.head.objective = PairObjective(self.loss_name, settings.temperature, tuple(sizes))
        model.change_recipe(max_length=settings.max_length, **self._prompts(model.recipe))
        super().prepare_model(model)

    def fit_length(self, model: PretrainedModel) -> None:
        """Take from the model what the settings leave open: how long, and what is put before."""
        assert isinstance(model, SentenceModel)
        recipe, settings = model.recipe, self.settings
        self.settings = settings = settings.replace(
            max_length=settings.max_length or model.text_length
        )
        super().fit_length(model)
        first = second = recipe.prompts.get(recipe.default_prompt or "", "")
        if self.problem not in WITH_LABELS:
            first = recipe.prompts.get("query") or first
            second = recipe.prompts.get("document") or recipe.prompts.get("passage") or second
        self.settings = settings.replace(
            lowercase=recipe.lowercase,
            text_prompt=first if settings.text_prompt is None else settings.text_prompt,
            pair_prompt=second if settings.pair_prompt is None else settings.pair_prompt,
        )

    def _prompts(self, recipe: SentenceRecipe) -> dict[str, Any]:
        """Return the prompts that were trained with, where there are any."""
        query, document = self.settings.text_prompt, self.settings.pair_prompt
        if not query and not document:
            return {}
        prompts = {**recipe.prompts, "query": query or "", "document": document or ""}
        default = "query" if query == document else recipe.default_prompt
        return {"prompts": prompts, "default_prompt": default}

    # The way of a row ------------------------------------------------------------------------

    def as_row(self, item: Any) -> Mapping[str, Any]:
        """Accept a pair of texts, or a mapping with the task's columns or the usual ones."""
        first, second = self.text_columns[:2]
        if isinstance(item, Mapping):
            if first in item or second in item:
                return item
            usual = [
                next((name for name in names if name in item), None)
                for names in (TEXT_COLUMNS, PAIR_COLUMNS)
            ]
            if usual[0] is not None and usual[1] is not None:
                return {first: item[usual[0]], second: item[usual[1]]}
            return item
        if not isinstance(item, str) and isinstance(item, Sequence) and len(item) == 2:
            return {first: item[0], second: item[1]}
        raise DataError(
            f"Two texts are wanted, as a pair (a, b), not {item!r:.80}. For the vector of one text "
            "take `feature-extraction`."
        )

    def encode(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
        origin: Callable[[int], str] = row_name,
    ) -> list[Features]:
        """Turn each text of each row into a stretch of tokens, cut at `max_length`."""
        columns = self.text_columns if with_labels else self.text_columns[:2]
        return self._encode_columns(columns, rows, numbers, tokenizer, with_labels, origin)

    def _encode_columns(
        self,
        columns: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        with_labels: bool,
        origin: Callable[[int], str],
    ) -> list[Features]:
        settings = self.settings
        texts: list[list[str]] = [
            [text_of(row, c, number, origin, may_be_empty=not with_labels) for c in columns]
            for row, number in zip(rows, numbers, strict=True)
        ]
        labels: list[Any] | None = None
        if with_labels:
            labels = [
                _identities(row_texts)
                if self.problem not in WITH_LABELS
                else np.float32(read_score(row, settings, number, origin))
                for row, row_texts, number in zip(rows, texts, numbers, strict=True)
            ]
            labels = [label for label in labels for _ in columns]
        prompts = [settings.text_prompt or "", *[settings.pair_prompt or ""] * (len(columns) - 1)]
        return text_features(
            [
                prepared(text, prompt, settings.lowercase)
                for row_texts in texts
                for text, prompt in zip(row_texts, prompts, strict=True)
            ],
            [number for number in numbers for _ in columns],
            tokenizer,
            settings.max_length,
            labels,
        )

    def rows_of_call(
        self,
        columns: Sequence[Sequence[Any]],
        labels: Sequence[Any] | None,
        tokenizer: Tokenizer,
    ) -> list[dict[str, Any]]:
        """Turn texts, pairs or triplets into rows."""
        is_alone = len(columns) == 1 and all(isinstance(item, str) for item in columns[0])
        if len(columns) < 3 and not is_alone:
            return super().rows_of_call(columns, labels, tokenizer)
        if labels is not None:
            raise DataError(
                "Scores are of two texts: `model(texts, text_pairs, labels=scores)`. Single texts "
                "and triplets have none."
            )
        names = self._columns_of_call
        return [dict(zip(names, texts, strict=False)) for texts in zip(*columns, strict=True)]

    def encode_call(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
    ) -> list[Features]:
        """Encode each text by itself, as many as the rows have."""
        if with_labels:
            return self.encode(rows, numbers, tokenizer, with_labels=True)
        there = [name for name in self._columns_of_call if name in rows[0]]
        return self._encode_columns(there, rows, numbers, tokenizer, False, row_name)

    @property
    def _columns_of_call(self) -> tuple[str, str, str]:
        negative = self.settings.negative_column or NEGATIVE_COLUMNS[0]
        return (*self.text_columns[:2], negative)  # type: ignore[return-value]

    def collate(self, features: Sequence[Features]) -> PackedBatch:
        """Pack features; labels get marks by which the texts of a row find each other."""
        if features[0].label is None:
            return super().collate(features)
        count = len(self.text_columns)
        labels = np.stack([np.atleast_1d(feature.label) for feature in features[::count]])
        if self.problem not in WITH_LABELS:  # any numbers will do, if equal texts share them
            labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
        marked = [
            dataclasses.replace(
                feature,
                label=np.array([place // count, place % count, *labels[place // count]], "float32"),
            )
            for place, feature in enumerate(features)
        ]
        return super().collate(marked)

    def join_labels(self, features: Sequence[Features]) -> Tensor | None:
        """Return marks and labels of a batch, (R, 2 + K), or None without labels."""
        if features[0].label is None:
            return None
        return torch.from_numpy(np.stack([feature.label for feature in features]))

    def predict(
        self, features: Sequence[Features], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> np.ndarray:
        """Return the cosine of two texts (1,), or all vectors (M, D) where right ones are sought.

        The latter is for labelled pairs and triplets: their metrics look for each first text's
        second among those of all rows.
        """
        vectors = np.stack([output["embeddings"] for output in outputs])
        if self.problem in WITH_LABELS or features[0].label is None:
            return _cosine(vectors)
        return vectors

    def answer(self, prediction: np.ndarray, *, top_k: int | None = 1) -> Any:
        """Return `{score}`, the cosine from -1 to 1."""
        cosine = _cosine(prediction) if prediction.ndim == 2 else prediction
        return {"score": float(cosine[0])}

    def new_metrics(self) -> Metric:
        """Return counters for the kind of rows."""
        if self.problem == "scores":
            return SimilarityMetrics()
        if self.problem == "labels":
            return PairLabelMetrics()
        return RetrievalMetrics(has_negatives=self.problem == "triplets")


def _cosine(vectors: np.ndarray) -> np.ndarray:
    """Return the cosine of the first two of (M, D) vectors, (1,); 0 where one has no length."""
    first, second = vectors[:2].astype(np.float64)
    lengths = math.sqrt(float(first @ first)) * math.sqrt(float(second @ second))
    cosine = float(first @ second) / lengths if lengths else 0.0
    return np.array([min(1.0, max(-1.0, cosine))], dtype=np.float32)


def _identities(texts: Sequence[str]) -> np.ndarray:
    """Return a number for each text, (M,), that equal texts share."""
    digests = [
        hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8) for text in texts
    ]
    return np.array([int.from_bytes(digest.digest(), "big", signed=True) for digest in digests])
