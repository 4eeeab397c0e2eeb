"""A matrix product with a small correction that is learned in its place.

The matrix W stays as it is; what is added to it is the product of two narrow matrices, U D. Where
several matrices are joined into one, such as query, key and value, each has its own U and D.

Source: Hu et al. 2021, LoRA, section 4.1, https://arxiv.org/abs/2106.09685.

Shapes: T tokens, I input width, O output width, P joined matrices that are corrected, R rank, U how
high these are together.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abrazo.layers.dropout import Dropout
from abrazo.layers.linear import Linear

ADAPTER_WEIGHTS = ("lora_down", "lora_up")
"""Names of the weights that an adapter adds to a layer."""


class LoraLinear(Linear):
    """A linear layer whose matrix is corrected by one of low rank."""

    def __init__(
        self,
        linear: Linear,
        *,
        rank: int,
        scale: float,
        dropout: float = 0.0,
        parts: Sequence[int] = (0,),
        heights: Sequence[int] = (),
    ) -> None:
        """Put a correction, zero at first, on a layer's own weights.

        Args:
            linear: The layer; its weights are shared, not copied.
            rank: R.
            scale: What the correction is multiplied with.
            dropout: Share of the input dropped on the correction's way alone.
            parts: Which of the joined matrices are corrected, ascending.
            heights: How high each of the joined matrices is; by default there is one.
        """
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.scale, self.parts = scale, tuple(parts)
        self.heights = tuple(heights) or (self.out_features,)
        self.dropout = Dropout(dropout)
        height = sum(self.heights[part] for part in self.parts)
        self.lora_down = nn.Parameter(linear.weight.new_empty(len(parts), rank, self.in_features))
        self.lora_up = nn.Parameter(linear.weight.new_zeros(height, rank))  # (U, R)
        bound = 1 / math.sqrt(self.in_features)
        nn.init.uniform_(self.lora_down, -bound, bound)
        self._base: Tensor | None = None
        self.train(linear.training)

    @property
    def rank(self) -> int:
        """R."""
        return self.lora_down.shape[1]

    @property
    def ups(self) -> tuple[Tensor, ...]:
        """The part of U for each corrected matrix, (height, R), as views."""
        ups: tuple[Tensor, ...] = self.lora_up.split([self.heights[part] for part in self.parts])
        return ups

    @property
    def is_merged(self) -> bool:
        """Whether the correction is in the matrix already."""
        return self._base is not None

    def forward(self, hidden: Tensor) -> Tensor:
        """Turn (T, I) into (T, O)."""
        product = super().forward(hidden)
        if self.is_merged:
            return product
        inner = F.linear(self.dropout(hidden), self.lora_down.flatten(0, 1))  # (T, P * R)
        pieces = list(product.split(self.heights, -1))  # (T, height) each
        for part, narrow, up in zip(self.parts, inner.split(self.rank, -1), self.ups, strict=True):
            pieces[part] = pieces[part] + (F.linear(narrow, up) * self.scale).to(product.dtype)
        return torch.cat(pieces, -1)

    def fuses(self, hidden: Tensor, activation: str) -> bool:
        """Tell whether the activation can be applied inside the product: once merged."""
        return self.is_merged and super().fuses(hidden, activation)

    def matrix(self) -> Tensor:
        """Return the corrected matrix (O, I)."""
        if self.is_merged:
            return self.weight
        pieces = list(self.weight.split(self.heights))  # (height, I) each
        for part, down, up in zip(self.parts, self.lora_down, self.ups, strict=True):
            pieces[part] = pieces[part] + (up @ down) * self.scale
        return torch.cat(pieces)

    @torch.no_grad()
    def merge(self) -> None:
        """Put the correction into the matrix; it is then learned no more."""
        if not self.is_merged:
            corrected = self.matrix()
            self._base = self.weight.detach().clone()
            self.weight.copy_(corrected)
            self.lora_down.requires_grad_(False)
            self.lora_up.requires_grad_(False)

    @torch.no_grad()
    def unmerge(self) -> None:
        """Take the correction out again; the matrix is what it was, bit for bit."""
        if self._base is not None:
            self.weight.copy_(self._base)
            self._base = None
            self.lora_down.requires_grad_(True)
            self.lora_up.requires_grad_(True)

    def without(self) -> Linear:
        """Return a plain layer with the same weights, corrected if merged."""
        with torch.device("meta"):
            plain = Linear(self.in_features, self.out_features, bias=self.bias is not None)
        plain.weight, plain.bias = self.weight, self.bias
        return plain.train(self.training)

    def extra_repr(self) -> str:
        """Return sizes and rank, for `print(model)`."""
        return f"{super().extra_repr()}, rank={self.rank}, scale={self.scale:g}"


def adapted_layers(module: nn.Module) -> dict[str, LoraLinear]:
    """Return the layers with a correction, by their names."""
    return {name: part for name, part in module.named_modules() if isinstance(part, LoraLinear)}


def plain_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return all weights by name as a module without corrections would have them, put in."""
    adapted = {f"{name}.weight": layer for name, layer in adapted_layers(module).items()}
    return {
        name: adapted[name].matrix().detach() if name in adapted else weight.detach()
        for name, weight in module.named_parameters()
        if not name.endswith(ADAPTER_WEIGHTS)
    }
