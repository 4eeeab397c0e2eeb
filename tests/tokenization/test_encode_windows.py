"""Windows are those of a call with overflow, and every token belongs to one of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_samples import BACKENDS, TEXTS, real_folders, write_folder

from abrazo.errors import ConfigError, TokenizerError
from abrazo.tokenization import windows as windows_module
from abrazo.tokenization.auto import AutoTokenizer

REAL = real_folders()


@pytest.fixture(scope="module", params=[*BACKENDS, *REAL])
def tokenizer(request, tmp_path_factory):
    kind = request.param
    return AutoTokenizer.from_folder(
        REAL.get(kind) or write_folder(tmp_path_factory.mktemp(kind), kind)
    )


@pytest.fixture(scope="module")
def wordpiece(tmp_path_factory):
    return AutoTokenizer.from_folder(write_folder(tmp_path_factory.mktemp("wp"), "wordpiece"))


def rows_of(windows, column):
    return [part.tolist() for part in np.split(getattr(windows, column), windows.offsets[1:-1])]


@pytest.mark.parametrize(("max_length", "stride"), [(10, 0), (10, 3), (17, 5), (400, 128)])
def test_windows_equal_those_of_a_call_with_overflow(tokenizer, max_length, stride):
    windows = tokenizer.encode_windows(TEXTS, max_length=max_length, stride=stride)
    expected = tokenizer(
        TEXTS,
        truncation=True,
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )
    assert rows_of(windows, "input_ids") == expected["input_ids"]
    assert windows.rows.tolist() == expected["overflow_to_sample_mapping"]
    assert windows.lengths.tolist() == [len(row) for row in expected["input_ids"]]
    if windows.token_type_ids is not None:
        assert rows_of(windows, "token_type_ids") == expected["token_type_ids"]
    for number, offsets in enumerate(expected["offset_mapping"]):
        first, count = windows.firsts[number], windows.counts[number]
        start = windows.text_offsets[windows.rows[number]] + windows.starts[number]
        shown = windows.spans[start : start + count]
        assert shown.tolist() == [list(pair) for pair in offsets[first : first + count]]


@pytest.mark.parametrize(("max_length", "stride"), [(14, 2), (300, 64)])
def test_a_question_stands_before_the_text_in_each_window(tokenizer, max_length, stride):
    questions = ["hello?", "a b", "the fox", "你好", "a", "b", "c", "a b"]
    windows = tokenizer.encode_windows(TEXTS, questions, max_length=max_length, stride=stride)
    expected = tokenizer(
        questions,
        TEXTS,
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_token_type_ids=True,
    )
    assert rows_of(windows, "input_ids") == expected["input_ids"]
    assert windows.rows.tolist() == expected["overflow_to_sample_mapping"]
    if windows.token_type_ids is not None:
        assert rows_of(windows, "token_type_ids") == expected["token_type_ids"]
    for number in range(len(windows)):
        marks = expected.sequence_ids(number)
        first, count = windows.firsts[number], windows.counts[number]
        assert [place for place, mark in enumerate(marks) if mark == 1] == list(
            range(first, first + count)
        )
    assert not windows.dropped.any()


def test_a_question_takes_at_most_half_of_a_window(wordpiece):
    windows = wordpiece.encode_windows(["the fox " * 9], ["a " * 50], max_length=15)
    assert windows.dropped.tolist() == [50 - 6]
    assert windows.lengths.max() == 15
    assert windows.counts.max() == 6


@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=5),
    max_length=st.integers(3, 30),
    data=st.data(),
)
@settings(deadline=None, max_examples=60)
def test_every_token_belongs_to_the_window_with_most_context(wordpiece, lengths, max_length, data):
    stride = data.draw(st.none() | st.integers(0, max_length - 3))
    texts = ["fox " * length for length in lengths]
    windows = wordpiece.encode_windows(texts, max_length=max_length, stride=stride)
    assert windows.lengths.max() <= max_length
    for row, length in enumerate(lengths):
        mine = np.flatnonzero(windows.rows == row)
        owned = [place for i in mine for place in range(*windows.kept[i])]
        assert owned == list(range(length))
        spans = [(windows.starts[i], windows.starts[i] + windows.counts[i]) for i in mine]

        def context(place, span, length=length):
            left = place - span[0] if span[0] else length
            right = span[1] - 1 - place if span[1] < length else length
            return min(left, right)

        for i, span in zip(mine, spans, strict=True):
            for place in range(*windows.kept[i]):
                best = max(context(place, s) for s in spans if s[0] <= place < s[1])
                assert context(place, span) >= best


def test_encoding_in_parts_changes_nothing(tokenizer, monkeypatch):
    texts = TEXTS * 3
    whole = tokenizer.encode_windows(texts, max_length=9)
    monkeypatch.setattr(windows_module, "_ROWS_AT_ONCE", 4)
    parts = tokenizer.encode_windows(texts, max_length=9)
    for name in ("input_ids", "rows", "kept", "spans", "text_offsets"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_equal_texts_are_encoded_once(wordpiece, monkeypatch):
    texts, questions = ["a b", "the fox", "a b", "", "the fox"], ["b", "a", "b", "b", "hello?"]
    encoded = []
    encode = windows_module.encode_texts

    def counting(backend, texts, **options):
        encoded.extend(texts)
        return encode(backend, texts, **options)

    monkeypatch.setattr(windows_module, "encode_texts", counting)
    together = wordpiece.encode_windows(texts, questions, max_length=9)
    assert encoded == ["a b", "the fox", "", "b", "a", "hello?"]
    pairs = zip(texts, questions, strict=True)
    each = [wordpiece.encode_windows([text], [asked], max_length=9) for text, asked in pairs]
    assert rows_of(together, "input_ids") == [rows_of(one, "input_ids")[0] for one in each]
    assert np.array_equal(together.spans, np.concatenate([one.spans for one in each]))
    assert np.diff(together.text_offsets).tolist() == [len(one.spans) for one in each]


def test_a_row_that_cannot_be_read_is_named_though_rows_before_it_are_equal(wordpiece):
    with pytest.raises(TokenizerError, match="Row 3:"):
        wordpiece.encode_windows(["a", "a", "a", "\ud83d"], max_length=10)


def test_no_texts_make_no_windows(wordpiece):
    assert len(wordpiece.encode_windows([], max_length=9)) == 0


def test_wrong_options_and_rows_are_refused(wordpiece):
    with pytest.raises(ConfigError, match="Raise it to 3 or more"):
        wordpiece.encode_windows(["a"], max_length=2)
    with pytest.raises(ConfigError, match=r"below the number of text tokens in a window \(8\)"):
        wordpiece.encode_windows(["a " * 20], max_length=10, stride=8)
    with pytest.raises(ConfigError, match="at least 0"):
        wordpiece.encode_windows(["a"], max_length=10, stride=-1)
    with pytest.raises(TokenizerError, match="`questions` has 2"):
        wordpiece.encode_windows(["a"], ["a", "b"], max_length=10)
    with pytest.raises(TokenizerError, match="half a surrogate pair"):
        wordpiece.encode_windows(["a", "\ud83d"], max_length=10)
