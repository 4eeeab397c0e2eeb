"""The loop: what a step learns from, what is kept as the best, and everything users bring."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from abrazo.data.dataset import Dataset
from abrazo.errors import ConfigError, DataError
from abrazo.heads.outputs import SequenceClassifierOutput
from abrazo.training.callbacks.base import Callback
from abrazo.training.callbacks.early_stopping import EarlyStoppingCallback
from abrazo.training.trainer import Trainer
from helpers.tiny import tiny_rows, tiny_tokenizer
from helpers.training import (
    assert_same_weights,
    small_model,
    small_trainer,
)


class TokenisedRows(torch.utils.data.Dataset[dict[str, Any]]):
    """What people write: tokenised dicts, padded, perhaps with a batch dimension of 1."""

    def __init__(self, rows: list[dict[str, Any]], *, batched: bool) -> None:
        self.rows, self.batched, self.tokenizer = rows, batched, tiny_tokenizer()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        row = self.rows[number]
        encoded = self.tokenizer(
            row["text"], padding="max_length", max_length=40, return_tensors="pt"
        )
        label = torch.tensor(["bad", "good"].index(row["label"]))
        values = {**encoded, "labels": label}
        if self.batched:
            return values
        return {name: value[0] if value.dim() else value for name, value in values.items()}


# What a step learns from


@pytest.mark.parametrize(("batch", "accumulation"), [(4, 4), (8, 2), (5, 4)])
def test_accumulated_steps_are_those_of_one_large_batch(
    tmp_path: Path, batch: int, accumulation: int
) -> None:
    def trained(name: str, rows: int, times: int) -> tuple[Trainer, dict[str, torch.Tensor]]:
        trainer = small_trainer(
            tmp_path / name,
            options={"model": small_model(dropout=0.0, attention_probs_dropout_prob=0.0)},
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=times,
            max_steps=1,
            logging_first_step=True,
            load_best_model_at_end=False,
        )
        trainer.train()
        named = trainer.model.named_parameters()
        return trainer, {name: w.grad for name, w in named if w.grad is not None}

    whole, theirs = trained("whole", batch * accumulation, 1)
    parts, ours = trained("parts", batch, accumulation)
    assert parts.state.loss_sum == pytest.approx(whole.state.loss_sum, rel=1e-6)
    assert parts.state.log_history[0]["grad_norm"] == pytest.approx(
        whole.state.log_history[0]["grad_norm"], rel=1e-5
    )
    assert len(ours) == len(theirs) > 30
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=1e-5)


def test_all_rows_of_an_epoch_are_learned_from_once(tmp_path: Path) -> None:
    seen: list[int] = []

    class Watcher(Callback):
        def on_train_start(self, trainer: Trainer) -> None:
            inner = trainer.stepper.step

            def step(batches: Any, *rest: Any) -> Any:
                seen.extend(row for batch in batches for row in batch.rows)
                assert all(batch.layout.num_rows <= 8 for batch in batches)
                return inner(batches, *rest)

            trainer.stepper.step = step  # type: ignore[method-assign]

    small_trainer(tmp_path, options={"callbacks": [Watcher()]}, num_train_epochs=2).train()
    assert sorted(seen[:40]) == sorted(seen[40:]) == list(range(40))
    assert seen[:40] != seen[40:]


def test_training_overfits_32_rows(tmp_path: Path) -> None:
    model = small_model(dropout=0.0)
    trainer = small_trainer(
        tmp_path,
        options={"model": model, "train_dataset": tiny_rows(32), "eval_dataset": tiny_rows(32)},
        num_train_epochs=25,
        learning_rate=3e-3,
        save_strategy="no",
        eval_strategy="no",
    )
    trainer.train()
    figures = trainer.evaluate()
    assert figures["eval_accuracy"] == 1.0
    assert figures["eval_loss"] < 0.1
    assert trainer.predict("the film is good .").predictions.argmax(-1).tolist() == [1]


def test_bf16_keeps_the_weights_in_fp32(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, precision="auto", bf16=True, num_train_epochs=1)
    trainer.train()
    assert trainer.strategy.precision == "bf16"
    assert {weight.dtype for weight in trainer.model.parameters()} == {torch.float32}
    assert "bf16" in trainer.strategy.describe()


def test_grouping_by_length_changes_the_order_only(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, group_by_length=True, num_train_epochs=1)
    trainer.train()
    rows = np.concatenate([step.rows for step in trainer.feeder.steps(0)])
    assert sorted(rows.tolist()) == list(range(40))


# Best and last


def test_the_best_folder_scores_what_was_reported(tmp_path: Path) -> None:
    trainer = small_trainer(
        tmp_path, metric_for_best_model="accuracy", eval_steps=2, learning_rate=5e-3
    )
    output = trainer.train()
    state = trainer.state
    scores = [e["eval_accuracy"] for e in state.log_history if "eval_accuracy" in e]
    assert state.best_metric == max(scores)
    assert output.metrics["eval_accuracy"] == state.best_metric
    assert json.loads((tmp_path / "best" / "best.json").read_text())["value"] == state.best_metric
    loaded = Trainer.from_pretrained(tmp_path)
    loaded.strategy = trainer.strategy
    assert loaded.evaluate(tiny_rows(16))["eval_accuracy"] == state.best_metric
    assert_same_weights(loaded.model, trainer.model)


def test_without_evaluation_the_last_weights_are_the_best(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = small_trainer(tmp_path, options={"eval_dataset": None}, save_strategy="no")
    with caplog.at_level(logging.INFO, "abrazo"):
        trainer.train()
    assert "No evaluation has chosen the best weights" in caplog.text
    assert (tmp_path / "checkpoint-15").is_dir()
    assert_same_weights(Trainer.from_pretrained(tmp_path).model, trainer.model)


def test_early_stopping_keeps_the_best(tmp_path: Path) -> None:
    trainer = small_trainer(
        tmp_path,
        options={"callbacks": [EarlyStoppingCallback(2)]},
        learning_rate=0.5,
        num_train_epochs=30,
    )
    trainer.train()
    assert trainer.state.global_step < 150
    assert "was not better than" in trainer.state.stop_reason
    assert trainer.evaluate()["eval_loss"] == trainer.state.best_metric


# What users bring


@pytest.mark.parametrize("batched", [True, False])
def test_tokenised_data_sets_train_as_raw_ones_do(tmp_path: Path, batched: bool) -> None:
    raw = small_trainer(tmp_path / "raw", num_train_epochs=1)
    raw.train()
    tokenised = small_trainer(
        tmp_path / "tokenised",
        options={
            "train_dataset": TokenisedRows(tiny_rows(40), batched=batched),
            "eval_dataset": TokenisedRows(tiny_rows(16), batched=batched),
        },
        num_train_epochs=1,
    )
    tokenised.train()
    assert_same_weights(tokenised.model, raw.model)
    assert tokenised.state.best_metric == raw.state.best_metric
    rows = TokenisedRows(tiny_rows(4), batched=batched)
    np.testing.assert_array_equal(
        tokenised.predict(rows).predictions, raw.predict(tiny_rows(4)).predictions
    )


def test_a_collator_gets_rows_and_gives_padded_tensors(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()

    def collate(rows: list[Any]) -> dict[str, Any]:
        encoded = tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
        labels = [["bad", "good"].index(row["label"]) for row in rows]
        return {**encoded, "labels": torch.tensor(labels)}

    plain = small_trainer(
        tmp_path / "plain", options={"model": small_model(dropout=0.0)}, num_train_epochs=1
    )
    plain.train()
    own = small_trainer(
        tmp_path / "own",
        options={"model": small_model(dropout=0.0), "data_collator": collate},
        num_train_epochs=1,
    )
    own.train()
    assert own.state.loss_sum == pytest.approx(plain.state.loss_sum, rel=1e-4)
    assert own.state.best_metric == pytest.approx(plain.state.best_metric, rel=1e-3)
    assert own.predict("a fine film").predictions.shape == (1, 2)


def test_a_collators_mistake_is_told_before_the_first_step(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, options={"data_collator": lambda rows: {"labels": [1]}})
    with pytest.raises(Exception, match="`data_collator` must return a mapping with `input_ids`"):
        trainer.train()


def per_target(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, labels, reduction="none")


class OwnOutput(SequenceClassifierOutput):
    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:  # type: ignore
        return F.cross_entropy(logits, labels)


@pytest.mark.parametrize(
    "options",
    [
        {"loss": F.cross_entropy},
        {"loss": per_target},
        {"output_class": OwnOutput},
    ],
    ids=["mean", "per target", "output class"],
)
def test_an_own_loss_is_minimised(tmp_path: Path, options: dict[str, Any]) -> None:
    plain = small_trainer(tmp_path / "plain", num_train_epochs=1)
    plain.train()
    own = small_trainer(tmp_path / "own", options=options, num_train_epochs=1)
    own.train()
    assert own.state.loss_sum == pytest.approx(plain.state.loss_sum, rel=1e-5)


@pytest.mark.parametrize("loss", ["weighted", "focal", "label_smoothing"])
def test_named_losses_differ_from_the_plain_one(tmp_path: Path, loss: str) -> None:
    rows = {"train_dataset": tiny_rows(40)[:37:3] + tiny_rows(40)[1::2]}
    plain = small_trainer(tmp_path / "plain", options=rows, max_steps=2)
    own = small_trainer(tmp_path / "own", options={**rows, "loss": loss}, max_steps=2)
    plain.train()
    own.train()
    assert np.isfinite(own.state.loss_sum)
    assert own.state.loss_sum != plain.state.loss_sum


def test_own_metrics_are_watched(tmp_path: Path) -> None:
    def compute(found: Any) -> dict[str, float]:
        predictions, labels = found
        return {"hits": float((predictions.argmax(-1) == labels).sum())}

    trainer = small_trainer(
        tmp_path,
        options={"compute_metrics": compute},
        metric_for_best_model="hits",
        greater_is_better=True,
    )
    trainer.train()
    figures = trainer.evaluate()
    assert figures["eval_hits"] == trainer.state.best_metric
    assert "eval_accuracy" not in figures


def test_a_callback_sees_all_moments_in_order_and_can_stop(tmp_path: Path) -> None:
    class Witness(Callback):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def __getattribute__(self, name: str) -> Any:
            if name.startswith("on_"):
                self.seen.append(name)
            return super().__getattribute__(name)

        def on_epoch_end(self, trainer: Trainer) -> None:
            trainer.stop("enough")

    witness = Witness()
    trainer = small_trainer(tmp_path, options={"callbacks": [witness]}, logging_strategy="epoch")
    trainer.train()
    assert witness.seen == [
        "on_train_start",
        "on_epoch_start",
        *["on_step_end"] * 5,
        "on_log",
        "on_log",
        "on_evaluate",
        "on_save",
        "on_epoch_end",
        "on_log",
        "on_save",
        "on_train_end",
    ]
    assert trainer.state.stop_reason == "enough"


@pytest.mark.parametrize(
    "data",
    [
        lambda rows: rows,
        Dataset.from_list,
        lambda rows: {name: [row[name] for row in rows] for name in rows[0]},
        lambda rows: Dataset.from_list(rows).to_pandas(),
        lambda rows: Dataset.from_list(rows).to_arrow(),
    ],
    ids=["list", "Dataset", "columns", "pandas", "arrow"],
)
def test_rows_may_come_in_any_form(tmp_path: Path, data: Any) -> None:
    trainer = small_trainer(
        tmp_path, options={"train_dataset": data(tiny_rows(24))}, num_train_epochs=1
    )
    assert trainer.train().global_step == 3


def test_columns_and_labels_are_found_in_the_rows(tmp_path: Path) -> None:
    rows = [{"review": row["text"], "sentiment": row["label"]} for row in tiny_rows(24)]
    trainer = small_trainer(
        tmp_path, options={"train_dataset": rows, "eval_dataset": rows}, num_train_epochs=1
    )
    trainer.train()
    assert tuple(trainer.model.config.labels) == ("bad", "good")
    loaded = Trainer.from_pretrained(tmp_path)
    assert "test_accuracy" in loaded.predict(rows).metrics


# Predicting and saving


def test_predictions_come_one_line_a_row(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, num_train_epochs=1)
    assert trainer.predict("a fine film").predictions.shape == (1, 2)
    several = trainer.predict(["a fine film", "坏", "the end"])
    assert several.predictions.argmax(-1).shape == (3,)
    assert several.label_ids is None
    rows = trainer.predict(tiny_rows(5))
    assert rows.label_ids is not None
    assert rows.label_ids.tolist() == [0, 1, 0, 1, 0]
    assert set(rows.metrics) >= {"test_loss", "test_accuracy"}
    encoded = trainer.tokenizer(["a fine film", "坏"], padding=True, return_tensors="pt")
    np.testing.assert_array_equal(trainer.predict(encoded).predictions, several.predictions[:2])


def test_a_saved_model_is_loaded_by_the_trainer(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path / "run", num_train_epochs=1)
    trainer.train()
    trainer.save_model(tmp_path / "model")
    loaded = Trainer.from_pretrained(tmp_path / "model")
    assert_same_weights(loaded.model, trainer.model)
    assert loaded.tokenizer("film").input_ids == trainer.tokenizer("film").input_ids


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no model"):
        Trainer.from_pretrained(tmp_path)


def test_evaluating_nothing_is_told(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, options={"eval_dataset": None})
    with pytest.raises(ConfigError, match="nothing to evaluate on"):
        trainer.evaluate()
    with pytest.raises(DataError, match="no column `label`"):
        trainer.evaluate([{"text": "a fine film"}])


def test_model_init_makes_the_model(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, options={"model_init": small_model}, num_train_epochs=1)
    assert trainer.train().global_step == 5
    with pytest.raises(ConfigError, match="needs a `model`"):
        Trainer(train_dataset=tiny_rows(8))
