"""From a folder's files to a native tokenizer and its settings, and back."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from abrazo.errors import TokenizerError
from abrazo.tokenization import byte_level, piece_layouts
from abrazo.tokenization.native import NativeTokenizer, guarded
from abrazo.tokenization.piece_loading import has_shared_vocabulary, load_pieces
from abrazo.tokenization.settings import (
    TokenizerSettings,
    read_settings,
    takes_token_types,
    to_config,
)
from abrazo.tokenization.shared_vocabulary import SharedVocabulary
from abrazo.tokenization.special_tokens import conventional_roles
from abrazo.tokenization.validation import (
    MAX_ID,
    check_tokenizer,
    read_json_object,
    read_text,
)

logger = logging.getLogger("abrazo")

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_FILE = "special_tokens_map.json"
ADDED_FILE = "added_tokens.json"
VOCAB_FILE = "vocab.txt"
MODEL_CONFIG_FILE = "config.json"
CHAT_FILE = "chat_template.jinja"
MAX_CHAT_BYTES = 256 * 2**10
_SMALL = 16 * 2**20
_VOCAB_BYTES = 64 * 2**20

BERT_ROLES = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
WITH_TYPES = ("input_ids", "token_type_ids", "attention_mask")
WITHOUT_TYPES = ("input_ids", "attention_mask")


def holds_tokenizer(folder: Path) -> bool:
    """Tell whether a folder has a file with a whole vocabulary."""
    names = (TOKENIZER_FILE, VOCAB_FILE, *piece_layouts.FAMILY_OF_FILE)
    return any((folder / name).is_file() for name in names)


def load_folder(
    folder: Path, family: str | None = None
) -> tuple[NativeTokenizer, TokenizerSettings]:
    """Load the tokenizer in a folder, from whichever files of a vocabulary it has.

    Args:
        folder: The folder.
        family: The name of the tokenizer's class, for a folder that does not say it.

    Raises:
        TokenizerError: there is no such file, or a file is damaged or not safe to use.
    """
    config, special, added = (_optional(folder / name) for name in _SIDE_FILES)
    settings = read_settings(config or {}, special, added)
    if (folder / CHAT_FILE).exists():
        settings.chat_templates["default"] = read_text(folder / CHAT_FILE, MAX_CHAT_BYTES)
    family = _family(folder, settings) or family
    backend: NativeTokenizer | None = None
    if (folder / TOKENIZER_FILE).exists() and not has_shared_vocabulary(folder, family):
        backend = _load_json(folder / TOKENIZER_FILE, settings)
    elif (folder / VOCAB_FILE).exists():
        backend = _load_vocab(folder / VOCAB_FILE, settings)
    backend = (
        backend
        or load_pieces(folder, settings, family)
        or byte_level.load_byte_level(folder, settings, family)
    )
    if backend is None:
        pieces = ", ".join(f"`{name}`" for name in piece_layouts.FAMILY_OF_FILE)
        raise TokenizerError(
            f"`{folder}` holds no tokenizer: it has neither `{TOKENIZER_FILE}` nor `{VOCAB_FILE}`, "
            f"no SentencePiece file ({pieces}, or `source.spm` with `target.spm` and `vocab.json`) "
            "and no `vocab.json` with `merges.txt`. Copy the one that the model was trained with."
        )
    _add_declared_tokens(backend, settings)
    if "model_input_names" not in settings.original:
        settings.model_input_names = _input_names(backend, settings)
    return backend, settings


def _family(folder: Path, settings: TokenizerSettings) -> str | None:
    """Return the tokenizer's class as a folder names it, or as its model needs it."""
    named = settings.original.get("tokenizer_class")
    name = named.removesuffix("Fast") if isinstance(named, str) else None
    if name in (*piece_layouts.LAYOUTS, *byte_level.ROLES, "M2M100Tokenizer", "MarianTokenizer"):
        return name
    kind = (_optional(folder / MODEL_CONFIG_FILE) or {}).get("model_type")
    of_model = {**piece_layouts.FAMILY_OF_MODEL, **byte_level.FAMILY_OF_MODEL}
    return of_model.get(kind) if isinstance(kind, str) else None


_SIDE_FILES = (CONFIG_FILE, SPECIAL_FILE, ADDED_FILE)


def _optional(file: Path) -> dict[str, object] | None:
    return read_json_object(file, _SMALL)[1] if file.exists() else None


