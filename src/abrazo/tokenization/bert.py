"""`BertTokenizer`: the tokenizer of BERT and its relatives, from files or a vocabulary."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from abrazo.tokenization.loading import (
    BERT_ROLES,
    WITH_TYPES,
    build_wordpiece,
    number_tokens,
    read_vocab,
)
from abrazo.tokenization.settings import NO_LIMIT, TokenizerSettings
from abrazo.tokenization.tokenizer import Tokenizer


class BertTokenizer(Tokenizer):
    """WordPiece over words split at spaces, punctuation and Chinese characters.

    Source: Devlin et al. 2018, section 3; the vocabulary is `vocab.txt` of a checkpoint.
    """

    def __init__(
        self,
        vocab: Mapping[str, int] | Sequence[str] | str | PathLike[str],
        do_lower_case: bool = True,
        *,
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        model_max_length: int = NO_LIMIT,
    ) -> None:
        """Build the tokenizer over a vocabulary.

        Args:
            vocab: Tokens with their ids, tokens in the order of their ids, or a `vocab.txt`.
            do_lower_case: Whether to lowercase texts.
            tokenize_chinese_chars: Whether each Chinese character is a word of its own.
            strip_accents: Whether to remove accents; None does so when lowercasing.
            model_max_length: Tokens that the model reads at most.

        Raises:
            TokenizerError: the vocabulary is empty, holds a token or an id twice, or lacks one of
                `[UNK]`, `[CLS]` and `[SEP]`.
        """
        if isinstance(vocab, (str, PathLike)):
            tokens: Mapping[str, int] = read_vocab(Path(vocab))
        elif isinstance(vocab, Mapping):
            tokens = vocab
        else:
            tokens = number_tokens(vocab, "The vocabulary")
        roles = dict(BERT_ROLES)
        backend = build_wordpiece(
            tokens,
            roles,
            lowercase=do_lower_case,
            chinese_chars=tokenize_chinese_chars,
            strip_accents=strip_accents,
            where="The vocabulary",
        )
        original: dict[str, object] = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": do_lower_case,
            "tokenize_chinese_chars": tokenize_chinese_chars,
            "strip_accents": strip_accents,
        }
        settings = TokenizerSettings(
            roles=roles,
            model_max_length=model_max_length,
            model_input_names=WITH_TYPES,
            original=original,
        )
        super().__init__(backend, settings)
