"""Which questions of a data set are cut, and which answers cannot be learned or given whole."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from abrazo.heads.base import IGNORED_LABEL
from abrazo.tasks.base import Features
from abrazo.tasks.remarks import Remarks

NO_ANSWER = (0, 0)
"""First and last token to be found in a window without the answer: [CLS], the first."""
UNLEARNABLE = (IGNORED_LABEL, IGNORED_LABEL)
"""The same where the answer is lost, and no window is learned from."""


class AnswerRemarks(Remarks):
    """Counts the questions and answers that something is wrong with, by what it is."""

    tells_cut_rows = True

    def __init__(self, max_answer_length: int) -> None:
        """Take the most tokens of an answer that is given."""
        self.max_answer_length = max_answer_length
        self.num_questions = 0
        self.num_answers = 0
        self.longest = 0
        self.counts: Counter[str] = Counter()
        self.firsts: dict[str, int] = {}

    def look_at(self, features: Sequence[Features]) -> None:
        """Look at all windows of some rows with their answers."""
        for row, windows in groupby(features, key=lambda feature: feature.row):
            of_row = list(windows)
            self.num_questions += 1
            if any(window.dropped for window in of_row):
                self._count("cut", row)
            if of_row[0].source.answers:
                self.num_answers += 1
                self._look_at_spans(row, [tuple(window.label.tolist()) for window in of_row])

    def _look_at_spans(self, row: int, spans: Sequence[tuple[int, int]]) -> None:
        length = max(last - first + 1 for first, last in spans)
        self.longest = max(self.longest, length)
        if all(span == UNLEARNABLE for span in spans):
            self._count("lost", row)
        elif all(span == NO_ANSWER for span in spans):
            self._count("unseen", row)
        elif length > self.max_answer_length:
            self._count("long", row)

    def _count(self, kind: str, row: int) -> None:
        self.counts[kind] += 1
        self.firsts.setdefault(kind, row)

    def messages(self, origin: Callable[[int], str]) -> list[str]:
        """Return a sentence for each kind of rows that were seen, with counts and a remedy."""
        return [
            f"{self.counts[kind]:,} of {there}, as that of {origin(self.firsts[kind])}, {what}"
            for kind, there, what in self._kinds()
            if self.counts[kind]
        ]

    def _kinds(self) -> Iterator[tuple[str, str, str]]:
        answers = f"{self.num_answers:,} answers"
        yield (
            "cut",
            f"{self.num_questions:,} questions",
            "are longer than half of what the model reads; their ends are cut off.",
        )
        yield (
            "lost",
            answers,
            "hold nothing that the tokenizer keeps, and are not learned. Remove such rows.",
        )
        yield (
            "unseen",
            answers,
            "are in no window as a whole, and are learned as absent. A greater `stride` or "
            "`max_length` shows them.",
        )
        yield (
            "long",
            answers,
            f"have more tokens than `max_answer_length` ({self.max_answer_length}), and will never "
            f"be given as a whole. Raise it to {self.longest}.",
        )
