"""Checks that model files are what they were when they were published, without hashing them twice.

A file's check is remembered by path, size and time of change in the user's cache folder, so that
the second load of a 400 MB model does not read it one time more than needed.
"""

import contextlib
import hashlib
import json
import os
import re
import tempfile
from pathlib import Path

from abrazo.errors import CheckpointError

_GIT_BLOB = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REMEMBER_FROM_BYTES = 1_000_000
_MAX_RECORDS_BYTES = 4_000_000


def cache_folder() -> Path:
    """Return the folder of abrazo's own small records (`$XDG_CACHE_HOME/abrazo`)."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "abrazo"


def has_sha256(file: Path, expected: str) -> bool:
    """Return whether `file` has this SHA-256; from the record where it is unchanged since."""
    status = file.stat()
    stamp = [status.st_size, status.st_mtime_ns, expected]
    worth_a_record = status.st_size >= _REMEMBER_FROM_BYTES
    if worth_a_record and _read_records().get(str(file.resolve())) == stamp:
        return True
    with file.open("rb") as stream:
        same = hashlib.file_digest(stream, "sha256").hexdigest() == expected
    if same and worth_a_record:
        _remember(str(file.resolve()), stamp)
    return same


def check_snapshot(folder: Path) -> None:
    """Check every file of a Hugging Face cache snapshot against the hash its blob is named by.

    The cache keeps contents under `blobs/<etag>` and links to them; the etag is the SHA-256 of a
    large file and the git blob id of a small one. Files that are no such links are left to their
    readers.

    Raises:
        CheckpointError: Files are damaged or their content is gone; all are named, with the remedy.
    """
    damaged = []
    for file in sorted(folder.rglob("*")):
        if not file.is_symlink():
            continue
        # One step only: a blob may itself link to a store that names contents in another way.
        blob = Path(os.path.normpath(file.parent / file.readlink()))
        if not blob.is_file():
            damaged.append((file, blob, "its content is gone"))
        elif not _has_content_of_its_name(blob):
            damaged.append((file, blob, f"{blob.stat().st_size:,} bytes, not what was published"))
    if damaged:
        listed = "\n".join(f"  {file.relative_to(folder)}   {why}" for file, _, why in damaged)
        paths = "\n".join(f"  {path}" for path in (folder, *(blob for _, blob, _ in damaged)))
        raise CheckpointError(
            f"The local copy of a model in `{folder}` is damaged:\n{listed}\n"
            "Delete these and load it again, which fetches anew only what is damaged:\n"
            f"{paths}"
        )


def _has_content_of_its_name(blob: Path) -> bool:
    if _SHA256.fullmatch(blob.name):
        return has_sha256(blob, blob.name)
    if _GIT_BLOB.fullmatch(blob.name):
        content = blob.read_bytes()
        # Some mirrors name a file by the SHA-1 of its bare content instead of its git blob id.
        headers = (f"blob {len(content)}\0".encode(), b"")
        return blob.name in {
            hashlib.sha1(header + content, usedforsecurity=False).hexdigest() for header in headers
        }
    return True


def _read_records() -> dict[str, list[object]]:
    """Return the remembered checks; a missing or unreadable record only means hashing again."""
    file = cache_folder() / "verified.json"
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if file.stat().st_size <= _MAX_RECORDS_BYTES:
            records = json.loads(file.read_text(encoding="utf-8"))
            return records if isinstance(records, dict) else {}
    return {}


def _remember(path: str, stamp: list[object]) -> None:
    """Add one check to the record; where the folder cannot be written, nothing is remembered."""
    folder = cache_folder()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        kept = {known: old for known, old in _read_records().items() if Path(known).exists()}
        with tempfile.NamedTemporaryFile(
            "w", dir=folder, prefix="verified-", delete=False, encoding="utf-8"
        ) as stream:
            json.dump({**kept, path: stamp}, stream)
        os.replace(stream.name, folder / "verified.json")
