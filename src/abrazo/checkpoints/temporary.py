"""Names beside a destination, under which it is written until it is whole.

A temporary is locked by its writer as long as that lives. So one that can be locked was left by a
run that died, and the next save in the same folder removes it. Making and removing temporaries
holds a lock on the folder, so that no temporary is seen before its writer has locked it.
"""

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from abrazo.checkpoints.files import sync_folder
from abrazo.errors import CheckpointError

_PARTIAL = ".abrazo-partial"
_REPLACED = ".abrazo-replaced"
_DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_ALONE = fcntl.LOCK_EX | fcntl.LOCK_NB
_LEFT = re.compile(rf"\.(?P<name>.+)\.[0-9a-f]{{8}}(?P<kind>{_PARTIAL}|{_REPLACED})")


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Write a file that is whole or as it was before, at every moment.

    Yields the path of an empty file to write to. It takes the place of `path` at the end of the
    block; if the block raises, it is removed.

    Raises:
        CheckpointError: The system refused to write; what was there before is untouched.
    """
    destination = Path(path)
    with temporary_beside(destination, _create_file) as temporary:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, destination)
        sync_folder(destination.parent)


@contextmanager
def temporary_beside(
    destination: Path, create: Callable[[Path], None], *, needs: int = 0
) -> Iterator[Path]:
    """Yield a new temporary for `destination`; remove what is there under its name at the end.

    Args:
        destination: What the temporary is to become; its parents are made.
        create: Makes the temporary, an empty file or folder.
        needs: Free bytes without which it is no use to begin.

    Raises:
        CheckpointError: In place of any `OSError`, in the block too: names the destination, what
            the system said, the free space and the need.
    """
    path = _name_beside(destination, _PARTIAL)
    written = 0
    try:
        _make_folders(destination.parent)
        with locked(destination.parent):
            _settle(destination.parent)
            if shutil.disk_usage(destination.parent).free < needs:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            create(path)
            lock = os.open(path, _OPEN)
            with suppress(OSError):
                fcntl.flock(lock, _ALONE)
        try:
            yield path
        except OSError:
            written = _size_of(path)
            raise
        finally:
            _remove(path)
            os.close(lock)
    except OSError as error:
        raise CheckpointError(_explain(error, destination, max(needs, written))) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock on a folder's names; a file system without locks is used without.

    A temporary folder needs none: nothing in it is ever left over, for it goes as a whole. And its
    own lock says that its writer lives.
    """
    if _LEFT.fullmatch(folder.name):
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def swap_by_renaming(first: Path, second: Path) -> None:
    """Swap two folders of one parent by three renames.

    Between the first and the second rename `second` is absent. If the run dies there, `settle`
    puts it back.
    """
    with locked(second.parent):
        aside = _name_beside(second, _REPLACED)
        os.rename(second, aside)
        try:
            os.rename(first, second)
        except OSError:
            os.rename(aside, second)
            raise
        os.rename(aside, first)


def discard(folder: Path) -> None:
    """Delete a folder so that a run that dies meanwhile leaves no half of it under its name.

    Raises:
        CheckpointError: The system refused.
    """
    doomed = _name_beside(folder, _PARTIAL)
    try:
        os.rename(folder, doomed)
    except OSError as error:
        raise CheckpointError(f"`{folder}` could not be deleted: {error.strerror}.") from error
    _remove(doomed)


def settle(folder: Path) -> None:
    """Put back what a dead run had moved aside, and remove what it had begun to write."""
    with suppress(OSError), locked(folder):  # a folder that may not be written is left as it is
        _settle(folder)


def _settle(folder: Path) -> None:
    if _LEFT.fullmatch(folder.name):
        return
    for entry in list(os.scandir(folder)):
        left = _LEFT.fullmatch(entry.name)
        if left is None or entry.is_symlink():
            continue
        path, destination = Path(entry.path), folder / left["name"]
        # What cannot be locked has a living writer, or its file system has no locks: it is left.
        with suppress(OSError):
            if left["kind"] == _REPLACED and not os.path.lexists(destination):
                os.rename(path, destination)
                sync_folder(folder)
            else:
                _remove_if_dead(path)


def _remove_if_dead(path: Path) -> None:
    lock = os.open(path, _OPEN)
    try:
        fcntl.flock(lock, _ALONE)
        _remove(path)
    finally:
        os.close(lock)


def _name_beside(destination: Path, kind: str) -> Path:
    return destination.parent / f".{destination.name}.{secrets.token_hex(4)}{kind}"


def _create_file(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def _make_folders(folder: Path) -> None:
    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    if absent:
        folder.mkdir(parents=True, exist_ok=True)
    for place in absent:
        sync_folder(place.parent)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _size_of(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    statuses = [file.lstat() for file in files if file.exists()]
    return sum(status.st_size for status in statuses if stat.S_ISREG(status.st_mode))


def _explain(error: OSError, destination: Path, needed: int) -> str:
    where = f" (`{error.filename}`)" if error.filename else ""
    said = f"`{destination}` could not be saved: {error.strerror or error}{where}."
    if error.errno in _DISK_TROUBLE:
        place = next((place for place in destination.parents if place.exists()), Path("/"))
        free = shutil.disk_usage(place).free
        said += f" {free:,} bytes are free there, at least {needed:,} are needed."
    return said + " Nothing is left half-written."
