"""Builds a compiled tokenizer that does what SentencePiece does with its file.

The steps are those of SentencePiece (`normalizer.cc`, `unigram_model.cc`, `bpe_model.cc`): replace
characters, drop extra spaces, write spaces as `▁`, one in front; then the likeliest pieces (Kudo
2018), or merges by score (Sennrich et al. 2016). Ids are equal to SentencePiece's but for two
things: combining characters are composed first, as the compiled library looks up single characters,
and control pieces such as `</s>` are recognised where they stand in a text.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from abrazo.errors import TokenizerError
from abrazo.tokenization.native import NativeTokenizer, guarded
from abrazo.tokenization.patterns import MAX_LITERAL_LENGTH
from abrazo.tokenization.piece_model import SPACE, Kind, Piece, PieceModel

MAX_MERGE_WORK = 1_000_000_000
"""Characters that are looked at to find all merges; real vocabularies need a fiftieth."""

Prefix = Literal["always", "first", "never"]


def build_backend(
    model: PieceModel,
    pieces: Sequence[Piece],
    *,
    special: Iterable[AddedToken] = (),
    before: Sequence[normalizers.Normalizer] = (),
    prefix: Prefix | None = None,
) -> NativeTokenizer:
    """Build the tokenizer.

    Args:
        model: The file's contents.
        pieces: The vocabulary in the order of ids, where a family rearranges that of the file.
        special: Tokens that are recognised in texts before anything else, besides control pieces.
        before: What happens to texts first.
        prefix: Whether a text gets a space in front: each stretch between special tokens, the first
            alone, or none; as the file says if left out.

    Raises:
        TokenizerError: The vocabulary would take too long to prepare.
    """
    if prefix is None:
        prefix = "always" if model.add_dummy_prefix else "never"
    backend = guarded("Building the vocabulary", lambda: _with_model(model, pieces))
    backend.normalizer = normalizers.Sequence([*before, *_normalizers(model, prefix)])
    user_defined = [piece.text for piece in pieces if piece.kind == Kind.USER_DEFINED]
    steps = _pre_tokenizers(model, pieces, user_defined, prefix)
    if steps:
        backend.pre_tokenizer = pre_tokenizers.Sequence(steps)
    backend.decoder = _decoder(model, prefix)
    recognised = {
        piece.text: AddedToken(piece.text, special=True, normalized=False)
        for piece in pieces
        if piece.kind in (Kind.CONTROL, Kind.UNKNOWN)
    }
    recognised |= {token.content: token for token in special}
    # In the order of ids, so that what is new gets its id in the order it is given.
    tokens = list(recognised.values())
    guarded("Adding special tokens", lambda: backend.add_tokens(tokens))
    return backend


def _with_model(model: PieceModel, pieces: Sequence[Piece]) -> NativeTokenizer:
    unknown = next(n for n, piece in enumerate(pieces) if piece.kind == Kind.UNKNOWN)
    if model.is_bpe:
        return tokenizers.Tokenizer(
            models.BPE(
                {piece.text: number for number, piece in enumerate(pieces)},
                _merges(pieces),
                unk_token=pieces[unknown].text,
                fuse_unk=True,
                byte_fallback=model.byte_fallback,
                # A piece of the user's stands alone before merging, and must come out whole.
                ignore_merges=any(piece.kind == Kind.USER_DEFINED for piece in pieces),
            )
        )
    scores = [(piece.text, piece.score) for piece in pieces]
    return tokenizers.Tokenizer(
        models.Unigram(scores, unk_id=unknown, byte_fallback=model.byte_fallback)
    )


def _merges(pieces: Sequence[Piece]) -> list[tuple[str, str]]:
    """Return all ways in which two pieces make one, the best piece first."""
    normal = {piece.text for piece in pieces if piece.kind == Kind.NORMAL}
    if sum(len(text) ** 2 for text in normal) > MAX_MERGE_WORK:
        raise TokenizerError("Its pieces are too long for a vocabulary of merges.")
    ranked = sorted((-piece.score, place, piece.text) for place, piece in enumerate(pieces))
    return [
        (text[:cut], text[cut:])
        for _, _, text in ranked
        if text in normal
        for cut in range(1, len(text))
        if text[:cut] in normal and text[cut:] in normal
    ]


def _normalizers(model: PieceModel, prefix: Prefix) -> list[normalizers.Normalizer]:
    steps: list[normalizers.Normalizer] = []
    space = SPACE if model.escape_whitespaces else " "
    if prefix == "always" and not model.remove_extra_whitespaces:
        # Also before a text of which nothing is left; below only before one that has something.
        steps.append(normalizers.Prepend(space))
    if model.charsmap:
        steps += [normalizers.NFC(), normalizers.Precompiled(model.charsmap)]
    if model.remove_extra_whitespaces:
        steps += [
            normalizers.Replace(tokenizers.Regex(rf"\A +|[ {SPACE}]+\z"), ""),
            normalizers.Replace(tokenizers.Regex(" {2,}"), " "),
        ]
    if model.escape_whitespaces:
        steps.append(normalizers.Replace(" ", SPACE))
    if prefix == "always" and model.remove_extra_whitespaces:
        steps.append(normalizers.Prepend(space))
    return steps


def _pre_tokenizers(
    model: PieceModel, pieces: Sequence[Piece], user_defined: Sequence[str], prefix: Prefix
) -> list[pre_tokenizers.PreTokenizer]:
    steps: list[pre_tokenizers.PreTokenizer] = []
    splits = not user_defined and _splits_at_spaces(pieces)
    if prefix == "first":
        steps.append(pre_tokenizers.Metaspace(SPACE, prepend_scheme="first", split=splits))
    elif splits:
        steps.append(pre_tokenizers.Metaspace(SPACE, prepend_scheme="never", split=True))
    if user_defined:
        longest_first = sorted(user_defined, key=lambda text: (-len(text), text))
        listed = "|".join(map(re.escape, longest_first))
        if len(listed) > MAX_LITERAL_LENGTH:
            raise TokenizerError(
                f"It has {len(user_defined)} pieces of its users; that is too many."
            )
        pattern = tokenizers.Regex(listed)
        steps.append(pre_tokenizers.Split(pattern, behavior="isolated"))
    return steps


def _splits_at_spaces(pieces: Sequence[Piece]) -> bool:
    """Return whether no piece spans two words, so that each word can be looked at alone."""
    texts = [piece.text for piece in pieces if piece.kind == Kind.NORMAL]
    return SPACE in texts and not any(SPACE in text[1:] for text in texts)


def _decoder(model: PieceModel, prefix: Prefix) -> decoders.Decoder:
    steps: list[decoders.Decoder] = [decoders.Replace(SPACE, " ")]
    if model.byte_fallback:
        steps.append(decoders.ByteFallback())
    steps.append(decoders.Fuse())
    if prefix != "never":
        steps.append(decoders.Strip(content=" ", left=1))
    return decoders.Sequence(steps)