def _load_json(file: Path, settings: TokenizerSettings) -> NativeTokenizer:
    text, content = read_json_object(file)
    check_tokenizer(content, file)
    backend = guarded(f"Loading `{file}`", lambda: tokenizers.Tokenizer.from_str(text))
    # Its own truncation and padding would leak into every call; ours are done beside it.
    backend.no_truncation()
    backend.no_padding()
    normalizer = backend.normalizer
    for number, token in backend.get_added_tokens_decoder().items():
        if token.normalized and normalizer and not normalizer.normalize_str(token.content):
            raise TokenizerError(f"`{file}`: the added token {number} is nothing when normalised.")
    for entry in _entries(content.get("added_tokens")):
        found = backend.token_to_id(str(entry["content"]))
        if found != entry["id"]:
            raise TokenizerError(
                f"`{file}`: the added token {entry['content']!r} has id {entry['id']}, but after "
                f"{backend.get_vocab_size()} tokens it can only be {found}."
            )
    guarded(f"Trying out `{file}`", lambda: backend.encode("Aa 1, é中 😀", "b"))
    _take_padding(content.get("padding"), settings)
    _default_roles(backend, content, settings)
    return backend


def _entries(values: object) -> list[dict[str, object]]:
    return values if isinstance(values, list) else []


def _take_padding(padding: object, settings: TokenizerSettings) -> None:
    """Use which token pads, on which side, where no other file says it; never the length."""
    if not isinstance(padding, dict):
        return
    token, side = padding.get("pad_token"), padding.get("direction")
    if isinstance(token, str) and token:
        settings.roles.setdefault("pad_token", token)
    if side in ("Left", "Right") and "padding_side" not in settings.original:
        settings.padding_side = "left" if side == "Left" else "right"
    type_id = padding.get("pad_type_id")
    if isinstance(type_id, int):
        settings.pad_token_type_id = type_id


def _default_roles(
    backend: NativeTokenizer, content: Mapping[str, object], settings: TokenizerSettings
) -> None:
    if set(settings.roles) - {"pad_token"}:
        return
    special = {
        token.content for token in backend.get_added_tokens_decoder().values() if token.special
    }
    for role, name in conventional_roles(special).items():
        settings.roles.setdefault(role, name)
    model = content.get("model")
    unknown = model.get("unk_token") if isinstance(model, dict) else None
    if isinstance(unknown, str) and unknown:
        settings.roles.setdefault("unk_token", unknown)


def _add_declared_tokens(backend: NativeTokenizer, settings: TokenizerSettings) -> None:
    """Add what the side files declare and the vocabulary lacks, at the ids they declare."""
    present = {token.content for token in backend.get_added_tokens_decoder().values()}
    declared = sorted(settings.added_tokens.items(), key=lambda item: int(str(item[1]["id"])))
    for name, flags in declared:
        number = int(str(flags["id"]))
        if name not in present:
            names = ("single_word", "lstrip", "rstrip", "normalized")
            options = {flag: flags[flag] is True for flag in names if flag in flags}
            token = tokenizers.AddedToken(name, **options)
            add = backend.add_special_tokens if flags.get("special") else backend.add_tokens
            guarded(f"Adding the token {name!r:.80}", lambda add=add, token=token: add([token]))  # type: ignore[misc]
        found = backend.token_to_id(name)
        if found != number or number >= MAX_ID:
            raise TokenizerError(
                f"The added token {name!r:.80} is declared with id {number}, but the vocabulary "
                f"has it as {found}."
            )
    present |= set(settings.added_tokens)
    for name in dict.fromkeys([*settings.roles.values(), *settings.extra_special_tokens]):
        if name in present:
            continue
        is_new = backend.token_to_id(name) is None
        token = tokenizers.AddedToken(name, special=True, normalized=False)
        guarded(
            f"Adding the token {name!r:.80}",
            lambda token=token: backend.add_special_tokens([token]),  # type: ignore[misc]
        )
        if is_new:
            logger.warning(
                "The special token %r is in no vocabulary file; it gets the new id %s, for which "
                "the model's embeddings must be resized.",
                name,
                backend.token_to_id(name),
            )


def _input_names(backend: NativeTokenizer, settings: TokenizerSettings) -> tuple[str, ...]:
    """Say what the model reads, where no file does: segments if the class named, or BERT, has."""
    named = takes_token_types(settings.original)
    if named is None:
        named = settings.roles.get("cls_token") == "[CLS]" and (
            type(backend.model).__name__ == "WordPiece"
        )
    return WITH_TYPES if named else WITHOUT_TYPES


