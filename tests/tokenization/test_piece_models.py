"""SentencePiece files give the ids of SentencePiece itself, and damaged ones a typed error."""

import struct
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from piece_samples import LINES, LLAMA, odd_texts, plain_texts, processor, train
from tokenizers import normalizers

from abrazo.errors import TokenizerError
from abrazo.tokenization.piece_backend import build_backend
from abrazo.tokenization.piece_model import Kind, parse_pieces

LIMIT_S = 2.0
MODELS = {
    "unigram": {"kind": "unigram"},
    "unigram without extra": {"kind": "unigram", "remove_extra_whitespaces": False},
    "unigram in lower case": {"kind": "unigram", "normalization_rule_name": "nmt_nfkc_cf"},
    "unigram across words": {"kind": "unigram", "split_by_whitespace": False},
    "unigram with bytes": {"kind": "unigram", "vocab_size": 500, "byte_fallback": True},
    "bpe": {"kind": "bpe"},
    "bpe with bytes": {"kind": "bpe", "vocab_size": 500, "byte_fallback": True},
    "llama": LLAMA,
    "gemma": {**LLAMA, "add_dummy_prefix": False, "user_defined_symbols": "<x>,<xy>,a b"},
    "unigram with symbols": {"kind": "unigram", "user_defined_symbols": "<x>,<xy>,..."},
}


class Pair(tuple):
    """Theirs and ours, without all pieces in the report of a test."""

    def __repr__(self):
        return "Pair"


@pytest.fixture(scope="module", params=MODELS)
def pair(request):
    data = train(**MODELS[request.param])
    model = parse_pieces(data, "it")
    return Pair((processor(data), build_backend(model, model.pieces)))


def ids(backend, text):
    return backend.encode(text, add_special_tokens=False).ids


def test_ids_are_those_of_sentencepiece(pair):
    theirs, ours = pair
    texts = [
        *LINES,
        *plain_texts(),
        *odd_texts(1500),
        "a<x>b <xy> c",
        "<x>",
        "...a b..",
        "▁",
        "a ▁ ",
    ]
    for text in texts:
        assert ids(ours, text) == theirs.encode(text), text


def _stands_alone(char):
    """Whether a character never joins the one before it, or makes one with the next.

    The compiled library looks such up as one: then a letter that is replaced loses a mark that
    composes with no letter, and single Korean letters are not put together.
    """
    decomposed = unicodedata.normalize("NFKD", char)
    is_korean = any("\u1100" <= letter <= "\u11ff" for letter in decomposed)
    return unicodedata.category(char) not in ("Mn", "Mc", "Me", "Cf") and not is_korean


SHADES = "".join(map(chr, range(0x1F3FB, 0x1F400)))
JOINING = "\r\u0e33\u0eb3\uff9e\uff9f" + SHADES
ALONE = st.characters(exclude_characters=JOINING, exclude_categories=["Cs"]).filter(_stands_alone)


@settings(max_examples=400, deadline=None)
@given(text=st.text(ALONE, max_size=30))
def test_ids_of_any_text_are_those_of_sentencepiece(pair, text):
    theirs, ours = pair
    assert ids(ours, text) == theirs.encode(text)


def test_texts_come_back_as_sentencepiece_joins_them(pair):
    theirs, ours = pair
    for text in plain_texts():
        pieces = theirs.encode(text)
        if theirs.unk_id() in pieces:
            continue
        assert ours.decode(pieces) == theirs.decode(pieces)


def test_letters_with_marks_apart_are_those_of_sentencepiece():
    data = train("unigram")
    model, theirs = parse_pieces(data, "it"), processor(data)
    ours = build_backend(model, model.pieces)
    for text in ("café naïve", "한국어", "E\u0301", "Å\u030a e\u0328\u0301", "ﬁn Ⅷ ㎏"):
        for form in (normalizers.NFD(), normalizers.NFKD(), normalizers.NFC()):
            apart = form.normalize_str(text)
            assert ids(ours, apart) == theirs.encode(apart)


def test_offsets_are_those_of_the_text():
    data = train("unigram")
    model = parse_pieces(data, "it")
    row = build_backend(model, model.pieces).encode("  the  quick 你好", add_special_tokens=False)
    found = ["  the  quick 你好"[start:end].strip() for start, end in row.offsets]
    assert "".join(found) == "thequick你好"


