"""Metrics of search: how high the right text comes among all texts.

Shapes: N rows, M texts of a row (a question, what answers it, perhaps what does not), D width.
"""

import logging
from collections.abc import Mapping
from typing import Self

import numpy as np
import numpy.typing as npt

from abrazo.errors import ConfigError, DataError
from abrazo.metrics.base import Array, Metric, State, require_rows
from abrazo.metrics.regression import scattered

RETRIEVAL_ROWS = 20_000
"""So many rows are kept, because every question is compared with every text."""

_DEPTH = 10
_SCORES_AT_ONCE = 8_000_000
_TIE = 1e-6
"""Cosines that are nearer than this count as equal, because that much is rounding."""

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

logger = logging.getLogger("abrazo")


class RetrievalMetrics(Metric):
    """Recall, reciprocal rank and gain of each question's right text among the texts of all rows.

    Texts compete by cosine; equal ones share the mean of their ranks. A text that stands in many
    rows competes once, and other right answers to a question do not count against it. With
    `has_negatives`, third texts compete too, and `triplet_accuracy` is the share of rows whose
    right text is nearer than the row's wrong one. Up to `most_rows` rows are kept; of more, the
    figures but the last are those of a fair sample, which makes the search easier, and a warning
    says so.
    """

    def __init__(
        self, *, has_negatives: bool = False, most_rows: int | None = RETRIEVAL_ROWS
    ) -> None:
        """Prepare for rows of two texts, or of three with `has_negatives`."""
        if most_rows is not None and most_rows < 1:
            raise ConfigError(f"`most_rows` must be at least 1, but is {most_rows}.")
        self.num_texts = 3 if has_negatives else 2
        self.most_rows = most_rows
        names = ["recall@1", f"recall@{_DEPTH}", f"mrr@{_DEPTH}", f"ndcg@{_DEPTH}"]
        if has_negatives:
            names.append("triplet_accuracy")
        self.better = dict.fromkeys(names, "higher")
        self.reset()

    def update(self, predictions: Array, labels: Array) -> None:
        """Count the rows of one batch.

        Args:
            predictions: (N, M, D) vectors of each row's texts.
            labels: (N, M) numbers that equal texts share.

        Raises:
            DataError: Shapes do not fit, or a number is NaN or infinite.
        """
        vectors = np.asarray(predictions).astype(np.float32)
        texts = np.asarray(labels).astype(np.int64)
        if vectors.ndim != 3 or vectors.shape[:2] != texts.shape:
            raise DataError(
                f"Every row must have {self.num_texts} vectors and as many numbers of texts, but "
                f"the shapes are {vectors.shape} and {texts.shape}."
            )
        if vectors.shape[1] != self.num_texts:
            raise DataError(
                f"Every row must have {self.num_texts} texts, but has {vectors.shape[1]}."
            )
        if not np.isfinite(vectors).all():
            row = int(np.flatnonzero(~np.isfinite(vectors).all((1, 2)))[0])
            raise DataError(f"Vectors must be of numbers, but row {row} has NaN or infinity.")
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
        vectors = vectors / np.maximum(lengths, np.float32(1e-12))
        if self.num_texts == 3:
            gaps = np.einsum("nd,nd->n", vectors[:, 0], vectors[:, 1] - vectors[:, 2])
            self._nearer += int((gaps > 0).sum())
        numbers = np.arange(self._rows, self._rows + len(vectors), dtype=np.uint64)
        self._rows += len(vectors)
        self._keep(vectors, texts, scattered(numbers))

    def merge(self, other: Self) -> None:
        """Add the rows that `other` has counted; a `ConfigError` unless both were made alike."""
        if (other.num_texts, other.most_rows) != (self.num_texts, self.most_rows):
            raise ConfigError("Metrics can be merged only with equal texts a row and rows kept.")
        self._rows += other._rows
        self._nearer += other._nearer
        self._keep(*other._sample())

    def compute(self) -> dict[str, float]:
        """Return the figures for all rows so far."""
        require_rows(self._rows)
        vectors, texts, _ = self._sample()
        if len(vectors) < self._rows:
            logger.warning(
                "Search is measured among a fair sample of %d of %d rows.",
                len(vectors),
                self._rows,
            )
        ranks = _ranks(vectors, texts)
        is_near = ranks <= _DEPTH
        figures = [
            (ranks <= 1).mean(),
            is_near.mean(),
            (is_near / ranks).mean(),
            (is_near / np.log2(1 + ranks)).mean(),
        ]
        if self.num_texts == 3:
            figures.append(self._nearer / self._rows)
        return {name: float(figure) for name, figure in zip(self.better, figures, strict=True)}

    def state_dict(self) -> State:
        """Return counts and the rows kept."""
        vectors, texts, keys = self._sample()
        counts = np.array([self._rows, self._nearer])
        return {"counts": counts, "vectors": vectors, "texts": texts, "keys": keys}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the place of what was counted."""
        wanted = {"counts", "vectors", "texts", "keys"}
        if set(state) != wanted or state["texts"].shape[1:] != (self.num_texts,):
            raise ConfigError("The state does not fit this metric.")
        self.reset()
        self._rows, self._nearer = (int(count) for count in state["counts"].astype(np.int64))
        self._keep(
            state["vectors"].astype(np.float32),
            state["texts"].astype(np.int64),
            state["keys"].astype(np.uint64),
        )

    def reset(self) -> None:
        """Forget all rows."""
        self._rows = self._nearer = self._num_kept = 0
        self._kept: list[tuple[Floats, Integers, npt.NDArray[np.uint64]]] = []

    def _keep(self, vectors: Floats, texts: Integers, keys: npt.NDArray[np.uint64]) -> None:
        self._kept.append((vectors, texts, keys))
        self._num_kept += len(keys)
        if self.most_rows is not None and self._num_kept > self.most_rows + self.most_rows // 4:
            self._kept = [self._sample()]
            self._num_kept = len(self._kept[0][2])

    def _sample(self) -> tuple[Floats, Integers, npt.NDArray[np.uint64]]:
        """Return the rows with the smallest keys; see `RegressionMetrics`."""
        if not self._kept:
            nothing = np.empty((0, self.num_texts, 0), np.float32)
            return nothing, np.empty((0, self.num_texts), np.int64), np.empty(0, np.uint64)
        vectors, texts, keys = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
        if self.most_rows is not None and len(keys) > self.most_rows:
            chosen = np.sort(np.argpartition(keys, self.most_rows)[: self.most_rows])
            vectors, texts, keys = vectors[chosen], texts[chosen], keys[chosen]
        return vectors, texts, keys


def _ranks(vectors: Floats, texts: Integers) -> npt.NDArray[np.float64]:
    """Return the rank of each question's right text, (N,), from 1.

    Args:
        vectors: (N, M, D) of length 1.
        texts: (N, M) numbers that equal texts share.
    """
    count = len(vectors)
    names, first, place = np.unique(texts[:, 1:], return_index=True, return_inverse=True)
    candidates = vectors[:, 1:].reshape(-1, vectors.shape[-1])[first]  # (C, D), each text once
    own = place.reshape(count, -1)[:, 0]  # (N,)
    question = np.unique(texts[:, 0], return_inverse=True)[1]
    right = _members(question, own)
    itself = np.searchsorted(names, texts[:, 0])
    ranks = np.empty(count)
    size = max(1, _SCORES_AT_ONCE // len(candidates))
    for start in range(0, count, size):
        rows = np.arange(start, min(start + size, count))
        scores = vectors[rows, 0] @ candidates.T  # (n, C)
        wanted = scores[np.arange(len(rows)), own[rows]]
        for line, row in zip(scores, rows, strict=True):
            line[right[question[row]]] = -np.inf
            if itself[row] < len(names) and names[itself[row]] == texts[row, 0]:
                line[itself[row]] = -np.inf
        above = (scores > wanted[:, None] + _TIE).sum(-1)
        level = (np.abs(scores - wanted[:, None]) <= _TIE).sum(-1)
        ranks[rows] = 1 + above + level / 2
    return ranks


def _members(groups: Integers, values: Integers) -> list[Integers]:
    """Return the values of each group, by its number from 0."""
    order = np.argsort(groups, kind="stable")
    ends = np.cumsum(np.bincount(groups))[:-1]
    return np.split(values[order], ends)
