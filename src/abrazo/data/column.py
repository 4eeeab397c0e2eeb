"""One column of a dataset, as a sequence."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from numpy.typing import NDArray

if TYPE_CHECKING:
    from abrazo.data.dataset import Dataset

_ITERATION_ROWS = 1000
_SHOWN_VALUES = 5


class Column(Sequence[Any]):
    """The values of one column, read as they are asked for."""

    def __init__(self, dataset: "Dataset", name: str) -> None:
        self._dataset = dataset.select_columns(name)
        self._name = name

    def __len__(self) -> int:
        return len(self._dataset)

    @overload
    def __getitem__(self, key: int) -> Any: ...
    @overload
    def __getitem__(self, key: slice | Iterable[int]) -> list[Any]: ...
    def __getitem__(self, key: int | slice | Iterable[int]) -> Any:
        """Return one value (int), or a list of several (slice, indices)."""
        found = self._dataset[key]
        return found[self._name]

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), _ITERATION_ROWS):
            yield from self[start : start + _ITERATION_ROWS]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Column | list | tuple):
            return self.to_list() == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal to lists, which have no hash either

    def __repr__(self) -> str:
        shown = ", ".join(repr(value) for value in self[:_SHOWN_VALUES])
        more = ", ..." if len(self) > _SHOWN_VALUES else ""
        return f"Column([{shown}{more}], {len(self):,} values)"

    def to_list(self) -> list[Any]:
        """Return all values."""
        return list(self._dataset.to_arrow().column(0).to_pylist())

    def to_numpy(self) -> NDArray[Any]:
        """Return all values as an array (values,)."""
        array: NDArray[Any] = self._dataset.to_arrow().column(0).to_numpy()
        return array
