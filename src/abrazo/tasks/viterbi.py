"""The likeliest sequence of tags among those that a scheme allows.

Shapes: U units of a row, C tags.
"""

import numpy as np
import numpy.typing as npt

from abrazo.metrics.tags import TagSet

Floats = npt.NDArray[np.float64]
Tags = npt.NDArray[np.int64]

_FORBIDDEN = -1e9


def decode_tags(scores: Floats, tag_set: TagSet) -> Tags:
    """Return the (U,) tags whose scores have the greatest sum, none following what it may not.

    Most rows are legal as each unit's best tags stand; the others take time in proportion to U.

    Args:
        scores: (U, C) logarithms of probabilities.
        tag_set: Says which tag may follow which.

    Source: Viterbi 1967, "Error bounds for convolutional codes".
    """
    best: Tags = scores.argmax(-1)
    if not len(best) or _is_legal(best, tag_set):
        return best
    barriers = np.where(tag_set.may_follow.T, 0.0, _FORBIDDEN)  # (C after, C before)
    total = scores[0] + np.where(tag_set.may_start, 0.0, _FORBIDDEN)  # (C,)
    came_from = np.empty(scores.shape, dtype=np.int32)
    every = np.arange(len(tag_set))
    for place in range(1, len(scores)):
        ways = barriers + total  # (C after, C before)
        came_from[place] = ways.argmax(-1)
        total = ways[every, came_from[place]] + scores[place]
    best[-1] = (total + np.where(tag_set.may_end, 0.0, _FORBIDDEN)).argmax()
    for place in range(len(scores) - 1, 0, -1):
        best[place - 1] = came_from[place, best[place]]
    return best


def _is_legal(tags: Tags, tag_set: TagSet) -> bool:
    follows = tag_set.may_follow[tags[:-1], tags[1:]].all()
    return bool(follows and tag_set.may_start[tags[0]] and tag_set.may_end[tags[-1]])
