"""BART and its relatives against those of `transformers`."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from abrazo.errors import ConfigError
from abrazo.models.bart import BartConfig, BartForConditionalGeneration
from abrazo.models.m2m_100 import M2M100Config
from abrazo.models.marian import MarianConfig
from abrazo.models.pegasus import PegasusConfig
from helpers.seq2seq import VOCAB_SIZE, check
from helpers.tiny import scramble

TINY: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 30,
    **dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), 0.0),
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
CASES: dict[str, dict[str, Any]] = {
    "usual": {},
    "scaled": {"scale_embedding": True, "activation_function": "relu"},
    "unscaled": {"scale_embedding": False, "activation_function": "swish"},
    "deep decoder": {"decoder_layers": 3, "encoder_layers": 1, "decoder_ffn_dim": 40},
    "other heads": {"encoder_attention_heads": 4, "decoder_attention_heads": 1},
    "untied": {"tie_word_embeddings": False},
}
CLASSES = {
    "Bart": "ForConditionalGeneration",
    "MBart": "ForConditionalGeneration",
    "Marian": "MTModel",
    "Pegasus": "ForConditionalGeneration",
    "M2M100": "ForConditionalGeneration",
}


def their_model(family: str, kind: str, **changes: Any) -> transformers.PreTrainedModel:
    fields = {**TINY, **changes}
    if family == "Marian":  # padding is what its decoder reads first
        fields |= {"pad_token_id": 3, "eos_token_id": 0, "decoder_start_token_id": 3}
    config = getattr(transformers, f"{family}Config")(**fields, attn_implementation="eager")
    model = getattr(transformers, family + kind)(config)
    if hasattr(model, "final_logits_bias"):  # a buffer, which no test would notice at zero
        model.final_logits_bias.normal_(generator=torch.Generator().manual_seed(3))
    return model


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", CLASSES)
def test_family_is_theirs(family: str, case: str, tmp_path: Path) -> None:
    check(their_model(family, CLASSES[family], **CASES[case]), tmp_path)


@pytest.mark.parametrize("family", CLASSES)
def test_bare_family_is_theirs(family: str, tmp_path: Path) -> None:
    check(their_model(family, "Model"), tmp_path)


def test_words_of_either_side_are_theirs(tmp_path: Path) -> None:
    changes = {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": VOCAB_SIZE + 5}
    check(their_model("Marian", "MTModel", **changes), tmp_path)


def test_files_of_the_bare_model_have_all_that_generation_needs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = their_model("Bart", "Model")
    scramble(theirs)
    theirs.save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING, logger="abrazo"):
        model = BartForConditionalGeneration.from_pretrained(tmp_path)
    assert not caplog.records
    assert model.head is not None
    assert not model.head.decoder.bias.any()
    assert torch.equal(model.head.decoder.weight, theirs.shared.weight)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"activation_function": "jump"}, "`activation_function` 'jump' is none of"),
        ({"d_model": 18, "decoder_attention_heads": 4}, "multiple of `decoder_attention_heads`"),
        ({"encoder_attention_heads": 0}, "`encoder_attention_heads` must be at least 1"),
        ({"decoder_layers": 301}, "`decoder_layers` must be at most"),
        ({"attention_dropout": 2.0}, "`attention_dropout` must be from 0 to 1"),
        ({"scale_embedding": 3}, "`scale_embedding` must be of type bool"),
        ({"max_position_embeddings": 0}, "`max_position_embeddings` must be at least 1"),
    ],
)
def test_config_that_no_model_can_have_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BartConfig(**{**TINY, **wrong})


@pytest.mark.parametrize("kind", [MarianConfig, PegasusConfig, M2M100Config])
def test_sines_need_an_even_width(kind: type[BartConfig]) -> None:
    heads = {"encoder_attention_heads": 3, "decoder_attention_heads": 3}
    with pytest.raises(ConfigError, match="`d_model` must be even, but is 15"):
        kind(**{**TINY, **heads, "d_model": 15})
