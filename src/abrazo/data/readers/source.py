"""The bytes of a file, checked before any parser sees them."""

import difflib
import re
import stat
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

from abrazo.errors import DataError

_LARGEST_RATIO = 100
_SMALLEST_BUDGET = 256 * 2**20
_PIECE = 2**20

_FOREIGN = (
    (b"PK\x03\x04", "an Excel or zip file", "Save it as CSV, or unpack it."),
    (b"\xd0\xcf\x11\xe0", "an old Excel file", "Save it as CSV."),
    (b"%PDF", "a PDF file", "Extract its text first."),
    (b"PAR1", "a Parquet file", 'Read it with the format "parquet".'),
    (b"ARROW1", "an Arrow file", 'Read it with the format "arrow".'),
    (b"\x1f\x8b", "compressed by gzip", "Give its name the suffix `.gz`."),
)


@dataclass(frozen=True)
class Source:
    """A file's name, for messages, and its bytes, decompressed."""

    name: str
    data: bytes

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing but white space."""
        return re.search(rb"\S", self.data) is None


def read_source(path: str | Path, *, max_decompressed_bytes: int | None = None) -> Source:
    """Read a file of text, decompressing `.gz`; `-` is the standard input.

    Args:
        path: The file.
        max_decompressed_bytes: The most that a compressed file may grow to; by default 100 times
            its size, or 256 MiB where that is more.

    Raises:
        DataError: The file cannot be read, is not text, or grows beyond the budget.
    """
    if str(path) == "-":
        return Source("standard input", _text_only("standard input", sys.stdin.buffer.read()))
    file = check_file(path)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    if file.suffix.lower() == ".gz":
        data = _decompressed(str(path), data, max_decompressed_bytes)
    return Source(str(path), _text_only(str(path), data))


def check_file(path: str | Path) -> Path:
    """Return the path of a regular file that exists; else raise a `DataError` that helps."""
    file = Path(path)
    try:
        mode = file.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"The file `{path}` does not exist.{_similar_files(file)}") from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(mode):
        raise DataError(f"`{path}` is a folder.{_files_within(file)}")
    if not stat.S_ISREG(mode):
        raise DataError(f"`{path}` is a pipe or device, not a file; pipe its content into `-`.")
    return file


def expansion_budget(stored: int, limit: int | None = None) -> int:
    """Return how many bytes a compressed file of `stored` bytes may grow to."""
    return limit if limit is not None else max(_SMALLEST_BUDGET, _LARGEST_RATIO * stored)


def too_large(name: str, budget: int) -> DataError:
    """Return the error for a file that grows beyond its budget."""
    return DataError(
        f"{name}: the file decompresses to more than {budget:,} bytes, which is what a "
        "decompression bomb does. If it is genuine, set `max_decompressed_bytes`, or unpack it."
    )


def _decompressed(name: str, data: bytes, limit: int | None) -> bytes:
    budget = expansion_budget(len(data), limit)
    pieces: list[bytes] = []
    size = 0
    rest = data
    try:
        while rest:  # a .gz file may hold several streams
            stream = zlib.decompressobj(wbits=31)
            pending = rest
            while not stream.eof:
                piece = stream.decompress(pending, _PIECE)
                pending = stream.unconsumed_tail
                if not piece and not pending and not stream.eof:
                    raise DataError(f"{name}: the gzip file ends too soon; copy it once more.")
                pieces.append(piece)
                size += len(piece)
                if size > budget:
                    raise too_large(name, budget)
            rest = stream.unused_data.lstrip(b"\0")
    except zlib.error as error:
        raise DataError(f"{name}: the gzip file is damaged ({error}).") from error
    return b"".join(pieces)


def _text_only(name: str, data: bytes) -> bytes:
    for magic, kind, remedy in _FOREIGN:
        if data.startswith(magic):
            raise DataError(f"{name}: this is {kind}, not text. {remedy}")
    return data


def _unreadable(path: str | Path, error: Exception) -> DataError:
    if isinstance(error, PermissionError):
        return DataError(f"`{path}` may not be read: permission is denied. Change it by `chmod`.")
    return DataError(f"`{path}` cannot be read: {error}")


def _similar_files(file: Path) -> str:
    try:
        names = [entry.name for entry in file.parent.iterdir()]
    except OSError:
        return f" Neither does its folder `{file.parent}`."
    nearest = difflib.get_close_matches(file.name, names, n=3, cutoff=0.7)
    nearest += [name for name in names if Path(name).stem == file.stem and name not in nearest]
    if not nearest:
        return ""
    return " Did you mean " + " or ".join(f"`{file.parent / name}`" for name in nearest) + "?"


def _files_within(folder: Path) -> str:
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError:
        names = []
    if not names:
        return " Give a file."
    more = ", ..." if len(names) > 5 else ""
    listed = ", ".join(f"`{name}`" for name in names[:5])
    return f" Give a file, or several by a pattern; it holds {listed}{more}."
