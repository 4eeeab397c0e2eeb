"""Every encoder in small, for the contract that all of them keep. A new family is a row of `TINY`.

Shapes: T tokens of all rows, R rows.
"""

import dataclasses
import functools
import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from abrazo.layers.layout import Layout
from abrazo.layers.packing import PackedBatch
from abrazo.models.auto import FAMILIES
from abrazo.models.base import PretrainedModel
from abrazo.models.config import ModelConfig
from helpers.tiny import random_batch, scramble

VOCAB_SIZE = 60
_USUAL = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
TINY: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {},
    "xlm-roberta": {},
    "camembert": {},
    "distilbert": {},
    "electra": {"embedding_size": 8},
    "albert": {"embedding_size": 8},
    "mpnet": {},
    "modernbert": {"local_attention": 6, "global_attn_every_n_layers": 2, "pad_token_id": 0},
    "deberta-v2": {"position_buckets": 8, "type_vocab_size": 2, "conv_kernel_size": 3},
    "nomic_bert": {},
    "gte": {},
}
"""What a family's small configuration has beside `_USUAL`."""


def models_of(family: str) -> dict[str, type[PretrainedModel]]:
    """Return the classes of a family by their heads."""
    models: dict[str, type[PretrainedModel]] = importlib.import_module(FAMILIES[family]).MODELS
    return models


READERS = [family for family in FAMILIES if "masked_lm" in models_of(family)]
"""Families of encoders; decoders and encoder-decoders keep contracts of their own."""
CASES = [(family, head) for family in READERS for head in models_of(family)]
"""Each family of encoders with each of its heads."""


def tiny_family_config(family: str, **changes: Any) -> ModelConfig:
    """Return a small configuration; nothing is dropped unless asked for."""
    kind = models_of(family)[""].family.config
    fields = dataclasses.fields(kind)
    shares = [field.name for field in fields if "dropout" in field.name]
    return kind(**{**_USUAL, **dict.fromkeys(shares, 0.0), **TINY[family], **changes})


def new_model(family: str, head: str, **changes: Any) -> PretrainedModel:
    """Return a small random model, in evaluation mode."""
    model = models_of(family)[head](tiny_family_config(family, **changes))
    scramble(model)
    return model.eval()


@functools.cache
def shared_model(family: str, head: str) -> PretrainedModel:
    """Return a small random model that no test may change."""
    return new_model(family, head)


def num_segments(model: PretrainedModel) -> int:
    """Return how many segments the model tells apart."""
    return int(getattr(model.config, "type_vocab_size", 0))


def batch_for(model: PretrainedModel, lengths: list[int], *, seed: int = 0) -> PackedBatch:
    """Return a packed batch of random tokens and segments."""
    vocab_size, segments = model.config.vocab_size, num_segments(model)
    return random_batch(lengths, seed=seed, vocab_size=vocab_size, segments=segments)


def _for_rows(high: int) -> Callable[[PackedBatch], dict[str, Tensor]]:
    return lambda batch: {"labels": torch.arange(batch.layout.num_rows) % high}


def _for_tokens(high: int) -> Callable[[PackedBatch], dict[str, Tensor]]:
    def labels(batch: PackedBatch) -> dict[str, Tensor]:
        numbers = torch.arange(batch.layout.num_tokens)
        return {"labels": (numbers % high).where(numbers % 3 > 0, -100)}

    return labels


def _for_spans(batch: PackedBatch) -> dict[str, Tensor]:
    ends = torch.from_numpy(batch.layout.lengths) - 1
    return {"labels": torch.stack([ends // 2, ends], -1)}


LABELS: dict[str, Callable[[PackedBatch], dict[str, Tensor]]] = {
    "sequence_classification": _for_rows(2),
    "token_classification": _for_tokens(2),
    "question_answering": _for_spans,
    "masked_lm": _for_tokens(VOCAB_SIZE),
    "causal_lm": _for_tokens(VOCAB_SIZE),
    "next_sentence": _for_rows(2),
    "pretraining": lambda batch: {
        **_for_tokens(2)(batch),
        "next_sentence_label": torch.arange(batch.layout.num_rows) % 2,
    },
}
"""What each head learns from: labels of a packed batch."""


def labelled(model: PretrainedModel, batch: PackedBatch) -> PackedBatch:
    """Return the batch with labels for the model's head."""
    return dataclasses.replace(batch, **LABELS[model.head_name](batch))


def rows_of(batch: PackedBatch, first: int, end: int) -> PackedBatch:
    """Return some rows of a batch, labels included."""
    lengths = batch.layout.lengths
    tokens = slice(int(lengths[:first].sum()), int(lengths[:end].sum()))
    changes: dict[str, Any] = {"layout": Layout(lengths[first:end])}
    for name in ("input_ids", "token_type_ids", "labels", "next_sentence_label"):
        value = getattr(batch, name)
        if value is not None:
            by_token = len(value) == batch.layout.num_tokens
            changes[name] = value[tokens] if by_token else value[first:end]
    return dataclasses.replace(batch, **changes)
