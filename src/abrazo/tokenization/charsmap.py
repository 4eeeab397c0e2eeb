"""Checks of `precompiled_charsmap`, the character table of SentencePiece tokenizers.

Format: 4 bytes little-endian size, a double array of 32-bit units in blocks of 256, then the
replacements, each ended by a zero byte (SentencePiece, `normalizer.cc`; units as in Darts-clone).
The compiled reader trusts all of it, so a bad table would crash in the middle of a text.
"""

import base64
import binascii

import numpy as np

MAX_REPLACEMENT = 256
_LEAF = np.uint32(1 << 31)


def charsmap_problem(encoded: object) -> str | None:
    """Return what is wrong with a table given in base64, or None."""
    if not isinstance(encoded, str):
        return "must be a text in base64"
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return "is not base64"
    return table_problem(data)


def table_problem(data: bytes) -> str | None:
    """Return what is wrong with the bytes of a table, or None."""
    size = int.from_bytes(data[:4], "little")
    if len(data) < 4 or size == 0 or size % 1024 or size > len(data) - 4:
        return "does not hold the table that its size announces"
    units = np.frombuffer(data, dtype="<u4", count=size // 4, offset=4)
    replacements = data[4 + size :]
    try:
        replacements.decode("utf-8")
    except UnicodeDecodeError:
        return "holds replacements that are not UTF-8"
    if max(map(len, replacements.split(b"\0"))) > MAX_REPLACEMENT:
        return f"holds a replacement of over {MAX_REPLACEMENT} bytes"
    return _units_problem(units, np.frombuffer(replacements, dtype=np.uint8))


def _units_problem(units: np.ndarray, replacements: np.ndarray) -> str | None:
    nodes = np.flatnonzero(units & _LEAF == 0)
    values = units[nodes]
    shift = (values & np.uint32(1 << 9)) >> np.uint32(6)
    targets = nodes ^ ((values >> np.uint32(10)).astype(np.int64) << shift.astype(np.int64))
    if (targets >= len(units)).any():
        return "points outside its table"
    leaves = targets[(values & np.uint32(1 << 8)) != 0]
    places = (units[leaves] & ~_LEAF).astype(np.int64)
    if (places >= len(replacements)).any():
        return "points outside its replacements"
    if ((replacements[places] & 0xC0) == 0x80).any():
        return "points into the middle of a character"
    return None
