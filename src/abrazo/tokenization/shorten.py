"""Beginnings of very long texts: enough of them to be sure of the tokens that are kept.

Of a book only the first page matters when a row keeps 128 tokens; encoding the rest would cost
gigabytes. The cut is made where a word ends, and the last tokens before it are not trusted.
"""

import unicodedata
from collections.abc import Callable, Sequence

from abrazo.tokenization.native import NativeEncoding
from abrazo.tokenization.truncation import Side

MARGIN = 128
"""Tokens next to a cut that are not trusted: the cut may have changed them. BERT reads a word of
over 100 characters as unknown, so a cut within such a word changes at most 100 tokens."""

_CHARS_PER_TOKEN = 8
_LOOK_AROUND = 512


def first_guess(room: int) -> int:
    """Return a number of characters that mostly holds `room` trusted tokens."""
    return _CHARS_PER_TOKEN * (room + MARGIN)


def cut(text: str, chars: int, side: Side) -> str:
    """Return about the first `chars` characters of `text`, or the last ones for `side="left"`."""
    if chars >= len(text):
        return text
    if side == "right":
        return text[: _boundary(text, chars)]
    return text[_boundary(text, len(text) - chars) :]


def _boundary(text: str, near: int) -> int:
    """Return the first place from `near` on where a word ends, or else where a character ends."""
    stop = min(near + _LOOK_AROUND, len(text))
    for place in range(near, stop):
        if text[place].isspace() and not text[place - 1].isspace():
            return place
    for place in range(near, stop):
        if not unicodedata.combining(text[place]) and text[place] not in "\u200d\ufe0e\ufe0f":
            return place
    return near


def encode_shortened(
    encode: Callable[[Sequence[str], Sequence[int]], list[NativeEncoding]],
    texts: Sequence[str],
    room: int,
    side: Side,
) -> list[NativeEncoding]:
    """Encode `texts`, of very long ones only as much as surely yields `room` tokens.

    Args:
        encode: Encodes a list of texts, given with their row numbers.
        texts: The texts.
        room: Tokens that a row keeps at most.
        side: Which end of a text is cut off.

    Returns:
        One encoding a text, with at least `room` trusted tokens or all there are. For
        `side="left"` offsets count from the cut, so it serves only where offsets do not matter.
    """
    chars = first_guess(room)
    long = [row for row, text in enumerate(texts) if len(text) > 2 * chars]
    if not long:
        return encode(texts, range(len(texts)))
    parts = list(texts)
    for row in long:
        parts[row] = cut(texts[row], chars, side)
    encodings = encode(parts, range(len(parts)))
    while long := [
        row
        for row in long
        if len(parts[row]) < len(texts[row]) and len(encodings[row]) < room + MARGIN
    ]:
        chars *= 2
        for row in long:
            parts[row] = cut(texts[row], chars, side)
        again = encode([parts[row] for row in long], long)
        for row, encoding in zip(long, again, strict=True):
            encodings[row] = encoding
    return encodings
