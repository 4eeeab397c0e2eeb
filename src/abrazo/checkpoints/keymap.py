"""One two-way table of tensor names for each family: ours on the left, Hugging Face's on the right.

A row names a module; its `weight` and `bias` go with it. `{i}` stands for any layer number, and
`{j}` for a second one. Several names on the right are joined, along the first axis, into the one
tensor on the left:

    Row("blocks.{i}.attention.query_key_value",
        "encoder.layer.{i}.attention.self.query", "...key", "...value")

Joined tensors are equally high unless `shares` says otherwise. Where files hold a tensor in another
form, as transposed, `form` tells how one becomes the other.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor

from abrazo.errors import CheckpointError


@dataclasses.dataclass(frozen=True)
class Form:
    """How files hold a tensor in another form; either way may return a view."""

    to_ours: Callable[[Tensor], Tensor]
    to_theirs: Callable[[Tensor], Tensor]
    is_transposed: bool = False
    """Whether it swaps the axes of matrices, and does no more."""


def _transpose(tensor: Tensor) -> Tensor:
    return tensor.T if tensor.dim() == 2 else tensor


TRANSPOSED = Form(_transpose, _transpose, is_transposed=True)
"""Matrices as (input, output); vectors stay."""


class Row:
    """A module of ours and the module, or the modules joined, that it is called elsewhere."""

    _FIELD = r"(?P<field>(?:\.\w+)?)"

    def __init__(
        self,
        ours: str,
        *theirs: str,
        shares: Sequence[int] = (),
        form: Form | None = None,
        zero_if_absent: bool = False,
    ) -> None:
        """Join names.

        Args:
            ours: Our name.
            theirs: Their name, or those of the tensors that are joined into ours.
            shares: How high the joined tensors are in relation to each other; equally by default.
            form: How their tensor becomes ours, where it is a single one.
            zero_if_absent: Whether files without it mean zeros.
        """
        self.ours = ours
        self.theirs = theirs
        self.shares = tuple(shares) or (1,) * len(theirs)
        self.form = form
        self.zero_if_absent = zero_if_absent
        pattern = re.sub(r"\\\{([ij])\\\}", r"(?P<\1>\\d+)", re.escape(ours))
        self._pattern = re.compile(pattern + self._FIELD)

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
        return type(self)(
            ours + self.ours,
            *(theirs + name for name in self.theirs),
            shares=self.shares,
            form=self.form,
            zero_if_absent=self.zero_if_absent,
        )

    def split(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """Return the parts of our tensor, as views, that files hold one by one."""
        if len(self.theirs) == 1:
            return (tensor if self.form is None else self.form.to_theirs(tensor),)
        parts: tuple[Tensor, ...] = tensor.split(self.heights(tensor.shape[0]))
        return parts

    def heights(self, total: int) -> list[int]:
        """Return how high each of the tensors is that are joined into one of ours."""
        return [share * (total // sum(self.shares)) for share in self.shares]


class SameNames(Row):
    """Everything whose name begins so, called the same elsewhere but for the beginning.

    `SameNames("", "")` is the whole of a backbone or of a head under our own names.
    """

    _FIELD = r"(?P<field>[\w.]+)"


class KeyMap:
    """All rows of a model."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(rows)

    def row_for(self, ours: str) -> tuple[Row, tuple[str, ...]]:
        """Return the row about our tensor, and its outside names.

        Raises:
            CheckpointError: No row is about it.
        """
        for row in self.rows:
            names = row.names_for(ours)
            if names is not None:
                return row, names
        raise CheckpointError(f"No row of the key map names the tensor `{ours}`.")

    def names_for(self, ours: str) -> tuple[str, ...]:
        """Return the outside names of our tensor.

        Raises:
            CheckpointError: No row is about it.
        """
        return self.row_for(ours)[1]

    def to_hf(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors under their outside names, joined ones split again."""
        renamed: dict[str, Tensor] = {}
        for ours, tensor in tensors.items():
            row, names = self.row_for(ours)
            renamed.update(zip(names, row.split(tensor), strict=True))
        return renamed
