"""Tiny models that write, over the words of `helpers.tiny`."""

from typing import Any

from abrazo.generation.config import GenerationConfig
from abrazo.models import bart, llama
from abrazo.models.base import PretrainedModel
from helpers.tiny import VOCAB, scramble, tiny_tokenizer

CLS, SEP = 2, 3


def tiny_bart(*, seed: int = 0, positions: int = 64, **changes: Any) -> PretrainedModel:
    """Return a small random encoder-decoder with its tokenizer."""
    config = bart.BartConfig(
        vocab_size=len(VOCAB),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=positions,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        pad_token_id=0,
        bos_token_id=CLS,
        eos_token_id=SEP,
        decoder_start_token_id=CLS,
        **changes,
    )
    return _ready(bart.MODELS["seq2seq_lm"](config), seed, positions)


def tiny_llama(*, seed: int = 0, positions: int = 64, **changes: Any) -> PretrainedModel:
    """Return a small random decoder with its tokenizer."""
    config = llama.LlamaConfig(
        vocab_size=len(VOCAB),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        bos_token_id=CLS,
        eos_token_id=SEP,
        **changes,
    )
    return _ready(llama.MODELS["causal_lm"](config), seed, positions)


def _ready(model: PretrainedModel, seed: int, positions: int) -> PretrainedModel:
    scramble(model, seed, std=0.05)
    model.tokenizer = tiny_tokenizer(positions)
    model.generation_config = GenerationConfig(
        eos_token_id=SEP, decoder_start_token_id=CLS, max_new_tokens=8
    )
    return model.eval()
