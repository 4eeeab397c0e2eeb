"""`MANIFEST.json`: size and SHA-256 of every file of a folder, by which it is known to be whole.

    {"format": 1, "files": {"model.safetensors": {"size": 438, "sha256": "9f86d0..."}}}

It is written last, so a folder that has one was written to its end. Its bytes are exactly those
that `encode_json` makes of its content, so a change to the manifest itself is noticed too. Files
that it does not list, such as a user's notes, are let be.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

from abrazo.checkpoints.files import name_problem, open_regular, sync_folder
from abrazo.checkpoints.jsonfile import encode_json, parse_json_object
from abrazo.errors import CheckpointError

MANIFEST = "MANIFEST.json"
"""The manifest's file name."""

_FORMAT = 1
_MAX_BYTES = 16_000_000
_SHA256 = re.compile(r"[0-9a-f]{64}")

Result = TypeVar("Result")


@dataclass(frozen=True)
class FileRecord:
    """What the manifest says of one file."""

    size: int
    """Bytes."""
    sha256: str
    """Hexadecimal digest of the content."""


@dataclass(frozen=True)
class Problem:
    """One reason why a folder is not whole."""

    file: str
    """The file's name in the folder, with `/` between folders."""
    reason: str
    """What is wrong with it."""

    def __str__(self) -> str:
        return f"`{self.file}` {self.reason}"


def seal(folder: Path) -> None:
    """Hash and sync every file of a folder, then write its manifest.

    Raises:
        CheckpointError: The folder holds a link or another thing that is no regular file.
        OSError: The system refused to read, sync or write.
    """
    folders, names = _content(folder)
    records = _on_threads(lambda name: _record(folder / name), names)
    files = {name: vars(record) for name, record in zip(names, records, strict=True)}
    _write_synced(folder / MANIFEST, encode_json({"format": _FORMAT, "files": files}))
    for place in reversed(folders):
        sync_folder(place)


def read_manifest(folder: str | Path) -> dict[str, FileRecord] | None:
    """Return a folder's manifest by file name, or `None` where there is none.

    Raises:
        CheckpointError: The manifest is damaged.
    """
    path = Path(folder) / MANIFEST
    if not os.path.lexists(path):
        return None
    with open_regular(path) as file:
        data = file.read(_MAX_BYTES + 1)
    try:
        content = parse_json_object(data)
        if encode_json(content) != data or list(content) != ["format", "files"]:
            raise ValueError("it was changed after it was written")
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']!r}, but {_FORMAT} is known")
        return {name: _parse_record(name, entry) for name, entry in content["files"].items()}
    except (ValueError, AttributeError) as cause:
        raise CheckpointError(f"`{path}` is damaged: {cause}.") from cause


def verify(
    folder: str | Path, *, names: Iterable[str] | None = None, quick: bool = False
) -> list[Problem]:
    """Compare a folder with its manifest.

    Args:
        folder: The folder.
        names: The files to look at; by default all that the manifest lists.
        quick: Compare sizes only, not the content.

    Returns:
        All problems; none if the folder is whole. A folder without a manifest is not.
    """
    try:
        records = read_manifest(folder)
    except CheckpointError as error:
        return [Problem(MANIFEST, f"cannot be trusted: {error}")]
    if records is None:
        return [Problem(MANIFEST, "is missing, so the folder was not written to its end")]
    chosen = sorted(records) if names is None else sorted(set(names) & set(records))
    reasons = _on_threads(lambda name: _compare(Path(folder), name, records[name], quick), chosen)
    return [Problem(name, reason) for name, reason in zip(chosen, reasons, strict=True) if reason]


def is_whole(folder: str | Path, *, quick: bool = False) -> bool:
    """Return whether a folder has a manifest and every file in it is as it was written."""
    return not verify(folder, quick=quick)


def require_intact(folder: str | Path, *, names: Iterable[str] | None = None) -> None:
    """Check a folder that is about to be read; one without a manifest passes.

    Args:
        folder: The folder.
        names: The files that will be read; by default all that the manifest lists.

    Raises:
        CheckpointError: There is a manifest, and the folder is not as it says; names every file.
    """
    if not os.path.lexists(Path(folder) / MANIFEST):
        return
    problems = verify(folder, names=names)
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise CheckpointError(
            f"`{folder}` is not as it was saved:\n{listed}\n"
            f"Use another copy. If you changed it on purpose, delete its `{MANIFEST}`."
        )


def _content(folder: Path) -> tuple[list[Path], list[str]]:
    """Return a folder's folders, outermost first, and the names of its files but the manifest."""
    folders, names = [folder], []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise CheckpointError(f"`{path}` is no regular file, so it cannot be saved.")
        if path.is_dir():
            folders.append(path)
        elif path != folder / MANIFEST:
            names.append(path.relative_to(folder).as_posix())
    return folders, names


def _record(path: Path) -> FileRecord:
    """Hash a file and sync it; just written, it is read from memory."""
    with open_regular(path) as file:
        digest = _digest(file)
        os.fsync(file.fileno())
        return FileRecord(size=file.tell(), sha256=digest)


def _compare(folder: Path, name: str, expected: FileRecord, quick: bool) -> str:
    """Say what is wrong with a file; empty if nothing is."""
    try:
        with open_regular(folder / name, root=folder) as file:
            size = os.fstat(file.fileno()).st_size
            if size != expected.size:
                return f"has {size:,} bytes instead of {expected.size:,}"
            if not quick and _digest(file) != expected.sha256:
                return "has another content than when it was saved"
    except CheckpointError as error:
        return f"cannot be used: {error}"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _digest(file: BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _parse_record(name: str, entry: Mapping[str, object]) -> FileRecord:
    problem = name_problem(name, folders=True)
    if problem:
        raise ValueError(f"the name {name!r} {problem}")
    size, digest = entry.get("size"), entry.get("sha256")
    if type(size) is not int or not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise ValueError(f"what it says of {name!r} is no size and SHA-256")
    return FileRecord(size=size, sha256=digest)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _on_threads(work: Callable[[str], Result], names: Sequence[str]) -> list[Result]:
    """Do work that is mostly hashing, which lets other threads run, on two files at a time."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(work, names))
