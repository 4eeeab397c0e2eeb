"""Vectors learn: 32 rows are overfitted from each kind of rows, by a bare loop and the trainer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abrazo.data.rows import as_rows
from abrazo.inference.engine import Engine
from abrazo.inference.evaluation import evaluate_rows
from abrazo.layers.packing import PackedBatch
from abrazo.models.auto import load_model
from abrazo.models.base import PretrainedModel
from abrazo.models.sentence import SentenceModel
from abrazo.tasks.auto import learn_task
from abrazo.training.trainer import Trainer
from helpers.tiny import WORDS
from helpers.training import small_arguments, small_model

SETTINGS: list[tuple[str, dict[str, Any], str, float]] = [
    ("scores", {"temperature": 0.05}, "spearman", 0.9),  # where CoSENT comes near to zero
    ("scores", {"loss": "cosine_mse"}, "spearman", 0.9),
    ("labels", {"temperature": 0.05}, "ap", 0.95),
    ("pairs", {}, "recall@1", 0.9),
    ("triplets", {"matryoshka_sizes": [8]}, "triplet_accuracy", 0.95),
]


def rows_of(problem: str) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)

    def text() -> str:
        return " ".join(rng.choice(WORDS, rng.integers(3, 8)))

    rows: list[dict[str, Any]] = []
    for number in range(32):
        row: dict[str, Any] = {"text1": text(), "text2": text()}
        if problem == "scores":
            row["score"] = float(number % 6)
        elif problem == "labels":
            row["label"] = number % 2
        elif problem == "triplets":
            row["negative"] = text()
        rows.append(row)
    return rows


def losses_of(model: PretrainedModel, batch: PackedBatch, steps: int) -> list[float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        loss, _ = model.compute_loss(batch)
        optimizer.zero_grad()
        loss.mean.backward()
        optimizer.step()
        losses.append(loss.mean.item())
    return losses


@pytest.mark.parametrize(("problem", "settings", "figure", "least"), SETTINGS)
def test_thirty_two_rows_are_learned(problem, settings, figure, least):
    rows = rows_of(problem)
    task = learn_task("sentence-similarity", as_rows(rows), settings)
    model = task.adopt(small_model("", dropout=0.0))
    task.prepare_model(model)
    batch = task.collate(task.encode(rows, range(32), model.tokenizer, with_labels=True))
    losses = losses_of(model, batch, 60)
    found = evaluate_rows(Engine(model, precision="fp32"), task, as_rows(rows), model.tokenizer)
    assert losses[-1] < losses[0] / 2
    assert found.metrics[figure] >= least


def test_the_trainer_takes_a_bare_backbone_and_saves_what_encodes(tmp_path: Path):
    bare = small_model("", dropout=0.0)
    before = bare.encode("the film", precision="fp32")
    rows = rows_of("scores")
    arguments = small_arguments(
        tmp_path / "run", num_train_epochs=2, metric_for_best_model="spearman"
    )
    trainer = Trainer(bare, arguments, rows, rows, task="sentence-similarity")
    trainer.callbacks = [c for c in trainer.callbacks if "Html" not in type(c).__name__]
    trainer.train()
    assert isinstance(trainer.model, SentenceModel)
    trained = trainer.model.encode("the film", precision="fp32")
    assert not np.allclose(trained, before, atol=1e-4)
    assert np.array_equal(bare.encode("the film", precision="fp32"), trained)
    saved = load_model(tmp_path / "run")
    assert np.array_equal(saved.encode("the film", precision="fp32"), trained)
    again = Trainer.from_pretrained(tmp_path / "run")
    figures = again.evaluate(rows)
    assert figures["eval_spearman"] == pytest.approx(trainer.evaluate()["eval_spearman"], abs=0.02)


def test_scores_of_pairs_are_learned_by_a_model_that_reads_both_texts():
    rows = rows_of("scores")
    task = learn_task("text-classification", as_rows(rows))
    assert task.settings.to_dict()["problem"] == "regression"
    model = small_model(num_labels=1, dropout=0.0)
    task.prepare_model(model)
    batch = task.collate(task.encode(rows, range(32), model.tokenizer, with_labels=True))
    losses = losses_of(model, batch, 80)
    assert losses[-1] < losses[0] / 10
