"""Folders that are whole or absent, whatever happens while they are written.

    write to a temporary beside the destination
    hash and sync each file, then MANIFEST.json, then the folders          (manifest.seal)
    rename the temporary to the destination, or swap the two, in one step
    sync the parent, remove what was replaced

A reader finds what was there before or what was saved, never a mixture. A run that dies leaves at
most a temporary, which the next save in that parent removes (see `temporary`).
"""

import ctypes
import errno
import os
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from abrazo.checkpoints.files import sync_folder
from abrazo.checkpoints.manifest import (
    MANIFEST,
    FileRecord,
    Problem,
    is_whole,
    read_manifest,
    require_intact,
    seal,
    verify,
)
from abrazo.checkpoints.temporary import (
    atomic_file,
    discard,
    settle,
    swap_by_renaming,
    temporary_beside,
)
from abrazo.errors import CheckpointError

__all__ = [
    "MANIFEST",
    "FileRecord",
    "Newest",
    "Problem",
    "atomic_file",
    "atomic_folder",
    "is_whole",
    "newest_whole",
    "prune",
    "read_manifest",
    "require_intact",
    "verify",
]

_STEP = re.compile(r"-(\d+)$")


class Newest(NamedTuple):
    """The newest whole checkpoint, and the newer ones that are not."""

    path: Path | None
    """The checkpoint, if any is whole."""
    skipped: list[tuple[Path, str]]
    """Newer checkpoints, each with the reason why it cannot be used."""


@contextmanager
def atomic_folder(destination: str | Path, *, needs: int = 0) -> Iterator[Path]:
    """Write a folder that is whole or as it was before, at every moment.

    Yields an empty folder to write to. At the end of the block it is sealed with a manifest and
    takes the place of `destination`; if the block raises, it is removed. A folder that is replaced
    must have a manifest too, so that nobody's other files are lost; files in it that its manifest
    does not list are kept.

    Args:
        destination: The folder to be; its parents are made.
        needs: Free bytes without which it is no use to begin.

    Raises:
        CheckpointError: `destination` is not ours to replace; or the system refused to write
            (disk full, quota, read-only, input/output error): what was there is untouched.
    """
    place = Path(os.path.realpath(destination))
    unlisted = _unlisted(place)
    with temporary_beside(place, Path.mkdir, needs=needs) as temporary:
        yield temporary
        seal(temporary)
        for name in unlisted:
            _keep(place / name, temporary / name)
        _publish(temporary, place)


def newest_whole(parent: str | Path, pattern: str = "checkpoint-*") -> Newest:
    """Find the checkpoint with the highest step number of which every file is as it was written.

    Args:
        parent: The folder with the checkpoints.
        pattern: Their names, as for `Path.glob`; they end in `-` and the step number.
    """
    settle(Path(parent))
    skipped: list[tuple[Path, str]] = []
    for path in reversed(_by_step(Path(parent), pattern)):
        problems = verify(path)
        if not problems:
            return Newest(path, skipped)
        skipped.append((path, "; ".join(str(problem) for problem in problems)))
    return Newest(None, skipped)


def prune(
    parent: str | Path,
    keep: int,
    *,
    pattern: str = "checkpoint-*",
    protect: Iterable[str | Path] = (),
) -> list[Path]:
    """Delete the oldest checkpoints beyond `keep`, if the newest verifies.

    What is not whole is neither counted nor deleted: it may be someone else's.

    Args:
        parent: The folder with the checkpoints.
        keep: How many of the newest to keep, at least 1.
        pattern: The names of checkpoints, as for `newest_whole`.
        protect: Checkpoints that stay however old they are, such as the best.

    Returns:
        What was deleted, oldest first.
    """
    if keep < 1:
        raise ValueError(f"`keep` must be at least 1, but is {keep}.")
    checkpoints = _by_step(Path(parent), pattern)
    if checkpoints and not is_whole(checkpoints[-1]):
        warnings.warn(
            f"`{checkpoints[-1]}`, the newest checkpoint, is not whole: no older one is deleted.",
            stacklevel=2,
        )
        return []
    kept = {Path(path).resolve() for path in protect}
    whole = [path for path in checkpoints if is_whole(path, quick=True)]
    doomed = [path for path in whole[:-keep] if path.resolve() not in kept]
    for path in doomed:
        discard(path)
    return doomed


def _by_step(parent: Path, pattern: str) -> list[Path]:
    """Return the folders whose names end in a step number, lowest first."""
    steps = [
        (int(step[1]), path)
        for path in parent.glob(pattern)
        if (step := _STEP.search(path.name)) and path.is_dir()
    ]
    return [path for _, path in sorted(steps)]


def _unlisted(folder: Path) -> list[str]:
    """Return the files of a folder to be replaced that its manifest does not list."""
    if not os.path.lexists(folder):
        return []
    if not folder.is_dir():
        raise CheckpointError(f"`{folder}` is a file, so no folder can be saved there.")
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    try:
        records = read_manifest(folder)
    except CheckpointError:
        return []  # ours, and damaged: nothing of it can be told apart
    if names and records is None:
        raise CheckpointError(
            f"`{folder}` holds files and no `{MANIFEST}`, so abrazo did not write it and does not"
            " replace it. Save to another folder, or remove it first."
        )
    return [name for name in names if name not in (records or {}) and name != MANIFEST]


def _keep(source: Path, target: Path) -> None:
    """Copy a file that its folder's manifest does not list, unless the new folder has its own."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    sync_folder(target.parent)


def _publish(temporary: Path, destination: Path) -> None:
    """Put the temporary in the destination's place, what was there in the temporary's."""
    move = _swap if os.path.lexists(destination) else os.rename
    move(temporary, destination)
    try:
        sync_folder(destination.parent)
    except OSError:
        move(destination, temporary)  # an error means that nothing has changed
        raise


def _swap(first: Path, second: Path) -> None:
    if not _exchange(first, second):
        swap_by_renaming(first, second)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step, where the system can: Linux, and not on every file system."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE in <linux/fs.h>
    if renameat2(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(second))
