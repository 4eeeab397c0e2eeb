"""What can be known to go wrong is told before the first step, all at once."""

import logging
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from abrazo.data.rows import as_rows
from abrazo.errors import ConfigError, DataError, TrainingError
from abrazo.models.sentence import SentenceModel
from abrazo.tasks.sentence_similarity import SentenceSimilarity
from abrazo.tasks.similarity_rows import SentenceSimilaritySettings
from abrazo.training.callbacks.early_stopping import EarlyStoppingCallback
from abrazo.training.trainer import Trainer
from helpers.tiny import tiny_rows, tiny_tokenizer
from helpers.training import small_arguments, small_model, small_trainer


def refusal(folder: Path, *, options: dict[str, Any] | None = None, **changes: Any) -> str:
    trainer = small_trainer(folder / "run", options=options, **changes)
    with pytest.raises(TrainingError) as caught:
        trainer.train()
    assert not list((folder / "run").glob("checkpoint-*"))
    return str(caught.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    rows = tiny_rows(40)
    rows[3]["text"], rows[17]["text"] = "  ", ""
    message = refusal(
        tmp_path,
        options={
            "train_dataset": rows,
            "eval_dataset": None,
            "callbacks": [EarlyStoppingCallback()],
        },
        metric_for_best_model="acuracy",
        eval_strategy="steps",
        load_best_model_at_end=True,
    )
    for part in (
        "The run cannot start:",
        "row 4: `text` is empty",
        "row 18: `text` is empty",
        "`eval_strategy` is 'steps', but there is no `eval_dataset`",
        "`load_best_model_at_end` needs evaluation",
        "Did you mean `accuracy`?",
    ):
        assert part in message


def test_early_stopping_without_evaluation_is_refused(tmp_path: Path) -> None:
    stopping = {"callbacks": [EarlyStoppingCallback()]}
    message = refusal(tmp_path, options={**stopping, "eval_dataset": None})
    assert "give the Trainer an `eval_dataset`" in message
    message = refusal(tmp_path, options=stopping, eval_strategy="no")
    assert "set `eval_strategy` to 'epoch' or 'steps'" in message


@pytest.mark.parametrize(("count", "size"), [(4, 1), (1, 4)])
def test_batches_of_one_row_are_refused_where_rows_are_compared(
    tmp_path: Path, count: int, size: int
) -> None:
    plain = tiny_rows(2)[0]["text"]
    pairs = [{"text1": plain, "text2": plain}] * count
    options = {"model": SentenceModel(small_model("")), "train_dataset": pairs}
    changes = {"per_device_train_batch_size": size, "eval_strategy": "no"}
    said = refusal(tmp_path, options={**options, "eval_dataset": None}, **changes)
    assert "compares the rows of a batch, which has 1, so nothing would be learned" in said
    scored = [{**pair, "score": float(number % 2)} for number, pair in enumerate(pairs * 2)]
    task = SentenceSimilarity.learn(as_rows(scored), SentenceSimilaritySettings(loss="cosine_mse"))
    assert task.least_rows == 1


def test_a_bad_row_of_the_evaluation_set_is_told_before_training(tmp_path: Path) -> None:
    rows = tiny_rows(16)
    rows[11]["label"] = "goood"
    message = refusal(tmp_path, options={"eval_dataset": rows})
    assert 'row 12: label "goood" is not one of the model\'s labels (bad, good)' in message
    assert "Did you mean `good`?" in message


def test_many_bad_rows_are_cut_short(tmp_path: Path) -> None:
    rows = [{**row, "text": ""} for row in tiny_rows(40)]
    message = refusal(tmp_path, options={"train_dataset": rows})
    assert message.count("is empty") == 10
    assert "There are more such rows in the training data." in message


def test_classes_out_of_range_are_named(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    rows = [
        {"input_ids": tokenizer(row["text"]).input_ids, "labels": number % 3}
        for number, row in enumerate(tiny_rows(12))
    ]
    rows[1]["input_ids"] = [2, 9999, 3]
    rows[4]["input_ids"] = [2] * 99
    message = refusal(tmp_path, options={"train_dataset": rows})
    assert "row 3: the label 2 is out of range: the model has 2 labels, 0 to 1" in message
    assert "row 2: `input_ids` has the id 9999, but the model's vocabulary has" in message
    assert "row 5: there are 99 tokens, but the model reads at most 64" in message


def test_a_tokenizer_of_another_model_is_told(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([f"word{number}" for number in range(9)])
    message = refusal(tmp_path, options={"tokenizer": tokenizer})
    assert "pieces, but the model has embeddings for" in message
    assert "Take the model's own tokenizer" in message


def test_more_labels_than_the_model_has_is_told(tmp_path: Path) -> None:
    trainer = small_trainer(
        tmp_path, options={"train_dataset": tiny_rows(9, labels=("bad", "good", "poor"))}
    )
    with pytest.raises(ConfigError, match="num_labels=3"):
        trainer.train()


def test_long_texts_are_counted_not_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = tiny_rows(24)
    rows[5]["text"] = "film " * 200
    trainer = small_trainer(tmp_path, options={"train_dataset": rows}, num_train_epochs=1)
    with caplog.at_level(logging.WARNING, "abrazo"):
        trainer.train()
    assert "1 of 24 training rows are longer than the model reads and are cut" in caplog.text


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(TrainingError, match=r"is a file\. Choose another folder"):
        small_trainer(tmp_path / "run" / "results").train()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_folder_closed_to_writing_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(TrainingError, match="may not be written to"):
        small_trainer(tmp_path / "run").train()


def test_a_disk_too_small_for_a_checkpoint_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        total: int
        used: int
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - 5, 5))
    assert "A checkpoint takes about" in refusal(tmp_path)


def test_nothing_to_train_on_is_told(tmp_path: Path) -> None:
    trainer = Trainer(small_model(), small_arguments(tmp_path))
    with pytest.raises(TrainingError, match="nothing to train on"):
        trainer.train()
    with pytest.raises(DataError, match="no rows"):
        small_trainer(tmp_path, options={"train_dataset": []})


def test_contradicting_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one thing; leave one out"):
        small_trainer(
            tmp_path, options={"compute_metrics": lambda found: {}, "metrics": lambda found: {}}
        )
    with pytest.raises(ConfigError, match=r"`loss` must be one of .*Did you mean `focal`"):
        small_trainer(tmp_path, options={"loss": "focl"}).train()
    with pytest.raises(ConfigError, match=r"this machine has none\. There is .*'cpu'"):
        small_trainer(tmp_path, device="xpu")
