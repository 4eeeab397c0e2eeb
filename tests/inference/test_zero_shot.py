"""Labels that are given with the call, by entailment and by vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abrazo.errors import ConfigError, DataError
from abrazo.inference.pipeline import pipeline
from abrazo.models.base import PretrainedModel
from helpers.tiny import tiny_bert, tiny_folder, tiny_tokenizer

TEXTS = ["a fine film", "这部电影很糟糕", "the story is boring and very long"]
LABELS = ["good", "awful", "anna in paris"]
NLI = ["contradiction", "neutral", "entailment"]


def model_of(head: str = "sequence_classification", labels: Any = NLI) -> PretrainedModel:
    options = {"id2label": dict(enumerate(labels))} if head else {}
    model = tiny_bert(head, **options)
    model.tokenizer = tiny_tokenizer()
    return model


def sort_by(model: PretrainedModel) -> Any:
    return pipeline("zero-shot-classification", model, precision="fp32")


def by_label(answer: dict[str, Any]) -> list[float]:
    return [answer["scores"][answer["labels"].index(label)] for label in LABELS]


@pytest.mark.parametrize("multi_label", [False, True])
def test_entailment_answers_as_the_stock_pipeline(
    tmp_path: Path, multi_label: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    folder = tiny_folder(tmp_path, labels=NLI)
    theirs = transformers.ZeroShotClassificationPipeline(
        model=transformers.BertForSequenceClassification.from_pretrained(folder),
        tokenizer=transformers.BertTokenizer.from_pretrained(folder),
        device="cpu",
    )
    options = {"hypothesis_template": "it is {}.", "multi_label": multi_label}
    expected = theirs(TEXTS[:1] + TEXTS[2:], LABELS, **options)
    ours = pipeline("zero-shot-classification", folder, precision="fp32", device="cpu")
    found = ours(TEXTS[:1] + TEXTS[2:], LABELS, **options)
    for mine, other in zip(found, expected, strict=True):
        assert mine["sequence"] == other["sequence"]
        assert mine["labels"] == other["labels"]
        assert mine["scores"] == pytest.approx(other["scores"], abs=1e-5)


def test_vectors_answer_by_cosines_and_encode_labels_once() -> None:
    model = model_of("")
    sort = sort_by(model)
    answers = sort(TEXTS, LABELS)
    cosines = model.encode(TEXTS, precision="fp32", normalize=True) @ (
        model.encode(LABELS, precision="fp32", normalize=True).T
    )
    expected = torch.from_numpy(cosines * 20).softmax(-1).numpy()
    np.testing.assert_allclose([by_label(a) for a in answers], expected, atol=1e-5)
    kept = {name: id(vector) for name, vector in sort._vectors.items()}
    assert set(kept) == set(LABELS)
    single = sort(TEXTS, LABELS, multi_label=True)
    np.testing.assert_allclose([by_label(a) for a in single], cosines.clip(0, 1), atol=1e-5)
    assert {name: id(vector) for name, vector in sort._vectors.items()} == kept


@pytest.mark.parametrize("head", ["", "sequence_classification"])
def test_every_form_of_input_and_of_labels_is_one_question(head: str) -> None:
    sort = sort_by(model_of(head))
    together = sort(TEXTS, LABELS)
    alone = sort(TEXTS[1], ", ".join(LABELS))
    assert alone["labels"] == together[1]["labels"]
    assert alone["scores"] == pytest.approx(together[1]["scores"], abs=1e-5)
    assert sum(alone["scores"]) == pytest.approx(1)
    assert alone["scores"] == sorted(alone["scores"], reverse=True)
    streamed = sort(iter(TEXTS), LABELS, top_k=1)
    assert next(streamed)["labels"] == together[0]["labels"][:1]
    assert sort([], LABELS) == []


def test_without_a_label_for_contradiction_all_others_speak_against() -> None:
    model = model_of(labels=["entailment", "not_entailment"])
    scores = sort_by(model)(TEXTS[0], LABELS, multi_label=True)
    pairs = [(TEXTS[0], f"This example is {label}.") for label in scores["labels"]]
    answers = pipeline("text-classification", model, precision="fp32")(pairs, top_k=None)
    expected = [{a["label"]: a["score"] for a in each}["entailment"] for each in answers]
    assert scores["scores"] == pytest.approx(expected, abs=1e-5)


def test_wrong_use_is_told() -> None:
    sort = sort_by(model_of(""))
    for labels in (None, [], ["a", " "], ["a", 3]):
        with pytest.raises(ConfigError, match="`candidate_labels` must be texts"):
            sort("a film", labels)
    with pytest.raises(ConfigError, match="must not name a label twice"):
        sort("a film", "a, a")
    with pytest.raises(ConfigError, match="`hypothesis_template` must have"):
        sort("a film", "a, b", hypothesis_template="This is it.")
    with pytest.raises(DataError, match="row 2: a text is wanted, not 3"):
        sort(["a film", 3], "a, b")
    with pytest.raises(ConfigError, match="with the labels bad, good"):
        sort_by(model_of(labels=["bad", "good"]))
    with pytest.raises(ConfigError, match="has no setting `max_lenth`"):
        pipeline("zero-shot-classification", model_of(""), max_lenth=3)
