"""What a model says of the units of a text, as tags, as spans, and as the arrays metrics count.

Shapes: N pieces of a row, U units of a row, C tags, K types, S spans.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from abrazo.heads.base import IGNORED_LABEL
from abrazo.metrics.tags import TagSet, TagSpans, find_spans, write_tags
from abrazo.tasks.probabilities import Floats, log_softmax

Int64 = npt.NDArray[np.int64]
Aggregation = Literal["none", "simple", "first", "average", "max"]
"""How what is said of pieces becomes answers, by the names that `transformers` uses."""

_MOST_PLACES = 1 << 18
"""Places of a padded array, so that one long row among short ones costs little memory."""
_TINY = np.finfo(np.float64).tiny
_SURE = 30.0
"""A logarithm of odds that stands for certainty."""


@dataclass(frozen=True, slots=True)
class UnitRow:
    """A row as the task reads it."""

    text: str
    places: Int64
    """(U, 2) the characters of each unit."""
    firsts: Int64
    """(U,) the first piece of each unit."""
    unit_of_piece: Int64
    """(N,) the unit of each piece, -1 where it is nothing but space."""
    tags: Int64 | None = None
    """(U,) the right tags."""
    spans: Int64 | None = None
    """(S, 3) the right spans: characters from and up to, number of the type."""
    is_exact: bool = True
    """Whether all right spans begin and end where units do."""


@dataclass(frozen=True, slots=True)
class TagPrediction:
    """What the model says of a row."""

    scores: Floats
    """(U, C) logarithms of the probabilities of tags."""
    tags: Int64
    """(U,) the tags chosen."""
    row: UnitRow | None
    """The row; None where a user's own collator read it."""


@dataclass(frozen=True, slots=True)
class FoundSpan:
    """A span that the model found."""

    start: int
    """First character."""
    end: int
    """The character after the last."""
    type_number: int
    shares: Floats
    """(K,) mean probability, over the span's units, of belonging to a span of each type."""

    @property
    def score(self) -> float:
        """The share of the span's own type."""
        return float(self.shares[self.type_number])


def score_units(
    logits: npt.NDArray[np.floating], row: UnitRow, how: Aggregation, tag_set: TagSet
) -> Floats:
    """Return what (N, C) logits of pieces say of units, (U, C) logarithms of probabilities.

    With `average` and `max` all pieces of a unit say of which type it is; whether it begins a span
    is said by the first.
    """
    if how not in ("average", "max") or not len(row.firsts):
        return log_softmax(logits[row.firsts])
    pieces = log_softmax(logits)
    masses = np.exp(pieces) @ tag_set.has_type  # (N, K + 1)
    sums = np.zeros((len(row.firsts) + 1, masses.shape[1]))  # the last is of pieces without a unit
    (np.add if how == "average" else np.maximum).at(sums, row.unit_of_piece, masses)
    total = sums[:-1]
    total /= total.sum(-1, keepdims=True)
    first = pieces.take(row.firsts, 0)  # (U, C)
    shares = first - _log(np.exp(first) @ tag_set.has_type).take(tag_set.type_of, 1)
    return shares + _log(total).take(tag_set.type_of, 1)


def _log(probabilities: Floats) -> Floats:
    """Return logarithms; those of 0, as where there is no tag for no span, stay finite."""
    logarithms: Floats = np.log(np.maximum(probabilities, _TINY))
    return logarithms


def spans_of(prediction: TagPrediction, tag_set: TagSet) -> list[FoundSpan]:
    """Return the spans that the chosen tags stand for, in order."""
    assert prediction.row is not None
    if not tag_set.kind_of[prediction.tags].any():  # all are `OUTSIDE`, as in most rows
        return []
    found = _found(prediction.tags, tag_set)
    masses = np.exp(prediction.scores) @ tag_set.has_type[:, :-1]  # (U, K)
    sums = np.concatenate([np.zeros((1, masses.shape[1])), np.cumsum(masses, axis=0)])
    shares = (sums[found.ends] - sums[found.starts]) / (found.ends - found.starts)[:, None]
    places = prediction.row.places
    columns = zip(
        places[found.starts, 0].tolist(),
        places[found.ends - 1, 1].tolist(),
        found.types.tolist(),
        np.minimum(shares, 1.0),
        strict=True,
    )
    return [FoundSpan(*span) for span in columns]


