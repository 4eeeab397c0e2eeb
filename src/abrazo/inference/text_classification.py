"""Classifying texts: `classify = pipeline("sentiment-analysis", model)`, `classify("a bore")`."""

import copy
from typing import Any

from abrazo.errors import ConfigError
from abrazo.inference.pipeline import Pipeline
from abrazo.tasks.text_classification import TextClassification


class TextClassificationPipeline(Pipeline):
    """Classes for one text or many."""

    def __call__(self, inputs: Any, *, top_k: int | None = 1, polarity: bool = False) -> Any:
        """Return `{label, score}` for each text, or a list of them.

        `label` is None where the score is below the `rejection_threshold` that `calibrate` has
        found or `pipeline(..., rejection_threshold=0.7)` sets. A list of candidates has all.

        Args:
            inputs: A text, a pair of texts as a tuple, or a mapping; a list or data set of these;
                or an iterator, which is read bit by bit and answered by an iterator.
            top_k: How many candidates: 1 gives the best alone, None gives all.
            polarity: Whether the answer says how positive the text is, from -1 to 1: the mean of
                the labels' polarities, weighted with their scores.

        Raises:
            ConfigError: `top_k` is below 1, or the labels have no polarity.
            DataError: An input is none of these; it is named by its number.
        """
        asked = self
        if polarity:
            assert isinstance(self.task, TextClassification)
            if top_k != 1:
                raise ConfigError(f"A polarity goes with one answer, but `top_k` is {top_k}.")
            asked = copy.copy(self)
            asked.task = self.task.with_polarity()
        return Pipeline.__call__(asked, inputs, top_k=top_k)
