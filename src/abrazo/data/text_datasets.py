"""Plain text files as rows of ids, by the names users know from `transformers`.

    data = TextDataset(tokenizer=model.tokenizer, files=["train.txt"], block_size=128)
    Trainer(model=model, train_dataset=data)

Nothing of a file is lost: the last block of a file may be short, and long lines make several rows.
`abrazo.data.corpus` reads files larger than memory.

Shapes: R rows, N tokens of a row.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from abrazo.data.lines import Files, as_paths, text_lines
from abrazo.errors import ConfigError, DataError

if TYPE_CHECKING:
    from abrazo.tokenization.tokenizer import Tokenizer

_LINES_AT_ONCE = 1_024

Ids = NDArray[np.int32]


class _RowsOfIds:
    """Rows of ids in one flat array, read by number."""

    def __init__(self, files: Sequence[Path], rows_of: Callable[[Path], Iterable[Ids]]) -> None:
        parts: list[Ids] = []
        counts = []
        for file in files:
            before = len(parts)
            parts += rows_of(file)
            counts.append(len(parts) - before)
        if not parts:
            raise DataError(f"There is no text in {', '.join(f'`{file}`' for file in files)}.")
        self.files = files
        self._ids: Ids = np.concatenate(parts)
        self._ends = np.cumsum([0, *map(len, parts)])  # (R + 1,)
        self._first_rows = np.cumsum([0, *counts])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Return `input_ids` (N,) of a row."""
        place = number + len(self) if number < 0 else number
        if not 0 <= place < len(self):
            raise IndexError(f"There is no row {number}: there are {len(self)} rows.")
        ids = self._ids[self._ends[place] : self._ends[place + 1]]
        return {"input_ids": torch.from_numpy(ids.astype(np.int64))}

    @property
    def column_names(self) -> list[str]:
        """The one column."""
        return ["input_ids"]

    def rows(self, indices: Iterable[int] | NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return some rows."""
        return [dict(self[int(number)]) for number in indices]

    def origin(self, row: int) -> str:
        """Say which file a row is of, and which of its rows it is."""
        file = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        return f"{self.files[file].name}, row {row - int(self._first_rows[file]) + 1}"


class TextDataset(_RowsOfIds):
    """The tokens of each file one after the other, in blocks of equal length."""

    def __init__(
        self,
        tokenizer: "Tokenizer",
        file_path: Files | None = None,
        block_size: int = 128,
        *,
        files: Files | None = None,
    ) -> None:
        """Read and tokenise the files.

        Args:
            tokenizer: The model's tokenizer.
            file_path: The file; another name for `files`.
            block_size: Tokens of a row, special ones included.
            files: Text files in UTF-8.

        Raises:
            ConfigError: No file is given, or `block_size` leaves no room for text.
            DataError: A file cannot be read, or holds no text.
        """
        room = block_size - tokenizer.num_special_tokens_to_add()
        if room < 1:
            raise ConfigError(
                f"`block_size` must be at least {block_size - room + 1}, to leave room for text "
                f"beside the special tokens, but is {block_size}."
            )

        def blocks_of(file: Path) -> Iterator[Ids]:
            ids = np.fromiter(_ids_of(tokenizer, text_lines(file)), dtype=np.int32)
            for start in range(0, len(ids), room):
                block = ids[start : start + room].tolist()
                yield np.array(tokenizer.build_inputs_with_special_tokens(block), dtype=np.int32)

        super().__init__(_files(file_path, files), blocks_of)


class LineByLineTextDataset(_RowsOfIds):
    """A row for each line that is not blank; long lines make several rows."""

    def __init__(
        self,
        tokenizer: "Tokenizer",
        file_path: Files | None = None,
        block_size: int = 128,
        *,
        files: Files | None = None,
    ) -> None:
        """Read and tokenise the files; the arguments are those of `TextDataset`."""

        def rows_of(file: Path) -> Iterator[Ids]:
            lines = (line for line in text_lines(file) if line.strip())
            while some := list(itertools.islice(lines, _LINES_AT_ONCE)):
                encoded = tokenizer.encode_windows(some, max_length=block_size, stride=0)
                yield from np.split(encoded.input_ids, encoded.offsets[1:-1])

        super().__init__(_files(file_path, files), rows_of)


def _files(file_path: Files | None, files: Files | None) -> list[Path]:
    if (file_path is None) == (files is None):
        raise ConfigError("Give one of `files` and `file_path`, which are one thing.")
    chosen = files if file_path is None else file_path
    assert chosen is not None
    return as_paths(chosen)


def _ids_of(tokenizer: "Tokenizer", lines: Iterator[str]) -> Iterator[int]:
    """Yield the ids of lines, without special tokens around them."""
    while some := list(itertools.islice(lines, _LINES_AT_ONCE)):
        for ids in tokenizer(some, add_special_tokens=False, truncation=False)["input_ids"]:
            yield from ids
