"""What a model gives for raw texts is a data set, which the trainer takes as raw rows."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from abrazo.data.collate import (
    DataCollatorForLanguageModeling,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
)
from abrazo.errors import DataError, TrainingError
from abrazo.heads.outputs import SequenceClassifierOutput
from abrazo.models.base import PretrainedModel
from abrazo.models.bert import BertModel
from abrazo.models.llama import LlamaModel
from abrazo.models.sentence import SentenceModel
from abrazo.tasks.auto import task_for_model
from abrazo.tokenization.bert import BertTokenizer
from abrazo.training.trainer import Trainer
from helpers.several import two_task_model, two_task_rows
from helpers.tiny import VOCAB, tiny_rows, tiny_tokenizer
from helpers.training import assert_same_weights, small_arguments, small_model, small_trainer
from helpers.writers import tiny_bart, tiny_llama

ROWS = tiny_rows(24)
TEXTS = [row["text"] for row in ROWS]
LABELS = [row["label"] for row in ROWS]
CLASSIFIER = "sequence_classification"


def trained(model: PretrainedModel, data: Any, **options: Any) -> Trainer:
    """Train for an epoch."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(model, small_arguments(Path(folder), num_train_epochs=1), data, **options)
        trainer.callbacks = []
        trainer.train()
    return trainer


