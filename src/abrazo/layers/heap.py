"""Memory that a step, or a batch, gives up is kept for the next one.

The C library returns memory from the end of its heap to the system whenever enough of it is free,
and asks for it again a moment later. Each page that comes back has to be filled with zeros first:
35 MB in each step of a small BERT, a tenth of the time that the step takes, and as large a share of
answering long rows.
"""

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of parameters, as in glibc's malloc.h."""
_OWN_MAPPING = 32 << 20
"""Blocks from this many bytes on come from the system directly; the most that glibc settles on."""
_KEPT, _KEPT_AFTERWARDS = 1 << 30, 64 << 20
"""Bytes that may be free at the end of the heap."""
_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep up to 1 GiB of freed memory for a while, then return it.

    Nothing is done without glibc, or where the environment settles how memory is kept. Of several
    at a time, in one thread or many, the first to begin and the last to end count.
    """
    library = _glibc()
    if library is None or any(name in os.environ for name in _SETTINGS):
        yield
        return
    with _users.lock:
        _users.number += 1
        if _users.number == 1:
            library.mallopt(_MMAP_THRESHOLD, _OWN_MAPPING)
            library.mallopt(_TRIM_THRESHOLD, _KEPT)
    try:
        yield
    finally:
        with _users.lock:
            _users.number -= 1
            if _users.number == 0:
                library.mallopt(_TRIM_THRESHOLD, _KEPT_AFTERWARDS)
                library.malloc_trim(0)


class _Users:
    """How many want freed memory to be kept now."""

    def __init__(self) -> None:
        self.number = 0
        self.lock = threading.Lock()


_users = _Users()


def _glibc() -> Any:
    """Return the C library if it is glibc, else None."""
    try:
        library = ctypes.CDLL(None)
        return library if hasattr(library, "gnu_get_libc_version") else None
    except (OSError, TypeError):  # TypeError on Windows
        return None
