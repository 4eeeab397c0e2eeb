"""What callers may give, and what they are told when they give something else."""

import logging

import numpy as np
import pyarrow
import pytest
import tokenizers
import torch
from tokenizer_samples import VOCAB, write_folder
from tokenizers import decoders, models, pre_tokenizers, trainers

from abrazo.errors import ConfigError, TokenizerError
from abrazo.tokenization.auto import AutoTokenizer
from abrazo.tokenization.bert import BertTokenizer
from abrazo.tokenization.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return BertTokenizer(VOCAB, model_max_length=20)


BAD_TEXTS = {
    "None": (None, "NoneType|None", "empty string"),
    "NaN": (float("nan"), "float", "empty string"),
    "bytes": (b"the", "bytes", "decode"),
    "int": (3, "int", "str\\("),
    "words": (["the", "fox", "a"], "list", "is_split_into_words"),
}


@pytest.mark.parametrize("name", BAD_TEXTS)
@pytest.mark.parametrize("column", ["text", "text_pair"])
def test_what_is_no_text_is_refused_with_its_row_and_type(tokenizer, name, column):
    value, kind, remedy = BAD_TEXTS[name]
    good = ["the", "fox", "dog"]
    bad = ["the", value, "dog"]
    args = (bad, good) if column == "text" else (good, bad)
    for call in (
        lambda: tokenizer(*args),
        lambda: tokenizer.encode_rows(*args, max_length=9),
    ):
        with pytest.raises(TokenizerError, match=rf"Row 1 .*(?:{kind}).*{remedy}"):
            call()


def test_all_bad_rows_are_named_up_to_a_few(tokenizer):
    with pytest.raises(TokenizerError, match=r"(?s)Row 0 .*Row 2 .*and 3 more"):
        tokenizer([None, "a", *[None] * 7])


SURROGATES = {
    "call": lambda tokenizer: tokenizer(["fox", "a \ud800"]),
    "rows": lambda tokenizer: tokenizer.encode_rows(["fox", "a \ud800"], max_length=None),
    "words": lambda tokenizer: tokenizer([["fox"], ["a", "xx\ud800"]], is_split_into_words=True),
}


@pytest.mark.parametrize("call", SURROGATES)
def test_half_a_surrogate_pair_is_refused_with_its_place(tokenizer, call):
    with pytest.raises(TokenizerError, match=r"Row 1: character 2 .*U\+D800.*replace"):
        SURROGATES[call](tokenizer)


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\x00", "\u200b"])
def test_texts_without_any_token_give_the_special_tokens_alone(tokenizer, text):
    assert tokenizer(text)["input_ids"] == [2, 3]
    assert tokenizer.encode_rows([text], max_length=9).input_ids.tolist() == [2, 3]


def test_columns_of_other_libraries_are_taken(tokenizer):
    pandas = pytest.importorskip("pandas")
    expected = tokenizer(["the fox", "a dog"])["input_ids"]
    for column in (
        np.array(["the fox", "a dog"]),
        pandas.Series(["the fox", "a dog"]),
        pyarrow.chunked_array([["the fox"], ["a dog"]]),
        ("the fox", "a dog"),
    ):
        assert tokenizer(column)["input_ids"] == expected
        ids = tokenizer.encode_rows(column, max_length=None).input_ids.tolist()
        assert ids == [*expected[0], *expected[1]]


def test_a_missing_value_in_a_pandas_column_is_named(tokenizer):
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TokenizerError, match=r"Row 1 .*Drop rows"):
        tokenizer(pandas.Series(["the", None, "a"]))


def test_pairs_that_do_not_fit_are_refused(tokenizer):
    with pytest.raises(TokenizerError, match="2 rows, but `text_pair` has 1"):
        tokenizer(["a", "b"], ["c"])
    with pytest.raises(TokenizerError, match="`text_pair` must be a list"):
        tokenizer(["a", "b"], "c")
    with pytest.raises(TokenizerError, match="Row 1: row 0 is a pair"):
        tokenizer([("a", "b"), "c"])
    with pytest.raises(TokenizerError, match="2 rows, but `pairs` has 1"):
        tokenizer.encode_rows(["a", "b"], ["c"], max_length=None)
    with pytest.raises(TokenizerError, match="is a list of words"):
        tokenizer("the fox", is_split_into_words=True)
    with pytest.raises(TokenizerError, match="Row 0, word 1"):
        tokenizer(["the", 3], is_split_into_words=True)
    with pytest.raises(TokenizerError, match="must be a list of strings"):
        tokenizer.encode_rows("the fox", max_length=None)


