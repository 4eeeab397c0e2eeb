"""Tokens, ids and text: everything a tokenizer can do without encoding."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import tokenizers

from abrazo.errors import ConfigError, TokenizerError, one_of
from abrazo.tokenization.native import NativeTokenizer, guarded
from abrazo.tokenization.settings import TokenizerSettings
from abrazo.tokenization.special_tokens import ROLES, SpecialToken, SpecialTokenId

Ids = int | Sequence[int] | npt.NDArray[np.integer[Any]]

_SPACES = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)
"""English spellings that decoding word by word splits, and what they were."""


class Vocabulary:
    """The vocabulary of a tokenizer, its special tokens, and the way from ids to text."""

    bos_token = SpecialToken()
    eos_token = SpecialToken()
    unk_token = SpecialToken()
    sep_token = SpecialToken()
    pad_token = SpecialToken()
    cls_token = SpecialToken()
    mask_token = SpecialToken()
    bos_token_id = SpecialTokenId()
    eos_token_id = SpecialTokenId()
    unk_token_id = SpecialTokenId()
    sep_token_id = SpecialTokenId()
    pad_token_id = SpecialTokenId()
    cls_token_id = SpecialTokenId()
    mask_token_id = SpecialTokenId()

    def __init__(self, backend: NativeTokenizer, settings: TokenizerSettings) -> None:
        self.backend = backend
        self.settings = settings

    @property
    def vocab_size(self) -> int:
        """Tokens in the vocabulary, without added ones."""
        return self.backend.get_vocab_size(with_added_tokens=False)

    def __len__(self) -> int:
        return self.backend.get_vocab_size(with_added_tokens=True)

    def __bool__(self) -> bool:
        return True

    def get_vocab(self) -> dict[str, int]:
        """Return all tokens with their ids, added ones too."""
        return self.backend.get_vocab(with_added_tokens=True)

    def is_same_as(self, other: "Vocabulary") -> bool:
        """Tell whether another tokenizer gives the same ids for every text."""
        return self is other or self.backend.to_str() == other.backend.to_str()

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The special token of each role that has one."""
        return {role: self.settings.roles[role] for role in ROLES if role in self.settings.roles}

    @property
    def additional_special_tokens(self) -> list[str]:
        """Special tokens without a role."""
        return list(self.settings.extra_special_tokens)

    @property
    def all_special_tokens(self) -> list[str]:
        """All special tokens, each once: first those with a role."""
        tokens = [*self.special_tokens_map.values(), *self.settings.extra_special_tokens]
        return list(dict.fromkeys(tokens))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`."""
        return self.convert_tokens_to_ids(self.all_special_tokens)

    def set_role(self, role: str, token: str | None) -> None:
        """Give a role such as `pad_token` to a token, which is added if need be; None takes it."""
        if token is None:
            self.settings.roles.pop(role, None)
        else:
            self.add_special_tokens({role: token})

    def add_special_tokens(self, tokens: Mapping[str, str | Sequence[str]]) -> int:
        """Add special tokens, as in `{"pad_token": "[PAD]", "additional_special_tokens": [...]}`.

        Not to be called while other threads encode.

        Returns:
            How many of them are new to the vocabulary; the model's embeddings must grow by them.

        Raises:
            ConfigError: a role is unknown.
        """
        extra = ("additional_special_tokens", "extra_special_tokens")
        for role in tokens:
            if role not in (*ROLES, *extra):
                raise ConfigError(one_of("A special token's role", role, (*ROLES, *extra)))
        added = 0
        for role, value in tokens.items():
            names = [value] if isinstance(value, str) else list(value)
            added += self.add_tokens(names, special_tokens=True)
            if role in extra:
                known = self.settings.extra_special_tokens
                known += [name for name in names if name not in known]
            else:
                self.settings.roles[role] = names[0]
        return added

    def add_tokens(self, tokens: str | Sequence[str], special_tokens: bool = False) -> int:
        """Add tokens that are then never split; return how many are new to the vocabulary.

        Special ones are left out by `decode(..., skip_special_tokens=True)`. Not to be called
        while other threads encode.

        Raises:
            TokenizerError: a token is empty, or is nothing but what the tokenizer drops.
        """
        names = [tokens] if isinstance(tokens, str) else list(tokens)
        for name in names:
            if not isinstance(name, str) or not name.strip():
                raise TokenizerError(f"A token must be a text that is not blank, but is {name!r}.")
            normalizer = self.backend.normalizer
            if not special_tokens and normalizer and not normalizer.normalize_str(name):
                raise TokenizerError(f"The token {name!r} is nothing after normalisation.")
        add = self.backend.add_special_tokens if special_tokens else self.backend.add_tokens
        before = len(self)
        wanted = [self._as_added(name, special_tokens) for name in names]
        guarded("Adding tokens", lambda: add(wanted))
        return len(self) - before

    def _as_added(self, name: str, special: bool) -> str | tokenizers.AddedToken:
        """Return a token as it is looked for: not only where a space stands before it."""
        normalizer = self.backend.normalizer
        if special or normalizer is None:
            return name
        is_spaced = normalizer.normalize_str(name).startswith("▁") and not name.startswith("▁")
        return tokenizers.AddedToken(name, normalized=False) if is_spaced else name

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str] | tuple[str, ...]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | list[str] | tuple[str, ...]) -> int | list[int]:
        """Return the ids of tokens; for those not in the vocabulary that of the unknown token.

        Raises:
            TokenizerError: a token is not in the vocabulary, and there is no unknown token.
        """
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        known = self.backend.token_to_id(tokens)
        number = self.unk_token_id if known is None else known
        if number is None:
            raise TokenizerError(f"{tokens!r:.80} is not in the vocabulary of {len(self)} tokens.")
        return number

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...
    @overload
    def convert_ids_to_tokens(
        self, ids: Sequence[int] | npt.NDArray[np.integer[Any]], skip_special_tokens: bool = False
    ) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: Ids, skip_special_tokens: bool = False) -> str | list[str]:
        """Return the tokens of ids.

        Raises:
            TokenizerError: an id stands for no token.
        """
        if isinstance(ids, (int, np.integer)):
            return self._token(int(ids))
        left_out = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._token(number) for number in _as_ids(ids) if number not in left_out]

    def _token(self, number: int) -> str:
        token = self.backend.id_to_token(number) if 0 <= number < 2**32 else None
        if token is None:
            raise TokenizerError(
                f"Id {number} stands for no token: the vocabulary has {len(self)} tokens."
            )
        return token

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Join tokens to a text, as decoding does."""
        decoder = self.backend.decoder
        return " ".join(tokens) if decoder is None else str(decoder.decode(list(tokens)))

    def decode(
        self,
        ids: Ids,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        *,
        pieces: Sequence[object] | None = None,
    ) -> str | list[str]:
        """Turn ids back into text; for rows of ids, a list of texts.

        Args:
            ids: One id, a row of ids, or rows of ids; lists or tensors.
            skip_special_tokens: Whether to leave special tokens out.
            clean_up_tokenization_spaces: Whether to remove spaces before punctuation; None takes
                the tokenizer's setting.
            pieces: One label for each id. Then each piece is shown with its label, as in
                `[CLS] Ada/B-PER lives/O`; labels None and -100 are not shown.

        Raises:
            TokenizerError: an id stands for no token, or labels and ids differ in number.
        """
        listed = ids.tolist() if hasattr(ids, "tolist") else ids
        if isinstance(listed, Mapping):
            listed = listed["input_ids"]
        if isinstance(listed, (list, tuple)) and listed and not _is_number(listed[0]):
            return self._decode_rows(
                listed, skip_special_tokens, clean_up_tokenization_spaces, pieces
            )
        row = [listed] if isinstance(listed, int) else _as_ids(listed)
        if pieces is not None:
            return self._labelled(row, pieces, skip_special_tokens)
        for number in row:
            self._token(number)
        text = guarded(
            "Decoding", lambda: self.backend.decode(row, skip_special_tokens=skip_special_tokens)
        )
        return self._cleaned(text, clean_up_tokenization_spaces)

    def batch_decode(
        self,
        sequences: Sequence[Ids] | npt.NDArray[np.integer[Any]],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """Turn rows of ids back into texts."""
        texts = self.decode(sequences, skip_special_tokens, clean_up_tokenization_spaces)  # type: ignore[arg-type]
        return [texts] if isinstance(texts, str) else texts

    def _decode_rows(
        self,
        rows: Sequence[Ids],
        skip: bool,
        clean: bool | None,
        pieces: Sequence[object] | None,
    ) -> list[str]:
        labels: Sequence[Any] = [None] * len(rows) if pieces is None else pieces
        if not hasattr(labels, "__len__"):
            raise TokenizerError(f"`pieces` must be rows of labels, but is {labels!r:.80}.")
        if len(labels) != len(rows):
            raise TokenizerError(f"There are {len(rows)} rows of ids, but {len(labels)} of labels.")
        texts = []
        for row, of_row in zip(rows, labels, strict=True):
            text = self.decode(row, skip, clean, pieces=of_row)
            assert isinstance(text, str)
            texts.append(text)
        return texts

    def _labelled(self, ids: Sequence[int], labels: Sequence[object], skip: bool) -> str:
        listed = labels.tolist() if hasattr(labels, "tolist") else labels
        if not isinstance(listed, Sequence) or isinstance(listed, str):
            raise TokenizerError(
                f"`pieces` must be a list of labels, one for each id, but is {listed!r:.80}."
            )
        if len(listed) != len(ids):
            raise TokenizerError(
                f"`pieces` must hold one label for each id: there are {len(ids)} ids and "
                f"{len(listed)} labels."
            )
        left_out = set(self.all_special_ids) if skip else set()
        return " ".join(
            self._readable(number)
            if label is None or label == -100
            else f"{self._readable(number)}/{label}"
            for number, label in zip(ids, listed, strict=True)
            if number not in left_out
        )

    def _readable(self, number: int) -> str:
        """Return a token, that of a byte-level vocabulary as text where it holds whole characters.

        Spaces and line ends are written as there, `Ġ` and `Ċ`.
        """
        token = self._token(number)
        if type(self.backend.decoder).__name__ != "ByteLevel":
            return token
        text = self.convert_tokens_to_string([token])
        return token if "\ufffd" in text else text.replace(" ", "Ġ").replace("\n", "Ċ")

    def _cleaned(self, text: str, asked: bool | None) -> str:
        wanted = self.settings.clean_up_tokenization_spaces if asked is None else asked
        # Byte-level and SentencePiece vocabularies of BPE keep the spaces of the text itself.
        if not wanted or type(self.backend.model).__name__ == "BPE":
            return text
        for split, joined in _SPACES:
            text = text.replace(split, joined)
        return text

    def get_special_tokens_mask(
        self, ids: Sequence[int], already_has_special_tokens: bool = True
    ) -> list[int]:
        """Return 1 for each id of a special token, 0 for the others.

        Raises:
            ConfigError: `already_has_special_tokens` is false: ids do not tell where special
                tokens would go; ask for `return_special_tokens_mask=True` when encoding.
        """
        if not already_has_special_tokens:
            raise ConfigError(
                "Ids without special tokens have no mask of them. Encode with "
                "`return_special_tokens_mask=True` instead."
            )
        special = set(self.all_special_ids)
        return [int(number in special) for number in _as_ids(ids)]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, np.integer)) or (hasattr(value, "ndim") and value.ndim == 0)


def _as_ids(ids: Any) -> list[int]:
    """Return ids as plain numbers, whatever sequence or tensor holds them."""
    listed: Iterable[Any] = ids.tolist() if hasattr(ids, "tolist") else ids
    return [int(number) for number in listed]
