"""Reads a SentencePiece file: pieces with scores, and how texts are prepared for them.

Format: `ModelProto` of SentencePiece (`sentencepiece_model.proto`) in protobuf's wire format
(https://protobuf.dev/programming-guides/encoding/). What is not needed here is passed over; what is
needed is checked, since such files come from outside.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from abrazo.errors import TokenizerError
from abrazo.tokenization.charsmap import table_problem
from abrazo.tokenization.validation import MAX_ID

MAX_BYTES = 32 * 2**20
MAX_PIECE = 512
"""Characters of a piece at most; SentencePiece learns pieces of up to 16."""
_MAX_VARINT = 10
SPACE = "▁"
"""What stands for a space in pieces."""


class Kind(IntEnum):
    """What a piece is for."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Piece(NamedTuple):
    """One entry of the vocabulary; its place is its id."""

    text: str
    score: float
    kind: Kind = Kind.NORMAL


@dataclass(frozen=True)
class PieceModel:
    """What a SentencePiece file holds."""

    pieces: tuple[Piece, ...]
    """The vocabulary, in the order of ids."""

    is_bpe: bool
    """Whether pieces are merged by score (BPE), else the likeliest pieces are taken (Unigram)."""

    byte_fallback: bool = False
    """Whether unknown characters are written as bytes."""

    charsmap: bytes = b""
    """The table of characters that are replaced; empty for none."""

    add_dummy_prefix: bool = True
    """Whether a text gets a space in front."""

    remove_extra_whitespaces: bool = True
    """Whether spaces at both ends and spaces after spaces are dropped."""

    escape_whitespaces: bool = True
    """Whether a space is written as `▁`."""

    def unknown(self) -> str:
        """Return the piece that stands for what is unknown."""
        return next(piece.text for piece in self.pieces if piece.kind == Kind.UNKNOWN)


class _Damaged(ValueError):
    """The bytes are not what the format says."""


def read_pieces(file: Path) -> PieceModel:
    """Read a SentencePiece file.

    Raises:
        TokenizerError: It is too large, damaged, or of a kind that cannot be used.
    """
    return parse_pieces(read_bytes(file, MAX_BYTES), f"`{file}`")


def read_bytes(file: Path, max_bytes: int) -> bytes:
    """Read a file within a budget; a `TokenizerError` says why it cannot be read."""
    try:
        if not file.is_file():
            raise TokenizerError(f"`{file}` is not a regular file.")
        size = file.stat().st_size
        if size > max_bytes:
            raise TokenizerError(f"`{file}` has {size} bytes; at most {max_bytes} are read.")
        return file.read_bytes()
    except OSError as error:
        raise TokenizerError(f"`{file}` cannot be read: {error}") from error


def parse_pieces(data: bytes, where: str) -> PieceModel:
    """Read the bytes of a SentencePiece file; `where` names it in errors.

    Raises:
        TokenizerError: The bytes are damaged, or of a kind that cannot be used.
    """
    try:
        return _parse(data)
    except (_Damaged, UnicodeDecodeError) as error:
        hint = ""
        if data.startswith(b"version https://git-lfs"):
            hint = " It is a pointer of Git LFS and not the file: fetch it with `git lfs pull`."
        raise TokenizerError(
            f"{where} is no whole SentencePiece file: {error}.{hint or ' Load or copy it anew.'}"
        ) from error


def _parse(data: bytes) -> PieceModel:
    pieces: list[Piece] = []
    trainer: dict[int, int | bytes] | None = None
    normalizer: dict[int, int | bytes] | None = None
    for number, value in _fields(data):
        if number == 1:
            pieces.append(_piece(_as_bytes(value, "a piece"), len(pieces)))
            if len(pieces) > MAX_ID:
                raise _Damaged(f"it has over {MAX_ID} pieces")
        elif number == 2:
            trainer = dict(_fields(_as_bytes(value, "its settings")))
        elif number == 3:
            normalizer = dict(_fields(_as_bytes(value, "its normalizer")))
    if trainer is None or normalizer is None:
        raise _Damaged("its end is missing")
    _check_pieces(pieces)
    kind = trainer.get(3, 1)
    if kind not in (1, 2):
        raise _Damaged(
            f"its `model_type` is {kind!r:.20}; only Unigram (1) and BPE (2) can be used"
        )
    if trainer.get(24):
        raise _Damaged("it marks spaces at the end of words, which cannot be used")
    charsmap = _as_bytes(normalizer.get(2, b""), "its character table")
    if charsmap and (problem := table_problem(charsmap)):
        raise _Damaged(f"its character table {problem}")
    return PieceModel(
        pieces=tuple(pieces),
        is_bpe=kind == 2,
        byte_fallback=bool(trainer.get(35, 0)),
        charsmap=charsmap,
        add_dummy_prefix=bool(normalizer.get(3, 1)),
        remove_extra_whitespaces=bool(normalizer.get(4, 1)),
        escape_whitespaces=bool(normalizer.get(5, 1)),
    )


def _check_pieces(pieces: list[Piece]) -> None:
    if not pieces:
        raise _Damaged("it holds no pieces")
    seen: dict[str, int] = {}
    for number, piece in enumerate(pieces):
        if seen.setdefault(piece.text, number) != number:
            raise _Damaged(f"pieces {seen[piece.text]} and {number} are both {piece.text!r:.40}")
    unknown = sum(piece.kind == Kind.UNKNOWN for piece in pieces)
    if unknown != 1:
        raise _Damaged(f"it must have one piece for what is unknown, but has {unknown}")


def _piece(data: bytes, number: int) -> Piece:
    text, score, kind = "", 0.0, Kind.NORMAL
    for field, value in _fields(data):
        if field == 1:
            text = _as_bytes(value, f"piece {number}").decode("utf-8")
        elif field == 2:
            if not isinstance(value, bytes) or len(value) != 4:
                raise _Damaged(f"the score of piece {number} is no number")
            score = struct.unpack("<f", value)[0]
        elif field == 3:
            if value not in (1, 2, 3, 4, 5, 6):
                raise _Damaged(f"the kind of piece {number} is {value!r:.20}")
            kind = Kind(int(value))
    if not 0 < len(text) <= MAX_PIECE:
        raise _Damaged(f"piece {number} has {len(text)} characters, not 1 to {MAX_PIECE}")
    if not math.isfinite(score):
        raise _Damaged(f"the score of piece {number} is {score}")
    return Piece(text, score, kind)


def _as_bytes(value: int | bytes, what: str) -> bytes:
    if not isinstance(value, bytes):
        raise _Damaged(f"{what} is a number")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field: a number, or the bytes of all other types."""
    place, end = 0, len(data)
    while place < end:
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        if wire == 2:
            size, place = _varint(data, place)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise _Damaged(f"byte {place} begins a field of the unknown type {wire}")
        if number == 0 or size > end - place:
            raise _Damaged(f"it ends within a field that begins at byte {place} of {end}")
        yield number, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(data[place : place + _MAX_VARINT]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, place + shift + 1
    raise _Damaged(f"it ends within a number at byte {place}")
