"""Training on hidden words, drawn by counter: runs resume and batches add up exactly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abrazo.data.collate import DataCollatorForLanguageModeling
from abrazo.data.corpus import Corpus
from abrazo.data.sentence_pairs import SentencePairs
from abrazo.data.text_datasets import TextDataset
from abrazo.errors import TrainingError
from abrazo.models.bert import BertForMaskedLM
from abrazo.tokenization.training import train_tokenizer
from abrazo.training.callbacks.html_report import HtmlReportCallback
from abrazo.training.feeding import Feeder
from abrazo.training.pretraining import PretrainingArguments, PretrainingOptions, pretrain
from abrazo.training.trainer import Trainer
from helpers.tiny import tiny_rows, tiny_tokenizer
from helpers.training import (
    CrashAt,
    CrashError,
    assert_same_weights,
    small_arguments,
    small_model,
    weights_of,
    without_timings,
)

TEXTS = [{"text": row["text"]} for row in tiny_rows(24)] + [{"text": "the film was good . " * 30}]


def corpus_file(folder: Path) -> Path:
    texts = ["The film was good. It was lovely and great.", "We live in Paris. Tom works at it."]
    path = folder / "corpus.txt"
    path.write_text("\n\n".join(texts * 8), encoding="utf-8")
    return path


def data_of(kind: str, folder: Path) -> tuple[Any, str, dict[str, Any]]:
    """Return rows, the head that learns from them, and further options of the trainer."""
    path = corpus_file(folder)
    if kind == "pairs":
        return SentencePairs(Corpus(path)), "pretraining", {}
    if kind == "ids":
        return TextDataset(tiny_tokenizer(), path, 16), "masked_lm", {}
    if kind == "collator":
        rows = [dict(tiny_tokenizer()(row["text"])) for row in tiny_rows(20)]
        return (
            rows,
            "masked_lm",
            {"data_collator": DataCollatorForLanguageModeling(tiny_tokenizer())},
        )
    return TEXTS, "masked_lm", {}


def trainer_of(kind: str, folder: Path, *, callbacks: tuple = (), **changes: Any) -> Trainer:
    folder.mkdir(parents=True, exist_ok=True)
    rows, head, options = data_of(kind, folder)
    trainer = Trainer(
        small_model(head),
        small_arguments(folder / "run", num_train_epochs=2, **changes),
        rows,
        rows,
        callbacks=callbacks,
        **options,
    )
    trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, HtmlReportCallback)]
    return trainer


@pytest.mark.parametrize("kind", ["texts", "pairs", "ids", "collator"])
def test_a_resumed_run_hides_the_same_words(tmp_path: Path, kind: str) -> None:
    whole = trainer_of(kind, tmp_path / "whole", save_steps=2)
    whole.train()
    with pytest.raises(CrashError):
        trainer_of(kind, tmp_path / "broken", save_steps=2, callbacks=(CrashAt(3),)).train()
    resumed = trainer_of(kind, tmp_path / "broken", save_steps=2)
    resumed.train()
    assert_same_weights(resumed.model, whole.model)
    assert without_timings(resumed.state.log_history) == without_timings(whole.state.log_history)


@pytest.mark.parametrize("kind", ["texts", "pairs", "collator"])
def test_one_batch_of_16_and_4_of_4_give_the_same_gradient(tmp_path: Path, kind: str) -> None:
    rows, head, options = data_of(kind, tmp_path)
    trainer = Trainer(small_model(head, dropout=0.0), small_arguments(tmp_path), rows, **options)
    model = trainer.model.eval()
    trainer.task.prepare_model(model)
    gradients, means = [], []
    for size, accumulation in ((16, 1), (4, 4)):
        feeder = Feeder(
            rows,
            trainer.task,
            model.tokenizer,
            seed=3,
            batch_size=size,
            accumulation=accumulation,
            collator=trainer.data_collator,
            per_token=True,
        )
        batches = next(feeder.steps(0)).batches
        assert len(batches) >= accumulation
        model.zero_grad()
        losses = [model.compute_loss(batch)[0] for batch in batches]
        count = sum(int(loss.count) for loss in losses)
        mean = torch.stack([loss.total for loss in losses]).sum() / count
        mean.backward()
        means.append(mean.item())
        gradients.append({n: w.grad.clone() for n, w in model.named_parameters()})
    assert means[0] == pytest.approx(means[1], rel=1e-5)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-5)


def test_long_texts_do_not_make_large_batches() -> None:
    model = small_model("masked_lm")
    trainer = Trainer(model, small_arguments(Path("unused")), TEXTS)
    trainer.task.prepare_model(model)
    feeder = Feeder(TEXTS, trainer.task, model.tokenizer, seed=1, batch_size=2)
    batches = [batch for step in feeder.steps(0) for batch in step.batches]
    assert max(batch.layout.num_rows for batch in batches) == 2
    assert sum(batch.layout.num_rows for batch in batches) > len(TEXTS)


def test_each_epoch_hides_other_words() -> None:
    model = small_model("masked_lm")
    trainer = Trainer(model, small_arguments(Path("unused")), TEXTS)
    trainer.task.prepare_model(model)
    feeder = Feeder(TEXTS, trainer.task, model.tokenizer, seed=1, batch_size=25)

    def hidden(epoch: int) -> dict[int, list[int]]:
        by_row: dict[int, list[int]] = {}
        for step in feeder.steps(epoch):
            for batch in step.batches:
                parts = np.split(batch.labels.numpy(), batch.layout.offsets[1:-1])
                for row, labels in zip(batch.rows, parts, strict=True):
                    by_row[row] = labels.tolist()
        return by_row

    assert hidden(0) == hidden(0)
    assert hidden(0) != hidden(1)


def test_a_bare_backbone_learns_words_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bare = small_model("")
    before = weights_of(bare)
    trainer = Trainer(bare, small_arguments(tmp_path, max_steps=2), TEXTS)
    assert "learns to guess masked words" in caplog.text
    assert isinstance(trainer.model, BertForMaskedLM)
    trainer.train()
    after = weights_of(bare)
    assert bare.pooler is not None
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert "backbone.embeddings.tokens.weight" in changed
    assert not any("pooler" in name for name in changed)
    assert BertForMaskedLM.from_pretrained(tmp_path / "best").head_name == "masked_lm"


def test_a_backbone_and_labelled_rows_are_still_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no head"):
        Trainer(small_model(""), small_arguments(tmp_path), tiny_rows(8))


def test_pretraining_lowers_both_losses(tmp_path: Path) -> None:
    trainer = trainer_of("pairs", tmp_path, max_steps=40, learning_rate=3e-3)
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_perplexity"] < before["eval_perplexity"] / 3
    assert after["eval_loss"] < before["eval_loss"] - 1


def test_pretraining_from_a_file_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = corpus_file(tmp_path)
    train_tokenizer(path, vocab_size=120).save_pretrained(tmp_path / "tokenizer")
    options = PretrainingOptions(
        objectives="mlm,nsp",
        config="tiny",
        tokenizer=str(tmp_path / "tokenizer"),
        block_size=32,
        whole_words=True,
    )

    def run(folder: str, *callbacks: Any) -> Trainer:
        args = PretrainingArguments(
            output_dir=str(tmp_path / folder),
            max_steps=4,
            save_steps=1,
            logging_steps=2,
            per_device_train_batch_size=4,
            precision="fp32",
            disable_tqdm=True,
        )
        return pretrain([path], options, args, callbacks=callbacks)

    whole = run("whole")
    with pytest.raises(CrashError):
        run("broken", CrashAt(2))
    resumed = run("broken")
    assert_same_weights(resumed.model, whole.model)
    rates = [entry for entry in whole.state.log_history if "share_of_peak" in entry]
    assert rates
    assert all(0 < entry["share_of_peak"] < 2 for entry in rates)


def test_pretraining_learns_its_tokenizer_once(tmp_path: Path) -> None:
    path = corpus_file(tmp_path)
    args = PretrainingArguments(
        output_dir=str(tmp_path / "run"), max_steps=1, precision="fp32", disable_tqdm=True
    )
    options = PretrainingOptions(config="tiny", vocab_size=120, block_size=32)
    first = pretrain(path, options, args).tokenizer.get_vocab()
    again = pretrain(path, options, args.replace(max_steps=2, resume_from_checkpoint=True))
    assert again.tokenizer.get_vocab() == first
    assert again.state.global_step == 2
    assert len(first) <= 120


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"objectives": "mlm,nps"}, "`objectives` must be mlm, nsp or sop"),
        ({"objectives": "nsp,sop"}, "`objectives` must be"),
        ({"config": "huge"}, "`config` must be one of tiny, small, base"),
        ({"block_size": 2}, "`block_size` must be at least 8"),
        ({"model": "a", "tokenizer": "b"}, "leave `tokenizer` out"),
    ],
)
def test_wrong_options_of_pretraining_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PretrainingOptions(**values)


def test_pairs_are_needed_for_a_model_that_judges_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="SentencePairs"):
        Trainer(small_model("pretraining"), small_arguments(tmp_path), TEXTS).train()
    bad = [{"text": "a", "text_pair": "b", "next_sentence_label": 3}] * 2
    with pytest.raises(TrainingError, match="row 1: `next_sentence_label` must be 0"):
        Trainer(small_model("next_sentence"), small_arguments(tmp_path), bad).train()