def _load_vocab(file: Path, settings: TokenizerSettings) -> NativeTokenizer:
    config = settings.original
    for role, token in BERT_ROLES.items():
        settings.roles.setdefault(role, token)
    strip = config.get("strip_accents")
    config.setdefault("tokenizer_class", "BertTokenizer")
    return build_wordpiece(
        read_vocab(file),
        settings.roles,
        lowercase=config.get("do_lower_case") is not False,
        chinese_chars=config.get("tokenize_chinese_chars") is not False,
        strip_accents=strip if isinstance(strip, bool) else None,
        where=f"`{file}`",
    )


def read_vocab(file: Path) -> dict[str, int]:
    """Read a `vocab.txt`: one token a line, its id is the line's number from 0.

    Raises:
        TokenizerError: it is empty, not text, or holds a token twice.
    """
    lines = read_text(file, _VOCAB_BYTES).split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return number_tokens(lines, f"`{file}`")


def number_tokens(tokens: Sequence[str], where: str) -> dict[str, int]:
    """Give tokens their place as id; a `TokenizerError` says that there are none, or some twice."""
    if not tokens:
        raise TokenizerError(f"{where} is empty: a vocabulary holds one token a line.")
    vocab: dict[str, int] = {}
    twice = []
    for number, token in enumerate(tokens):
        if token in vocab:
            twice.append(f"{token!r:.40} in lines {vocab[token] + 1} and {number + 1}")
        vocab.setdefault(token, number)
    if twice:
        more = f" and {len(twice) - 5} more" if len(twice) > 5 else ""
        raise TokenizerError(f"{where} holds tokens twice: {'; '.join(twice[:5])}{more}.")
    return vocab


def build_wordpiece(
    vocab: Mapping[str, int],
    roles: dict[str, str],
    *,
    lowercase: bool,
    chinese_chars: bool,
    strip_accents: bool | None,
    where: str,
) -> NativeTokenizer:
    """Build BERT's tokenizer (Devlin et al. 2018) over a vocabulary.

    Roles whose token the vocabulary lacks are taken out of `roles`.

    Raises:
        TokenizerError: the unknown, first or separating token is missing, or an id is double.
    """
    needed = [roles[role] for role in ("unk_token", "cls_token", "sep_token")]
    missing = [token for token in needed if token not in vocab]
    if missing:
        listed = ", ".join(f"`{token}`" for token in missing)
        raise TokenizerError(f"{where} lacks the special tokens {listed}, which BERT needs.")
    if len(set(vocab.values())) != len(vocab):
        raise TokenizerError(f"{where} gives one id to several tokens.")
    for role in ("pad_token", "mask_token"):
        if roles.get(role) not in vocab:
            roles.pop(role, None)
    unknown, cls, sep = needed
    model = models.WordPiece(dict(vocab), unk_token=unknown)
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=chinese_chars,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, vocab[cls]), (sep, vocab[sep])],
    )
    special = [
        tokenizers.AddedToken(token, special=True, normalized=False)
        for token in sorted(set(roles.values()) & set(vocab), key=lambda token: vocab[token])
    ]
    guarded("Adding special tokens", lambda: backend.add_special_tokens(special))
    return backend


def save_folder(backend: NativeTokenizer, settings: TokenizerSettings, folder: Path) -> list[Path]:
    """Write the tokenizer's files: `tokenizer.json`, or those it came from where it has no such."""
    folder.mkdir(parents=True, exist_ok=True)
    special: dict[str, object] = dict(settings.roles)
    if settings.extra_special_tokens:
        special["additional_special_tokens"] = list(settings.extra_special_tokens)
    config = to_config(settings)
    contents: dict[str, bytes] = {}
    if isinstance(backend, SharedVocabulary):
        contents |= settings.files
        if backend.added:
            contents[ADDED_FILE] = json.dumps(backend.added, ensure_ascii=False).encode()
    else:
        contents[TOKENIZER_FILE] = backend.to_str(pretty=True).encode()
    if list(settings.chat_templates) == ["default"]:
        contents[CHAT_FILE] = settings.chat_templates["default"].encode()
    elif settings.chat_templates:
        config["chat_template"] = [
            {"name": name, "template": template}
            for name, template in settings.chat_templates.items()
        ]
    for name, values in ((CONFIG_FILE, config), (SPECIAL_FILE, special)):
        contents[name] = (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in contents]
