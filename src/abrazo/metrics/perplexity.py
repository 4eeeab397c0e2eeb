"""How well a text is foreseen, word by word.

Shapes: N rows.
"""

from abrazo.metrics.masked_words import MaskedWordMetrics


class PerplexityMetrics(MaskedWordMetrics):
    """The perplexity of tokens, exp of their mean loss, and the share of those that are foreseen.

    Rows are those of `masked_words.COUNTS`: (N, 3) sums of losses, tokens that were right, tokens.
    Both figures are NaN where no token was counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.better = {"token_accuracy": "higher", "perplexity": "lower"}

    def compute(self) -> dict[str, float]:
        """Return accuracy and perplexity."""
        figures = super().compute()
        return {
            "token_accuracy": figures["masked_accuracy"],
            "perplexity": figures["perplexity"],
        }
