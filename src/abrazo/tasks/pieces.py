"""Long texts as pieces that a model reads one by one, cut at the ends of sentences.

Nothing is lost: the pieces, with what stands between them, are the text again.
"""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from abrazo.data.sentences import sentence_spans
from abrazo.errors import ConfigError
from abrazo.tokenization.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class Piece:
    """A stretch of a text that is short enough."""

    text: str
    """Its characters, without spaces at either end."""
    before: str
    """What stands between the piece before and this one: spaces, line breaks, or nothing."""


def cut_in_pieces(text: str, tokenizer: Tokenizer, max_length: int) -> list[Piece]:
    """Cut a text into pieces of at most `max_length` tokens, special ones included.

    As many sentences as fit make a piece. A sentence that is too long by itself is cut between
    words where it can be.

    Args:
        text: The text.
        tokenizer: Counts the tokens.
        max_length: The most tokens of a piece.
    """
    spans = _fitting_spans(text, tokenizer, max_length)
    lengths = _count_tokens([text[span] for span in spans], tokenizer)
    special = tokenizer.num_special_tokens_to_add()
    pieces: list[Piece] = []
    first, room = 0, max_length - special
    end_before = 0
    for number in range(len(spans) + 1):
        fits = number < len(spans) and (number == first or lengths[number] <= room)
        if fits:
            room -= lengths[number]
            continue
        if number > first:
            start, end = spans[first].start, spans[number - 1].stop
            pieces.append(Piece(text[start:end], text[end_before:start] if pieces else ""))
            end_before = end
        if number < len(spans):
            first, room = number, max_length - special - lengths[number]
    return pieces


def read_in_pieces(
    text: str, tokenizer: Tokenizer, max_length: int, prefix: str = ""
) -> tuple[list[Piece], list[np.ndarray]]:
    """Cut a text into pieces that a model reads, and encode each of them.

    Args:
        text: The text.
        tokenizer: Encodes the pieces.
        max_length: The most tokens of a piece, special ones included.
        prefix: What is put before each piece.

    Raises:
        ConfigError: The prefix leaves no room for a text.
    """
    room = max_length
    if prefix:
        num_tokens = int(tokenizer.encode_rows([prefix], max_length=None).lengths[0])
        room -= num_tokens
        if room <= tokenizer.num_special_tokens_to_add():
            raise ConfigError(
                f"`prefix` leaves no room for a text: it has {num_tokens} tokens, and the model "
                f"reads at most {max_length}."
            )
    pieces = cut_in_pieces(text, tokenizer, room)
    encoded = tokenizer.encode_rows([prefix + p.text for p in pieces], max_length=max_length)
    return pieces, np.split(encoded.input_ids, encoded.offsets[1:-1])


def join_pieces(texts: Sequence[str], pieces: Sequence[Piece]) -> str:
    """Join what was written for each piece, as the pieces were joined."""
    joined = ""
    for text, piece in zip(texts, pieces, strict=True):
        between = piece.before
        if joined and not between and not _ends_chinese(joined):
            between = " "
        joined += (between if joined else "") + text
    return joined


def _ends_chinese(text: str) -> bool:
    """Tell whether a text ends in a character after which no space is written."""
    return bool(re.search(r"[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]$", text))


def _fitting_spans(text: str, tokenizer: Tokenizer, max_length: int) -> list[slice]:
    """Return the sentences of a text, those too long cut further."""
    spans = sentence_spans(text)
    lengths = _count_tokens([text[span] for span in spans], tokenizer)
    room = max_length - tokenizer.num_special_tokens_to_add()
    fitting: list[slice] = []
    for span, length in zip(spans, lengths, strict=True):
        fitting += [span] if length <= room else _cut_sentence(text, span, tokenizer, max_length)
    return fitting


def _cut_sentence(text: str, span: slice, tokenizer: Tokenizer, max_length: int) -> list[slice]:
    """Cut a sentence where its tokens no longer fit, at the last space before if there is one."""
    parts: list[slice] = []
    start: int = span.start
    while start < span.stop:
        windows = tokenizer.encode_windows(
            [text[start : span.stop]], max_length=max_length, stride=0
        )
        if len(windows) == 1:
            parts.append(slice(start, span.stop))
            break
        end = start + int(windows.spans[int(windows.counts[0]) - 1][1])
        space = text.rfind(" ", start + 1, end + 1)
        end = space if space > start else end
        parts.append(slice(start, end))
        start = end + (len(text[end : span.stop]) - len(text[end : span.stop].lstrip()))
    return parts


def _count_tokens(texts: Sequence[str], tokenizer: Tokenizer) -> list[int]:
    """Return the number of tokens of each text, without special ones."""
    if not texts:
        return []
    special = tokenizer.num_special_tokens_to_add()
    return [int(n) - special for n in tokenizer.encode_rows(texts, max_length=None).lengths]
