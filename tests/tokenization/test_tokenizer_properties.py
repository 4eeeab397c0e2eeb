"""Properties that hold for every text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_samples import BACKENDS, VOCAB

from abrazo.tokenization.bert import BertTokenizer
from abrazo.tokenization.settings import TokenizerSettings
from abrazo.tokenization.tokenizer import Tokenizer
from abrazo.tokenization.truncation import kept_lengths, windows

BERT = BertTokenizer(VOCAB)
UNIGRAM = Tokenizer(BACKENDS["unigram"](), TokenizerSettings(roles={"pad_token": "<pad>"}))
BYTES = Tokenizer(BACKENDS["byte_level"]())
TOKENIZERS = [BERT, UNIGRAM, BYTES]
words = st.sampled_from([*VOCAB, "unknown", "你好", "café", "😀", "\x00", " ", "[SEP]"])
texts = st.one_of(
    st.lists(words, max_size=25).map(" ".join),
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40),
)


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda t: type(t.backend.model).__name__)
@settings(max_examples=60, deadline=None)
@given(text=texts, pair=st.none() | texts)
def test_offsets_lie_in_their_text_and_in_order(tokenizer, text, pair):
    row = tokenizer(text, pair).encodings[0]
    for sequence, part in enumerate([text] if pair is None else [text, pair]):
        spans = [
            span
            for span, number in zip(row.offsets, row.sequence_ids, strict=True)
            if number == sequence
        ]
        assert all(0 <= start <= end <= len(part) for start, end in spans)
        assert spans == sorted(spans, key=lambda span: span[0])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*VOCAB[5:29], "Fox", "JUMPED"]), max_size=20).map(" ".join))
def test_offsets_slice_the_characters_of_their_token(text):
    row = BERT(text).encodings[0]
    for token, (start, end), number in zip(row.tokens, row.offsets, row.sequence_ids, strict=True):
        if number is not None and token != "[UNK]":
            assert text[start:end].lower() == token.removeprefix("##")


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda t: type(t.backend.model).__name__)
@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(texts, texts), min_size=1, max_size=6),
    max_length=st.integers(5, 20),
    paired=st.booleans(),
)
def test_a_batch_equals_its_rows_alone(tokenizer, rows, max_length, paired):
    options = {"truncation": True, "max_length": max_length, "return_offsets_mapping": True}
    if paired:
        batch = tokenizer(rows, **options)
        alone = [tokenizer(a, b, **options) for a, b in rows]
    else:
        batch = tokenizer([a for a, _ in rows], **options)
        alone = [tokenizer(a, **options) for a, _ in rows]
    for name, values in batch.items():
        assert values == [row[name] for row in alone]


@settings(max_examples=100, deadline=None)
@given(
    text=texts,
    question=texts,
    max_length=st.integers(8, 30),
    stride=st.integers(0, 3),
    side=st.sampled_from(["right", "left"]),
)
def test_windows_cover_every_token_and_share_the_stride(text, question, max_length, stride, side):
    whole = BERT(text, add_special_tokens=False)
    BERT.truncation_side = side
    rows = BERT(
        text,
        truncation=True,
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
    )
    BERT.truncation_side = "right"
    bodies = [ids[1:-1] for ids in rows["input_ids"]]
    if side == "left":
        bodies.reverse()
    rebuilt = bodies[0]
    for body in bodies[1:]:
        assert rebuilt[len(rebuilt) - stride :] == body[:stride]
        rebuilt = rebuilt + body[stride:]
    assert rebuilt == whole["input_ids"]
    assert all(len(ids) <= max_length for ids in rows["input_ids"])
    assert rows["overflow_to_sample_mapping"] == [0] * len(bodies)


@given(
    st.integers(0, 200), st.integers(1, 50), st.integers(0, 49), st.sampled_from(["right", "left"])
)
def test_windows_are_as_few_as_can_be(length, size, stride, side):
    stride = min(stride, size - 1)
    spans = windows(length, size, stride, side)
    covered = {place for start, stop in spans for place in range(start, stop)}
    assert covered == set(range(length))
    assert all(stop - start <= size for start, stop in spans)
    fewest = 1 if length <= size else 1 + -(-(length - size) // (size - stride))
    assert len(spans) == fewest


@given(st.integers(0, 60), st.none() | st.integers(0, 60), st.integers(0, 50))
def test_longest_first_fills_the_room_and_shortens_the_longer_text(first, second, room):
    kept, kept_second = kept_lengths(first, second, room, "longest_first")
    assert kept + (kept_second or 0) == min(first + (second or 0), room)
    assert 0 <= kept <= first
    if second is not None and kept_second is not None:
        assert 0 <= kept_second <= second
        if kept < first:
            assert kept >= kept_second - 1
        if kept_second < second:
            assert kept_second >= kept - 1


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, min_size=1, max_size=5), st.sampled_from(["right", "left"]))
def test_padding_only_adds_padding(rows, side):
    bare = BERT(rows)["input_ids"]
    padded = BERT(rows, padding=True, padding_side=side, pad_to_multiple_of=4)
    for ids, row, mask in zip(bare, padded["input_ids"], padded["attention_mask"], strict=True):
        assert len(row) % 4 == 0
        assert [number for number, used in zip(row, mask, strict=True) if used] == ids
        assert sum(mask) == len(ids)
        assert (mask[0] if side == "right" else mask[-1]) == 1
