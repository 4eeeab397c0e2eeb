"""Tokenizers whose SentencePiece file cuts texts, while another file says the pieces' ids.

Marian has one vocabulary for two SentencePiece files, M2M-100 one in fairseq's order: a
`vocab.json` that has more than a file's pieces, and lacks some. So pieces are cut with ids of their
own, and renumbered; what `vocab.json` lacks is unknown.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import tokenizers
from tokenizers import AddedToken

from abrazo.errors import TokenizerError
from abrazo.tokenization.native import NativeEncoding
from abrazo.tokenization.piece_backend import build_backend
from abrazo.tokenization.piece_model import SPACE, Kind, Piece, PieceModel
from abrazo.tokenization.validation import vocabulary_problems


class RenumberedEncoding:
    """What the compiled library says of a text, with other ids."""

    def __init__(self, native: NativeEncoding, numbers: Sequence[int]) -> None:
        self._native = native
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._native)

    @property
    def ids(self) -> list[int]:
        """The ids of the tokens."""
        return [self._numbers[number] for number in self._native.ids]

    @property
    def tokens(self) -> list[str]:
        """The tokens as text, also those that are unknown."""
        return self._native.tokens

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """The characters of each token, as (start, end)."""
        return self._native.offsets

    @property
    def word_ids(self) -> list[int | None]:
        """The number of the word each token belongs to."""
        return self._native.word_ids


class SharedVocabulary:
    """A tokenizer as the compiled library's, as far as it is used, with ids of another file."""

    truncation = None
    padding = None
    post_processor: tokenizers.processors.PostProcessor | None = None
    """What stands around texts."""

    target: "SharedVocabulary | None" = None
    """What cuts the texts that a model is to write, where that differs."""

    def __init__(
        self,
        model: PieceModel,
        vocab: Mapping[str, int],
        special: Mapping[str, bool],
        *,
        spoken: Mapping[str, int] | None = None,
        joins_special: bool = False,
    ) -> None:
        """Join pieces and ids.

        Args:
            model: The SentencePiece file.
            vocab: The id of each token, those of `special` too.
            special: Tokens recognised in texts; whether decoding can leave them out.
            spoken: Tokens that ids stand for in decoding; those of `vocab` unless given.
            joins_special: Whether decoding writes special tokens without a space behind them.
        """
        pieces = [piece for piece in model.pieces if piece.kind != Kind.CONTROL]
        known = {piece.text for piece in pieces}
        pieces += [Piece(token, 0.0, Kind.CONTROL) for token in special if token not in known]
        self._inner = build_backend(
            model,
            pieces,
            special=[
                AddedToken(name, special=flag, normalized=False) for name, flag in special.items()
            ],
        )
        self._vocab = dict(vocab)
        self.added: dict[str, int] = {}
        self._base = len(vocab)
        self._special = dict(special)
        self._names = {number: token for token, number in (spoken or vocab).items()}
        self._joins_special = joins_special
        self._unknown = vocab[model.unknown()]
        self._renumber()

    def _renumber(self) -> None:
        size = self._inner.get_vocab_size()
        tokens = (self._inner.id_to_token(number) for number in range(size))
        self._numbers = [self._vocab.get(token or "", self._unknown) for token in tokens]

    @cached_property
    def model(self) -> tokenizers.models.Model:
        """What cuts texts, before ids are changed."""
        model: tokenizers.models.Model = self._inner.model
        return model

    @property
    def normalizer(self) -> tokenizers.normalizers.Normalizer | None:
        """What happens to texts first."""
        normalizer: tokenizers.normalizers.Normalizer | None = self._inner.normalizer
        return normalizer

    @property
    def decoder(self) -> tokenizers.decoders.Decoder | None:
        """What joins pieces."""
        decoder: tokenizers.decoders.Decoder | None = self._inner.decoder
        return decoder

    def encode_batch(
        self,
        texts: Sequence[object],
        is_pretokenized: bool = False,
        add_special_tokens: bool = False,
    ) -> list[RenumberedEncoding]:
        """Cut texts into tokens."""
        found = self._inner.encode_batch(
            texts,
            is_pretokenized=is_pretokenized,
            add_special_tokens=False,
        )
        return [RenumberedEncoding(one, self._numbers) for one in found]

    def encode_batch_fast(
        self,
        texts: Sequence[object],
        is_pretokenized: bool = False,
        add_special_tokens: bool = False,
    ) -> list[RenumberedEncoding]:
        """Cut texts into tokens whose characters are not asked for."""
        found = self._inner.encode_batch_fast(
            texts,
            is_pretokenized=is_pretokenized,
            add_special_tokens=False,
        )
        return [RenumberedEncoding(one, self._numbers) for one in found]

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token, None if there is none."""
        return self._vocab.get(token)

    def id_to_token(self, number: int) -> str | None:
        """Return the token that an id stands for, None if there is none."""
        return self._names.get(number)

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """Return all tokens with their ids."""
        return dict(self._vocab)

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """Return how many tokens there are, or were before any was added."""
        return len(self._vocab) if with_added_tokens else self._base

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Return the tokens that are recognised in texts, by their ids."""
        return {
            self._vocab[token]: AddedToken(token, special=flag, normalized=False)
            for token, flag in self._special.items()
        }

    def add_tokens(self, tokens: Iterable[str | AddedToken], special: bool = False) -> int:
        """Add tokens behind the last id."""
        before = len(self._vocab)
        for token in tokens:
            name = token if isinstance(token, str) else token.content
            if name not in self._vocab:
                number = max(self._names) + 1
                self._vocab[name] = self.added[name] = number
                self._names[number] = name
            self._special[name] = special
            self._inner.add_tokens([AddedToken(name, special=special, normalized=False)])
        self._renumber()
        return len(self._vocab) - before

    def add_special_tokens(self, tokens: Iterable[str | AddedToken]) -> int:
        """Add tokens that decoding can leave out."""
        return self.add_tokens(tokens, special=True)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Join the tokens of ids to a text, special ones as they are."""
        decoder = self.decoder
        assert decoder is not None
        text, pieces = "", list[str]()
        for number in ids:
            token = self._names[number]
            is_special = self._special.get(token) is True
            if is_special and skip_special_tokens:
                continue
            if not is_special:
                pieces.append(token)
                continue
            text += decoder.decode(pieces) + token + ("" if self._joins_special else " ")
            pieces = []
        text += decoder.decode(pieces)
        return text.replace(SPACE, " ").strip()


def read_ids(content: Mapping[str, object], where: str, needed: Iterable[str]) -> dict[str, int]:
    """Check the content of a `vocab.json`; a `TokenizerError` lists what is wrong."""
    problems = list(vocabulary_problems(content))
    problems += [f"The token {token!r} is missing." for token in needed if token not in content]
    if problems:
        raise TokenizerError("\n".join([f"{where} cannot be used:", *problems[:8]]))
    return {token: int(str(number)) for token, number in content.items()}
