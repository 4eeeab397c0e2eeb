"""Exact match and F1 of answers to questions, the best over the right answers of each.

An answer with Chinese, or with Japanese kana, is compared as CMRC 2018 does: without punctuation,
character by character, F1 by the longest stretch that both share. Any other one as SQuAD does: in
lower case, without punctuation and the articles a, an, the, word by word in any order. The right
answer decides which. The empty answer says that there is none.

Source: the evaluation scripts of SQuAD 2.0 and CMRC 2018. Words of other scripts within a Chinese
answer are split at spaces, where that of CMRC asks a tokenizer.

Shapes: N rows.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import numpy as np

from abrazo.errors import DataError
from abrazo.metrics.base import Array, Better, FloatArray, Metric, State, require_fit, require_rows

UNSPACED = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Characters of scripts that write no spaces: each is taken as a word."""
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_KINDS = ("has_answer", "no_answer")


class AnswerMetrics(Metric):
    """Exact match and F1 over all questions, over those with an answer, and those without.

    The figures of one kind are left out while there are no such questions. `no_answer_accuracy` is
    the share of questions without an answer for which none was given.
    """

    better: Mapping[str, Better] = dict.fromkeys(
        ("f1", "exact_match", "has_answer_f1", "has_answer_exact_match", "no_answer_accuracy"),
        "higher",
    )
    _sums: FloatArray

    def __init__(self) -> None:
        self.reset()

    def update(self, predictions: Array, labels: Array) -> None:
        """Count the rows of one batch.

        Args:
            predictions: (N,) answers as texts, empty for none.
            labels: (N,) for each the sequence of right answers, empty where there is none.

        Raises:
            DataError: There are more or fewer labels than predictions, or an answer is no text.
        """
        if len(predictions) != len(labels):
            raise DataError(
                f"{len(predictions)} predictions need as many labels, not {len(labels)}."
            )
        for given, right in zip(predictions, labels, strict=True):
            answers = [] if right is None else list(right)
            if isinstance(right, str) or not all(isinstance(x, str) for x in (given, *answers)):
                raise DataError(
                    "Answers are counted as texts, each label being a list of texts, but one is "
                    f"{given!r:.60} with the label {right!r:.60}."
                )
            figures = exact_match(given, answers), answer_f1(given, answers)
            self._sums[0 if any(answers) else 1] += (1, *figures)

    def merge(self, other: Self) -> None:
        """Add what `other` has counted."""
        self._sums += other._sums

    def compute(self) -> dict[str, float]:
        """Return the figures for all rows so far."""
        rows, exact, overlap = self._sums.sum(0).tolist()
        require_rows(int(rows))
        figures = {"f1": overlap / rows, "exact_match": exact / rows}
        (answered, exact, overlap), (unanswered, right, _) = self._sums.tolist()
        if answered:
            figures["has_answer_f1"] = overlap / answered
            figures["has_answer_exact_match"] = exact / answered
        if unanswered:
            figures["no_answer_accuracy"] = right / unanswered
        return figures

    def state_dict(self) -> State:
        """Return the sums: for both kinds of questions rows, exact matches and F1."""
        return {kind: sums.copy() for kind, sums in zip(_KINDS, self._sums, strict=True)}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the place of the sums."""
        require_fit(self.state_dict(), state)
        self._sums = np.stack([state[kind].astype(np.float64) for kind in _KINDS])

    def reset(self) -> None:
        """Forget all rows."""
        self._sums = np.zeros((len(_KINDS), 3))


def exact_match(given: str, right: Sequence[str]) -> float:
    """Return 1.0 if an answer is one of the right ones but for case, punctuation and articles."""
    return max(float(_normal(given, one) == _normal(one, one)) for one in _or_none(right))


def answer_f1(given: str, right: Sequence[str]) -> float:
    """Return how much an answer shares with the nearest of the right ones, from 0 to 1."""
    return max(_f1(given, one) for one in _or_none(right))


def _or_none(right: Sequence[str]) -> Sequence[str]:
    """Return the right answers that say something, or the empty one."""
    return [one for one in right if one] or [""]


def _f1(given: str, right: str) -> float:
    said, wanted = _normal(given, right), _normal(right, right)
    if not said or not wanted:
        return float(said == wanted)
    if UNSPACED.search(right):
        shared = _longest_shared(said, wanted)
    else:
        shared = sum((Counter(said) & Counter(wanted)).values())
    return 2 * shared / (len(said) + len(wanted))


def _normal(text: str, right: str) -> list[str]:
    """Return the words of an answer as it is compared with a right one."""
    if UNSPACED.search(right):
        bare = "".join(char for char in text.lower() if not _is_punctuation(char))
        return list(_mixed_words(bare))
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _is_punctuation(char: str) -> bool:
    return char in string.punctuation or unicodedata.category(char).startswith("P")


def _mixed_words(text: str) -> Iterable[str]:
    """Yield characters of scripts without spaces, and words of others."""
    for word in text.split():
        end = 0
        for found in UNSPACED.finditer(word):
            if found.start() > end:
                yield word[end : found.start()]
            yield found.group()
            end = found.end()
        if end < len(word):
            yield word[end:]


def _longest_shared(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest stretch of words that both have."""
    longest, before = 0, [0] * (len(second) + 1)
    for word in first:
        lengths = [0]
        for place, other in enumerate(second):
            lengths.append(before[place] + 1 if word == other else 0)
        longest, before = max(longest, *lengths), lengths
    return longest
