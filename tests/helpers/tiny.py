"""A BERT of a few thousand random weights, its tokenizer, and rows it can read.

model = tiny_bert("sequence_classification", num_labels=3)
folder = tiny_folder(tmp_path / "model", labels=["bad", "good"])
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from abrazo.layers.layout import Layout
from abrazo.layers.packing import PackedBatch
from abrazo.models import bert
from abrazo.models.base import PretrainedModel
from abrazo.tokenization.bert import BertTokenizer

_ENGLISH = (
    "a film fine good great lovely warm bad dull poor awful boring the is was not very and but "
    "i we you it plot end story what who where when paris berlin anna maria tom lives in works at"
)
WORDS = _ENGLISH.split()
CHINESE = list("这部电影很好看坏糟糕不我你是的他住在北京上海工作")
VOCAB = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *(".", ",", "!", "?", "。", "，"),
    *WORDS,
    *("##ly", "##s", "##ing", "##ed"),
    *CHINESE,
]
SPECIAL = 5
"""Ids below are special tokens."""


def tiny_config(**changes: Any) -> bert.BertConfig:
    """Return the configuration of a small BERT over `VOCAB` without dropout."""
    usual: dict[str, Any] = {
        "vocab_size": len(VOCAB),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 64,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    return bert.BertConfig(**{**usual, **changes})


def scramble(model: torch.nn.Module, seed: int = 0, std: float = 0.2) -> None:
    """Draw every weight anew, biases and norms too, so that none is without effect."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            centre = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
            noise = torch.randn(weight.shape, generator=generator) * std
            weight.copy_((centre + noise).to(weight.dtype))


def tiny_bert(head: str = "", *, seed: int = 0, **changes: Any) -> PretrainedModel:
    """Return a small random BERT with that head (`""` is bare), in evaluation mode."""
    model = bert.MODELS[head](tiny_config(**changes))
    scramble(model, seed)
    return model.eval()


def tiny_tokenizer(max_length: int = 64) -> BertTokenizer:
    """Return a tokenizer over `VOCAB`: English words and Chinese characters."""
    return BertTokenizer(VOCAB, model_max_length=max_length)


def tiny_folder(
    folder: Path,
    head: str = "sequence_classification",
    *,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    **changes: Any,
) -> Path:
    """Save a small random BERT and its tokenizer, and return the folder."""
    if labels is not None:
        changes["id2label"] = dict(enumerate(labels))
    model = tiny_bert(head, seed=seed, **changes)
    model.tokenizer = tiny_tokenizer(model.max_length)
    model.save_pretrained(folder)
    return folder


def tiny_rows(count: int = 8, *, labels: Sequence[Any] = ("bad", "good")) -> list[dict[str, Any]]:
    """Return rows of `text` and `label`, of different lengths, English and Chinese by turns.

    The label shows in the text: each has its own word.
    """
    rng = np.random.default_rng(7)
    rows = []
    for number in range(count):
        place = number % len(labels)
        if number % 4 < 2:
            words = rng.choice(["the", "film", "is", "very", "and", "it", "was"], 1 + number % 6)
            text = " ".join([*words, WORDS[2 + place], "."])
        else:
            text = "这部电影" + "很" * (number % 5) + CHINESE[5 + place] + "。"
        rows.append({"text": text, "label": labels[place]})
    return rows


def random_batch(
    lengths: Sequence[int], *, seed: int = 0, vocab_size: int = len(VOCAB), segments: int = 2
) -> PackedBatch:
    """Return a packed batch of random ids and segments."""
    generator = torch.Generator().manual_seed(seed)
    count = sum(lengths)
    return PackedBatch(
        input_ids=torch.randint(SPECIAL, vocab_size, (count,), generator=generator),
        layout=Layout(list(lengths)),
        token_type_ids=(
            torch.randint(0, segments, (count,), generator=generator) if segments else None
        ),
    )


def padded(batch: PackedBatch, *, extra: int = 0, left: bool = False) -> dict[str, torch.Tensor]:
    """Return a packed batch as `input_ids`, `attention_mask` and `token_type_ids`, (B, S)."""
    columns = batch.layout.max_length + extra
    shape = (batch.layout.num_rows, columns)
    mask = torch.zeros(shape, dtype=torch.long)
    for row, length in enumerate(batch.layout.lengths.tolist()):
        mask[row, slice(columns - length, None) if left else slice(length)] = 1
    result = {"attention_mask": mask}
    for name in ("input_ids", "token_type_ids"):
        values = getattr(batch, name)
        if values is not None:
            whole = torch.zeros(shape, dtype=values.dtype)
            whole[mask.bool()] = values
            result[name] = whole
    return result
