"""The tokens with a role (`cls_token`, `pad_token`, ...), and where they are known from."""

from __future__ import annotations

from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from abrazo.errors import TokenizerError

if TYPE_CHECKING:
    from abrazo.tokenization.vocabulary import Vocabulary

ROLES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)

CONVENTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bos_token": ("<s>", "<bos>", "<|begin_of_text|>", "<|endoftext|>"),
        "eos_token": ("</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>"),
        "unk_token": ("[UNK]", "<unk>", "<|endoftext|>"),
        "sep_token": ("[SEP]",),
        "pad_token": ("[PAD]", "<pad>"),
        "cls_token": ("[CLS]",),
        "mask_token": ("[MASK]", "<mask>"),
    }
)
"""Tokens that mostly have a role; used only where no file of a tokenizer gives roles."""


def conventional_roles(special: Container[str]) -> dict[str, str]:
    """Return the roles that the tokens of `special` have by convention."""
    roles = {}
    for role, tokens in CONVENTIONS.items():
        known = [token for token in tokens if token in special]
        if known:
            roles[role] = known[0]
    return roles


class SpecialToken:
    """An attribute such as `cls_token`: the token of that role, None where there is none."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._role = name

    def __get__(self, vocabulary: Vocabulary, owner: type) -> str | None:
        return vocabulary.special_tokens_map.get(self._role)

    def __set__(self, vocabulary: Vocabulary, token: str | None) -> None:
        vocabulary.set_role(self._role, token)


class SpecialTokenId:
    """An attribute such as `cls_token_id`: the id of the token of that role, or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._role = name.removesuffix("_id")

    def __get__(self, vocabulary: Vocabulary, owner: type) -> int | None:
        token = vocabulary.special_tokens_map.get(self._role)
        return None if token is None else vocabulary.backend.token_to_id(token)

    def __set__(self, vocabulary: Vocabulary, number: int) -> None:
        token = vocabulary.backend.id_to_token(number)
        if token is None:
            raise TokenizerError(f"`{self._role}_id` is {number}, which is no id of a token.")
        vocabulary.set_role(self._role, token)
