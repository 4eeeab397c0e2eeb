"""Ranking by a model that reads both texts together."""

import numpy as np
import pytest

from abrazo.errors import ConfigError, DataError
from abrazo.inference.pipeline import Pipeline, pipeline
from abrazo.inference.ranking import rank
from abrazo.models.base import PretrainedModel
from helpers.tiny import tiny_bert, tiny_tokenizer

DOCUMENTS = ["the film is good", "a dull story", "anna lives in paris", "tom works"]


def cross_encoder(num_labels: int = 1) -> PretrainedModel:
    model = tiny_bert("sequence_classification", num_labels=num_labels)
    model.tokenizer = tiny_tokenizer()
    return model


def test_texts_come_by_the_score_of_the_pair():
    model = cross_encoder()
    row = model.tokenizer([("who", text) for text in DOCUMENTS], padding=True, return_tensors="pt")
    scores = model(row["input_ids"], row["attention_mask"], row["token_type_ids"]).logits[:, 0]
    hits = rank("who", DOCUMENTS, model=model, precision="fp32")
    assert [hit.index for hit in hits] == scores.argsort(descending=True).tolist()
    np.testing.assert_allclose(
        [hit.score for hit in hits], scores.sort(descending=True).values.tolist(), atol=1e-5
    )
    assert hits[0].text == DOCUMENTS[hits[0].index]
    best = rank("who", DOCUMENTS, model=model, top_k=2, precision="fp32")
    assert best == hits[:2]


def test_a_pipeline_serves_as_well():
    model = cross_encoder()
    ready = pipeline("text-classification", model, precision="fp32")
    assert isinstance(ready, Pipeline)
    assert rank("who", DOCUMENTS, model=ready) == rank(
        "who", DOCUMENTS, model=model, precision="fp32"
    )


def test_bad_input_is_named():
    model = cross_encoder()
    with pytest.raises(ConfigError, match="one number as its answer"):
        rank("who", DOCUMENTS, model=cross_encoder(3))
    with pytest.raises(
        ConfigError, match="a loaded model or a pipeline, but `model` is 'my-model'"
    ):
        rank("who", DOCUMENTS, model="my-model")  # type: ignore[arg-type]
    bare = tiny_bert()
    bare.tokenizer = tiny_tokenizer()
    with pytest.raises(ConfigError, match="one number as its answer"):
        rank("who", DOCUMENTS, model=bare)
    with pytest.raises(DataError, match="at least one text"):
        rank("who", [], model=model)
    with pytest.raises(DataError, match="at least one text"):
        rank("who", "the film", model=model)
    with pytest.raises(ConfigError, match="`top_k`"):
        rank("who", DOCUMENTS, model=model, top_k=0)
    with pytest.raises(DataError, match="row 2"):
        rank("who", ["a", 3], model=model)  # type: ignore[list-item]
