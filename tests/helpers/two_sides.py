"""Every encoder-decoder in small, for the contract that all of them keep.

Shapes: T tokens of the decoder's rows, Z tokens of all sources.
"""

import dataclasses
import functools
import importlib
from typing import Any

import torch

from abrazo.layers.layout import Layout
from abrazo.layers.packing import PackedBatch
from abrazo.models.auto import FAMILIES
from abrazo.models.seq2seq_model import Seq2SeqModel
from helpers.tiny import SPECIAL, scramble

VOCAB_SIZE = 60
_BERT = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
_BART = {
    "vocab_size": VOCAB_SIZE,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 40,
    **dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), 0.0),
    "pad_token_id": 1,
    "eos_token_id": 2,
}
_T5 = {
    "vocab_size": VOCAB_SIZE,
    "d_model": 16,
    "d_kv": 6,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 2,
    "dropout_rate": 0.0,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
}
TINY: dict[str, dict[str, Any]] = {
    "t5": _T5,
    "mt5": _T5,
    "bart": _BART,
    "mbart": _BART,
    "marian": {**_BART, "decoder_start_token_id": 1},
    "pegasus": {**_BART, "decoder_start_token_id": 1},
    "m2m_100": _BART,
    "encoder-decoder": {
        "encoder": {"model_type": "bert", **_BERT},
        "decoder": {"model_type": "roberta", **_BERT, "type_vocab_size": 1, "pad_token_id": 1},
        "decoder_start_token_id": 2,
        "eos_token_id": 3,
    },
}
"""The small configuration of each family."""


def models_of(family: str) -> dict[str, type[Seq2SeqModel]]:
    """Return the classes of a family by their heads."""
    models: dict[str, type[Seq2SeqModel]] = importlib.import_module(FAMILIES[family]).MODELS
    return models


def new_model(family: str, head: str = "seq2seq_lm", **changes: Any) -> Seq2SeqModel:
    """Return a small random model, in evaluation mode."""
    kind = models_of(family)[head]
    model = kind(kind.family.config(**{**TINY[family], **changes}))
    scramble(model)
    return model.eval()


@functools.cache
def shared_model(family: str, head: str = "seq2seq_lm") -> Seq2SeqModel:
    """Return a small random model that no test may change."""
    return new_model(family, head)


def batch_of(
    targets: list[int], sources: list[int], *, seed: int = 0, labelled: bool = False
) -> PackedBatch:
    """Return a packed batch of random ids for either side."""
    generator = torch.Generator().manual_seed(seed)

    def ids(lengths: list[int]) -> PackedBatch:
        tokens = torch.randint(SPECIAL, VOCAB_SIZE, (sum(lengths),), generator=generator)
        return PackedBatch(tokens, Layout(lengths))

    batch = ids(targets)
    if labelled:
        numbers = torch.arange(sum(targets))
        batch.labels = (SPECIAL + numbers % 20).where(numbers % 3 > 0, -100)
    return dataclasses.replace(batch, source=ids(sources))


def rows_of(batch: PackedBatch, first: int, end: int) -> PackedBatch:
    """Return some rows of a batch with their sources and labels."""
    lengths = batch.layout.lengths
    tokens = slice(int(lengths[:first].sum()), int(lengths[:end].sum()))
    return dataclasses.replace(
        batch,
        input_ids=batch.input_ids[tokens],
        layout=Layout(lengths[first:end]),
        labels=None if batch.labels is None else batch.labels[tokens],
        source=None if batch.source is None else rows_of(batch.source, first, end),
    )
