"""Encoder-decoders learn: 32 pairs are overfitted, and written again word by word."""

import numpy as np
import pytest
import torch

from abrazo.layers.layout import Layout
from abrazo.layers.packing import PackedBatch
from abrazo.models.seq2seq_model import Seq2SeqModel
from abrazo.training.objectives import HeadLoss, Objective, make_objective
from helpers.two_sides import models_of, new_model

EOS = 4
"""What all labels of these tests end with."""


def pairs(model: Seq2SeqModel) -> PackedBatch:
    """Return 32 sources, each with its reverse as labels; both of many lengths."""
    rng = np.random.default_rng(5)
    sources = [torch.from_numpy(rng.integers(5, 20, 2 + number % 5)) for number in range(32)]
    labels = [torch.cat([source.flip(0), torch.tensor([EOS])]) for source in sources]
    layout = Layout([len(row) for row in labels])
    together = torch.cat(labels)
    return PackedBatch(
        model.config.shift_right(together, layout),
        layout,
        labels=together,
        source=PackedBatch(torch.cat(sources), Layout([len(row) for row in sources])),
    )


def learned(model: Seq2SeqModel, batch: PackedBatch, objective: Objective, steps: int) -> float:
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        loss = objective(model, batch).mean
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


@torch.no_grad()
def share_written(model: Seq2SeqModel, batch: PackedBatch) -> float:
    """Return the share of labels that greedy steps write."""
    lengths = batch.layout.lengths
    cache = model.new_cache(int(lengths.max()))
    rows = Layout([1] * len(lengths))
    read = PackedBatch(batch.input_ids[batch.layout.first_tokens], rows, source=batch.source)
    written = []
    for _ in range(int(lengths.max())):
        read.past = cache
        words = model.answer_packed(read)["logits"].argmax(-1)
        written.append(words)
        read = PackedBatch(words, rows)
    columns = torch.stack(written, 1)
    kept = torch.cat([row[:length] for row, length in zip(columns, lengths, strict=True)])
    return float((kept == batch.labels).float().mean())


@pytest.mark.parametrize("family", ["t5", "bart", "marian", "encoder-decoder"])
def test_pairs_are_learned_by_heart_and_written_again(family: str) -> None:
    torch.manual_seed(0)
    kind = models_of(family)["seq2seq_lm"]
    model = kind(new_model(family).config).train()
    batch = pairs(model)
    assert learned(model, batch, HeadLoss(), 300) < 0.05
    assert share_written(model.eval(), batch) > 0.98


def test_smoothed_labels_are_learned_too() -> None:
    torch.manual_seed(0)
    model = models_of("bart")["seq2seq_lm"](new_model("bart").config).train()
    batch = pairs(model)
    objective = make_objective("label_smoothing", None, lambda: torch.zeros(0))
    first = objective(model, batch)
    assert int(first.count) == batch.layout.num_tokens
    last = learned(model, batch, objective, 300)
    assert 0.5 < last < 0.5 * first.mean.item()  # no smoothed loss comes near zero
    assert share_written(model.eval(), batch) > 0.98
