"""Opening files that came from outside: regular ones, inside their folder, under a plain name."""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path

from abrazo.errors import AbrazoError, CheckpointError

_MOST_LINES = 20
_LONGEST_LINE = 500
_DRIVE = re.compile(r"[A-Za-z]:")


def open_regular(
    path: str | Path, *, root: str | Path | None = None, error: type[AbrazoError] = CheckpointError
) -> BufferedReader:
    """Open a file for reading, if it is a regular one that lies in its folder.

    A FIFO, a device or a folder is refused without waiting on it. So is a symbolic link that leads
    out of `root`, except one into the store of the Hugging Face cache that the folder is part of.

    Args:
        path: The file.
        root: The folder that must hold it; by default the one it is in.
        error: The type of the error to raise.

    Raises:
        AbrazoError: The file is absent, unreadable, not regular or outside; of type `error`.
    """
    home = Path(path).parent if root is None else root
    try:
        if not _lies_in(path, home):
            raise error(
                f"`{path}` is a link that leads out of its folder, to `{os.path.realpath(path)}`."
                " Put the file itself there."
            )
        # Without O_NONBLOCK, opening a FIFO waits for a writer that may never come.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise error(f"`{path}` is not a regular file.")
        return open(descriptor, "rb")
    except FileNotFoundError as cause:
        raise error(f"`{path}` does not exist.") from cause
    except (OSError, ValueError) as cause:  # a ValueError is a NUL in the path
        raise error(f"`{path}` cannot be read: {getattr(cause, 'strerror', cause)}.") from cause


def name_problem(name: str, *, folders: bool = False) -> str:
    """Say why a file name that is written in a file may not be used; empty if it may.

    Args:
        name: The name.
        folders: Whether the name may have folders before it, separated by `/`.
    """
    if not name or "\0" in name or "\\" in name or _DRIVE.match(name):
        return "is empty, or has a NUL, a backslash or a drive in it"
    if name.startswith("/"):
        return "is absolute"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "has an empty part, `.` or `..` in it"
    if "/" in name and not folders:
        return "is not in the folder itself"
    return ""


def raise_all(what: str, problems: Sequence[str]) -> None:
    """Raise one error that lists all problems, if there are any; a long list is cut, and says so.

    Raises:
        CheckpointError: There are problems.
    """
    if not problems:
        return
    listed = "".join(f"\n  {problem[:_LONGEST_LINE]}" for problem in problems[:_MOST_LINES])
    more = len(problems) - _MOST_LINES
    raise CheckpointError(f"{what}:{listed}" + (f"\n  and {more:,} more" if more > 0 else ""))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last, so that they are there after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lies_in(path: str | Path, root: str | Path) -> bool:
    home = Path(os.path.realpath(root))
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(place) for place in (home, *_hub_stores(home)))


def _hub_stores(folder: Path) -> Iterator[Path]:
    """Yield where `huggingface_hub` keeps the contents that a cached snapshot links to."""
    for place in (folder, *folder.parents):
        if place.parent.name == "snapshots":
            repo = place.parent.parent
            yield repo / "blobs"
            yield repo.parent / "blobs"
