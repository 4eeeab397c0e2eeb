"""One two-way table of tensor names for each family: ours on the left, Hugging Face's on the right.

A row names a module; its `weight` and `bias` go with it. `{i}` stands for any layer number, and
`{j}` for a second one. Several names on the right are joined, along the first axis, into the one
tensor on the left:

    Row("blocks.{i}.attention.query_key_value",
        "encoder.layer.{i}.attention.self.query", "...key", "...value")
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from abrazo.errors import CheckpointError


class Row:
    """A module of ours and the module, or the modules joined, that it is called elsewhere."""

    def __init__(self, ours: str, *theirs: str) -> None:
        self.ours = ours
        self.theirs = theirs
        pattern = re.sub(r"\\\{([ij])\\\}", r"(?P<\1>\\d+)", re.escape(ours))
        self._pattern = re.compile(pattern + r"(?P<field>(?:\.\w+)?)")

    def names_for(self, ours: str) -> tuple[str, ...] | None:
        """Return the outside names of our tensor `ours`, or None where this row is not about it."""
        match = self._pattern.fullmatch(ours)
        if match is None:
            return None
        field, numbers = match["field"], match.groupdict()
        return tuple(
            name.replace("{i}", numbers.get("i", "")).replace("{j}", numbers.get("j", "")) + field
            for name in self.theirs
        )

    def under(self, ours: str, theirs: str) -> "Row":
        """Return this row with a prefix put before the names on either side."""
        return Row(ours + self.ours, *(theirs + name for name in self.theirs))


class KeyMap:
    """All rows of a model."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(rows)

    def names_for(self, ours: str) -> tuple[str, ...]:
        """Return the outside names of our tensor.

        Raises:
            CheckpointError: No row is about it.
        """
        for row in self.rows:
            names = row.names_for(ours)
            if names is not None:
                return names
        raise CheckpointError(f"No row of the key map names the tensor `{ours}`.")

    def to_hf(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors under their outside names, joined ones split again."""
        renamed: dict[str, Tensor] = {}
        for ours, tensor in tensors.items():
            names = self.names_for(ours)
            parts: Sequence[Tensor] = tensor.chunk(len(names)) if len(names) > 1 else [tensor]
            renamed.update(zip(names, parts, strict=True))
        return renamed


def part_shape(shape: torch.Size, num_parts: int) -> tuple[int, ...]:
    """Return the shape of each outside tensor that `num_parts` of are joined into `shape`."""
    if num_parts == 1:
        return tuple(shape)
    return (shape[0] // num_parts, *shape[1:])
