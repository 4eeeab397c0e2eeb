"""The best words of each row, without sorting the vocabulary.

On CPUs a few rows at a time are looked through, so that they stay in the cache: in each the highest
score of 1,024 interleaved parts of the vocabulary is found first, and only the parts that have the
best ones are searched. Measured on two cores with AMX, 128 rows of 58,101 bf16 scores: 3 ms for the
best eight and the sum of exponentials, against 20 ms for `log_softmax` and `topk`.

Shapes: R rows, V vocabulary, K best words.
"""

import torch
from torch import Tensor

_PARTS = 1_024
"""Into how many parts the vocabulary falls."""
_MOST_SEARCHED = 64
"""More of the best words than this are found by sorting."""
_SMALL = 8_192
"""Vocabularies up to this size are sorted."""
_ROWS_AT_ONCE = 4


def best_words(
    scores: Tensor, count: int, *, with_norm: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Find the highest scores of each row.

    Args:
        scores: (R, V) scores.
        count: K, at most V.
        with_norm: Whether the logarithm of the sum of all exponentials is wanted, too.

    Returns:
        (R, K) scores in fp32, the highest first; (R, K) their words; and (R,) fp32, or None.
    """
    vocabulary = scores.shape[-1]
    if scores.is_cuda or vocabulary <= _SMALL or count > _MOST_SEARCHED:
        whole = scores.float()
        values, words = whole.topk(count, -1)
        return values, words, whole.logsumexp(-1) if with_norm else None
    held = _room(vocabulary)
    tops = torch.empty(len(scores), _PARTS)  # the highest score of each part
    norms = torch.empty(len(scores)) if with_norm else None
    for start in range(0, len(scores), _ROWS_AT_ONCE):
        some = scores[start : start + _ROWS_AT_ONCE]
        end, copied = start + len(some), held[: len(some)]
        copied[:, :vocabulary] = some
        torch.amax(copied.unflatten(-1, (-1, _PARTS)), -2, out=tops[start:end])
        if norms is not None:
            norms[start:end] = _log_norms_(copied[:, :vocabulary], tops[start:end].amax(-1))
    values, words = _search(scores, tops, count)
    return values, words, norms


def _room(vocabulary: int) -> Tensor:
    """Return room for some rows of scores, as wide as parts that are equally large."""
    room = torch.empty(_ROWS_AT_ONCE, -(-vocabulary // _PARTS) * _PARTS)
    room[:, vocabulary:] = -torch.inf
    return room


def _search(scores: Tensor, tops: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Find the best of (R, V) scores in those parts that have the best tops, (R, parts)."""
    vocabulary = scores.shape[-1]
    parts = tops.topk(count, -1).indices  # (R, K)
    places = (parts[:, :, None] + torch.arange(0, vocabulary, _PARTS)).flatten(1)
    found = scores.gather(-1, places.clamp(max=vocabulary - 1)).float()
    found.masked_fill_(places >= vocabulary, -torch.inf)
    values, order = found.topk(count, -1)
    return values, places.gather(-1, order)


def log_norms(scores: Tensor) -> Tensor:
    """Return (R,) fp32 logarithms of the sums of all exponentials of (R, V) scores."""
    if scores.is_cuda or scores.shape[-1] <= _SMALL:
        return scores.float().logsumexp(-1)
    norms = torch.empty(len(scores))
    for start in range(0, len(scores), _ROWS_AT_ONCE):
        some = scores[start : start + _ROWS_AT_ONCE].to(torch.float32, copy=True)
        norms[start : start + _ROWS_AT_ONCE] = _log_norms_(some, some.amax(-1))
    return norms


def _log_norms_(scores: Tensor, highest: Tensor) -> Tensor:
    """Return the same of fp32 scores with (R,) highest ones, using the scores up."""
    sums = scores.sub_(highest[:, None]).exp_().sum(-1)
    return sums.log_().add_(highest)
