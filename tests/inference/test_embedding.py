"""`encode` and `similarity`: the same alone or among others, fresh after training, bad input."""

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from abrazo.errors import ConfigError, DataError
from abrazo.models.base import PretrainedModel
from abrazo.models.sentence import SentenceModel
from abrazo.models.sentence_files import SentenceRecipe
from helpers.tiny import WORDS, tiny_bert, tiny_tokenizer

TEXTS = ["the film is good", "a dull story", "这部电影很好", "good good very warm lovely film ."]


def bare_model(**changes: Any) -> PretrainedModel:
    model = tiny_bert(**changes)
    model.tokenizer = tiny_tokenizer()
    return model


def encode(model: PretrainedModel, texts: Any, **options: Any) -> np.ndarray:
    found: np.ndarray = model.encode(texts, **{"precision": "fp32", **options})
    return found


MODEL = bare_model()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), min_size=1, max_size=12),
    st.integers(1, 40),
)
def test_a_vector_is_the_same_alone_or_among_others_in_any_batch(texts, token_budget):
    together = encode(MODEL, texts, token_budget=token_budget)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(encode(MODEL, text), vector, rtol=0, atol=1e-5)


def test_it_is_the_mean_of_the_tokens_at_length_one():
    row = MODEL.tokenizer("the film is good", return_tensors="pt")
    hidden = MODEL(row["input_ids"]).last_hidden_state[0].mean(0)
    expected = torch.nn.functional.normalize(hidden, dim=0).detach().numpy()
    np.testing.assert_allclose(encode(MODEL, "the film is good"), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("head", ["sequence_classification", "masked_lm"])
def test_models_with_another_head_encode_by_their_backbone(head):
    other = tiny_bert(head)
    other.backbone = MODEL.backbone
    other.tokenizer = MODEL.tokenizer
    assert np.array_equal(encode(other, TEXTS), encode(MODEL, TEXTS))


def test_shapes_and_kinds():
    assert encode(MODEL, TEXTS).shape == (4, 32)
    assert encode(MODEL, TEXTS[0]).shape == (32,)
    assert encode(MODEL, []).shape == (0, 32)
    assert encode(MODEL, np.array(TEXTS)).dtype == np.float32
    tensor = encode(MODEL, TEXTS, convert_to="pt")
    assert isinstance(tensor, torch.Tensor)
    assert not tensor.requires_grad


def test_raw_vectors_and_shorter_ones():
    raw = encode(MODEL, TEXTS, normalize=False)
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    assert not np.allclose(lengths, 1)
    np.testing.assert_allclose(raw / lengths, encode(MODEL, TEXTS), rtol=0, atol=1e-6)
    short = encode(MODEL, TEXTS, truncate_dim=5)
    expected = raw[:, :5] / np.linalg.norm(raw[:, :5], axis=1, keepdims=True)
    np.testing.assert_allclose(short, expected, rtol=0, atol=1e-6)
    with pytest.raises(ConfigError, match="`truncate_dim` must be from 1 to 32"):
        encode(MODEL, TEXTS, truncate_dim=33)


def test_prompts_by_text_and_by_name():
    model = SentenceModel(MODEL, SentenceRecipe(prompts={"query": "who ", "passage": ""}))
    expected = encode(MODEL, ["who the film"])
    assert np.array_equal(encode(model, ["the film"], prompt="who "), expected)
    assert np.array_equal(encode(model, ["the film"], prompt_name="query"), expected)
    by_default = SentenceModel(model, SentenceRecipe(prompts={"q": "who "}, default_prompt="q"))
    assert np.array_equal(encode(by_default, ["the film"]), expected)
    assert np.array_equal(encode(by_default, ["the film"], prompt=""), encode(MODEL, ["the film"]))
    with pytest.raises(ConfigError, match="Did you mean `query`"):
        encode(model, TEXTS, prompt_name="qury")
    with pytest.raises(ConfigError, match="leave one out"):
        encode(model, TEXTS, prompt="x", prompt_name="query")
    with pytest.raises(ConfigError, match="The model has no prompts"):
        encode(MODEL, TEXTS, prompt_name="query")


def test_prompts_that_are_not_pooled_are_refused():
    model = SentenceModel(MODEL, SentenceRecipe(reads_prompt=False))
    assert encode(model, "the film").shape == (32,)
    with pytest.raises(ConfigError, match="leaves prompts out of the pooling"):
        encode(model, "the film", prompt="who ")


def test_lower_case_where_the_folder_wants_it():
    model = SentenceModel(MODEL, SentenceRecipe(lowercase=True, max_length=4))
    assert np.array_equal(encode(model, "The FILM"), encode(model, "the film"))
    assert np.array_equal(encode(model, "the film is good"), encode(model, "the film"))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", 3], "Text 1 must be a text, but is 3 of type int"),
        (["a", None], "Text 1 must be a text, but is None"),
        (["a", float("nan")], "Text 1 must be a text, but is nan"),
        ({"text": "a"}, "must be a text or a list of texts"),
        (7, "must be a text or a list of texts"),
    ],
)
def test_what_is_no_text_is_named(texts, message):
    with pytest.raises(DataError, match=message):
        encode(MODEL, texts)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("behind_torchs_back", [False, True])
