"""One encoded row: its tokens, where each comes from, and the ways from token to text and back."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

from abrazo.errors import TokenizerError
from abrazo.tokenization.native import NativeEncoding
from abrazo.tokenization.template import Frame, SpecialRun

T = TypeVar("T")


class CharSpan(NamedTuple):
    """Characters `start` to `end`, without `end`, of a text."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens `start` to `end`, without `end`, of a row."""

    start: int
    end: int


class Source:
    """All tokens of one text; each list is fetched once, however many rows show a part of it."""

    def __init__(self, native: NativeEncoding) -> None:
        self._native = native

    def __len__(self) -> int:
        return len(self._native)

    @cached_property
    def ids(self) -> list[int]:
        """The ids of the tokens."""
        return self._native.ids

    @cached_property
    def tokens(self) -> list[str]:
        """The tokens as text."""
        return self._native.tokens

    @cached_property
    def offsets(self) -> list[tuple[int, int]]:
        """The characters of each token, as (start, end)."""
        return self._native.offsets

    @cached_property
    def word_ids(self) -> list[int | None]:
        """The number of the word each token belongs to."""
        return self._native.word_ids


@dataclass(frozen=True)
class Segment:
    """Neighbouring tokens of a row that have one origin.

    `sequence` is 0 or 1 for a text, None for special tokens and padding.
    """

    ids: list[int]
    type_ids: list[int]
    sequence: int | None = None
    attended: int = 1
    tokens: tuple[str, ...] = ()
    source: Source | None = None
    start: int = 0

    def __len__(self) -> int:
        return len(self.ids)


def text_segment(source: Source, span: tuple[int, int], sequence: int, type_id: int) -> Segment:
    """Return tokens `span` of a text as part of a row."""
    start, stop = span
    ids = source.ids[start:stop]
    return Segment(ids, [type_id] * len(ids), sequence, source=source, start=start)


def special_segment(run: SpecialRun) -> Segment:
    """Return special tokens as part of a row."""
    return Segment(list(run.ids), list(run.type_ids), tokens=run.tokens)


def framed(frame: Frame, first: Segment, second: Segment | None) -> "RowEncoding":
    """Put the special tokens of `frame` around one text or two."""
    texts = [first] if second is None else [first, special_segment(frame.between), second]
    return RowEncoding([special_segment(frame.before), *texts, special_segment(frame.after)])


class RowEncoding:
    """One row of a batch.

    Every list has one entry a token. Offsets count characters of the text that a token is from;
    those of special tokens and padding are (0, 0).
    """

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = [segment for segment in segments if len(segment)]

    def __len__(self) -> int:
        return sum(len(segment) for segment in self._segments)

    def __repr__(self) -> str:
        return f"RowEncoding({' '.join(self.tokens)})"

    def padded(self, padding: Segment, side: str) -> "RowEncoding":
        """Return the row with `padding` put on its right or left."""
        if side == "right":
            return RowEncoding([*self._segments, padding])
        return RowEncoding([padding, *self._segments])

    def _joined(self, read: Callable[[Segment], list[T]]) -> list[T]:
        return [value for segment in self._segments for value in read(segment)]

    def _from_source(
        self, read: Callable[[Source], list[T]], otherwise: Callable[[Segment], list[T]]
    ) -> list[T]:
        def part(segment: Segment) -> list[T]:
            if segment.source is None:
                return otherwise(segment)
            return read(segment.source)[segment.start : segment.start + len(segment)]

        return self._joined(part)

    @cached_property
    def ids(self) -> list[int]:
        """The ids that the model reads."""
        return self._joined(lambda segment: segment.ids)

    @cached_property
    def type_ids(self) -> list[int]:
        """The segment of each token: 0 for the first text, mostly 1 for the second."""
        return self._joined(lambda segment: segment.type_ids)

    @cached_property
    def attention_mask(self) -> list[int]:
        """1 for tokens, 0 for padding."""
        return self._joined(lambda segment: [segment.attended] * len(segment))

    @cached_property
    def special_tokens_mask(self) -> list[int]:
        """1 for special tokens that were added and for padding, 0 for tokens of the texts."""
        return self._joined(lambda segment: [int(segment.sequence is None)] * len(segment))

    @cached_property
    def sequence_ids(self) -> list[int | None]:
        """0 and 1 for tokens of the first and second text, None for the others."""
        return self._joined(lambda segment: [segment.sequence] * len(segment))

    @cached_property
    def tokens(self) -> list[str]:
        """The tokens as text."""
        return self._from_source(lambda source: source.tokens, lambda run: list(run.tokens))

    @cached_property
    def offsets(self) -> list[tuple[int, int]]:
        """The characters of each token, as (start, end)."""
        return self._from_source(lambda source: source.offsets, lambda run: [(0, 0)] * len(run))

    @cached_property
    def word_ids(self) -> list[int | None]:
        """The number of the word each token belongs to, None for special tokens."""
        return self._from_source(lambda source: source.word_ids, lambda run: [None] * len(run))

    @property
    def n_sequences(self) -> int:
        """How many texts the row holds."""
        present = {number for number in self.sequence_ids if number is not None}
        return len(present) or 1

    def _token(self, index: int) -> int:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise TokenizerError(f"There is no token {index}: the row has {len(self)} tokens.")
        return place

    def token_to_sequence(self, token: int) -> int | None:
        """Return 0 or 1, the text that the token is from; None for special tokens."""
        return self.sequence_ids[self._token(token)]

    def token_to_word(self, token: int) -> int | None:
        """Return the number of the token's word in its text; None for special tokens."""
        return self.word_ids[self._token(token)]

    def token_to_chars(self, token: int) -> CharSpan | None:
        """Return the token's characters in its text; None for special tokens."""
        place = self._token(token)
        return None if self.sequence_ids[place] is None else CharSpan(*self.offsets[place])

    def char_to_token(self, char: int, sequence: int = 0) -> int | None:
        """Return the token that holds a character; None where there is none, as for a space."""
        for token, (number, (start, end)) in enumerate(
            zip(self.sequence_ids, self.offsets, strict=True)
        ):
            if number == sequence and start <= char < end:
                return token
        return None

    def word_to_tokens(self, word: int, sequence: int = 0) -> TokenSpan | None:
        """Return the tokens of a word; None when the row holds none of it."""
        tokens = [
            token
            for token, (number, of_word) in enumerate(
                zip(self.sequence_ids, self.word_ids, strict=True)
            )
            if number == sequence and of_word == word
        ]
        return TokenSpan(tokens[0], tokens[-1] + 1) if tokens else None

    def word_to_chars(self, word: int, sequence: int = 0) -> CharSpan | None:
        """Return the characters of a word, as far as the row holds it."""
        tokens = self.word_to_tokens(word, sequence)
        if tokens is None:
            return None
        return CharSpan(self.offsets[tokens.start][0], self.offsets[tokens.end - 1][1])

    def char_to_word(self, char: int, sequence: int = 0) -> int | None:
        """Return the number of the word that holds a character; None where there is none."""
        token = self.char_to_token(char, sequence)
        return None if token is None else self.word_ids[token]