def to_padded(
    predictions: Sequence[TagPrediction], labels: Sequence[Int64 | None], tag_set: TagSet
) -> Iterator[tuple[Floats, Int64]]:
    """Yield rows as arrays, (rows, longest, C) scores and (rows, longest) tags, -100 in padding.

    The greatest score of a unit is always that of the tag chosen. Where the right spans begin or
    end inside a unit, the unit is split there, so that nothing is counted as right by halves.
    """
    batch: list[tuple[Floats, Int64]] = []
    longest = 0
    for prediction, label in zip(predictions, labels, strict=True):
        scores, tags = _scores_and_tags(prediction, label, tag_set)
        longest = max(longest, len(tags))
        if batch and longest * (len(batch) + 1) > _MOST_PLACES:
            yield _padded(batch)
            batch, longest = [], len(tags)
        batch.append((scores, tags))
    if batch:
        yield _padded(batch)


def _scores_and_tags(
    prediction: TagPrediction, label: Int64 | None, tag_set: TagSet
) -> tuple[Floats, Int64]:
    row, scores = prediction.row, prediction.scores
    if label is None:
        label = np.full(len(scores), IGNORED_LABEL, dtype=np.int64)
    if row is not None and row.spans is not None and not row.is_exact:
        return _split(prediction, row, row.spans, tag_set)
    return _with_greatest(scores, prediction.tags), label


def _split(
    prediction: TagPrediction, row: UnitRow, right: Int64, tag_set: TagSet
) -> tuple[Floats, Int64]:
    """Return scores and right tags of stretches that end wherever a unit or a right span does."""
    edges = np.unique(np.concatenate([row.places.ravel(), right[:, :2].ravel()]))
    starts = edges[:-1]
    unit = np.searchsorted(row.places[:, 0], starts, side="right") - 1
    in_unit = (unit >= 0) & (starts < np.append(row.places[:, 1], 0)[unit])
    span = np.searchsorted(right[:, 0], starts, side="right") - 1
    in_span = (span >= 0) & (starts < np.append(right[:, 1], 0)[span])
    kept = in_unit | in_span
    starts, unit, in_unit = starts[kept], unit[kept], in_unit[kept]

    def tags_of(spans: Int64) -> Int64:
        first, last = (np.searchsorted(starts, spans[:, column]) for column in (0, 1))
        return write_tags(TagSpans(first, last, spans[:, 2]), len(starts), tag_set)

    found = _found(prediction.tags, tag_set)
    places = row.places
    said = np.stack([places[found.starts, 0], places[found.ends - 1, 1], found.types], axis=1)
    scores = np.full((len(starts), len(tag_set)), -_SURE)
    scores[in_unit] = prediction.scores[unit[in_unit]]
    return _with_greatest(scores, np.maximum(tags_of(said), 0)), tags_of(right)


def _with_greatest(scores: Floats, tags: Int64) -> Floats:
    """Return scores in which that of each tag chosen is the greatest, by exchanging two."""
    places = np.arange(len(tags))
    best = scores.argmax(-1)
    if (best == tags).all():
        return scores
    exchanged = scores.copy()
    exchanged[places, best] = scores[places, tags]
    exchanged[places, tags] = scores[places, best]
    equal = exchanged.argmax(-1) != tags  # a tie goes to the first
    exchanged[equal, tags[equal]] += 1e-6
    return exchanged


def _padded(rows: Sequence[tuple[Floats, Int64]]) -> tuple[Floats, Int64]:
    longest = max(len(tags) for _, tags in rows)
    num_tags = rows[0][0].shape[-1]
    scores = np.full((len(rows), longest, num_tags), float(IGNORED_LABEL))
    labels = np.full((len(rows), longest), IGNORED_LABEL, dtype=np.int64)
    for place, (of_row, tags) in enumerate(rows):
        scores[place, : len(tags)] = of_row
        labels[place, : len(tags)] = tags
    return scores, labels


def _found(tags: Int64, tag_set: TagSet) -> TagSpans:
    return find_spans(tag_set.kind_of[tags], tag_set.type_of[tags])
