"""Two encoders joined: what is taken over, what starts new, what is refused."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from abrazo.errors import ConfigError
from abrazo.models.auto import load_model
from abrazo.models.encoder_decoder import (
    BertForSeq2SeqLM,
    EncoderDecoderConfig,
    EncoderDecoderModel,
)
from helpers.tiny import tiny_bert, tiny_folder, tiny_tokenizer


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "bert", "masked_lm")


def test_both_sides_start_from_one_bert(bert: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="abrazo"):
        model = BertForSeq2SeqLM.from_pretrained(bert)
    assert "cross-attention is neither in" in caplog.text
    assert "starts new" in caplog.text
    source = tiny_bert("masked_lm")
    first, second = model.backbone.encoder, model.backbone.decoder
    for name, weight in source.backbone.named_parameters():
        assert torch.equal(first.get_parameter(name), weight), name
        assert torch.equal(second.get_parameter(name), weight), name
        assert first.get_parameter(name) is not second.get_parameter(name)
    for name, weight in source.head.named_parameters():
        assert torch.equal(model.head.get_parameter(name), weight), name
    new = second.get_parameter("blocks.0.cross_attention.query.weight")
    assert 0.01 < new.std() < 0.03
    assert not model.training


def test_ids_of_beginning_and_end_are_those_of_the_tokenizer(bert: Path) -> None:
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(bert, bert)
    assert model.config.decoder_start_token_id == tiny_tokenizer().cls_token_id
    assert model.config.eos_token_id == tiny_tokenizer().sep_token_id
    assert model.config.pad_token_id == 0
    assert model.tokenizer.vocab_size == tiny_tokenizer().vocab_size
    given = EncoderDecoderModel.from_encoder_decoder_pretrained(
        bert, decoder_start_token_id=7, eos_token_id=8
    )
    assert (given.config.decoder_start_token_id, given.config.eos_token_id) == (7, 8)


def test_bert_without_a_head_for_words_gets_a_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tiny_folder(tmp_path, "")
    with caplog.at_level(logging.WARNING, logger="abrazo"):
        model = BertForSeq2SeqLM.from_pretrained(folder)
    assert "`head` is not in" in caplog.text
    words = tiny_bert("").embeddings.tokens.weight
    assert torch.equal(model.backbone.decoder.embeddings.tokens.weight, words)


def test_what_was_joined_is_saved_and_loaded_whole(bert: Path, tmp_path: Path) -> None:
    model = BertForSeq2SeqLM.from_pretrained(bert)
    model.save_pretrained(tmp_path / "saved")
    again = BertForSeq2SeqLM.from_pretrained(tmp_path / "saved")
    assert type(load_model(tmp_path / "saved")) is BertForSeq2SeqLM
    assert type(EncoderDecoderModel.from_pretrained(tmp_path / "saved")) is EncoderDecoderModel
    ids = torch.tensor([[2, 11, 12, 13, 3]])
    expected = model(ids, labels=ids)
    found = again(ids, labels=ids)
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.loss, expected.loss)
    assert again.tokenizer.vocab_size == model.tokenizer.vocab_size


def test_without_a_first_id_labels_cannot_be_moved(tmp_path: Path) -> None:
    tiny_bert("masked_lm").save_pretrained(tmp_path)
    model = BertForSeq2SeqLM.from_pretrained(tmp_path)
    ids = torch.tensor([[2, 11, 3]])
    with pytest.raises(ConfigError, match="`decoder_start_token_id` must be"):
        model(ids, labels=ids)
    assert model(ids, decoder_input_ids=ids).logits.shape == (1, 3, model.config.vocab_size)


BERT = {"model_type": "bert", "vocab_size": 40}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"decoder": {"model_type": "distilbert"}}, "`decoder.model_type` must be one of"),
        ({"decoder": {}}, "`decoder.model_type` must be one of"),
        ({"encoder": {"model_type": "encoder-decoder"}}, "is no encoder"),
        ({"encoder": {"model_type": "t5"}}, "is no encoder"),
        ({"encoder": {"model_type": "os.system"}}, "'os.system' are not known"),
        ({"encoder": {**BERT, "hidden_size": 0}}, "`hidden_size` must be at least 1"),
        ({"decoder": {**BERT, "hidden_act": "jump"}}, "`hidden_act` 'jump' is none of"),
        ({"decoder": {**BERT, "hidden_size": "wide"}}, "`hidden_size` must be of type int"),
        ({"decoder": {**BERT, "cross_attention_hidden_size": 8}}, "must be None"),
        ({"encoder": 3}, "`encoder` must be of type Mapping"),
    ],
)
def test_sides_that_cannot_be_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EncoderDecoderConfig(**{"encoder": BERT, "decoder": BERT, **wrong})
