"""Finding spans: `tag = pipeline("ner", model)`, `tag("Anna lives in Paris.")`."""

import copy
from typing import Any

from abrazo.inference.pipeline import Pipeline
from abrazo.tasks.tagged_text import Aggregation
from abrazo.tasks.token_classification import TokenClassification


class TokenClassificationPipeline(Pipeline):
    """Spans of one text or many."""

    def __call__(
        self,
        inputs: Any,
        *,
        top_k: int | None = 1,
        aggregation_strategy: Aggregation | None = None,
    ) -> Any:
        """Return `{label, start, end, text, score}` for each span of each text.

        Args:
            inputs: A text, a list of words in a list, or a mapping; a list or data set of these;
                or an iterator, which is read bit by bit and answered by an iterator.
            top_k: Has no effect; a text has all its spans.
            aggregation_strategy: How pieces become spans in this call; None does as the model was
                trained, or as the pipeline was made.

        Raises:
            ConfigError: There is no such strategy.
            DataError: An input is none of these; it is named by its number.
        """
        asked = self
        if aggregation_strategy is not None:
            assert isinstance(self.task, TokenClassification)
            settings = self.task.settings.replace(aggregation_strategy=aggregation_strategy)
            asked = copy.copy(self)
            asked.task = type(self.task)(settings)
        return Pipeline.__call__(asked, inputs, top_k=top_k)
