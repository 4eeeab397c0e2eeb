"""A model called on raw texts: the tensors, equal to those of the tokenised and padded call."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import abrazo.inference.raw_text as raw_text
from abrazo.data.collate import DataCollatorForTokenClassification
from abrazo.data.dataset import Dataset
from abrazo.errors import ConfigError, DataError, TokenizerError
from abrazo.heads.outputs import ModelOutput
from abrazo.inference.pipeline import pipeline
from abrazo.models.base import PretrainedModel
from abrazo.models.bert import BertForMaskedLM, BertForNextSentencePrediction
from abrazo.models.sentence import SentenceModel
from abrazo.models.sharing import with_head
from abrazo.tasks.auto import task_for_model
from abrazo.tasks.text_classification import TextClassification
from helpers.several import two_task_model
from helpers.tiny import tiny_bert, tiny_folder, tiny_tokenizer

TEXTS = ["the film is good", "boring .", "这部电影很好看。", "it was very very bad , and i"]
OTHERS = ["a film", "it is awful and dull .", "好", "we live"]
TAGS = {0: "O", 1: "B-PER", 2: "I-PER"}


def model_for(head: str, **changes: Any) -> PretrainedModel:
    model = tiny_bert(head, **changes)
    model.tokenizer = tiny_tokenizer()
    return model


CLASSIFIER = model_for("sequence_classification", id2label={0: "bad", 1: "good"})
TAGGER = model_for("token_classification", id2label=TAGS)
READER = model_for("question_answering")
GUESSER = model_for("masked_lm")
BARE = model_for("")


def tokenised(model: PretrainedModel, *texts: list[str], **labels: Any) -> ModelOutput:
    encoding = model.tokenizer(*texts, padding=True, return_tensors="pt")
    output: ModelOutput = model(**encoding, **labels)
    return output


def assert_equal(first: ModelOutput, second: ModelOutput) -> None:
    assert list(first.keys()) == list(second.keys())
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


# What is computed ------------------------------------------------------------------------------


def test_classes_are_as_of_the_padded_call() -> None:
    expected = tokenised(CLASSIFIER, TEXTS, labels=torch.tensor([1, 0, 1, 0]))
    for labels in (["good", "bad", "good", "bad"], [1, 0, 1, 0], torch.tensor([1, 0, 1, 0])):
        assert_equal(CLASSIFIER(TEXTS, labels=labels), expected)
    assert_equal(CLASSIFIER(TEXTS), tokenised(CLASSIFIER, TEXTS))


@pytest.mark.parametrize(
    "as_column",
    [
        tuple,
        np.array,
        lambda texts: np.array(texts, dtype=object),
        pd.Series,
        pa.array,
        lambda texts: pa.chunked_array([texts]),
        lambda texts: Dataset.from_dict({"text": texts})["text"],
    ],
    ids=["tuple", "numpy", "objects", "pandas", "arrow", "chunked", "column"],
)
def test_texts_may_come_in_any_column(as_column: Any) -> None:
    labels = as_column(["good", "bad", "good", "bad"])
    expected = tokenised(CLASSIFIER, TEXTS, labels=torch.tensor([1, 0, 1, 0]))
    assert_equal(CLASSIFIER(as_column(TEXTS), labels=labels), expected)


def test_one_text_gives_one_row() -> None:
    output = CLASSIFIER(TEXTS[0], labels="good")
    assert len(output) == 1
    assert_equal(output, tokenised(CLASSIFIER, [TEXTS[0]], labels=torch.tensor([1])))
    assert_equal(CLASSIFIER(TEXTS[0], labels=[1]), output)


def test_pairs_come_as_two_lists_or_as_pairs() -> None:
    expected = tokenised(CLASSIFIER, TEXTS, OTHERS)
    assert_equal(CLASSIFIER(TEXTS, OTHERS), expected)
    assert_equal(CLASSIFIER(TEXTS, text_pairs=OTHERS), expected)
    assert_equal(CLASSIFIER(list(zip(TEXTS, OTHERS, strict=True))), expected)
    assert_equal(CLASSIFIER(TEXTS, "a film"), tokenised(CLASSIFIER, TEXTS, ["a film"] * 4))


def test_lists_of_labels_and_numbers_are_learned_as_what_they_are() -> None:
    several = model_for("sequence_classification", num_labels=3)
    marks = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])
    output = several(TEXTS, labels=[["a", "c"], [], ["b"], ["a", "b", "c"]])
    assert_equal(output, tokenised(several, TEXTS, labels=marks))

    named = model_for("sequence_classification", id2label=dict(enumerate("abc")))
    assert_equal(named(TEXTS, labels=[["a", "c"], [], ["b"], ["a", "b", "c"]]), output)
    with pytest.raises(DataError, match=r"row 2: .*names a label twice"):
        _ = named(TEXTS[:2], labels=[["a"], ["b", "b"]]).loss
    trained = model_for(
        "sequence_classification",
        id2label=dict(enumerate("abc")),
        problem_type="single_label_classification",
    )
    with pytest.raises(DataError, match="is not one of the model's labels"):
        _ = trained(TEXTS[:1], labels=[["a"]]).loss

    number = model_for("sequence_classification", num_labels=1)
    scores = [0.5, 3, -1.25, 2]
    expected = tokenised(number, TEXTS, labels=torch.tensor(scores))
    assert_equal(number(TEXTS, labels=scores), expected)


def test_labels_without_names_are_learned_in_their_order() -> None:
    unnamed = model_for("sequence_classification", num_labels=2)
    output = unnamed(TEXTS, labels=["so", "no", "so", "no"])
    assert_equal(output, tokenised(unnamed, TEXTS, labels=torch.tensor([1, 0, 1, 0])))
    assert_equal(unnamed(TEXTS[:1], labels=[1]), unnamed(TEXTS[:1], labels=[True]))
    with pytest.raises(DataError, match=r"2 classes without names.*3 labels \(a, b, c\)"):
        _ = unnamed(TEXTS, labels=["a", "b", "c", "a"]).loss
    with pytest.raises(DataError, match=r"row 1: label 1.0 is not one of"):
        _ = unnamed(TEXTS, labels=[1.0, 0.0, 1.0, 0.0]).loss


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        ([["anna", "works"], ["tom"]], [["B-PER", "O"], ["B-PER"]]),
        (["anna works", "我住在北京。"], [["B-PER", "O"], "BIOOOO"]),
        (["anna works", "tom"], [[(0, 4, "PER")], [{"label": "PER", "start": 0, "end": 3}]]),
        (["anna works", "tom"], [[1, 0], [1]]),
    ],
    ids=["words", "characters", "spans", "numbers"],
)
def test_tags_are_learned_as_the_encoded_rows_say(texts: list[Any], labels: list[Any]) -> None:
    if labels[1] == "BIOOOO":
        labels[1] = ["B-PER", "I-PER", "O", "O", "O", "O"]
    output = TAGGER(texts, labels=labels)
    batch = DataCollatorForTokenClassification(TAGGER.tokenizer)(list(output.dataset))
    assert batch["labels"].max() == 1 + (texts[1] == "我住在北京。")
    assert_equal(output, TAGGER(**batch))


def test_the_tags_of_one_text_are_one_label() -> None:
    assert_equal(
        TAGGER("anna works", labels=["B-PER", "O"]), TAGGER(["anna works"], labels=[[1, 0]])
    )


def test_answers_are_found_and_outputs_unpack_in_order() -> None:
    contexts = ["anna lives in paris", "tom works in berlin and lives in berlin", "the end"]
    questions = ["where", "where is tom", "who"]
    start_logits, end_logits = READER(contexts, questions)
    expected = tokenised(READER, questions, contexts)
    torch.testing.assert_close(start_logits, expected.start_logits)
    torch.testing.assert_close(end_logits, expected.end_logits)

    given = ["paris", {"text": ["berlin"], "answer_start": [33]}, []]
    output = READER(contexts, questions, given)
    places = {
        "start_positions": torch.tensor([6, 12, 0]),
        "end_positions": torch.tensor([6, 12, 0]),
    }
    assert_equal(output, tokenised(READER, questions, contexts, **places))
    assert_equal(READER(contexts, questions, labels=given), output)
    assert_equal(READER(contexts, questions=questions, answers=given), output)
    assert_equal(READER(questions=questions, contexts=contexts, answers=given), output)


def test_one_context_may_be_asked_many_questions() -> None:
    context = "anna lives in paris"
    one_by_one = READER([context] * 2, ["where", "who lives"], ["paris", "anna"])
    assert_equal(READER(context, ["where", "who lives"], ["paris", "anna"]), one_by_one)
    alone = READER(context, "where", ["paris", "in paris"])
    assert alone.dataset[0]["start_positions"] == 6


def test_an_answer_at_several_places_is_told(caplog: pytest.LogCaptureFixture) -> None:
    output = READER(["tom and tom"], ["who"], ["tom"])
    assert output[0]["start_positions"] == 3
    assert "1 of 1 answers stand at several places" in caplog.text


def test_words_at_masks_are_learned() -> None:
    masked = ["the film is [MASK]", "[MASK] lives in [MASK] ."]
    full = ["the film is good", "anna lives in paris ."]
    ids = GUESSER.tokenizer(masked, padding=True, return_tensors="pt").input_ids
    right = GUESSER.tokenizer(full, padding=True, return_tensors="pt").input_ids
    labels = right.where(ids == GUESSER.tokenizer.mask_token_id, -100)
    assert_equal(GUESSER(masked, labels=full), tokenised(GUESSER, masked, labels=labels))
    assert_equal(GUESSER(TEXTS), tokenised(GUESSER, TEXTS))
    with pytest.raises(DataError, match=r"row 2: the label must be the text with one token"):
        GUESSER(masked, labels=["the film is good", "anna lives in good paris ."])


def test_pairs_of_pretraining() -> None:
    follows = model_for("next_sentence")
    expected = tokenised(follows, TEXTS, OTHERS, labels=torch.tensor([0, 1, 1, 0]))
    assert_equal(follows(TEXTS, OTHERS, labels=[0, 1, "random", "follows"]), expected)

    both = model_for("pretraining")
    output = both(TEXTS, OTHERS, labels=[0, 1, 1, 0])
    batch = DataCollatorForTokenClassification(both.tokenizer)(list(output.dataset))
    assert (batch["labels"] != -100).sum() > 0
    assert_equal(output, both(**batch))
    assert_equal(both(TEXTS, OTHERS), tokenised(both, TEXTS, OTHERS))


def test_sentences_are_vectors_and_pairs_have_scores() -> None:
    sentences = SentenceModel(BARE)
    expected = torch.from_numpy(sentences.encode(TEXTS + OTHERS, precision="fp32"))
    torch.testing.assert_close(sentences(TEXTS).embeddings, expected[:4])
    output = sentences(TEXTS, OTHERS, labels=[1.0, 0.2, 0.8, 0.0])
    assert output.row_of_line == [0, 0, 1, 1, 2, 2, 3, 3]
    torch.testing.assert_close(output.embeddings[::2], expected[:4])
    torch.testing.assert_close(output.embeddings[1::2], expected[4:])
    assert output.loss > 0
    assert sentences(TEXTS, OTHERS, TEXTS).embeddings.shape == (12, 32)
    with pytest.raises(DataError, match="Scores are of two texts"):
        sentences(TEXTS, labels=[1.0, 0.2, 0.8, 0.0])


def test_a_bare_backbone_gives_hidden_states() -> None:
    output = BARE(TEXTS, return_tensors="pt", output_hidden_states=True, output_attentions=True)
    encoding = BARE.tokenizer(TEXTS, padding=True, return_tensors="pt")
    expected = BARE(**encoding, output_hidden_states=True, output_attentions=True)
    assert output.keys() == expected.keys()
    torch.testing.assert_close(output.last_hidden_state, expected.last_hidden_state)
    torch.testing.assert_close(output.pooler_output, expected.pooler_output)
    torch.testing.assert_close(output.hidden_states, expected.hidden_states)
    torch.testing.assert_close(output.attentions, expected.attentions)


def test_a_bare_backbone_scores_words_where_its_checkpoint_has_the_head(tmp_path: Any) -> None:
    tiny_folder(tmp_path, "masked_lm")
    model = type(BARE).from_pretrained(tmp_path)
    learner = with_head(model, "masked_lm", is_known=True)
    assert learner is not None
    torch.testing.assert_close(model(TEXTS).logits, tokenised(learner, TEXTS).logits)


@pytest.mark.parametrize("head", ["pretraining", "sequence_classification"])
def test_a_bare_backbone_reads_plain_texts_whatever_its_folder_was_trained_for(
    tmp_path: Path, head: str
) -> None:
    whole = model_for(head)
    task_for_model(whole).prepare_model(whole)
    whole.save_pretrained(tmp_path)
    output = type(BARE).from_pretrained(tmp_path)(TEXTS, return_tensors="pt")
    assert output[0]["input_ids"].tolist() == BARE.tokenizer(TEXTS[0]).input_ids


def test_a_folder_with_several_heads_serves_the_one_that_is_loaded(tmp_path: Path) -> None:
    both = model_for("pretraining")
    task_for_model(both).prepare_model(both)
    both.save_pretrained(tmp_path)
    expected = both(TEXTS, OTHERS)
    follows = BertForNextSentencePrediction.from_pretrained(tmp_path)
    torch.testing.assert_close(
        follows(TEXTS, OTHERS).logits, expected.seq_relationship_logits, atol=1e-6, rtol=1e-5
    )
    assert pipeline("next-sentence-prediction", tmp_path)((TEXTS[0], OTHERS[0]))["label"]
    guesser = BertForMaskedLM.from_pretrained(tmp_path)
    assert guesser(["the film is [MASK]"], labels=["the film is good"]).loss > 0


def test_what_a_tokenizer_returned_is_taken_as_it_is() -> None:
    encoding = READER.tokenizer(OTHERS, TEXTS, padding=True, return_tensors="pt")
    start_logits, end_logits = READER(encoding)
    torch.testing.assert_close(start_logits, READER(**encoding).start_logits)
    torch.testing.assert_close(end_logits, READER(**encoding).end_logits)
    with pytest.raises(DataError, match=r'`input_ids` must be a tensor.*return_tensors="pt"'):
        CLASSIFIER(CLASSIFIER.tokenizer(TEXTS))


# When and how it is computed ---------------------------------------------------------------------


def test_nothing_is_computed_until_a_tensor_is_read_and_then_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = copy.deepcopy(CLASSIFIER)
    calls: list[int] = []
    whole = type(model).output_of

    def counted(self: PretrainedModel, *args: Any, **options: Any) -> Any:
        calls.append(1)
        return whole(self, *args, **options)

    monkeypatch.setattr(type(model), "output_of", counted)
    output = model(TEXTS, labels=["good", "bad", "good", "bad"])
    assert len(output) == 4
    assert [len(row["input_ids"]) for row in output.dataset] == [6, 4, 10, 10]
    assert (
        repr(output) == "RawTextOutput(4 rows, BertForSequenceClassification, computed when read)"
    )
    assert not hasattr(output, "start_logits")
    assert copy.copy(output) is not output
    assert calls == []
    assert output["logits"] is output.logits
    loss, logits = output
    assert (loss is output.loss) & (logits is output.to_tuple()[1])
    assert isinstance(output, ModelOutput)
    assert calls == [1]
    assert "computed)" in repr(output)


@pytest.mark.parametrize("is_training", [True, False])
def test_the_loss_of_many_batches_has_the_gradients_of_one(
    is_training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for head, labels in (
        ("sequence_classification", [1, 0, 1, 0]),
        ("pretraining", [1, 0, 1, 0]),
        ("token_classification", [[1] * n for n in (4, 2, 8, 8)]),
    ):
        model = model_for(head, num_labels=2).train(is_training)
        texts = (TEXTS, OTHERS) if head == "pretraining" else (TEXTS,)
        found = []
        for budget in (1_000, 12):
            monkeypatch.setattr(raw_text, "usual_budget", lambda _, budget=budget: budget)
            model.zero_grad()
            output = model(*texts, labels=labels)
            output.loss.backward()
            gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
            found.append((tuple(output), gradients))
        torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-4)


def test_dropout_is_the_same_in_the_second_pass_over_many_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_for("sequence_classification", num_labels=2, hidden_dropout_prob=0.5).train()
    labels = [1, 0, 1, 0]

    def gradient(compute: Any) -> torch.Tensor:
        torch.manual_seed(3)
        model.zero_grad()
        model(TEXTS, labels=labels).loss.backward()
        assert model.head is not None
        found = model.head.classifier.weight.grad
        assert isinstance(found, torch.Tensor)
        return found.clone()

    monkeypatch.setattr(raw_text, "usual_budget", lambda _: 12)
    again = gradient(None)
    monkeypatch.setattr(raw_text, "checkpoint", lambda run, batch, **_: run(batch))
    torch.testing.assert_close(again, gradient(None))


def test_without_gradients_there_are_none() -> None:
    with torch.no_grad():
        loss = CLASSIFIER(TEXTS, labels=[1, 0, 1, 0]).loss
    assert not loss.requires_grad


def test_long_texts_have_several_lines_or_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    long = "the film is good and " * 20
    output = TAGGER([TEXTS[0], long])
    assert output.row_of_line[:2] == [0, 1]
    assert set(output.row_of_line[2:]) == {1}
    assert len(output.logits) == len(output.row_of_line) > 2
    assert output[1]["input_ids"].shape == (len(output.row_of_line) - 1, 64)
    assert "one for each stretch of a text" in caplog.text
    caplog.clear()
    assert CLASSIFIER([TEXTS[0], long]).logits.shape == (2, 2)
    assert "1 of 2 rows are longer than the model reads (64 tokens) and are cut" in caplog.text


def test_a_model_of_several_tasks_is_called_for_one_of_them() -> None:
    model = two_task_model().eval()
    for name in model.names:
        assert_equal(model(TEXTS, task=name), model.part(name)(TEXTS))
    labels = ["good", "bad", "good", "bad"]
    output = model(TEXTS, task="intent", labels=labels)
    assert_equal(output, model.part("intent")(TEXTS, labels=labels))
    encoding = model.tokenizer(TEXTS, padding=True, return_tensors="pt")
    assert_equal(model(encoding, task="intent"), model.part("intent")(**encoding))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, r"several tasks \(intent, slots\), so a call must name one: .*task='intent'"),
        ({"task": "intend"}, "The task must be one of `intent`, `slots`.*Did you mean `intent`"),
        ({"task": TextClassification}, "must name one, but is <class .*TextClassification"),
    ],
)
def test_a_model_of_several_tasks_must_be_told_which(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        two_task_model()(TEXTS, **options)


# What is wrong with a call -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "options", "words"),
    [
        (([],), {}, "`texts` is empty"),
        ((["a film", None],), {}, "row 2: A text.* is wanted, not None"),
        ((None,), {}, "row 1: A text.* is wanted, not None"),
        (([[1, 2]],), {}, r"token ids as a tensor.*`torch.tensor"),
        ((7,), {}, r"token ids as a tensor"),
        ((TEXTS,), {"labels": ["good"]}, "There are 4 texts, but 1 `labels`"),
        (("a film",), {"labels": ["good", "bad"]}, "There are 1 text, but 2 `labels`"),
        ((TEXTS,), {"labels": "good"}, "`labels` must be a list with one for each of the 4 texts"),
        ((TEXTS, ["a"]), {}, "4 `texts` and 1 `text_pairs`"),
    ],
)
def test_wrong_texts_and_labels_are_refused_by_the_call(
    inputs: tuple[Any, ...], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        CLASSIFIER(*inputs, **options)


@pytest.mark.parametrize(
    ("inputs", "options", "words"),
    [
        ((TEXTS,), {"attention_mask": 1}, "beside raw texts must be one of `texts`, `text_pairs`"),
        ((TEXTS,), {"label": [1]}, "Did you mean `labels`"),
        ((TEXTS,), {"texts": TEXTS}, "`texts` is given twice"),
        ((TEXTS, OTHERS, [1, 0, 0, 1]), {}, "Give labels by name"),
        ((TEXTS,), {"return_tensors": "np"}, "must be 'pt'"),
        ((), {"text": TEXTS}, "Did you mean `texts`"),
        ((), {"text_pairs": OTHERS}, "but `texts` is missing"),
    ],
)
def test_unknown_arguments_are_refused(
    inputs: tuple[Any, ...], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        CLASSIFIER(*inputs, **options)


def test_an_unknown_label_is_named_with_its_row() -> None:
    output = CLASSIFIER(TEXTS, labels=["good", "goood", "bad", "bad"])
    with pytest.raises(
        DataError, match=r'row 2: label "goood" .*\(bad, good\).*Did you mean `good`'
    ):
        _ = output.loss
    with pytest.raises(DataError, match="row 2"):
        _ = output[0]


def test_answers_that_stand_nowhere_are_named() -> None:
    with pytest.raises(DataError, match=r"row 2: the answer in `answers`, .* is nowhere"):
        _ = READER(["a film", "a film"], ["what", "what"], ["film", "end"]).loss
    with pytest.raises(DataError, match="row 1: `answers` must be a text, a list of answers"):
        READER(["a film"], ["what"], [None])
    with pytest.raises(DataError, match="row 1: A question with its context"):
        READER(["a film"])


def test_what_a_model_lacks_is_said() -> None:
    with pytest.raises(TokenizerError, match="has no tokenizer"):
        tiny_bert("")(TEXTS)
    with pytest.raises(DataError, match="bare backbone, so it learns from no labels"):
        BARE(TEXTS, labels=[1, 0, 1, 0])
    with pytest.raises(AttributeError, match=r"no `loss`.*bare backbone"):
        _ = BARE(TEXTS).loss
    with pytest.raises(AttributeError, match="no head for words"):
        _ = BARE(TEXTS).logits
    assert CLASSIFIER(TEXTS).loss is None


def test_outputs_are_copied_and_pickled_before_they_are_computed() -> None:
    output = pickle.loads(pickle.dumps(CLASSIFIER(TEXTS, labels=["good", "bad", "bad", "bad"])))
    assert "computed" not in vars(output)
    assert output == output
    assert output != CLASSIFIER(TEXTS)
    assert output.logits.shape == (4, 2)
