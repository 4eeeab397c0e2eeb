"""Dropout whose random numbers do not cost more than the layers around it.

On CPUs `torch` draws one random number an element from a serial generator, which takes longer than
the rest of a small layer. Here one 64-bit draw serves four elements: an element is dropped when its
16 bits fall below the wished share, so that the probability is met within 1 in 65,536.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEVELS = 1 << 16


def dropout(values: Tensor, probability: float) -> Tensor:
    """Zero each element with the given probability and scale the others to keep the mean."""
    threshold = round(probability * _LEVELS)
    if values.device.type != "cpu" or threshold >= _LEVELS:
        return F.dropout(values, probability)
    count = values.numel()
    words = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[:count].view(values.shape)
    kept = (bits >= threshold - _LEVELS // 2).to(values.dtype)
    return values * kept.mul_(_LEVELS / (_LEVELS - threshold))


class Dropout(nn.Module):
    """Drops elements while training, does nothing otherwise."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, values: Tensor) -> Tensor:
        """Return `values`, some of them zero while training."""
        if self.training and self.probability > 0:
            return dropout(values, self.probability)
        return values

    def extra_repr(self) -> str:
        """Return the probability, for `print(model)`."""
        return f"{self.probability}"