@pytest.fixture
def uncomputed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no model compute the output of raw texts."""
    monkeypatch.setattr(PretrainedModel, "output_of", None)


@pytest.mark.usefixtures("uncomputed")
def test_training_on_an_output_is_training_on_its_rows() -> None:
    by_rows, by_output, by_other = (small_model(seed=0) for _ in range(3))
    trained(by_rows, ROWS)
    trained(by_output, by_output(TEXTS, labels=LABELS))
    assert_same_weights(by_rows, by_output)
    trained(by_other, small_model(seed=7)(TEXTS, labels=LABELS))
    assert_same_weights(by_rows, by_other)
    assert by_other.config.labels == ["bad", "good"]


@pytest.mark.usefixtures("uncomputed")
def test_outputs_of_a_model_of_several_tasks_are_rows_by_task() -> None:
    rows = two_task_rows(8, 8)
    by_rows, by_outputs = (two_task_model(seed=0) for _ in range(2))
    trained(by_rows, rows)
    data = {
        "intent": by_outputs(TEXTS[:8], task="intent", labels=LABELS[:8]),
        "slots": by_outputs(
            [row["tokens"] for row in rows["slots"]],
            task="slots",
            labels=[row["tags"] for row in rows["slots"]],
        ),
    }
    trained(by_outputs, data)
    assert_same_weights(by_rows, by_outputs)


def test_an_output_evaluates_and_is_predicted_for(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, num_train_epochs=1)
    trainer.train()
    output = trainer.model(TEXTS, labels=LABELS)
    figures = trainer.evaluate(output)
    assert figures["eval_loss"] == pytest.approx(output.loss.item(), abs=1e-5)
    predicted = trainer.predict(trainer.model(TEXTS)).predictions
    torch.testing.assert_close(torch.from_numpy(predicted), output.logits.detach())


def test_a_data_set_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    other = small_model()
    other.tokenizer = BertTokenizer([*VOCAB[:5], *reversed(VOCAB[5:])], model_max_length=64)
    data = other(TEXTS, labels=LABELS)
    words = "made by calling a BertForSequenceClassification with another tokenizer"
    with pytest.raises(DataError, match=words):
        trained(small_model(), data)
    with pytest.raises(DataError, match=words):
        trained(small_model(), data, data_collator=DataCollatorWithPadding(tiny_tokenizer()))
    with pytest.raises(DataError, match=words):
        small_trainer(tmp_path).evaluate(data)
    with pytest.raises(DataError, match=words):
        trained(two_task_model(), {**two_task_rows(), "intent": data})
    trained(other, data)


@pytest.mark.usefixtures("uncomputed")
def test_every_task_learns_from_its_texts() -> None:
    tagger = small_model("token_classification", num_labels=3)
    tags = [["B-PER", "I-PER", "O"] if n % 2 else ["O", "O", "O"] for n in range(8)]
    words = [["anna", "maria", "works"]] * 8
    assert trained(tagger, tagger(words, labels=tags)).model.config.labels == [
        "O",
        "B-PER",
        "I-PER",
    ]

    reader = small_model("question_answering")
    questions, answers = ["where", "who"] * 4, ["paris", ""] * 4
    trained(reader, reader(["anna lives in paris"] * 8, questions, answers))

    guesser = small_model("masked_lm")
    trained(guesser, guesser(TEXTS, return_tensors="pt"))
    trained(guesser, guesser(["a [MASK] film"] * 8, labels=["a good film"] * 8))

    for head in ("next_sentence", "pretraining"):
        pairs = small_model(head)
        trained(pairs, pairs(TEXTS, TEXTS[1:] + TEXTS[:1], labels=[0, 1] * 12))

    sentences = SentenceModel(small_model(""))
    scores = [(n % 5) / 4 for n in range(23)]
    trained(sentences, sentences(TEXTS[:-1], TEXTS[1:], labels=scores))
    assert trained(sentences, sentences(TEXTS[:-1], TEXTS[1:])).task.settings.problem == "pairs"
    triplets = sentences(TEXTS[:-2], TEXTS[1:-1], TEXTS[2:])
    assert trained(sentences, triplets).task.settings.problem == "triplets"


@pytest.mark.usefixtures("uncomputed")
def test_a_bare_backbone_learns_masked_words_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    bare = small_model("")
    learner = trained(bare, bare(TEXTS, return_tensors="pt")).model
    assert learner.head_name == "masked_lm"
    assert "it learns to guess masked words" in caplog.text
    collator = DataCollatorForLanguageModeling(tiny_tokenizer(), mlm_probability=0.5)
    assert trained(bare, bare(TEXTS), data_collator=collator).model.head_name == "masked_lm"


def test_a_bare_backbone_of_a_trained_folder_learns_masked_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = small_model("pretraining")
    task_for_model(whole).prepare_model(whole)
    whole.save_pretrained(tmp_path)
    bare = BertModel.from_pretrained(tmp_path)
    assert trained(bare, [{"text": text} for text in TEXTS]).model.head_name == "masked_lm"
    assert "it learns to guess masked words" in caplog.text


@pytest.mark.parametrize("collates", [False, True])
def test_a_bare_decoder_learns_next_words(collates: bool, caplog: pytest.LogCaptureFixture) -> None:
    whole = tiny_llama()
    bare = LlamaModel(whole.config)
    bare.tokenizer = whole.tokenizer
    output = bare(TEXTS)
    assert output.last_hidden_state.shape == (
        24,
        max(len(row["input_ids"]) for row in output.dataset),
        32,
    )
    collator = DataCollatorForLanguageModeling(whole.tokenizer, mlm=False) if collates else None
    assert trained(bare, output, data_collator=collator).model.head_name == "causal_lm"
    assert "it learns to guess next words" in caplog.text


def test_a_bare_encoder_does_not_learn_words_that_it_sees() -> None:
    bare = small_model("")
    collator = DataCollatorForLanguageModeling(tiny_tokenizer(), mlm=False)
    with pytest.raises(DataError, match="no head to train"):
        trained(bare, bare(TEXTS), data_collator=collator)


def test_models_that_write_learn_from_texts() -> None:
    model = tiny_bart()
    alone = [model(text, labels=target) for text, target in zip(TEXTS, LABELS, strict=True)]
    data = model(TEXTS, labels=LABELS)
    for line, one in zip(data.logits, alone, strict=True):
        torch.testing.assert_close(line[: one.logits.shape[1]], one.logits[0], atol=1e-5, rtol=1e-4)
    loss = trained(model, data).state.train_loss
    assert loss == pytest.approx(data.loss.item(), rel=0.1)


def test_collators_read_encoded_rows() -> None:
    by_rows, by_collator = (
        small_model(id2label={0: "bad", 1: "good"}, dropout=0.0) for _ in range(2)
    )
    data = by_collator(TEXTS, labels=LABELS)
    expected = trained(by_rows, data).state.train_loss
    collator = DataCollatorWithPadding(tiny_tokenizer())
    trainer = trained(by_collator, data, data_collator=collator, eval_dataset=data)
    assert trainer.state.train_loss == pytest.approx(expected, rel=1e-5)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(data.loss.item(), abs=1e-4)
    assert trainer.evaluate(data)["eval_loss"] == pytest.approx(data.loss.item(), abs=1e-4)


def test_collator_of_tags_serves_a_loader_and_the_trainer() -> None:
    model = small_model("token_classification", num_labels=3)
    words = [["anna", "lives", "in", "paris"], ["tom", "works"]] * 8
    tags = [["B-PER", "O", "O", "O"], ["B-PER", "I-PER"]] * 8
    data = model(words, labels=tags)
    collator = DataCollatorForTokenClassification(tiny_tokenizer())
    batch = next(iter(DataLoader(data, batch_size=2, collate_fn=collator)))
    assert batch["labels"].tolist() == [[-100, 1, 0, 0, 0, -100], [-100, 1, 2, -100, -100, -100]]
    torch.testing.assert_close(model(**batch).loss, model(words[:2], labels=tags[:2]).loss)

    rows = [dict(row) for row in Subset(data, range(16))]
    by_loader = trained(model, rows, data_collator=collator)
    assert by_loader.evaluate(rows)["eval_loss"] > 0


class MarginOutput(SequenceClassifierOutput):
    """An output with a loss of its own."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        return torch.nn.functional.multi_margin_loss(logits, labels)


def test_a_loss_of_the_output_class_learns_from_texts_as_from_rows() -> None:
    models = [small_model() for _ in range(3)]
    trained(models[0], ROWS, output_class=MarginOutput)
    trained(models[1], models[1](TEXTS, labels=LABELS), output_class=MarginOutput)
    assert_same_weights(models[0], models[1])
    trained(models[2], ROWS)
    with pytest.raises(AssertionError):
        assert_same_weights(models[0], models[2])


def test_wrong_labels_are_told_before_the_first_step() -> None:
    model = small_model(id2label={0: "bad", 1: "good"})
    data = model(TEXTS[:4], labels=["good", "baad", "bad", "god"])
    with pytest.raises(TrainingError, match=r'row 2: label "baad"[\s\S]*row 4: label "god"'):
        trained(model, data)
