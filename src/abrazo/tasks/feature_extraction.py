"""Feature extraction: each text to one vector of its meaning.

Nothing is learned here; `sentence-similarity` trains the vectors.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, DataError
from abrazo.metrics.base import Metric, MetricGroup
from abrazo.models.base import PretrainedModel
from abrazo.models.sentence import SentenceModel
from abrazo.tasks.base import Features, Task, TaskSettings, features_of, row_name
from abrazo.tasks.columns import text_of
from abrazo.tokenization.tokenizer import Tokenizer

TEXT_COLUMN = "text"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureExtractionSettings(TaskSettings):
    """Which column is read, and how."""

    text_column: str = TEXT_COLUMN
    """Column of the text."""
    prompt: str = ""
    """What is put before each text."""
    lowercase: bool = False
    """Whether texts are brought to lower case first."""


class FeatureExtraction(Task):
    """One text to one vector."""

    name = "feature-extraction"
    head_name = "similarity"
    settings_type: ClassVar[type[TaskSettings]] = FeatureExtractionSettings
    settings: FeatureExtractionSettings

    def __init__(self, settings: FeatureExtractionSettings) -> None:
        self.settings = settings

    @classmethod
    def learn(cls, rows: RowSource, settings: TaskSettings) -> Self:
        """Refuse: nothing is learned.

        Raises:
            ConfigError: Always; names the task to train.
        """
        raise ConfigError(
            "`feature-extraction` has nothing to learn. Train `sentence-similarity` on pairs of "
            "texts; the vectors of its model can then be extracted."
        )

    @classmethod
    def adopt(cls, model: PretrainedModel) -> PretrainedModel:
        """Return pooling on the model's backbone, whatever the model was trained for."""
        view = SentenceModel(model)
        view.task_settings = {}
        return view

    @classmethod
    def of_model(cls, model: PretrainedModel, settings: TaskSettings | None = None) -> Self:
        """Return the task as the model's folder describes it."""
        if settings is None:
            settings = FeatureExtractionSettings()
        assert isinstance(settings, FeatureExtractionSettings)
        task = cls(settings)
        if isinstance(model, SentenceModel):
            recipe = model.recipe
            prompt = settings.prompt or recipe.prompts.get(recipe.default_prompt or "", "")
            task.settings = settings.replace(
                lowercase=recipe.lowercase,
                prompt=prompt,
                max_length=settings.max_length or model.text_length,
            )
        task.fit_length(model)
        return task

    def as_row(self, item: Any) -> Mapping[str, Any]:
        """Accept a text, or a mapping with the text column."""
        if isinstance(item, str):
            return {self.settings.text_column: item}
        if isinstance(item, Mapping):
            return item
        raise DataError(f"A text or a mapping is wanted, not {item!r:.80}.")

    def encode(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
        origin: Callable[[int], str] = row_name,
    ) -> list[Features]:
        """Turn each text into one stretch of tokens, cut at `max_length`."""
        settings = self.settings
        texts = [
            text_of(row, settings.text_column, number, origin)
            for row, number in zip(rows, numbers, strict=True)
        ]
        return text_features(
            [prepared(text, settings.prompt, settings.lowercase) for text in texts],
            numbers,
            tokenizer,
            settings.max_length,
        )

    def predict(
        self, features: Sequence[Features], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> np.ndarray:
        """Return the text's vector (D,)."""
        return outputs[0]["embeddings"]

    def answer(self, prediction: np.ndarray, *, top_k: int | None = 1) -> Any:
        """Return the vector as a list of numbers."""
        return prediction.tolist()

    def new_metrics(self) -> Metric:
        """Return no metrics: there is nothing to compare vectors with."""
        return MetricGroup()


def prepared(text: str, prompt: str, lowercase: bool) -> str:
    """Return a text as the model was trained to read it."""
    whole = prompt + text
    return whole.lower() if lowercase else whole


def text_features(
    texts: Sequence[str],
    numbers: Sequence[int],
    tokenizer: Tokenizer,
    max_length: int | None,
    labels: Sequence[Any] | None = None,
) -> list[Features]:
    """Turn each text into one stretch of tokens.

    Args:
        texts: The texts.
        numbers: For each text the number of its row.
        tokenizer: The model's tokenizer.
        max_length: The most tokens of a text; what is beyond is cut off and counted.
        labels: For each text what its row is labelled with, or None without labels.
    """
    return features_of(tokenizer.encode_rows(texts, max_length=max_length), numbers, labels)
