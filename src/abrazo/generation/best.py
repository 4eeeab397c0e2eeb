"""The best words of each row, without sorting the vocabulary.

On CPUs a few rows at a time are looked through, so that they stay in the cache: in each the highest
score of 256 interleaved parts of the vocabulary is found first, and only the parts that have the
best ones are searched. Measured on two cores with AMX, 128 rows of 58,101 bf16 scores: 3 ms for the
best eight and the sum of exponentials, against 20 ms for `log_softmax` and `topk`.

Shapes: R rows, V vocabulary, K best words.
"""

import torch
from torch import Tensor

_PARTS = 256
"""Into how many parts the vocabulary falls."""
_MOST_SEARCHED = 64
"""More of the best words than this are found by sorting."""
_SMALL = 8_192
"""Vocabularies up to this size are sorted."""
_ROWS_AT_ONCE = 16


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
    width = -(-vocabulary // _PARTS) * _PARTS
    room = torch.empty(min(_ROWS_AT_ONCE, len(scores)), width)
    room[:, vocabulary:] = -torch.inf
    values = room.new_empty(len(scores), count)
    words = torch.empty(len(scores), count, dtype=torch.long)
    norms = room.new_empty(len(scores)) if with_norm else None
    for start in range(0, len(scores), _ROWS_AT_ONCE):
        some = scores[start : start + _ROWS_AT_ONCE]
        end, held = start + len(some), room[: len(some)]
        held[:, :vocabulary] = some
        values[start:end], words[start:end] = _search(held, count)
        if norms is not None:
            highest = values[start:end, :1]
            norms[start:end] = held.sub_(highest).exp_().sum(-1).log_().add_(highest[:, 0])
            held[:, vocabulary:] = -torch.inf
    return values, words, norms


def _search(held: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Find the best of (R, V) scores in those parts that have them."""
    by_part = held.unflatten(-1, (-1, _PARTS))  # (R, V / parts, parts)
    parts = by_part.amax(-2).topk(count, -1).indices  # (R, K)
    steps = torch.arange(by_part.shape[1]) * _PARTS
    places = (parts[:, :, None] + steps).flatten(1)  # (R, K * V / parts)
    values, found = held.gather(-1, places).topk(count, -1)
    return values, places.gather(-1, found)


def log_norms(scores: Tensor) -> Tensor:
    """Return (R,) fp32 logarithms of the sums of all exponentials of (R, V) scores."""
    if scores.is_cuda or scores.shape[-1] <= _SMALL:
        return scores.float().logsumexp(-1)
    norms = torch.empty(len(scores))
    for start in range(0, len(scores), _ROWS_AT_ONCE):
        some = scores[start : start + _ROWS_AT_ONCE].float()
        highest = some.amax(-1)
        sums = some.sub_(highest[:, None]).exp_().sum(-1)
        norms[start : start + _ROWS_AT_ONCE] = sums.log_().add_(highest)
    return norms
