"""Where a window stands in its text, and how what was said of windows becomes one again.

Shapes: T tokens of a window, N tokens of the text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from abrazo.tokenization.windows import EncodedWindows


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a text's tokens, with special tokens and perhaps a question around it."""

    first: int
    """Place in the window of the first token of the text that it shows."""
    start: int
    """Number, in the text, of that token."""
    count: int
    """Tokens of the text that it shows."""
    kept: tuple[int, int]
    """The tokens of the text that belong to it, as it has most context for them: from, up to."""

    @property
    def shown_places(self) -> slice:
        """Where in the window the tokens of the text are."""
        return slice(self.first, self.first + self.count)

    @property
    def kept_places(self) -> slice:
        """Where in the window the tokens that belong to it are."""
        shift = self.first - self.start
        return slice(self.kept[0] + shift, self.kept[1] + shift)


def windows_of(encoded: EncodedWindows) -> Iterator[Window]:
    """Yield where each window stands."""
    columns = zip(
        encoded.firsts.tolist(),
        encoded.starts.tolist(),
        encoded.counts.tolist(),
        encoded.kept.tolist(),
        strict=True,
    )
    for first, start, count, (kept_from, kept_to) in columns:
        yield Window(first, start, count, (kept_from, kept_to))


def join_windows(windows: Sequence[Window], values: Sequence[np.ndarray]) -> np.ndarray:
    """Return one line for each token of a text, (N, ...), from the window it belongs to.

    Args:
        windows: All windows of the text, in order.
        values: (T, ...) what was said of each window's tokens.
    """
    if len(windows) == 1:
        return values[0][windows[0].kept_places]
    kept = [each[window.kept_places] for window, each in zip(windows, values, strict=True)]
    return np.concatenate(kept)
