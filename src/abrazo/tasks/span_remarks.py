"""Which marked spans of a data set the tokenizer's pieces, or words, cannot say exactly."""

from collections.abc import Callable, Sequence
from itertools import groupby

from abrazo.tasks.base import Features
from abrazo.tasks.remarks import Remarks


class SpanRemarks(Remarks):
    """Counts the rows with spans that begin or end elsewhere than what gets a tag."""

    def __init__(self) -> None:
        """Have seen no row."""
        self.num_rows = 0
        self.num_cut = 0
        self.first_cut = 0

    def look_at(self, features: Sequence[Features]) -> None:
        """Look at all windows of some rows with their spans; rows that are tokenised have none."""
        for row, windows in groupby(features, key=lambda feature: feature.row):
            source = next(windows).source
            self.num_rows += 1
            if source is not None and not source.is_exact:
                self.first_cut = self.first_cut if self.num_cut else row
                self.num_cut += 1

    def messages(self, origin: Callable[[int], str]) -> list[str]:
        """Return a sentence on the rows with such spans, if there are any."""
        if not self.num_cut:
            return []
        return [
            f"{self.num_cut:,} of {self.num_rows:,} rows, as {origin(self.first_cut)}, have spans "
            "that begin or end inside a piece of the tokenizer or a word, which is learned as part "
            "of the span that holds its middle; evaluation counts such spans as they are in the "
            "data."
        ]