def test_an_empty_second_text_is_a_second_text(tokenizer):
    assert tokenizer("the", "")["input_ids"] == tokenizer(["the"], [""])["input_ids"][0]


def test_no_rows_give_no_rows(tokenizer):
    assert tokenizer([])["input_ids"] == []
    assert tokenizer([], padding=True)["input_ids"] == []
    rows = tokenizer.encode_rows([], [], max_length=4)
    assert (len(rows), rows.input_ids.shape, rows.lengths.shape) == (0, (0,), (0,))


def test_wrong_options_are_all_named_at_once(tokenizer):
    with pytest.raises(ConfigError) as caught:
        tokenizer("a", padding="longests", truncation="first", max_length=0, stride=-1)
    message = str(caught.value)
    assert "Did you mean `longest`?" in message
    for name in ("`truncation`", "`max_length`", "`stride`"):
        assert name in message
    with pytest.raises(ConfigError, match="`padding_side`"):
        tokenizer("a", padding_side="up")
    with pytest.raises(ConfigError, match="`return_tensors`"):
        tokenizer("a", return_tensors="tf")


def test_a_max_length_without_room_for_special_tokens_is_refused(tokenizer):
    assert tokenizer("the fox", truncation=True, max_length=2)["input_ids"] == [2, 3]
    for call in (
        lambda: tokenizer("the fox", truncation=True, max_length=1),
        lambda: tokenizer.encode_rows(["the fox"], max_length=1),
    ):
        with pytest.raises(ConfigError, match="at least 2"):
            call()


def test_a_text_that_cannot_be_shortened_as_asked_is_named(tokenizer):
    with pytest.raises(TokenizerError, match=r"Row 1: .*longest_first"):
        tokenizer(["a", "a"], ["b", "b " * 9], truncation="only_first", max_length=8)
    with pytest.raises(TokenizerError, match="only_second"):
        tokenizer("a " * 9, truncation="only_second", max_length=5)


def test_windows_that_cannot_move_on_are_refused(tokenizer):
    options = {"truncation": True, "max_length": 5, "return_overflowing_tokens": True}
    with pytest.raises(TokenizerError, match="`stride` must be below"):
        tokenizer("a " * 9, stride=3, **options)


def test_ragged_rows_are_no_tensor_and_the_error_says_what_to_do(tokenizer):
    with pytest.raises(ConfigError, match=r"3 to 4 tokens.*padding=True"):
        tokenizer(["a", "a b"], return_tensors="pt")


def test_padding_without_a_padding_token_says_what_to_do():
    bare = BertTokenizer(VOCAB[1:])
    assert bare.pad_token is None
    with pytest.raises(ConfigError, match="needs a padding token"):
        bare(["a", "a b"], padding=True)
    bare.pad_token = "[SEP]"
    assert bare(["a", "a b"], padding=True)["attention_mask"] == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_dropped_tokens_are_counted(tokenizer):
    rows = tokenizer(["a " * 10, "b"], truncation=True, max_length=6)
    assert rows.num_dropped_tokens == [6, 0]
    pairs = tokenizer("a " * 10, "b " * 10, truncation=True, max_length=9)
    assert pairs.num_dropped_tokens == [14]
    windows = tokenizer("a " * 9, truncation=True, max_length=6, return_overflowing_tokens=True)
    assert windows.num_dropped_tokens == [0, 0, 0]
    rows = tokenizer.encode_rows(["a " * 10, "b"], max_length=6)
    assert rows.dropped.tolist() == [6, 0]


def test_truncation_that_was_not_asked_for_is_told_once(caplog):
    tokenizer = BertTokenizer(VOCAB, model_max_length=20)
    with caplog.at_level(logging.WARNING, logger="abrazo"):
        tokenizer("a " * 10, truncation=True, max_length=6)
        assert not caplog.records
        tokenizer(["a " * 10, "b"], max_length=6)
        tokenizer(["a " * 10, "b"], max_length=6)
    assert [record.getMessage()[:27] for record in caplog.records] == [
        "1 of 2 rows were cut to `ma"
    ]


def test_rows_too_long_for_the_model_are_told_once(caplog):
    tokenizer = BertTokenizer(VOCAB, model_max_length=20)
    with caplog.at_level(logging.WARNING, logger="abrazo"):
        tokenizer("a " * 30)
        tokenizer("a " * 30)
    assert len(caplog.records) == 1
    assert "32 tokens" in caplog.text


