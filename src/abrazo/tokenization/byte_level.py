"""Byte-level BPE from `vocab.json` and `merges.txt`: GPT-2, RoBERTa, BART, Qwen2.

Source: Radford et al. 2019, section 2.2. Texts are cut into words by a pattern, words into bytes,
each written as a printable character; then pairs are merged in the order of `merges.txt`.
"""

from collections.abc import Mapping
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from abrazo.errors import TokenizerError
from abrazo.tokenization.native import NativeTokenizer, guarded
from abrazo.tokenization.settings import TokenizerSettings
from abrazo.tokenization.validation import read_json_object, read_text, vocabulary_problems

VOCAB_FILE, MERGES_FILE = "vocab.json", "merges.txt"
_MERGES_BYTES = 64 * 2**20

_GPT2_ROLES = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
_ROBERTA_ROLES = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
_QWEN_ROLES = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
_QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2's published `tokenizer.json` cuts texts into words."""

ROLES: Mapping[str, Mapping[str, str]] = {
    "GPT2Tokenizer": _GPT2_ROLES,
    "RobertaTokenizer": _ROBERTA_ROLES,
    "BartTokenizer": _ROBERTA_ROLES,
    "Qwen2Tokenizer": _QWEN_ROLES,
}
"""The special tokens by the name of the tokenizer's class."""

FAMILY_OF_MODEL = {
    "bart": "BartTokenizer",
    "gpt2": "GPT2Tokenizer",
    "qwen2": "Qwen2Tokenizer",
    "qwen3": "Qwen2Tokenizer",
    "roberta": "RobertaTokenizer",
}
"""The tokenizer's class by the `model_type` of `config.json`."""


def load_byte_level(
    folder: Path, settings: TokenizerSettings, family: str | None
) -> NativeTokenizer | None:
    """Load `vocab.json` and `merges.txt`; None where there is no such pair.

    Raises:
        TokenizerError: A file is damaged, or they do not fit each other.
    """
    vocab_file, merges_file = folder / VOCAB_FILE, folder / MERGES_FILE
    if not (vocab_file.exists() and merges_file.exists()):
        return None
    _, content = read_json_object(vocab_file)
    problems = list(vocabulary_problems(content))
    if problems:
        raise TokenizerError("\n".join([f"`{vocab_file}` cannot be used:", *problems[:8]]))
    vocab = {token: int(str(number)) for token, number in content.items()}
    family = (
        family if family in ROLES else "RobertaTokenizer" if "<s>" in vocab else "GPT2Tokenizer"
    )
    assert family is not None
    settings.original.setdefault("tokenizer_class", family)
    for role, token in ROLES[family].items():
        if token in vocab or family == "Qwen2Tokenizer":
            settings.roles.setdefault(role, token)
    merges = _read_merges(merges_file)
    backend = guarded(
        f"Joining `{vocab_file}` and `{merges_file.name}`",
        lambda: tokenizers.Tokenizer(models.BPE(vocab, merges)),
    )
    spaced = settings.original.get("add_prefix_space") is True
    if family == "Qwen2Tokenizer":
        backend.normalizer = normalizers.NFC()
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(tokenizers.Regex(_QWEN_WORDS), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=spaced, use_regex=False),
            ]
        )
    else:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    backend.decoder = decoders.ByteLevel()
    _frame(backend, settings, spaced)
    mask = settings.roles.get("mask_token")
    special = [
        AddedToken(token, special=True, normalized=False, lstrip=token == mask)
        for token in dict.fromkeys(settings.roles.values())
        if token in vocab
    ]
    guarded("Adding special tokens", lambda: backend.add_special_tokens(special))
    return backend


def _read_merges(file: Path) -> list[tuple[str, str]]:
    merges = []
    for number, line in enumerate(read_text(file, _MERGES_BYTES).split("\n"), 1):
        line = line.rstrip("\r")
        if not line or (number == 1 and line.startswith("#version")):
            continue
        pair = line.split(" ")
        if len(pair) != 2 or not all(pair):
            raise TokenizerError(
                f"`{file}`, line {number}: must be two tokens with a space between, but is "
                f"{line!r:.80}."
            )
        merges.append((pair[0], pair[1]))
    return merges


def _frame(backend: NativeTokenizer, settings: TokenizerSettings, spaced: bool) -> None:
    roles = [settings.roles.get(name) for name in ("cls_token", "sep_token")]
    first, last = ((token, backend.token_to_id(token)) if token else None for token in roles)
    if first and last and first[1] is not None and last[1] is not None:
        backend.post_processor = processors.RobertaProcessing(
            (last[0], last[1]), (first[0], first[1]), trim_offsets=True, add_prefix_space=spaced
        )
    else:
        backend.post_processor = processors.ByteLevel(trim_offsets=True, add_prefix_space=spaced)
