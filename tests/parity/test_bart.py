"""BART and its relatives against those of `transformers`."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from helpers.seq2seq import VOCAB_SIZE, check

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
