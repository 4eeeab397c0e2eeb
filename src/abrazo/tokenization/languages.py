"""Languages of a tokenizer: their tokens, where these stand, and the side that is written.

Source: Liu et al. 2020, section 2.2 (mBART: behind the text), Tang et al. 2020 and Fan et al. 2020
(in front of it), NLLB Team 2022 (in front, in older checkpoints behind).
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from tokenizers import processors

from abrazo.errors import ConfigError, did_you_mean
from abrazo.tokenization.native import NativeTokenizer
from abrazo.tokenization.settings import TokenizerSettings
from abrazo.tokenization.shared_vocabulary import SharedVocabulary
from abrazo.tokenization.template import Frame, SpecialRun, Template
from abrazo.tokenization.vocabulary import Vocabulary

Place = Literal["before", "after"]
_SHOWN = 12


@dataclass(frozen=True)
class _Style:
    """How the language tokens of a family look, and where they stand."""

    pattern: str
    place: Place
    usual: str


_STYLES: Mapping[str, _Style] = {
    "MBartTokenizer": _Style(r"([a-z]{2,3}_[A-Z]{2})", "after", "en_XX"),
    "MBart50Tokenizer": _Style(r"([a-z]{2,3}_[A-Z]{2})", "before", "en_XX"),
    "NllbTokenizer": _Style(r"([a-z]{3}_[A-Z][a-z]{3})", "before", "eng_Latn"),
    "M2M100Tokenizer": _Style(r"__([a-z]{2,3})__", "before", "en"),
}


@dataclass(frozen=True)
class Languages:
    """The languages that a tokenizer has tokens for."""

    tokens: Mapping[str, str]
    """The token of each language's code."""

    place: Place
    """Whether the token stands before a text or after it."""

    usual: str
    """The code that is taken for the source where none is given."""


def find_languages(backend: NativeTokenizer, settings: TokenizerSettings) -> Languages | None:
    """Return the languages of a tokenizer whose class is known to have some, or None."""
    name = settings.original.get("tokenizer_class")
    style = _STYLES.get(name.removesuffix("Fast")) if isinstance(name, str) else None
    if style is None:
        return None
    added = [token.content for token in backend.get_added_tokens_decoder().values()]
    matches = [re.fullmatch(style.pattern, token) for token in added]
    tokens = {match.group(1): match.group(0) for match in matches if match}
    place: Place = "after" if settings.original.get("legacy_behaviour") is True else style.place
    return Languages(tokens, place, style.usual) if tokens else None


class Sides(Vocabulary):
    """A tokenizer's two sides: what is read, and what is written."""

    languages: Languages | None
    _template: Template

    def _read_languages(self) -> None:
        """Find languages, and frame texts as the source language asks for."""
        self.languages = find_languages(self.backend, self.settings)
        self._src_lang = self._tgt_lang = None
        if self.languages is None:
            return
        config = self.settings.original
        source, target = config.get("src_lang"), config.get("tgt_lang")
        if not isinstance(source, str):
            source = self.languages.usual
        if source in self.languages.tokens:
            self.src_lang = source
        if isinstance(target, str) and target in self.languages.tokens:
            self.tgt_lang = target

    _src_lang: str | None
    _tgt_lang: str | None

    @property
    def lang_code_to_id(self) -> dict[str, int]:
        """The id of each language's token; empty where the model has one language."""
        tokens = self.languages.tokens if self.languages else {}
        return {code: self.convert_tokens_to_ids(token) for code, token in tokens.items()}

    def get_lang_id(self, code: str) -> int:
        """Return the id of a language's token, with which a model begins to write in it.

        Raises:
            ConfigError: The model has no such language; names the nearest and some it has.
        """
        return self.convert_tokens_to_ids(self._language_token(code))

    def _language_token(self, code: str) -> str:
        if self.languages is None:
            raise ConfigError(
                f"This tokenizer has no languages to choose from, so none can be {code!r:.40}."
            )
        tokens = self.languages.tokens
        if code not in tokens:
            some = ", ".join(list(tokens)[:_SHOWN]) + (", ..." if len(tokens) > _SHOWN else "")
            near = did_you_mean(str(code), tokens) or _same_language(str(code), tokens)
            raise ConfigError(
                f"The model has no language {code!r:.40}.{near} It has {len(tokens)}: {some}"
            )
        return tokens[code]

    @property
    def src_lang(self) -> str | None:
        """The language of texts that are read; None where the model has one language.

        Not to be set while other threads encode.
        """
        return self._src_lang

    @src_lang.setter
    def src_lang(self, code: str) -> None:
        token = self._language_token(code)
        self._src_lang = code
        self.settings.original["src_lang"] = code
        self._template = self._language_template(token)
        self.backend.post_processor = self._language_processor(token)

    @property
    def tgt_lang(self) -> str | None:
        """The language of texts that are written; None where the model has one, or none is set."""
        return self._tgt_lang

    @tgt_lang.setter
    def tgt_lang(self, code: str) -> None:
        self._language_token(code)
        self._tgt_lang = code
        self.settings.original["tgt_lang"] = code

    @property
    def target(self) -> Self:
        """The tokenizer of what the model writes: it encodes labels.

        The same one, but for models with languages and for Marian, which cuts the two sides of a
        pair by different files.

        Raises:
            ConfigError: The model has languages, and `tgt_lang` is not set.
        """
        if self.languages is not None:
            if self._tgt_lang is None:
                some = ", ".join(list(self.languages.tokens)[:_SHOWN])
                raise ConfigError(
                    "The language of what is written is not known: set `tokenizer.tgt_lang` to one "
                    f"of the model's {len(self.languages.tokens)}, such as {some}."
                )
            side = copy.copy(self)
            side._template = self._language_template(self._language_token(self._tgt_lang))
            return side
        if isinstance(self.backend, SharedVocabulary) and self.backend.target is not None:
            side = copy.copy(self)
            side.backend = self.backend.target
            return side
        return self

    def _language_template(self, token: str) -> Template:
        end = self.eos_token
        assert end is not None  # every family with languages has one
        language, last = self._run(token), self._run(end)
        before, after = language, last
        if self.languages is not None and self.languages.place == "after":
            before, after = SpecialRun(), self._run(end, token)
        framed = Frame(before, SpecialRun(), after, 0, 0)
        bare = Frame(SpecialRun(), SpecialRun(), SpecialRun(), 0, 0)
        return Template(framed, framed, bare, bare)

    def _run(self, *tokens: str) -> SpecialRun:
        ids = tuple(self.convert_tokens_to_ids(list(tokens)))
        return SpecialRun(ids, tokens, (0,) * len(tokens))

    def _language_processor(self, token: str) -> processors.TemplateProcessing:
        """Return what frames texts the same way where the tokenizer's file is read by others."""
        frame = self._language_template(token).single
        before, after = frame.before, frame.after
        pairs = zip(before.tokens + after.tokens, before.ids + after.ids, strict=True)
        return processors.TemplateProcessing(
            single=[*before.tokens, "$A", *after.tokens],
            pair=[*before.tokens, "$A", "$B", *after.tokens],
            special_tokens=list(pairs),
        )


def _same_language(code: str, tokens: Mapping[str, str]) -> str:
    """Name a code that begins alike, as `en` and `en_XX` do."""
    near = [one for one in tokens if one[:2].lower() == code[:2].lower()]
    return f" Did you mean `{near[0]}`?" if near else ""
