"""Saves in which one call to the system fails; also a script whose run dies at that call.

python atomic_faults.py SCENARIO PARENT [CALL K]
"""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from abrazo.checkpoints import atomic, manifest
from abrazo.checkpoints.jsonfile import write_json

SCENARIOS = ("new", "replace", "rename", "file")
CALLS = ("write", "fsync", "rename", "mkdir")
OLD, NEW = b"old", b"new"


def destination(scenario: str, parent: Path) -> Path:
    return parent / {"new": "checkpoint-2", "file": "state.json"}.get(scenario, "checkpoint-1")


def prepare(scenario: str, parent: Path) -> None:
    """Put a whole checkpoint there, and what is to be replaced."""
    write_folder(parent / "checkpoint-1", OLD)
    (parent / "checkpoint-1" / "notes.txt").write_text("a user's")
    if scenario == "file":
        write_json(destination(scenario, parent), {"value": OLD.decode()})


def save(scenario: str, parent: Path) -> None:
    if scenario == "file":
        write_json(destination(scenario, parent), {"value": NEW.decode()})
    elif scenario == "rename":
        with patched((atomic, "_exchange", lambda first, second: False)):
            write_folder(destination(scenario, parent), NEW)
    else:
        write_folder(destination(scenario, parent), NEW)


def write_folder(path: Path, value: bytes) -> None:
    with atomic.atomic_folder(path) as folder:
        with (folder / "model").open("wb", buffering=0) as file:
            for _ in range(3):
                file.write(value * 1000)
        os.mkdir(folder / "state")
        (folder / "state" / "rank-0").write_bytes(value)


def content(path: Path) -> bytes:
    """Return OLD or NEW, if the folder is wholly that."""
    assert not atomic.verify(path)
    model, state = (path / "model").read_bytes(), (path / "state" / "rank-0").read_bytes()
    assert model == state * 3000
    if state == OLD or path.name == "checkpoint-1":
        assert (path / "notes.txt").read_text() == "a user's"
    return state


@contextmanager
def patched(*changes: tuple[Any, str, object]) -> Iterator[None]:
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


@contextmanager
def failing(call: str, k: int, fail: Callable[[], None]) -> Iterator[list[int]]:
    """Run `fail` at the k-th such call; yields a list whose one number counts the calls."""
    count = [0]

    def tick() -> None:
        count[0] += 1
        if count[0] == k:
            fail()

    def before(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **options: Any) -> Any:
            tick()
            return function(*args, **options)

        return wrapper

    class File(io.FileIO):
        write = before(io.FileIO.write)

    real_open = io.open

    def open_(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        return File(file, "w") if mode == "wb" else real_open(file, mode, *args, **options)

    changes = {
        "write": [(io, "open", open_)],
        "fsync": [(os, "fsync", before(os.fsync))],
        "mkdir": [(os, "mkdir", before(os.mkdir))],
        "rename": [
            (os, "rename", before(os.rename)),
            (os, "replace", before(os.replace)),
            (atomic, "_exchange", before(atomic._exchange)),
        ],
    }[call]
    with patched(*changes):
        yield count


def in_turn(work: Callable[[str], Any], names: list[str]) -> list[Any]:
    return [work(name) for name in names]


def main(scenario: str, parent: str, call: str = "", k: str = "0") -> None:
    # In turn, because strace counts the calls of each thread by itself.
    with patched((manifest, "_on_threads", in_turn)):
        if call:
            with failing(call, int(k), lambda: os._exit(9)):
                save(scenario, Path(parent))
        else:
            save(scenario, Path(parent))


if __name__ == "__main__":
    main(*sys.argv[1:])
