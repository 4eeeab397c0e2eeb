"""Norms that families have beside `torch.nn.LayerNorm`.

Shapes: T tokens, E width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Divides by the root of the mean square, in fp32.

    Source: Zhang and Sennrich 2019, Root Mean Square Layer Normalization,
    https://arxiv.org/abs/1910.07467.
    """

    def __init__(self, width: int, eps: float, *, offset: float = 0.0) -> None:
        """Build a norm that changes no scale at first.

        Args:
            width: E.
            eps: Added to the mean square.
            offset: Added to the weight; with 1, weights start at 0, as Gemma has them.
        """
        super().__init__()
        self.eps = eps
        self.offset = offset
        self.weight = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start so that the norm changes no scale."""
        nn.init.constant_(self.weight, 1 - self.offset)

    def forward(self, hidden: Tensor) -> Tensor:
        """Turn (..., E) into (..., E) of the same dtype."""
        weight = self.weight if self.offset == 0 else self.weight.float() + self.offset
        normed = F.rms_norm(hidden.float(), self.weight.shape, weight.float(), self.eps)
        return normed.to(hidden.dtype)

    def extra_repr(self) -> str:
        """Return the width, for `print(model)`."""
        return f"{self.weight.shape[0]}"
