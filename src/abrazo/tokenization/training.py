"""A new tokenizer from one's own texts.

    tokenizer = train_tokenizer("corpus.txt", kind="wordpiece", vocab_size=8000)
    tokenizer.save_pretrained("my-tokenizer")

Texts are read line by line; memory grows with the number of different words, not with the texts.
The compiled trainers break ties between equally frequent pieces at random, so that two vocabularies
of the same texts may differ in rare pieces: keep the one that a model was trained with.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from abrazo.data.lines import Files, text_lines
from abrazo.errors import ConfigError, DataError, one_of
from abrazo.tokenization.bert import BertTokenizer
from abrazo.tokenization.loading import BERT_ROLES, WITHOUT_TYPES
from abrazo.tokenization.native import NativeTokenizer, guarded
from abrazo.tokenization.settings import NO_LIMIT, TokenizerSettings
from abrazo.tokenization.tokenizer import Tokenizer

Kind = Literal["wordpiece", "bpe", "unigram"]
KINDS = ("wordpiece", "bpe", "unigram")

ROBERTA_ROLES = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
    "cls_token": "<s>",
    "sep_token": "</s>",
}
"""The special tokens of `bpe` and `unigram`; those of `wordpiece` are BERT's."""

_CHINESE = "[\\p{Han}]"
_MOST_CHARACTERS = 8_000
"""Different characters that a vocabulary takes in one by one; rarer ones are unknown."""


def train_tokenizer(
    source: Files | Iterable[str],
    kind: Kind = "wordpiece",
    vocab_size: int = 30_000,
    *,
    lowercase: bool | None = None,
    min_frequency: int = 2,
    model_max_length: int = NO_LIMIT,
    is_text: bool = False,
) -> Tokenizer:
    """Learn a vocabulary.

    Args:
        source: A text file, a list of text files, or with `is_text` an iterable of texts.
        kind: `wordpiece` as BERT's, byte-level `bpe` as RoBERTa's, or `unigram` as XLM-R's. No
            token has more than one Chinese character.
        vocab_size: Tokens at most, special ones included.
        lowercase: Whether to lowercase texts; None does for `wordpiece` alone.
        min_frequency: How often a pair must be there to become a token.
        model_max_length: Tokens that the model will read at most.
        is_text: Whether `source` holds texts and not names of files.

    Raises:
        ConfigError: The kind is unknown, or `vocab_size` is too small for the special tokens.
        DataError: A file cannot be read, or there is no text.
    """
    if kind not in KINDS:
        raise ConfigError(one_of("`kind`", kind, KINDS))
    roles = BERT_ROLES if kind == "wordpiece" else ROBERTA_ROLES
    least = len(set(roles.values())) + (256 if kind == "bpe" else 1)
    if vocab_size < least:
        raise ConfigError(f"`vocab_size` must be at least {least} for {kind}, but is {vocab_size}.")
    lower = kind == "wordpiece" if lowercase is None else lowercase
    lines = iter(source) if is_text else text_lines(source)  # type: ignore[arg-type]
    learn = {"wordpiece": _wordpiece, "bpe": _bpe, "unigram": _unigram}[kind]
    return learn(_with_text(lines), vocab_size, lower, min_frequency, model_max_length)


def _with_text(lines: Iterator[Any]) -> Iterator[str]:
    """Refuse an empty source before the trainer makes a vocabulary of nothing."""
    first = next((line for line in lines if not isinstance(line, str) or line.strip()), None)
    if first is None:
        raise DataError("There is no text to learn a vocabulary from.")
    for line in itertools.chain([first], lines):
        if not isinstance(line, str):
            raise DataError(f"A text is wanted, not {line!r:.80}.")
        yield line


def _trained(
    backend: NativeTokenizer, lines: Iterator[str], trainer: trainers.Trainer
) -> NativeTokenizer:
    first = next(lines)  # an error in the source is told as it is, before the trainer runs
    failures: list[Exception] = []

    def guarded_lines() -> Iterator[str]:
        try:
            yield from itertools.chain([first], lines)
        except DataError as error:
            failures.append(error)

    guarded("Learning a vocabulary", lambda: backend.train_from_iterator(guarded_lines(), trainer))
    if failures:
        raise failures[0]
    return backend


def _wordpiece(
    lines: Iterator[str], size: int, lowercase: bool, frequency: int, max_length: int
) -> Tokenizer:
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token=BERT_ROLES["unk_token"]))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lowercase
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=frequency,
        limit_alphabet=_alphabet(size, special),
        special_tokens=special,
        show_progress=False,
    )
    vocabulary = _trained(backend, lines, trainer).get_vocab()
    return BertTokenizer(vocabulary, lowercase, model_max_length=max_length)


def _alphabet(size: int, special: list[str]) -> int:
    """Return how many characters a vocabulary has room for, at the start of words and within."""
    return max(1, min(_MOST_CHARACTERS, (size - len(special)) // 2))


def _bpe(
    lines: Iterator[str], size: int, lowercase: bool, frequency: int, max_length: int
) -> Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.normalizer = normalizers.Lowercase() if lowercase else None
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_CHINESE), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=frequency,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(dict.fromkeys(ROBERTA_ROLES.values())),
        show_progress=False,
    )
    return _roberta_like(_trained(backend, lines, trainer), "RobertaTokenizer", max_length)


def _unigram(
    lines: Iterator[str], size: int, lowercase: bool, _frequency: int, max_length: int
) -> Tokenizer:
    backend = tokenizers.Tokenizer(models.Unigram())
    steps: list[normalizers.Normalizer] = [normalizers.NFKC()]
    steps += [normalizers.Lowercase()] if lowercase else []
    backend.normalizer = normalizers.Sequence(steps)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(),
            pre_tokenizers.Split(tokenizers.Regex(_CHINESE), "isolated"),
        ]
    )
    backend.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size,
        unk_token=ROBERTA_ROLES["unk_token"],
        special_tokens=list(dict.fromkeys(ROBERTA_ROLES.values())),
        show_progress=False,
    )
    return _roberta_like(_trained(backend, lines, trainer), "XLMRobertaTokenizer", max_length)


def _roberta_like(backend: NativeTokenizer, name: str, max_length: int) -> Tokenizer:
    first, last = ROBERTA_ROLES["cls_token"], ROBERTA_ROLES["sep_token"]
    ids = {token: backend.token_to_id(token) for token in (first, last)}
    backend.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} {last} $B {last}",
        special_tokens=[(token, number) for token, number in ids.items() if number is not None],
    )
    mask = tokenizers.AddedToken(ROBERTA_ROLES["mask_token"], lstrip=True, special=True)
    guarded("Adding the mask token", lambda: backend.add_special_tokens([mask]))
    settings = TokenizerSettings(
        roles=dict(ROBERTA_ROLES),
        model_max_length=max_length,
        model_input_names=WITHOUT_TYPES,
        original={"tokenizer_class": name},
    )
    return Tokenizer(backend, settings)