def test_vectors_are_fresh_after_weights_changed(precision, behind_torchs_back):
    model = bare_model()
    before = encode(model, TEXTS, precision=precision)
    assert np.array_equal(encode(model, TEXTS, precision=precision), before)
    for weight in model.parameters():
        if behind_torchs_back:
            weight.data.mul_(1.5)
        else:
            with torch.no_grad():
                weight.mul_(1.5)
    after = encode(model, TEXTS, precision=precision)
    fresh = bare_model()
    fresh.load_state_dict(model.state_dict())
    assert np.array_equal(after, encode(fresh, TEXTS, precision=precision))
    assert not np.array_equal(after, before)


def test_half_precision_is_near_and_comes_in_fp32():
    vectors = encode(MODEL, TEXTS, precision="bf16")
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, encode(MODEL, TEXTS), rtol=0, atol=0.05)


def test_a_model_in_training_stays_in_training():
    model = bare_model(hidden_dropout_prob=0.5)
    model.train()
    assert np.array_equal(encode(model, TEXTS), encode(model, TEXTS))
    assert all(module.training for module in model.modules())
    model.eval()
    encode(model, TEXTS)
    assert not any(module.training for module in model.modules())


def test_nothing_keeps_a_model_alive():
    model = bare_model()
    encode(model, TEXTS, precision="bf16")
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_similarity_of_texts_and_vectors():
    vectors = encode(MODEL, TEXTS)
    both = MODEL.similarity(TEXTS, TEXTS[:2], precision="fp32")
    np.testing.assert_allclose(both, vectors @ vectors[:2].T, rtol=0, atol=1e-5)
    assert MODEL.similarity(vectors, torch.from_numpy(vectors)).shape == (4, 4)
    assert MODEL.similarity(TEXTS[0], TEXTS).shape == (4,)
    assert MODEL.similarity(TEXTS, vectors[0]).shape == (4,)
    one = MODEL.similarity(TEXTS[0], TEXTS[1], precision="fp32")
    assert float(one) == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-5)


def test_similarity_of_what_cannot_be_compared():
    vectors = encode(MODEL, TEXTS)
    with pytest.raises(DataError, match="one side has 32 numbers and the other 5"):
        MODEL.similarity(vectors, vectors[:, :5])
    with pytest.raises(DataError, match="Vector 1 must be of numbers"):
        MODEL.similarity(vectors, np.array([[0.0] * 32, [np.nan] * 32]))
    with pytest.raises(ConfigError, match="Did you mean `cosine`"):
        MODEL.similarity(vectors, vectors, metric="cosin")
    with pytest.raises(DataError, match="must have the shape"):
        MODEL.similarity(vectors[None], vectors)
