"""Plain text files larger than memory, as blocks of lines that are read in any order.

Lines are found once; where blocks begin is kept in memory-mapped files beside the run. A blank
line ends a document, and no block reaches over the end of one.

    corpus = Corpus(["news.txt"], block_bytes=2000)
    corpus.rows([5])          # [{"text": "..."}], read from the place in the file

Shapes: B blocks.
"""

import hashlib
import mmap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abrazo.errors import ConfigError, DataError

Int64 = NDArray[np.int64]

BLOCK_BYTES = 2_000
"""Bytes of a block, about 500 tokens of English or of Chinese."""
MAX_LINE = 16 * 2**20
"""Bytes above which a line is cut into several, so that no block fills the memory."""
_INDEXED_AT_ONCE = 100_000


class Corpus:
    """The blocks of some files, a row each, in the column `text`."""

    def __init__(
        self,
        files: str | Path | Sequence[str | Path],
        *,
        block_bytes: int = BLOCK_BYTES,
        index_folder: str | Path | None = None,
        joins_lines: bool = True,
    ) -> None:
        """Find the blocks, or take them from an index of the same files.

        Args:
            files: Text files in UTF-8.
            block_bytes: Lines are joined to blocks until they have so many bytes.
            index_folder: Where the index is kept as memory-mapped files; None keeps it in memory,
                24 bytes a block.
            joins_lines: Whether short neighbouring lines are joined; else each line is a block.

        Raises:
            ConfigError: `block_bytes` is below 1.
            DataError: A file is missing, empty, or no text.
        """
        if block_bytes < 1:
            raise ConfigError(f"`block_bytes` must be at least 1, but is {block_bytes}.")
        given = [files] if isinstance(files, str | Path) else list(files)
        self.files = [Path(file).expanduser() for file in given]
        self.block_bytes, self.joins_lines = block_bytes, joins_lines
        self._maps = [_mapped(file) for file in self.files]
        self._starts, self._ends, self._documents = self._index(index_folder)
        if not len(self._starts):
            listed = ", ".join(f"`{file}`" for file in self.files)
            raise DataError(f"There is no line of text in {listed or 'no file'}.")
        sizes = np.cumsum([0, *(len(data) for data in self._maps)])
        self._file_starts: Int64 = sizes[:-1].astype(np.int64)

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def column_names(self) -> list[str]:
        """The one column."""
        return ["text"]

    @property
    def num_documents(self) -> int:
        """Documents over all files."""
        return int(self._documents[-1]) + 1

    def rows(self, indices: Iterable[int] | Int64) -> list[dict[str, Any]]:
        """Return the texts of some blocks."""
        return [{"text": self.text(int(number))} for number in indices]

    def text(self, block: int) -> str:
        """Return the text of a block.

        Raises:
            DataError: It is not UTF-8.
        """
        file, start = self._place(block)
        size = int(self._ends[block] - self._starts[block])
        try:
            return self._maps[file][start : start + size].decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.origin(block)}: this is no UTF-8: {error}. Save the file as UTF-8."
            ) from error

    def document(self, block: int) -> int:
        """Return the number of the document that a block is of."""
        return int(self._documents[block])

    def origin(self, row: int) -> str:
        """Say where a block came from."""
        file, start = self._place(row)
        return f"{self.files[file].name}, byte {start:,}"

    def _place(self, block: int) -> tuple[int, int]:
        """Return the file and the byte in it where a block begins."""
        start = int(self._starts[block])
        file = int(np.searchsorted(self._file_starts, start, side="right")) - 1
        return file, start - int(self._file_starts[file])

    def _index(self, folder: str | Path | None) -> tuple[Int64, Int64, Int64]:
        """Return where blocks start and end, over all files, and their documents, (B,) each."""
        if folder is None:
            parts = list(self._stretches())
            columns = np.concatenate([np.empty((0, 3), np.int64), *parts])
            return columns[:, 0], columns[:, 1], columns[:, 2]
        place = Path(folder).expanduser()
        path = place / f"{self._digest()}.blocks"
        if not path.exists():
            place.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".part")
            with temporary.open("wb") as file:
                for part in self._stretches():
                    file.write(part.astype("<i8").tobytes())
            temporary.replace(path)
        if not path.stat().st_size:
            return (np.empty(0, np.int64),) * 3
        mapped = np.memmap(path, dtype="<i8", mode="r").reshape(-1, 3)
        return mapped[:, 0], mapped[:, 1], mapped[:, 2]

    def _digest(self) -> str:
        """Name the index: it is of these files as they are now, and of these settings."""
        stats = [(file.resolve(), file.stat()) for file in self.files]
        facts = [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats]
        words = repr((facts, self.block_bytes, self.joins_lines)).encode()
        return hashlib.blake2b(words, digest_size=12).hexdigest()

    def _stretches(self) -> Iterator[Int64]:
        """Yield (blocks, 3) starts, ends and documents, some at a time."""
        found: list[tuple[int, int, int]] = []
        for block in self._blocks():
            found.append(block)
            if len(found) >= _INDEXED_AT_ONCE:
                yield np.array(found, dtype=np.int64)
                found = []
        yield np.array(found, dtype=np.int64).reshape(-1, 3)

    def _blocks(self) -> Iterator[tuple[int, int, int]]:
        base = document = 0
        for data in self._maps:
            start, has_text = -1, False
            for first, end, is_blank in _lines(data):
                if start >= 0 and (
                    is_blank or not self.joins_lines or end - start > self.block_bytes
                ):
                    yield base + start, base + first, document
                    start = -1
                if is_blank:
                    document, has_text = document + has_text, False
                elif start < 0:
                    start, has_text = first, True
            if start >= 0:
                yield base + start, base + len(data), document
            document += has_text
            base += len(data)


def _mapped(file: Path) -> mmap.mmap | bytes:
    try:
        with file.open("rb") as opened:
            if not file.stat().st_size:
                return b""
            return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise DataError(f"The file `{file}` cannot be read: {error.strerror}.") from error


def _lines(data: mmap.mmap | bytes) -> Iterator[tuple[int, int, bool]]:
    """Yield where each line starts, where the next one does, and whether it is blank."""
    start, size = 0, len(data)
    while start < size:
        found = data.find(b"\n", start, start + MAX_LINE)
        end = found + 1 if found >= 0 else _cut(data, min(size, start + MAX_LINE))
        yield start, end, not data[start : min(end, start + 4096)].strip()
        start = end


def _cut(data: mmap.mmap | bytes, end: int) -> int:
    """Return the end of a stretch of a very long line, not within a character."""
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end -= 1
    return end
