"""From a folder with SentencePiece files to a tokenizer: one file, or files with a `vocab.json`."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from tokenizers import processors

from abrazo.errors import TokenizerError, one_of
from abrazo.tokenization import language_codes
from abrazo.tokenization.native import NativeTokenizer
from abrazo.tokenization.piece_layouts import FAMILY_OF_FILE, LAYOUTS, build_family
from abrazo.tokenization.piece_model import (
    MAX_BYTES,
    PieceModel,
    parse_pieces,
    read_bytes,
    read_pieces,
)
from abrazo.tokenization.settings import NO_LIMIT, TokenizerSettings
from abrazo.tokenization.shared_vocabulary import SharedVocabulary, read_ids
from abrazo.tokenization.validation import read_json_object

SOURCE_FILE, TARGET_FILE = "source.spm", "target.spm"
FAIRSEQ_FILE = "sentencepiece.bpe.model"
IDS_FILE, TARGET_IDS_FILE = "vocab.json", "target_vocab.json"
_MARIAN_LENGTH = 512

_SHARED_ROLES = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_M2M_ROLES = {"bos_token": "<s>", **_SHARED_ROLES, "sep_token": "</s>"}


def has_shared_vocabulary(folder: Path, family: str | None) -> bool:
    """Return whether a folder holds Marian's files, or those of M2M-100 for such a model."""
    is_m2m = family == "M2M100Tokenizer" and (folder / FAIRSEQ_FILE).exists()
    return (is_m2m or (folder / SOURCE_FILE).exists()) and (folder / IDS_FILE).exists()


def load_pieces(
    folder: Path, settings: TokenizerSettings, family: str | None
) -> NativeTokenizer | None:
    """Load what the SentencePiece files of a folder say; None where there are none.

    Args:
        folder: The folder.
        settings: What the other files say; filled in with what they leave open.
        family: The name of the tokenizer's class, where it is known.

    Raises:
        TokenizerError: A file is missing or damaged, or does not fit the family.
    """
    if (folder / SOURCE_FILE).exists() or family == "MarianTokenizer":
        return _load_marian(folder, settings)
    if family == "M2M100Tokenizer":
        return _load_m2m(folder, settings)
    file = next((folder / name for name in FAMILY_OF_FILE if (folder / name).exists()), None)
    if file is None:
        return None
    family = family or FAMILY_OF_FILE[file.name]
    if family not in LAYOUTS:
        raise TokenizerError(
            one_of(f"The family of `{file}`", family, LAYOUTS)
            + " Where the model has a `tokenizer.json`, take that."
        )
    settings.original.setdefault("tokenizer_class", family)
    try:
        return build_family(read_pieces(file), family, settings)
    except TokenizerError as error:
        text = str(error)
        raise error if str(file) in text else TokenizerError(f"`{file}`: {text}") from error


def _load_marian(folder: Path, settings: TokenizerSettings) -> NativeTokenizer:
    config = settings.original
    is_separate = config.get("separate_vocabs") is True
    source = _piece_file(folder, SOURCE_FILE, settings)
    target = _piece_file(folder, TARGET_FILE, settings)
    roles = {**_SHARED_ROLES, **settings.roles}
    ids = _id_file(folder, IDS_FILE, settings, roles)
    target_ids = _id_file(folder, TARGET_IDS_FILE, settings, roles) if is_separate else ids
    config.setdefault("tokenizer_class", "MarianTokenizer")
    settings.roles = roles
    if settings.model_max_length == NO_LIMIT:
        settings.model_max_length = _MARIAN_LENGTH
    special = dict.fromkeys(roles.values(), True)
    special |= {token: False for token in ids if token.startswith(">>") and token.endswith("<<")}
    backend = SharedVocabulary(source, ids, special, spoken=target_ids if is_separate else None)
    backend.target = SharedVocabulary(
        target, target_ids, {name: flag for name, flag in special.items() if name in target_ids}
    )
    for side, vocab in ((backend, ids), (backend.target, target_ids)):
        end = roles["eos_token"]
        side.post_processor = processors.TemplateProcessing(
            single=f"$A {end}", pair=f"$A $B {end}", special_tokens=[(end, vocab[end])]
        )
    return cast(NativeTokenizer, backend)


def _load_m2m(folder: Path, settings: TokenizerSettings) -> NativeTokenizer:
    config = settings.original
    model = _piece_file(folder, FAIRSEQ_FILE, settings)
    roles = {**_M2M_ROLES, **settings.roles}
    ids = _id_file(folder, IDS_FILE, settings, roles)
    lists = {"m2m100": language_codes.M2M100, "wmt21": language_codes.WMT21}
    named = config.get("language_codes", "m2m100")
    if named not in lists:
        raise TokenizerError(one_of("`language_codes` in tokenizer_config.json", named, lists))
    tokens = [f"__{code}__" for code in lists[str(named)]]
    ids |= {token: len(ids) + place for place, token in enumerate(tokens)}
    config.setdefault("tokenizer_class", "M2M100Tokenizer")
    settings.roles = roles
    extra = settings.extra_special_tokens
    extra += [token for token in tokens if token not in extra]
    special = dict.fromkeys([*roles.values(), *tokens], True)
    backend = SharedVocabulary(model, ids, special, joins_special=True)
    first, end = tokens[0], roles["eos_token"]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {end}",
        pair=f"{first} $A $B {end}",
        special_tokens=[(first, ids[first]), (end, ids[end])],
    )
    return cast(NativeTokenizer, backend)


def _piece_file(folder: Path, name: str, settings: TokenizerSettings) -> PieceModel:
    data = read_bytes(_required(folder, name), MAX_BYTES)
    settings.files[name] = data
    return parse_pieces(data, f"`{folder / name}`")


def _id_file(
    folder: Path, name: str, settings: TokenizerSettings, roles: Mapping[str, str]
) -> dict[str, int]:
    file = _required(folder, name)
    text, content = read_json_object(file)
    settings.files[name] = text.encode()
    return read_ids(content, f"`{file}`", dict.fromkeys(roles.values()))


def _required(folder: Path, name: str) -> Path:
    if not (folder / name).exists():
        files = (SOURCE_FILE, TARGET_FILE, FAIRSEQ_FILE, IDS_FILE)
        there = " and ".join(f"`{one}`" for one in files if (folder / one).exists())
        raise TokenizerError(
            f"`{folder}` has {there or 'no file of a vocabulary'} but lacks `{name}`, and without "
            "it texts cannot be encoded. Copy it from where the model is from, or load the model "
            "by its name again."
        )
    return folder / name
