"""BLEU and chrF: how near translations are to those of people, from 0 to 100.

Both are figured out from counts of the whole corpus, so batches and processes add up to what
`sacrebleu` says of all rows at once. Sources: Papineni et al. 2002 (BLEU), Popović 2015 and 2017
(chrF, chrF++), Post 2018 (sacrebleu and its signatures).
"""

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from abrazo.errors import ConfigError, MissingExtraError, one_of
from abrazo.metrics.answers import UNSPACED
from abrazo.metrics.generated_text import TextMetric

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

Tokenization = Literal["13a", "zh", "char", "intl", "none"]

_TOKENIZATIONS = ("13a", "zh", "char", "intl", "none")
_AUTO = ("13a", "zh", "char")
_ORDER = 4
_STATISTICS = 2 + 2 * _ORDER
_KANA = re.compile(r"[\u3040-\u30ff]")
_CHARACTER_ORDER = 6
_WORD_ORDER = 2
_BETA = 2
_PUNCTUATION = frozenset(string.punctuation)


class BleuMetrics(TextMetric):
    """BLEU over the corpus, as `sacrebleu` has it; `signature` says with which settings.

    Texts are cut into words by `13a`, Chinese by `zh`, Japanese into characters, by what most of
    the right texts are written in, unless a way is given.
    """

    def __init__(self, tokenize: Tokenization | None = None) -> None:
        """Choose how texts are cut into words; None looks at the right texts.

        Raises:
            ConfigError: There is no such way.
            MissingExtraError: `sacrebleu` is not installed.
        """
        if tokenize is not None and tokenize not in _TOKENIZATIONS:
            raise ConfigError(one_of("`tokenize`", tokenize, _TOKENIZATIONS))
        self.better = {"bleu": "higher"}
        self._ways = _AUTO if tokenize is None else (tokenize,)
        self._counters = [_bleu(way) for way in self._ways]
        # Besides BLEU's statistics: Chinese rows, Japanese rows, right texts, and their squares.
        super().__init__(_STATISTICS * len(self._ways) + 4)

    def count(self, given: str, right: Sequence[str]) -> Sequence[float]:
        """Return the statistics of BLEU, once for each way of cutting texts."""
        statistics: list[float] = []
        for counter in self._counters:
            score = counter.sentence_score(given, right)
            statistics += [score.sys_len, score.ref_len, *score.counts, *score.totals]
        is_japanese = any(_KANA.search(text) for text in right)
        is_chinese = not is_japanese and any(UNSPACED.search(text) for text in right)
        return [*statistics, is_chinese, is_japanese, len(right), len(right) ** 2]

    def figures(self, sums: Sequence[float], rows: int) -> dict[str, float]:
        """Return BLEU."""
        place = self._ways.index(self._chosen(sums, rows)) * _STATISTICS
        given, right, *counts = (int(n) for n in sums[place : place + _STATISTICS])
        score = self._counters[0].compute_bleu(
            correct=counts[:_ORDER],
            total=counts[_ORDER:],
            sys_len=given,
            ref_len=right,
            smooth_method="exp",
            max_ngram_order=_ORDER,
        )
        return {"bleu": float(score.score)}

    def _chosen(self, sums: Sequence[float], rows: int) -> str:
        if len(self._ways) == 1:
            return self._ways[0]
        chinese, japanese = sums[-4:-2]
        if 2 * (chinese + japanese) <= rows:
            return "13a"
        return "zh" if chinese >= japanese else "char"

    @property
    def signature(self) -> str:
        """The settings behind the figure, as `sacrebleu` writes them, for reports."""
        import sacrebleu

        rows, *sums = self.sums.tolist()
        right, squares = sums[-2:]
        is_constant = rows and rows * squares == right * right
        references = str(int(right / rows)) if is_constant else "var"
        return (
            f"nrefs:{references}|case:mixed|eff:no|tok:{self._chosen(sums, int(rows))}"
            f"|smooth:exp|version:{sacrebleu.__version__}"
        )


def _bleu(way: str) -> "BLEU":
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise MissingExtraError("BLEU", "generation") from error
    # Only the counts of a row are used, which are the same whatever its own score is made of.
    return BLEU(tokenize=way, effective_order=True)


class ChrfMetrics(TextMetric):
    """chrF, the F-score of groups of up to 6 characters, and chrF++, of up to 2 words as well.

    It cuts no words, so it is the same for all languages; several right texts count by the nearest.
    """

    row_figure = "chrf"

    def __init__(self) -> None:
        self.better = {"chrf": "higher", "chrf++": "higher"}
        self._orders = {"chrf": _CHARACTER_ORDER, "chrf++": _CHARACTER_ORDER + _WORD_ORDER}
        super().__init__(3 * sum(self._orders.values()))

    def count(self, given: str, right: Sequence[str]) -> Sequence[float]:
        """Return for each length of groups those given, those right and those shared."""
        groups = _groups(given)
        statistics = [_shared(groups, _groups(text)) for text in right]
        nearest: list[float] = []
        for order in self._orders.values():
            best = max((counts[: 3 * order] for counts in statistics), key=_f_score)
            nearest += best
        return nearest

    def figures(self, sums: Sequence[float], rows: int) -> dict[str, float]:
        """Return chrF and chrF++."""
        split = 3 * self._orders["chrf"]
        return {"chrf": _f_score(sums[:split]), "chrf++": _f_score(sums[split:])}


def _groups(text: str) -> list[Counter[str]]:
    """Return the groups of characters, spaces left out, and of words, by their length."""
    characters = "".join(text.split())
    groups = [
        Counter(characters[place : place + size] for place in range(len(characters) - size + 1))
        for size in range(1, _CHARACTER_ORDER + 1)
    ]
    words = list(_words(text))
    return [*groups, Counter(words), Counter(" ".join(pair) for pair in pairwise(words))]


def _words(text: str) -> Iterable[str]:
    """Yield words, a sign at one end of each apart (Popović 2017, section 2)."""
    for word in text.split():
        if len(word) > 1 and word[-1] in _PUNCTUATION:
            yield word[:-1]
            yield word[-1]
        elif len(word) > 1 and word[0] in _PUNCTUATION:
            yield word[0]
            yield word[1:]
        else:
            yield word


def _shared(given: Sequence[Counter[str]], right: Sequence[Counter[str]]) -> list[float]:
    counts: list[float] = []
    for of_given, of_right in zip(given, right, strict=True):
        total = of_right.total()
        counts += [of_given.total() if total else 0, total, (of_given & of_right).total()]
    return counts


def _f_score(counts: Sequence[float]) -> float:
    """Return the F-score of the means over all lengths that both sides have."""
    triples = [counts[place : place + 3] for place in range(0, len(counts), 3)]
    present = [triple for triple in triples if triple[0] and triple[1]]
    if not present:
        return 0.0
    precision = sum(shared / given for given, _, shared in present) / len(present)
    recall = sum(shared / right for _, right, shared in present) / len(present)
    if not precision + recall:
        return 0.0
    return 100 * (1 + _BETA**2) * precision * recall / (_BETA**2 * precision + recall)
