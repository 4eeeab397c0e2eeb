"""ROUGE: how much of a right summary a generated one says, from 0 to 1.

Source: Lin 2004, as the package `rouge-score` has it: F-scores, mean over rows, no stemming.
"""

import re
from collections.abc import Sequence

from abrazo.errors import MissingExtraError
from abrazo.metrics.answers import UNSPACED
from abrazo.metrics.generated_text import TextMetric

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
"""Shared words, shared pairs of words, the longest shared sequence, and the same by sentences."""

_WORDS = re.compile(rf"{UNSPACED.pattern}|[a-z0-9]+|[^\W\d_a-z\u00c0-\u024f\u1e00-\u1eff]")


class RougeMetrics(TextMetric):
    """ROUGE-1, -2, -L and -Lsum; several right summaries count by the nearest.

    Words of Latin letters are cut as `rouge-score` cuts them. It drops all other scripts; here each
    of their letters, such as a Chinese character, is a word. `rougeLsum` compares line by line: it
    differs from `rougeL` where each sentence stands on a line of its own.
    """

    row_figure = "rougeL"

    def __init__(self) -> None:
        """Prepare to count.

        Raises:
            MissingExtraError: `rouge-score` is not installed.
        """
        try:
            from rouge_score.rouge_scorer import RougeScorer
        except ImportError as error:
            raise MissingExtraError("ROUGE", "generation") from error
        self.better = dict.fromkeys(KINDS, "higher")
        self._scorer = RougeScorer(list(KINDS), tokenizer=_Tokenizer())
        super().__init__(len(KINDS))

    def count(self, given: str, right: Sequence[str]) -> Sequence[float]:
        """Return the F-score of each kind."""
        scores = self._scorer.score_multi(list(right), given)
        return [scores[kind].fmeasure for kind in KINDS]

    def figures(self, sums: Sequence[float], rows: int) -> dict[str, float]:
        """Return the means."""
        return {kind: value / rows for kind, value in zip(KINDS, sums, strict=True)}


class _Tokenizer:
    """Words as `rouge-score` wants them from an object."""

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text."""
        return _WORDS.findall(text.lower())