def test_an_encoding_works_as_keyword_arguments_and_as_attributes(tokenizer):
    encoding = tokenizer(["a", "a b"], padding=True, return_tensors="pt")
    seen = (lambda **columns: columns)(**encoding)
    assert set(seen) == {"input_ids", "attention_mask", "token_type_ids"}
    assert encoding.input_ids is encoding["input_ids"]
    assert encoding.input_ids.dtype == torch.int64
    assert encoding.to("cpu") is encoding
    assert encoding[1].tokens == ["[CLS]", "a", "b", "[SEP]"]
    assert encoding[:1]["input_ids"].shape == (1, 4)
    with pytest.raises(AttributeError, match="input_idz"):
        encoding.input_idz  # noqa: B018
    with pytest.raises(TokenizerError, match="There is no row 2"):
        encoding[2]
    with pytest.raises(TokenizerError, match="There is no token 9"):
        encoding.token_to_chars(1, 9)


def test_decode_shows_pieces_with_their_labels(tokenizer):
    ids = tokenizer("quick jumped, [MASK]")["input_ids"]
    labels = [-100, "O", "B-X", "I-X", "O", None, -100]
    shown = tokenizer.decode(ids, pieces=labels)
    assert shown == "[CLS] quick/O jump/B-X ##ed/I-X ,/O [MASK] [SEP]"
    short = tokenizer.decode(torch.tensor(ids), skip_special_tokens=True, pieces=labels)
    assert short == "quick/O jump/B-X ##ed/I-X ,/O"
    assert tokenizer.decode([ids, ids], pieces=[labels, labels]) == [shown, shown]
    with pytest.raises(TokenizerError, match="7 ids and 2 labels"):
        tokenizer.decode(ids, pieces=["O", "O"])
    for wrong in (True, "OOOOOOO"):
        with pytest.raises(TokenizerError, match="`pieces` must be a list of labels"):
            tokenizer.decode(ids, pieces=wrong)
    with pytest.raises(TokenizerError, match="`pieces` must be rows of labels"):
        tokenizer.decode([ids], pieces=True)


def test_labelled_pieces_of_bytes_are_shown_as_text_where_they_are_whole_characters():
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(["Ada 住在 北京"] * 9, trainer)
    tokenizer = Tokenizer(backend)
    ids = tokenizer("Ada 住在 北京\n东")["input_ids"]
    labels = ["B-PER", "O", "B-LOC", None, "a", "b", "c"]
    assert tokenizer.decode(ids, pieces=labels) == ("Ada/B-PER Ġ住在/O Ġ北京/B-LOC Ċ ä/a ¸/b ľ/c")


@pytest.mark.parametrize("number", [-100, len(VOCAB), 2**40])
def test_ids_of_no_token_are_refused(tokenizer, number):
    with pytest.raises(TokenizerError, match=f"Id {number}"):
        tokenizer.decode([2, number])
    with pytest.raises(TokenizerError, match=f"Id {number}"):
        tokenizer.convert_ids_to_tokens([number])


def test_special_tokens_can_be_built_around_ids(tokenizer):
    assert tokenizer.build_inputs_with_special_tokens([7], [8, 9]) == [2, 7, 3, 8, 9, 3]
    assert tokenizer.create_token_type_ids_from_sequences([7], [8, 9]) == [0, 0, 0, 1, 1, 1]
    assert tokenizer.get_special_tokens_mask([2, 7, 3]) == [1, 0, 1]


def test_other_spellings_of_a_call_give_the_same(tokenizer):
    assert tokenizer.encode("a", "b", max_length=9) == tokenizer("a", "b")["input_ids"]
    assert tokenizer.encode_plus("a")["input_ids"] == [2, 15, 3]
    assert tokenizer.batch_encode_plus([("a", "b")])["input_ids"] == [[2, 15, 3, 16, 3]]
    assert tokenizer.tokenize("jumped") == ["jump", "##ed"]
    assert tokenizer.convert_tokens_to_string(["jump", "##ed"]) == "jumped"


def test_a_name_is_resolved_by_the_hub(tmp_path):
    folder = write_folder(tmp_path / "model", "wordpiece")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    assert len(AutoTokenizer.from_pretrained(str(folder))) == len(VOCAB)
