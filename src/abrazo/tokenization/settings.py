"""What a tokenizer's own files say beside its vocabulary; read strictly, kept when unknown.

Format: `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` as the
Hugging Face libraries write them. No value of theirs names a class, module or place to load from:
`tokenizer_class`, `auto_map` and the like are text that is written back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from abrazo.errors import TokenizerError
from abrazo.tokenization.special_tokens import ROLES
from abrazo.tokenization.truncation import Side

NO_LIMIT = int(1e30)
"""The `model_max_length` of a tokenizer that knows no limit; the value that others use too."""
SOME_LIMIT = int(1e20)
"""Lengths above this are no limit."""

_TAKES_TYPES = frozenset(
    f"{family}Tokenizer"
    for family in (
        *("Bert", "Electra", "Albert", "Deberta", "DebertaV2", "MobileBert", "FNet", "ConvBert"),
        *("Funnel", "RemBert", "SqueezeBert", "RoFormer", "MegatronBert", "XLNet"),
    )
)
"""Values of `tokenizer_class` whose models read `token_type_ids`, where no file says it."""


@dataclass
class TokenizerSettings:
    """Everything about a tokenizer that its native part does not hold."""

    roles: dict[str, str] = field(default_factory=dict)
    """The special token of each role, such as `cls_token`."""

    extra_special_tokens: list[str] = field(default_factory=list)
    """Special tokens without a role."""

    model_max_length: int = NO_LIMIT
    """Tokens that the model reads at most, special ones included."""

    padding_side: Side = "right"
    """Where padding goes."""

    truncation_side: Side = "right"
    """Which end of a text is cut off."""

    model_input_names: tuple[str, ...] = ("input_ids", "attention_mask")
    """What the model reads, and so what is returned unless asked otherwise."""

    pad_token_type_id: int = 0
    """The segment of padding."""

    clean_up_tokenization_spaces: bool = False
    """Whether decoding removes spaces before punctuation."""

    added_tokens: dict[str, dict[str, object]] = field(default_factory=dict)
    """Tokens that the files add to the vocabulary, with their `id` and flags."""

    chat_templates: dict[str, str] = field(default_factory=dict)
    """Templates of conversations by name; the usual one is named `default`."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Files that a `tokenizer.json` cannot take the place of; saved as they came."""

    original: dict[str, object] = field(default_factory=dict)
    """`tokenizer_config.json` as read; what is unknown in it is written back."""


def read_settings(
    config: Mapping[str, object],
    special_map: Mapping[str, object] | None = None,
    added: Mapping[str, object] | None = None,
) -> TokenizerSettings:
    """Read the contents of the three files; a `TokenizerError` lists all mistakes in them."""
    problems: list[str] = []
    settings = TokenizerSettings(original=dict(config))
    modern = "added_tokens_decoder" in config
    _read_roles(settings, "tokenizer_config.json", config, problems)
    if special_map is not None and not modern:
        _read_roles(settings, "special_tokens_map.json", special_map, problems)
    _read_added(settings, config.get("added_tokens_decoder"), added, problems)
    _read_length(settings, config, problems)
    for name in ("padding_side", "truncation_side"):
        if name in config:
            if config[name] in ("right", "left"):
                setattr(settings, name, config[name])
            else:
                problems.append(f'`{name}` must be "right" or "left", but is {config[name]!r}.')
    _read_input_names(settings, config, problems)
    _read_chat_templates(settings, config.get("chat_template"), problems)
    settings.clean_up_tokenization_spaces = config.get("clean_up_tokenization_spaces") is True
    if problems:
        raise TokenizerError("\n".join(problems))
    return settings


def to_config(settings: TokenizerSettings) -> dict[str, object]:
    """Return the contents of `tokenizer_config.json`; unknown fields are as they were read."""
    config = dict(settings.original)
    of_others = ("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens")
    for name in (*of_others, "chat_template"):
        config.pop(name, None)
    for role in ROLES:
        config.pop(role, None)
    config.update(settings.roles)
    if settings.extra_special_tokens:
        config["additional_special_tokens"] = list(settings.extra_special_tokens)
    config.update(
        model_max_length=settings.model_max_length,
        padding_side=settings.padding_side,
        truncation_side=settings.truncation_side,
        model_input_names=list(settings.model_input_names),
        clean_up_tokenization_spaces=settings.clean_up_tokenization_spaces,
    )
    config.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
    return config


