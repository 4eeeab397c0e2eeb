"""Pairs of texts to learn from whether the second follows the first: half do, half do not.

Each block of a corpus makes two rows: its sentences in two parts as they follow each other, and
its first part with a random stretch of another document (Devlin et al. 2018, BERT, section 3.1,
task 2) or with the parts swapped (Lan et al. 2019, ALBERT, section 3.1, sentence order).

Which row holds what depends on the seed and the row's number alone.
"""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from abrazo.data.corpus import Corpus
from abrazo.data.sampling import generator_for
from abrazo.data.sentences import sentence_spans
from abrazo.errors import DataError, one_of

Negatives = Literal["random", "swapped"]
NEGATIVES = ("random", "swapped")
FOLLOWS, RANDOM = 0, 1

_PURPOSE = "sentence pairs"
_TRIES = 64


class SentencePairs:
    """Rows of `text`, `text_pair` and `next_sentence_label`: 0 follows, 1 does not."""

    def __init__(self, corpus: Corpus, *, negatives: Negatives = "random", seed: int = 42) -> None:
        """Make two rows of each block.

        Args:
            corpus: Documents with a blank line between them.
            negatives: Second texts that do not follow: `random` ones, or the `swapped` first one.
            seed: Decides where blocks are cut and what random texts are taken.

        Raises:
            DataError: Random texts are wished, but there is one document only.
        """
        if negatives not in NEGATIVES:
            raise DataError(one_of("`negatives`", negatives, NEGATIVES))
        if negatives == "random" and corpus.num_documents < 2:
            raise DataError(
                "Random second texts need at least two documents, but the corpus has one. Put a "
                "blank line between documents, or learn the order of sentences: "
                "`negatives='swapped'`."
            )
        self.corpus, self.negatives, self.seed = corpus, negatives, seed

    def __len__(self) -> int:
        return 2 * len(self.corpus)

    @property
    def column_names(self) -> list[str]:
        """The two texts and the label."""
        return ["text", "text_pair", "next_sentence_label"]

    def rows(self, indices: Iterable[int] | NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return some pairs."""
        return [self._row(int(number)) for number in indices]

    def origin(self, row: int) -> str:
        """Say which block a pair is of."""
        return self.corpus.origin(row // 2)

    def _row(self, number: int) -> dict[str, Any]:
        block, label = divmod(number, 2)
        draw = generator_for(self.seed, 0, number, _PURPOSE)
        first, second = _halved(self.corpus.text(block), draw)
        if label == RANDOM:
            if self.negatives == "swapped":
                first, second = second, first
            else:
                second = self._random_text(block, len(second), draw)
        return {"text": first, "text_pair": second, "next_sentence_label": label}

    def _random_text(self, block: int, length: int, draw: np.random.Generator) -> str:
        """Return sentences of another document, about as long as the true second text is.

        Were random texts longer or shorter, lengths alone would give the answer.
        """
        document = self.corpus.document(block)
        for _ in range(_TRIES):
            other = int(draw.random() * len(self.corpus))
            if self.corpus.document(other) != document:
                break
        else:  # nearly all blocks are of one document
            others = [b for b in (0, len(self.corpus) - 1) if self.corpus.document(b) != document]
            other = others[0]
        text = self.corpus.text(other)
        spans = sentence_spans(text)
        first = int(draw.random() * len(spans))
        start = spans[first].start
        ends = [span.stop for span in spans[first:]]
        return text[start : next((end for end in ends if end - start >= length), ends[-1])]


def _halved(text: str, draw: np.random.Generator) -> tuple[str, str]:
    """Cut a text at a random sentence; a single sentence between words, or characters."""
    spans = sentence_spans(text)
    if len(spans) > 1:
        cut = 1 + int(draw.random() * (len(spans) - 1))
        return text[: spans[cut - 1].stop], text[spans[cut].start :]
    words = text.split()
    if len(words) > 1:
        cut = 1 + int(draw.random() * (len(words) - 1))
        return " ".join(words[:cut]), " ".join(words[cut:])
    middle = max(1, len(text) // 2)
    return text[:middle], text[middle:]
