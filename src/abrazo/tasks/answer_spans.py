"""From scores of tokens to answers: the best spans of all windows of a context, and no answer.

In each window the scores are turned into probabilities over the tokens of the context and the first
token, [CLS], which stands for no answer in this window. A span scores the probability of its start
times that of its end, and the best spans of all windows are compared. That there is no answer
scores what [CLS] scores in the window that is least sure of it.

Source: Devlin et al. 2018, BERT, sections 4.2 and 4.3, but with probabilities in place of logits,
which makes windows comparable; within one window the order is the same.

Shapes: T tokens of a window, n tokens of the context that it shows, N tokens of the context,
L the most tokens of an answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from abrazo.tasks.probabilities import Floats, log_softmax
from abrazo.tasks.windows import Window

Int64 = npt.NDArray[np.int64]

_FIRST_LOOK = 16


@dataclass(frozen=True, slots=True)
class ContextRow:
    """What is remembered of a row to make its answer."""

    context: str
    places: npt.NDArray[np.int32]
    """(N, 2) the characters of each token."""
    answers: tuple[str, ...] | None
    """The right answers; None without labels."""
    is_text: bool = True
    """Whether the context is the text; else it is the numbers of the tokens, as where a user's own
    collator has read the text."""

    @classmethod
    def of_tokens(cls, count: int) -> Self:
        """Return a row of which nothing is known but its tokens; the first is no answer's."""
        numbers = [str(number) for number in range(1, count)]
        ends = np.cumsum([len(number) + 1 for number in numbers], dtype=np.int32) - 1
        starts = ends - np.asarray([len(number) for number in numbers], dtype=np.int32)
        places = np.stack([starts, ends], axis=1).astype(np.int32)
        return cls(" ".join(numbers), places, None, is_text=False)


@dataclass(frozen=True, slots=True)
class WindowScores:
    """What the model says of one window."""

    first: int
    """Number, in the context, of the first token shown."""
    starts: Floats
    """(n,) logarithms of the probabilities that the answer starts at each token."""
    ends: Floats
    """(n,) the same for its end."""
    nothing: float
    """Logarithm of the probability that there is no answer."""


@dataclass(frozen=True, slots=True)
class AnswerPrediction:
    """What the model says of a row."""

    row: ContextRow
    windows: tuple[WindowScores, ...]

    @property
    def nothing(self) -> float:
        """Logarithm of the probability that there is no answer in any window."""
        return min(window.nothing for window in self.windows)


@dataclass(frozen=True, slots=True)
class FoundAnswer:
    """An answer; the empty one says that there is none."""

    text: str
    start: int
    """Its first character in the context."""
    score: float
    """Logarithm of its probability."""


def score_window(
    window: Window, start_logits: npt.NDArray[np.floating], end_logits: npt.NDArray[np.floating]
) -> WindowScores:
    """Turn (T,) logits of a window into probabilities of what can be an answer."""
    logits = np.empty((2, 1 + window.count), dtype=np.float64)
    for line, said in zip(logits, (start_logits, end_logits), strict=True):
        line[0], line[1:] = said[0], said[window.shown_places]
    starts, ends = log_softmax(logits)
    return WindowScores(window.start, starts[1:], ends[1:], float(starts[0] + ends[0]))


def find_answers(
    prediction: AnswerPrediction,
    count: int | None,
    *,
    max_tokens: int,
    null_threshold: float | None,
) -> list[FoundAnswer]:
    """Return the best answers, no text twice, the best first.

    Args:
        prediction: What the model says of the row.
        count: How many; None gives all.
        max_tokens: Tokens that an answer has at most.
        null_threshold: How much likelier no answer must be than an answer to go before it, as a
            difference of logarithms; None leaves it out.
    """
    best: list[FoundAnswer] = []
    nothing = None
    if null_threshold is not None:
        nothing = FoundAnswer("", 0, prediction.nothing)
    for found in _distinct(prediction, max_tokens):
        if nothing is not None and found.score < nothing.score - (null_threshold or 0.0):
            best.append(nothing)
            nothing = None
        if count is not None and len(best) >= count:
            return best[:count]
        best.append(found)
    if nothing is not None or not best:
        best.append(nothing or FoundAnswer("", 0, -np.inf))
    return best[:count]


def best_spans(
    windows: Sequence[WindowScores], max_tokens: int
) -> Iterator[tuple[int, int, float]]:
    """Yield spans as first token, last token and score, the best first; equals in their order.

    A span that several windows show comes once for each.

    Args:
        windows: All windows of a context.
        max_tokens: Tokens that a span has at most.
    """
    longest = max(min(max_tokens, max(len(window.ends) for window in windows)), 1)
    gap = np.full(longest - 1, -np.inf)  # so that no span goes on in the next window
    ends = np.concatenate([part for window in windows for part in (window.ends, gap)])
    starts = np.concatenate([part for window in windows for part in (window.starts, gap)])
    tokens = np.concatenate([w.first + np.arange(len(w.starts) + len(gap)) for w in windows])
    bests = starts[: len(starts) - len(gap)] + _greatest_ahead(ends, longest)
    size = min(_FIRST_LOOK, sum(len(window.starts) for window in windows))
    if not size:
        return
    # at least `size` spans reach the score that so many starts reach
    bound = -np.partition(-bests, size - 1)[size - 1]
    for highest, least in ((np.inf, bound), (bound, -np.inf)):
        lines = np.flatnonzero((bests >= least) & (bests > -np.inf))
        table = starts[lines, None] + ends[lines[:, None] + np.arange(longest)]  # (lines, L)
        chosen = (table >= least) & (table < highest) & (table > -np.inf)
        line, following = chosen.nonzero()
        scores = table[line, following]
        order = np.argsort(-scores, kind="stable")
        first = tokens[lines[line[order]]]
        last = first + following[order]
        yield from zip(first.tolist(), last.tolist(), scores[order].tolist(), strict=True)


def _greatest_ahead(values: Floats, count: int) -> Floats:
    """Return the greatest of each `count` values that follow each other."""
    reach = 1
    while reach < count:
        step = min(reach, count - reach)
        values = np.maximum(values[:-step], values[step:])
        reach += step
    return values


def _distinct(prediction: AnswerPrediction, max_tokens: int) -> Iterator[FoundAnswer]:
    """Yield answers without spaces around them, each text once."""
    row, seen = prediction.row, set[str]()
    for first, last, score in best_spans(prediction.windows, max_tokens):
        start, end = int(row.places[first, 0]), int(row.places[last, 1])
        whole = row.context[start:end]
        text = whole.strip()
        if text and text not in seen:
            seen.add(text)
            yield FoundAnswer(text, start + len(whole) - len(whole.lstrip()), score)


def token_span(places: npt.NDArray[np.int32], start: int, end: int) -> tuple[int, int] | None:
    """Return the first and the last token that show the characters from `start` up to `end`.

    None where no token shows them, as where the tokenizer drops such characters.
    """
    ends = np.maximum.accumulate(places[:, 1])
    first = int(np.searchsorted(ends, start, side="right"))
    last = int(np.searchsorted(places[:, 0], end, side="left")) - 1
    return (first, last) if first <= last else None
