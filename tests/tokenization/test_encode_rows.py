"""Flat rows are the rows of a call, also where only the beginning of a text is encoded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_samples import BACKENDS, TEXTS, VOCAB, real_folders, write_folder

from abrazo.tokenization import rows as rows_module
from abrazo.tokenization.auto import AutoTokenizer
from abrazo.tokenization.bert import BertTokenizer
from abrazo.tokenization.shorten import cut, first_guess

REAL = real_folders()


@pytest.fixture(scope="module", params=[*BACKENDS, *REAL])
def tokenizer(request, tmp_path_factory):
    kind = request.param
    return AutoTokenizer.from_folder(
        REAL.get(kind) or write_folder(tmp_path_factory.mktemp(kind), kind)
    )


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("max_length", [None, 4, 7, 12, 50])
@pytest.mark.parametrize("paired", [False, True])
def test_flat_rows_equal_those_of_a_call(tokenizer, max_length, paired, side):
    tokenizer.truncation_side = side
    pairs = TEXTS[::-1] if paired else None
    rows = tokenizer.encode_rows(TEXTS, pairs, max_length=max_length)
    expected = tokenizer(
        TEXTS, pairs, truncation=max_length is not None, max_length=max_length or 10**6
    )
    assert len(rows) == len(TEXTS)
    assert rows.input_ids.dtype == rows.lengths.dtype == np.int32
    assert rows.dropped.tolist() == expected.num_dropped_tokens
    for index, ids in enumerate(expected["input_ids"]):
        row = rows.row(index)
        assert row["input_ids"].tolist() == ids
        if rows.token_type_ids is not None:
            assert row["token_type_ids"].tolist() == expected["token_type_ids"][index]
    takes_types = "token_type_ids" in tokenizer.model_input_names
    assert (rows.token_type_ids is not None) == (takes_types and paired)
    tokenizer.truncation_side = "right"


def test_rows_are_found_from_both_ends(tokenizer):
    rows = tokenizer.encode_rows(["the", "the fox"], max_length=None)
    assert rows.row(-1)["input_ids"].tolist() == rows.row(1)["input_ids"].tolist()
    assert rows.offsets.tolist()[-1] == len(rows.input_ids)
    with pytest.raises(IndexError, match="2 rows"):
        rows.row(2)


def test_encoding_in_parts_changes_nothing(tokenizer, monkeypatch):
    texts = TEXTS * 5
    whole = tokenizer.encode_rows(texts, texts[::-1], max_length=9)
    monkeypatch.setattr(rows_module, "_ROWS_AT_ONCE", 3)
    monkeypatch.setattr(rows_module, "_CHARS_AT_ONCE", 100)
    parts = tokenizer.encode_rows(texts, texts[::-1], max_length=9)
    for name in ("input_ids", "token_type_ids", "lengths", "dropped"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


LONG = {
    "words": "the quick brown fox jumps over a lazy dog, 2 times. " * 700,
    "chinese": "你好世界，测试。" * 4000,
    "one word": "a" * 30_000,
    "a long word in the middle": "the fox " * 150 + "b" * 20_000 + " dog" * 3000,
    "a long word after a few": "fox " * 5 + "b" * 9000,
    "a long word before a few": "b" * 9000 + " fox" * 5,
    "spaces": "the" + " " * 20_000 + "fox " * 2000,
    "accents": "e\u0301" * 15_000,
    "emoji": "👩‍👩‍👧" * 4000,
    "wide": "the    fox\n\n" * 3000,
}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("max_length", [12, 32])
@pytest.mark.parametrize("name", LONG)
def test_the_beginning_of_a_long_text_gives_the_same_tokens(tokenizer, name, max_length, side):
    text = LONG[name]
    tokenizer.truncation_side = side
    body = tokenizer(text, add_special_tokens=False)["input_ids"]
    room = max_length - tokenizer.num_special_tokens_to_add()
    kept = body[:room] if side == "right" else body[max(len(body) - room, 0) :]
    rows = tokenizer.encode_rows([text], max_length=max_length)
    assert rows.input_ids.tolist() == tokenizer.build_inputs_with_special_tokens(kept)
    assert (rows.dropped[0] > 0) == (len(body) > room)
    tokenizer.truncation_side = "right"


def test_ten_megabytes_in_a_row_cost_little():
    import tracemalloc

    tokenizer = BertTokenizer(VOCAB)
    text = "the quick fox. " * 700_000
    tracemalloc.start()
    rows = tokenizer.encode_rows([text, "a"], max_length=512)
    called = tokenizer(text, truncation=True, max_length=512)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows.lengths.tolist() == [512, 3]
    assert rows.dropped[0] > 0
    assert called.input_ids == rows.row(0)["input_ids"].tolist()
    assert peak < 2**20


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=60), st.integers(1, 60), st.sampled_from(["right", "left"]))
def test_a_cut_is_an_end_of_the_text_of_about_the_length(text, chars, side):
    part = cut(text, chars, side)
    assert text.startswith(part) if side == "right" else text.endswith(part)
    assert len(part) >= min(chars, len(text)) if side == "right" else len(part) <= max(chars, 0) + 1


def test_a_cut_is_made_where_a_word_or_else_a_character_ends():
    assert cut("the quick brown fox", 5, "right") == "the quick"
    assert cut("the quick brown fox", 5, "left") == " fox"
    assert cut("e\u0301" * 9, 3, "right") == "e\u0301" * 2


def test_the_first_guess_grows_with_the_room():
    assert first_guess(512) > first_guess(16) > 16
