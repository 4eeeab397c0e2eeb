"""New models for a tokenizer: sizes and special ids are those that it has."""

from pathlib import Path
from typing import Any

import pytest
import torch

import abrazo as az
from abrazo.models.encoder_decoder import EncoderDecoderConfig
from helpers.tiny import VOCAB, tiny_config, tiny_tokenizer

CLS, SEP = 2, 3
TEXTS = ["the film is good", "the plot was bad and dull", "anna lives in paris"]
SMALL = {"d_model": 16, "num_hidden_layers": 1, "decoder_layers": 1, "num_attention_heads": 2}
BART = {**SMALL, "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}


@pytest.fixture(scope="module")
def pieces() -> az.Tokenizer:
    """Return a tokenizer whose ids are none of the usual ones: <s> <pad> </s> are 0, 1 and 2."""
    return az.train_tokenizer(TEXTS, "bpe", 300, is_text=True)


def ids_of(config: Any) -> list[Any]:
    names = ("pad_token_id", "bos_token_id", "eos_token_id")
    return [config.vocab_size, *(getattr(config, name) for name in names)]


def test_a_decoder_has_the_size_and_the_ids_of_the_tokenizer(pieces: az.Tokenizer) -> None:
    config = az.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=7)
    model = az.GPT2LMHeadModel.from_config(config, tokenizer=pieces)
    assert ids_of(model.config) == [len(pieces), 1, 0, 2]
    assert model.tokenizer is pieces
    assert model.generation_config.end_ids == (2,)
    assert model.config.n_embd == 16


@pytest.mark.parametrize(
    ("config", "starts_with"),
    [
        (az.PegasusConfig(**BART), 1),  # which starts with what pads
        (az.BartConfig(**BART), 2),  # with what ends texts
        (az.BartConfig(**BART, decoder_start_token_id=0), 0),  # with what begins them
        (az.BartConfig(**BART, decoder_start_token_id=57), 57),  # with a token of its own
        (az.MBartConfig(**BART), None),  # with the language
        (az.T5Config(d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=2), 1),
    ],
    ids=["pegasus", "bart", "begin", "own", "mbart", "t5"],
)
def test_what_the_decoder_reads_first_keeps_its_role(
    config: Any, starts_with: int | None, pieces: az.Tokenizer
) -> None:
    model = az.AutoModelForSeq2SeqLM.from_config(config, tokenizer=pieces)
    assert model.head_name == "seq2seq_lm"
    assert model.config.decoder_start_token_id == starts_with
    assert (model.config.pad_token_id, model.config.eos_token_id) == (1, 2)


def test_texts_of_bert_begin_and_end_with_its_own_tokens() -> None:
    config = az.LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    model = az.AutoModelForCausalLM.from_config(config, tokenizer=tiny_tokenizer())
    assert type(model) is az.LlamaForCausalLM
    assert ids_of(model.config) == [len(VOCAB), 0, CLS, SEP]


def test_both_sides_of_an_encoder_decoder_are_for_the_tokenizer() -> None:
    side = tiny_config(vocab_size=500).to_hf()
    config = EncoderDecoderConfig(encoder=side, decoder=side)
    model = az.EncoderDecoderModel.from_config(config, tokenizer=tiny_tokenizer())
    matrices = [p for name, p in model.named_parameters() if name.endswith("tokens.weight")]
    assert [len(matrix) for matrix in matrices] == [len(VOCAB)] * 2
    assert model.config.decoder_start_token_id == CLS
    assert model.config.eos_token_id == SEP


def test_a_new_model_is_a_folder_that_loads(tmp_path: Path) -> None:
    model = az.BertLM.from_config(tiny_config(vocab_size=9), tokenizer=tiny_tokenizer()).eval()
    assert type(model) is az.BertLMHeadModel
    model.save_pretrained(tmp_path)
    again = az.load_model(tmp_path)
    ids = again.tokenizer("the film", return_tensors="pt")["input_ids"]
    torch.testing.assert_close(again(ids).logits, model(ids).logits)


def test_without_a_tokenizer_the_configuration_is_as_it_is_given() -> None:
    model = az.AutoModel.from_config(tiny_config(pad_token_id=4))
    assert type(model) is az.BertModel
    assert model.config == tiny_config(pad_token_id=4)
    with pytest.raises(az.TokenizerError, match=r"from_config\(config, tokenizer="):
        model.tokenizer  # noqa: B018


def test_a_configuration_of_another_family_is_refused() -> None:
    with pytest.raises(az.ConfigError, match="GPT2LMHeadModel takes a GPT2Config"):
        az.GPT2LMHeadModel.from_config(tiny_config(), tokenizer=tiny_tokenizer())


@pytest.mark.parametrize("kind", [az.AutoModel, az.BertModel, az.SentenceModel])
def test_what_is_no_configuration_is_refused(kind: Any) -> None:
    with pytest.raises(az.ConfigError, match=r"[Cc]onfig"):
        kind.from_config("minilm")


def test_a_new_model_of_sentences_encodes() -> None:
    model = az.SentenceModel.from_config(tiny_config(), tokenizer=tiny_tokenizer())
    assert type(model) is az.SentenceModel
    assert model.encode("the film").shape == (32,)
