"""Filling gaps: `fill = pipeline("fill-mask", model)`, `fill("Paris is the [MASK] of France.")`."""

import copy
from collections.abc import Sequence
from typing import Any

from abrazo.inference.pipeline import Pipeline
from abrazo.tasks.masked_lm import MaskedLM, find_targets


class FillMaskPipeline(Pipeline):
    """Candidates for the masks of one text or many."""

    def __call__(
        self,
        inputs: Any,
        *,
        top_k: int | None = 5,
        targets: str | Sequence[str] | None = None,
    ) -> Any:
        """Return the best candidates of each text's mask, or for each of its masks.

        A candidate is `{score, token, token_str, sequence}`; `score` is its probability among the
        whole vocabulary.

        Args:
            inputs: A text, or a mapping; a list or data set of these; or an iterator, which is
                read bit by bit and answered by an iterator.
            top_k: Candidates of a mask; None gives the whole vocabulary.
            targets: The only candidates, each one token.

        Raises:
            DataError: A text has no mask, or a target is no token of the vocabulary.
            ConfigError: `top_k` is below 1.
        """
        assert isinstance(self.task, MaskedLM)
        ids = None if targets is None else find_targets(self.tokenizer, targets)
        asked = copy.copy(self)
        asked.task = self.task.asking(top_k, ids)
        return Pipeline.__call__(asked, inputs, top_k=top_k)
