"""From logits to the logarithms of probabilities, in fp64.

Shapes: C classes.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def log_softmax(logits: npt.NDArray[np.floating]) -> Floats:
    """Return the logarithms of the probabilities that (..., C) logits stand for."""
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(-1, keepdims=True)
    scores: Floats = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return scores