def takes_token_types(config: Mapping[str, object]) -> bool | None:
    """Say whether the `tokenizer_class` that is named reads segments; None when none is named."""
    name = config.get("tokenizer_class")
    if not isinstance(name, str):
        return None
    return name.removesuffix("Fast") in _TAKES_TYPES


def _content(value: object) -> str | None:
    """Return the text of a token given as a string or as an object with its flags."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) and value else None


def _read_roles(
    settings: TokenizerSettings, file: str, values: Mapping[str, object], problems: list[str]
) -> None:
    for role in ROLES:
        if values.get(role) is None:
            continue
        token = _content(values[role])
        if token is None:
            problems.append(f"`{role}` in {file} must be a token, but is {values[role]!r:.80}.")
        else:
            settings.roles[role] = token
    for name in ("additional_special_tokens", "extra_special_tokens"):
        given = values.get(name) or []
        listed = list(given.values()) if isinstance(given, dict) else given
        tokens = [_content(value) for value in listed] if isinstance(listed, list) else [None]
        if None in tokens:
            problems.append(f"`{name}` in {file} must be a list of tokens.")
        settings.extra_special_tokens += [
            token for token in tokens if token and token not in settings.extra_special_tokens
        ]


def _read_added(
    settings: TokenizerSettings,
    decoder: object,
    added: Mapping[str, object] | None,
    problems: list[str],
) -> None:
    if decoder is not None and not isinstance(decoder, dict):
        problems.append("`added_tokens_decoder` in tokenizer_config.json must map ids to tokens.")
        return
    for number, value in (decoder or {}).items():
        token = _content(value)
        if token is None or not str(number).isdecimal():
            problems.append(f"`added_tokens_decoder` has a bad entry: {number!r}: {value!r:.80}.")
        else:
            flags = cast(dict[str, object], value) if isinstance(value, dict) else {}
            settings.added_tokens[token] = {**flags, "id": int(number)}
    special = {*settings.roles.values(), *settings.extra_special_tokens}
    for token, number in (added or {}).items() if decoder is None else ():
        if not token or not isinstance(number, int) or isinstance(number, bool):
            problems.append(f"added_tokens.json has a bad entry: {token!r}: {number!r:.80}.")
        else:
            is_special = token in special
            settings.added_tokens[token] = {
                "id": number,
                "special": is_special,
                "normalized": not is_special,
            }


def _read_length(
    settings: TokenizerSettings, config: Mapping[str, object], problems: list[str]
) -> None:
    length = config.get("model_max_length", config.get("max_len"))
    if length is None:
        return
    is_number = isinstance(length, (int, float)) and not isinstance(length, bool)
    if not is_number or not 1 <= cast(float, length) < float("inf"):
        problems.append(f"`model_max_length` must be a positive number, but is {length!r:.80}.")
    else:
        settings.model_max_length = int(cast(float, length))


def _read_input_names(
    settings: TokenizerSettings, config: Mapping[str, object], problems: list[str]
) -> None:
    names = config.get("model_input_names")
    if names is None:
        return
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        problems.append("`model_input_names` in tokenizer_config.json must be a list of names.")
    else:
        settings.model_input_names = tuple(names)


def _read_chat_templates(settings: TokenizerSettings, given: object, problems: list[str]) -> None:
    """Read the one template of a conversation, or a list of named ones."""
    if given is None:
        return
    if isinstance(given, str):
        settings.chat_templates["default"] = given
        return
    entries = given if isinstance(given, list) else [given]
    for entry in entries:
        name, template = (
            (entry.get("name"), entry.get("template")) if isinstance(entry, dict) else (None, None)
        )
        if isinstance(name, str) and isinstance(template, str):
            settings.chat_templates[name] = template
        else:
            problems.append(
                "`chat_template` must be a template or a list of objects with `name` and "
                f"`template`, but has {entry!r:.80}."
            )