def test_a_whole_file_says_what_sentencepiece_says():
    data = train("unigram", byte_fallback=True, vocab_size=500)
    model, theirs = parse_pieces(data, "it"), processor(data)
    assert len(model.pieces) == len(theirs)
    for number, piece in enumerate(model.pieces):
        assert piece.text == theirs.id_to_piece(number)
        assert piece.score == pytest.approx(theirs.get_score(number))
        assert (piece.kind == Kind.BYTE) == theirs.is_byte(number)
        assert (piece.kind == Kind.CONTROL) == theirs.is_control(number)
    assert model.byte_fallback
    assert not model.is_bpe


def field(number, data):
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value):
    digits = b""
    while value > 0x7F:
        digits += bytes([value & 0x7F | 0x80])
        value >>= 7
    return digits + bytes([value])


def piece(text="a", score=-1.0, kind=1):
    return field(
        1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + bytes([24, kind])
    )


UNKNOWN = piece("<unk>", 0, 2)
END = field(2, b"") + field(3, b"")
DAMAGED = {
    "empty": b"",
    "text": b"version 1\n",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "no pieces": END,
    "no end": UNKNOWN,
    "no normalizer": UNKNOWN + field(2, b""),
    "no unknown piece": piece() + END,
    "two unknown pieces": UNKNOWN + piece("?", 0, 2) + END,
    "a piece twice": UNKNOWN + piece() + piece() + END,
    "an empty piece": UNKNOWN + piece("") + END,
    "a long piece": UNKNOWN + piece("a" * 600) + END,
    "a kind that is none": UNKNOWN + piece(kind=9) + END,
    "a score that is none": UNKNOWN + piece(score=float("nan")) + END,
    "an endless score": UNKNOWN + piece(score=float("-inf")) + END,
    "a piece that is no text": UNKNOWN + field(1, field(1, b"\xff")) + END,
    "a piece that is a number": UNKNOWN + b"\x08\x01" + END,
    "a field over the end": UNKNOWN + END + b"\x0a\x7f",
    "a huge field": UNKNOWN + END + b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    "an endless number": UNKNOWN + END + b"\xff" * 20,
    "a group": UNKNOWN + END + b"\x0b",
    "words": UNKNOWN + field(2, b"\x18\x03") + field(3, b""),
    "spaces behind": UNKNOWN + field(2, b"\xc0\x01\x01") + field(3, b""),
    "a bad table": UNKNOWN + field(2, b"") + field(3, field(2, b"\xff" * 9)),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused(name):
    with pytest.raises(TokenizerError, match=r"^`spiece\.model` is no whole SentencePiece file"):
        parse_pieces(DAMAGED[name], "`spiece.model`")


def test_a_pointer_is_named():
    with pytest.raises(TokenizerError, match="git lfs pull"):
        parse_pieces(DAMAGED["a pointer of Git LFS"], "it")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_damage_is_refused_or_harmless(data):
    whole = train("unigram", vocab_size=120)
    kind = data.draw(st.sampled_from(["cut", "flip"]))
    place = data.draw(st.integers(0, len(whole) - 1))
    if kind == "cut":
        damaged = whole[:place]
    else:
        flipped = whole[place] ^ data.draw(st.integers(1, 255))
        damaged = whole[:place] + bytes([flipped]) + whole[place + 1 :]
    start = time.monotonic()
    try:
        model = parse_pieces(damaged, "it")
        backend = build_backend(model, model.pieces)
        backend.encode("hello 你好 ①Ａ")
    except TokenizerError:
        pass
    else:
        assert kind == "flip"  # no cut goes unnoticed
    assert time.monotonic() - start < LIMIT_S


def test_pieces_too_long_for_merges_are_refused_soon():
    pieces = b"".join(piece(f"{n:05d}" + "a" * 500) for n in range(5000))
    data = UNKNOWN + pieces + field(2, b"\x18\x02") + field(3, b"")
    start = time.monotonic()
    model = parse_pieces(data, "it")
    with pytest.raises(TokenizerError, match="too long for a vocabulary of merges"):
        build_backend(model, model.pieces)
    assert time.monotonic() - start < LIMIT_S


def test_too_many_symbols_are_refused():
    symbols = b"".join(piece(f"<symbol {n}>", 0, 4) for n in range(9000))
    model = parse_pieces(UNKNOWN + symbols + END, "it")
    with pytest.raises(TokenizerError, match="too many"):
        build_backend(model, model.pieces)
