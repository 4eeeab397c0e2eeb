"""JSON files that came from outside, read strictly and within a budget; and written for keeps.

Strict means RFC 8259 and one reading only: UTF-8 without a byte order mark, one object, no name
twice in an object, no `NaN` or `Infinity` (other readers refuse them or guess), no half of a
surrogate pair. Size, depth and number of values are known before anything is built.
"""

import json
import math
import re
from array import array
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

from abrazo.checkpoints.files import open_regular
from abrazo.checkpoints.temporary import atomic_file
from abrazo.errors import AbrazoError, CheckpointError

MAX_BYTES = 16_000_000
"""Budget for a file: bytes."""
MAX_DEPTH = 64
"""Budget for a file: objects and lists inside one another."""
MAX_VALUES = 500_000
"""Budget for a file: values, of all depths."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKETS = b"{[}]"
_NOT_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_STEPS = bytes.maketrans(_BRACKETS, bytes([1, 1, 255, 255]))  # 255 is -1 as a signed byte


def read_json_object(
    path: str | Path,
    *,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
    max_values: int = MAX_VALUES,
    error: type[AbrazoError] = CheckpointError,
) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: The file; a regular one in its own folder (see `open_regular`).
        max_bytes: The most bytes that are read.
        max_depth: The deepest nesting that is parsed.
        max_values: The most values that are parsed.
        error: The type of the error to raise.

    Raises:
        AbrazoError: The file is absent, over budget or not strict JSON; of type `error`.
    """
    with open_regular(path, error=error) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise error(f"`{path}` is larger than {max_bytes:,} bytes, the most that is read of it.")
    try:
        return parse_json_object(data, max_depth=max_depth, max_values=max_values)
    except ValueError as cause:
        raise error(f"`{path}` is not a JSON file as it should be: {cause}.") from cause


def parse_json_object(
    data: bytes, *, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES
) -> dict[str, Any]:
    """Parse bytes that hold one JSON object.

    Raises:
        ValueError: The bytes are over budget or not strict JSON; the text says why.
    """
    values = _count_values(data)
    if values > max_values:
        raise ValueError(f"it holds about {values:,} values, but at most {max_values:,} are read")
    depth = _count_depth(data)
    if depth > max_depth:
        raise ValueError(f"it is nested {depth:,} deep, but at most {max_depth:,} is read")
    if data.startswith(b"\xef\xbb\xbf"):
        raise ValueError("it starts with a byte order mark; save it as UTF-8 without one")
    value = json.loads(
        data.decode("utf-8"),
        object_pairs_hook=_unique,
        parse_constant=_refuse_constant,
        parse_float=_finite,
    )
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__} instead of an object")
    if rb"\u" in data:
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails on half a surrogate pair
    return value


def encode_json(value: Mapping[str, object]) -> bytes:
    """Return a mapping as indented UTF-8 JSON in the order given, with a newline at the end.

    Raises:
        ValueError: A number is not finite, so that strict readers would refuse the file.
    """
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def write_json(path: str | Path, value: Mapping[str, object]) -> None:
    """Write a mapping as a JSON file that is whole or as it was before.

    Raises:
        ValueError: A number is not finite.
        CheckpointError: The file cannot be written.
    """
    data = encode_json(value)
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def _count_values(data: bytes) -> int:
    """Return a number that JSON text has at most as many values as; signs in strings count too."""
    return max(sum(data.count(sign) for sign in (b",", b"[", b"{")) + 1, data.count(b'"') // 4)


def _count_depth(data: bytes) -> int:
    """Return how deep JSON text is nested, without parsing it."""
    outline = _STRING.sub(b"", data)
    steps = array("b", outline.translate(_STEPS, _NOT_BRACKETS))
    return max(accumulate(steps), default=0)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {twice[:80]!r} comes twice in one object")
    return result


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:40]} is too large for a number")
    return number
