"""Encoder-decoders of two encoders against those of `transformers`."""

from pathlib import Path
from typing import Any

import pytest
import transformers

from helpers.encoders import TINY
from helpers.seq2seq import check

pytestmark = pytest.mark.filterwarnings("ignore:Version v4.12.0 introduces:FutureWarning")
SIDES: dict[str, tuple[str, dict[str, Any]]] = {
    "BERT": ("Bert", {}),
    "wide BERT": ("Bert", {"hidden_size": 24, "num_hidden_layers": 3}),
    "RoBERTa": ("Roberta", {"type_vocab_size": 1, "pad_token_id": 0}),
    "XLM-R": ("XLMRoberta", {"type_vocab_size": 1, "pad_token_id": 0}),
    "DistilBERT": ("DistilBert", {"dim": 16, "hidden_dim": 24, "n_heads": 2, "n_layers": 2}),
    "untied BERT": ("Bert", {"tie_word_embeddings": False}),
}
CASES = [
    ("BERT", "BERT"),
    ("BERT", "RoBERTa"),
    ("RoBERTa", "BERT"),
    ("wide BERT", "BERT"),
    ("BERT", "wide BERT"),
    ("DistilBERT", "XLM-R"),
    ("BERT", "untied BERT"),
]


def side(name: str, **changes: Any) -> transformers.PreTrainedConfig:
    family, fields = SIDES[name]
    given = {**TINY, **fields, **changes}
    if family == "DistilBert":
        given = {name: value for name, value in given.items() if "hidden_size" not in name}
        del given["num_hidden_layers"], given["num_attention_heads"], given["intermediate_size"]
    return getattr(transformers, f"{family}Config")(**given, attn_implementation="eager")


@pytest.mark.parametrize(("encoder", "decoder"), CASES)
def test_encoder_decoder_is_theirs(encoder: str, decoder: str, tmp_path: Path) -> None:
    config = transformers.EncoderDecoderConfig(
        encoder=side(encoder).to_dict(),
        decoder=side(decoder, is_decoder=True, add_cross_attention=True).to_dict(),
        pad_token_id=0,
        decoder_start_token_id=2,
        eos_token_id=3,
    )
    config.encoder._attn_implementation = config.decoder._attn_implementation = "eager"
    check(transformers.EncoderDecoderModel(config), tmp_path)
