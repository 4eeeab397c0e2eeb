"""What attention is told about places: rotary angles, local windows, biases by distance.

Shapes: T tokens of all rows, H heads, D width of one head, N rows of a group of like length, L the
length of that group or of the longest row.
"""

import math

import torch
from torch import Tensor

from abrazo.layers.cache import LayerPast
from abrazo.layers.layout import Group, Layout

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines of the angles by which each token is turned, (T, 1, D / 2) each."""

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
        is_causal: bool = False,
    ) -> None:
        """Keep what attention adds to the layout.

        Args:
            layout: Where the rows begin and end.
            rotation: Angles for queries and keys.
            window: How far to either side a token sees; None sees the whole row.
            bias: (1, H, L, L) added to the scores, for the longest row; shorter ones take a corner.
            is_causal: Whether a token sees nothing that follows it.
        """
        self.layout = layout
        self.rotation = rotation
        self.window = window
        self.bias = bias
        self.is_causal = is_causal
        self._made: dict[tuple[Group, torch.dtype], Tensor | None] = {}

    def sees_all_before(self) -> bool:
        """Tell whether a token sees just what comes before it, as causal kernels have it."""
        return self.is_causal and self.bias is None and not self._is_narrow(self.layout.max_length)

    def group_bias(self, group: Group, dtype: torch.dtype) -> Tensor | None:
        """Return what is added to the scores of a group of the layout, padding masked.

        It is made when the first block asks for it, and the same for all others.
        """
        if (group, dtype) not in self._made:
            total = self._total_bias(group)
            self._made[group, dtype] = None if total is None else total.to(dtype)
        return self._made[group, dtype]

    def _total_bias(self, group: Group) -> Tensor | None:
        length, total = group.length, group.key_bias
        between = distances(length, self.layout.device)
        if self.is_causal:
            after = torch.where(between < 0, -torch.inf, 0.0)
            # where rows have lines of their own, padding stands at the end and is hidden too
            total = add(total, after) if group.shares_lines else after
        if self._is_narrow(length):
            total = add(total, torch.where(between.abs() > (self.window or 0), _FAR, 0.0))
        if self.bias is not None:
            total = add(total, self.bias[..., :length, :length])
        return total

    def _is_narrow(self, length: int) -> bool:
        return self.window is not None and length > self.window + 1


class PastGuide(Guide):
    """A guide of one block whose rows hold tokens already, or will go on from these."""

    def __init__(self, shared: Guide, past: LayerPast, bias: Tensor | None) -> None:
        """Take what all blocks share, and what is this block's own.

        Args:
            shared: The guide of all blocks.
            past: Keys and values of this block.
            bias: (R, H or 1, new tokens or 1, C) added to the scores against all columns.
        """
        super().__init__(
            shared.layout,
            rotation=shared.rotation,
            window=shared.window,
            bias=shared.bias,
            is_causal=shared.is_causal,
        )
        self._made = shared._made
        self.past = past
        self.past_bias = bias

    @property
    def is_first(self) -> bool:
        """Whether nothing came before these tokens, which then only look at each other."""
        return self.past.is_first


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
    angles = angles[:, None]
    return angles.cos(), angles.sin()


def rotate(joint: Tensor, rotation: Rotation, num_turned: int) -> Tensor:
    """Turn the first heads of (T, heads, D) by the angles; the others stay.

    An element of the first half of a head is turned together with the one of the second half. Where
    there are angles for a part of the head only, its elements are the leading ones. Without
    gradients the result takes the place of `joint`.

    Args:
        joint: (T, heads, D) queries, keys and values.
        rotation: The angles.
        num_turned: How many heads are turned: those of queries and keys.
    """
    cosines, sines = (table.to(joint.dtype) for table in rotation)
    width = 2 * cosines.shape[-1]
    turned = joint[:, :num_turned]
    first, second = turned[..., :width].chunk(2, -1)  # (T, num_turned, D / 2) each
    real = torch.addcmul(first * cosines, second, sines, value=-1)
    imaginary = torch.addcmul(second * cosines, first, sines)
    if torch.is_grad_enabled():
        whole = torch.cat([real, imaginary, turned[..., width:]], -1)
        return torch.cat([whole, joint[:, num_turned:]], 1)
    first.copy_(real)
    second.copy_(imaginary)
    return joint


def two_sided_buckets(distance: Tensor, num_buckets: int = 32, farthest: int = 128) -> Tensor:
    """Return a bucket from 0 for each distance; the keys that follow have the second half.

    Source: Raffel et al. 2019, T5, section 2.1, https://arxiv.org/abs/1910.10683: near distances
    have a bucket each, farther ones share buckets that grow with the logarithm.
    """
    half = num_buckets // 2
    return one_sided_buckets(distance.abs(), half, farthest) + (distance < 0) * half


def one_sided_buckets(distance: Tensor, num_buckets: int = 32, farthest: int = 128) -> Tensor:
    """Return a bucket from 0 for each distance; the keys that follow have that of no distance.

    Source: as for `two_sided_buckets`.
    """
    exact = num_buckets // 2
    away = distance.clamp(min=0)
    steps = (away.float() / exact).log() / math.log(farthest / exact) * (num_buckets - exact)
    shared = (exact + steps.clamp(min=0).long()).clamp(max=num_buckets - 1)
    return torch.where(away < exact, away, shared)


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
