"""Which pieces are one unit, whatever the tokenizer makes of spaces and bytes."""

import numpy as np
import pytest
from tokenizers import Regex, models, pre_tokenizers
from tokenizers import Tokenizer as NativeTokenizer

from abrazo.tasks.alignment import align_spans, count_cut_words, find_units
from abrazo.tasks.annotations import AnnotatedText
from abrazo.tokenization.tokenizer import Tokenizer
from helpers.tiny import tiny_tokenizer


def byte_level():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = NativeTokenizer(models.BPE({sign: n for n, sign in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return Tokenizer(backend)


def keeping_spaces(behaviour):
    """Return a tokenizer whose pieces have the spaces before or after them."""
    backend = NativeTokenizer(models.WordLevel({"x": 0}, unk_token="x"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), behaviour)
    return Tokenizer(backend)


def row(text, *spans, words=None):
    marked = np.asarray(spans, dtype=np.int64).reshape(-1, 3)
    return AnnotatedText(text, None if words is None else np.asarray(words), marked)


def units_of(rows, tokenizer, *, words):
    units = find_units(
        rows, tokenizer.encode_windows([r.text for r in rows], max_length=64), words=words
    )
    found = []
    for number, each in enumerate(rows):
        places = units.places[units.offsets[number] : units.offsets[number + 1]]
        found.append([each.text[start:end] for start, end in places.tolist()])
    return found


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("behaviour", ["merged_with_previous", "merged_with_next", "isolated"])
def test_spaces_belong_to_no_unit(behaviour, words):
    rows = [row("Anna  lives "), row(""), row(" \t"), row(" Tom")]
    expected = [["Anna", "lives"], [], [], ["Tom"]]
    assert units_of(rows, keeping_spaces(behaviour), words=words) == expected


def test_the_bytes_of_a_character_are_one_unit():
    assert units_of([row("a😀京")], byte_level(), words=False) == [["a", "😀", "京"]]
    assert units_of([row("ab😀京")], byte_level(), words=True) == [["ab", "😀", "京"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("films", ["films"]),
        ("lives, worked!", ["lives", ",", "worked", "!"]),
        ("我film看", ["我", "film", "看"]),
        ("cafe\u0301s", ["cafe\u0301s"]),
    ],
)
def test_words_are_found_in_a_text(text, words):
    assert units_of([row(text)], tiny_tokenizer(), words=True) == [words]


def test_words_of_the_row_go_before_those_found():
    rows = [row("i.e. works", words=[[0, 4], [5, 10]])]
    assert units_of(rows, tiny_tokenizer(), words=True) == [["i.e.", "works"]]


def test_words_of_some_rows_change_nothing_in_others():
    rows = [
        row("i.e. a-b"),
        row("", words=np.empty((0, 2), np.int64)),
        row("i.e. a-b", words=[[0, 4], [4, 4], [5, 8]]),
        row("a-b"),
        row("a-b i.e.", words=[[0, 3], [4, 8]]),
    ]
    alone = [units_of([each], tiny_tokenizer(), words=True)[0] for each in rows]
    assert units_of(rows, tiny_tokenizer(), words=True) == alone
    assert alone[2:] == [["i.e.", "a-b"], ["a", "-", "b"], ["a-b", "i.e."]]


def test_a_unit_belongs_to_the_span_that_holds_its_middle():
    rows = [row("films live", (0, 3, 1), (9, 10, 0)), row("Tom", (0, 3, 0))]
    tokenizer = tiny_tokenizer()
    units = find_units(
        rows, tokenizer.encode_windows(["films live", "Tom"], max_length=9), words=True
    )
    found = align_spans(rows, units)
    assert found.spans.starts.tolist() == [0, 2]
    assert found.spans.types.tolist() == [1, 0]
    assert found.is_exact.tolist() == [False, False, True]


def test_spans_that_cut_words_are_counted():
    rows = [row("films live", (0, 4, 0), (6, 10, 0)), row("去films", (1, 6, 0), (0, 1, 0)), row("")]
    assert count_cut_words(rows) == (1, 4)
    assert count_cut_words([row("i.e. a", (0, 2, 0), words=[[0, 4], [5, 6]])]) == (1, 1)
    assert count_cut_words([row("i.e. a", (0, 4, 0), words=[[0, 4], [5, 6]])]) == (0, 1)


def test_words_end_where_their_row_does():
    rows = [row("Anna", (0, 4, 0)), row("Tom", (0, 3, 0)), row("Ada", (0, 3, 0), words=[[0, 3]])]
    assert count_cut_words(rows) == (0, 3)


def test_a_span_may_end_before_the_space_behind_a_word_of_the_row():
    words = [[0, 5], [6, 10], [11, 12]]
    assert count_cut_words([row("films live .", (0, 5, 0), words=words)]) == (0, 1)
    assert count_cut_words([row("films live .", (6, 10, 0), (11, 12, 0), words=words)]) == (0, 2)
    assert count_cut_words([row("films live .", (0, 4, 0), (7, 10, 0), words=words)]) == (2, 2)
