"""Texts at whose end a row ends: found in tokens, and taken off the text."""

from collections.abc import Sequence

import numpy as np

from abrazo.tokenization.tokenizer import Tokenizer

_MORE_TOKENS = 4


class StopStrings:
    """Finds stop strings at the end of rows.

    Only the last tokens of a row are decoded, as many as a stop string can have and a few more: a
    token stands for a byte at least, and a character may begin in a token before.
    """

    def __init__(self, strings: Sequence[str], tokenizer: Tokenizer) -> None:
        self.strings = tuple(strings)
        self._tokenizer = tokenizer
        self._num_tokens = max(len(text.encode()) for text in strings) + _MORE_TOKENS

    def found_in(self, rows: np.ndarray) -> np.ndarray:
        """Tell which rows have got a stop string.

        Args:
            rows: (R, N) new tokens of rows; those that had one before have ended before.

        Returns:
            (R,) booleans.
        """
        texts = self._tokenizer.batch_decode(rows[:, -self._num_tokens :].tolist())
        return np.array([any(stop in text for stop in self.strings) for text in texts])


def cut_at_stop(text: str, strings: Sequence[str]) -> str:
    """Return the text before the first stop string in it, or all of it."""
    places = [place for stop in strings if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


def safe_length(text: str, strings: Sequence[str]) -> int:
    """Return how many characters of a text belong to no stop string that may be coming."""
    return len(text) - max((_overlap(text, stop) for stop in strings), default=0)


def _overlap(text: str, stop: str) -> int:
    """Return the longest beginning of `stop` that `text` ends with."""
    most = min(len(text), len(stop) - 1)
    return next((size for size in range(most, 0, -1) if text.endswith(stop[:size])), 0)
