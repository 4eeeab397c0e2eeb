"""What attention is told about places: rotary angles, local windows, biases by distance.

Shapes: T tokens of all rows, H heads, D width of one head, N rows of a group of like length, L the
length of that group or of the longest row.
"""

import math

import torch
from torch import Tensor

from abrazo.layers.layout import Group, Layout

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines of the angles by which each token is turned, (T, 1, 1, D / 2) each."""

# Added to the scores of tokens outside a window. Finite also in fp16, so that padding, which may
# see no token at all through its window, gives no NaN that gradients would carry on.
_FAR = -6e4


class Guide:
    """What the blocks of a backbone share in one pass, computed once for all of them."""

    def __init__(
        self,
        layout: Layout,
        *,
        rotation: Rotation | None = None,
        window: int | None = None,
        bias: Tensor | None = None,
    ) -> None:
        """Keep what attention adds to the layout.

        Args:
            layout: Where the rows begin and end.
            rotation: Angles for queries and keys.
            window: How far to either side a token sees; None sees the whole row.
            bias: (1, H, L, L) added to the scores, for the longest row; shorter ones take a corner.
        """
        self.layout = layout
        self.rotation = rotation
        self.window = window
        self.bias = bias
        self._made: dict[tuple[int, torch.dtype], Tensor | None] = {}

    def group_bias(self, number: int, dtype: torch.dtype) -> Tensor | None:
        """Return what is added to the scores of a group of the layout, padding masked.

        It is made when the first block asks for it, and the same for all others.
        """
        if (number, dtype) not in self._made:
            total = self._total_bias(self.layout.groups[number])
            self._made[number, dtype] = None if total is None else total.to(dtype)
        return self._made[number, dtype]

    def _total_bias(self, group: Group) -> Tensor | None:
        length, total = group.length, group.key_bias
        if self.window is not None and length > self.window + 1:
            is_far = distances(length, self.layout.device).abs() > self.window
            total = add(total, torch.where(is_far, _FAR, 0.0))
        if self.bias is not None:
            total = add(total, self.bias[..., :length, :length])
        return total


def add(first: Tensor | None, second: Tensor) -> Tensor:
    """Add two biases, the first of which may be absent."""
    return second if first is None else first + second


def distances(length: int, device: torch.device) -> Tensor:
    """Return (L, L) by how many places each query stands behind each key."""
    places = torch.arange(length, device=device)
    return places[:, None] - places


def rotary_angles(positions: Tensor, head_width: int, theta: float) -> Rotation:
    """Return the cosines and sines for (T,) positions.

    Source: Su et al. 2021, RoFormer, section 3.2.2, https://arxiv.org/abs/2104.09864.

    Args:
        positions: (T,) position of each token.
        head_width: D, which must be even.
        theta: Base of the wave lengths.
    """
    exponents = torch.arange(0, head_width, 2, device=positions.device).float() / head_width
    angles = positions[:, None].float() / theta**exponents  # (T, D / 2)
    angles = angles[:, None, None]
    return angles.cos(), angles.sin()


def rotate(joint: Tensor, rotation: Rotation) -> Tensor:
    """Turn queries and keys of (T, 3, H, D) by the angles; values stay.

    An element of the first half of a head is turned together with the one of the second half.
    Without gradients the result takes the place of `joint`.
    """
    cosines, sines = (table.to(joint.dtype) for table in rotation)
    first, second = joint[:, :2].chunk(2, -1)  # (T, 2, H, D / 2) each
    real = torch.addcmul(first * cosines, second, sines, value=-1)
    imaginary = torch.addcmul(second * cosines, first, sines)
    if torch.is_grad_enabled():
        return torch.cat([torch.cat([real, imaginary], -1), joint[:, 2:]], 1)
    first.copy_(real)
    second.copy_(imaginary)
    return joint


def two_sided_buckets(distance: Tensor, num_buckets: int = 32, farthest: int = 128) -> Tensor:
    """Return a bucket from 0 for each distance; the keys that follow have the second half.

    Source: Raffel et al. 2019, T5, section 2.1, https://arxiv.org/abs/1910.10683: near distances
    have a bucket each, farther ones share buckets that grow with the logarithm.
    """
    half = num_buckets // 2
    exact = half // 2
    away = distance.abs()
    steps = (away.float() / exact).log() / math.log(farthest / exact) * (half - exact)
    shared = (exact + steps.clamp(min=0).long()).clamp(max=half - 1)
    return torch.where(away < exact, away, shared) + (distance < 0) * half


def signed_buckets(distance: Tensor, num_buckets: int, farthest: int) -> Tensor:
    """Return a bucket for each distance, negative for keys that follow.

    Source: He et al. 2021, DeBERTa, released code of v2, https://arxiv.org/abs/2006.03654.

    Args:
        distance: By how many places queries stand behind keys.
        num_buckets: Buckets on either side; half of them hold one distance each.
        farthest: The distance that takes the last bucket.
    """
    middle = num_buckets // 2
    away = distance.abs()
    # the edges between buckets depend on rounding, so both logarithms are of single precision
    whole = torch.tensor((farthest - 1) / middle, device=distance.device).log()
    growth = (away.clamp(min=middle).float() / middle).log() / whole
    shared = (growth * (middle - 1)).ceil().long() + middle
    return torch.where(away <= middle, distance, shared * distance.sign())
