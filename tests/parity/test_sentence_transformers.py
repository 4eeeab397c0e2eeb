"""Vectors equal those of the sentence-transformers library, from its folders and from ours."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abrazo.heads.similarity import PairObjective, ProjectionPlan
from abrazo.models.bert import BertModel
from abrazo.models.sentence import SentenceModel
from abrazo.models.sentence_files import SentenceRecipe
from helpers.tiny import tiny_bert, tiny_tokenizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    theirs = pytest.importorskip("sentence_transformers")
    modules = pytest.importorskip("sentence_transformers.models")
    losses = pytest.importorskip("sentence_transformers.losses")

TEXTS = ["the film is good", "a very dull story .", "这部电影很好", "", "good " * 80]
POOLINGS = {
    "mean": "mean",
    "cls": "cls",
    "max": "max",
    "last": "lasttoken",
    "weighted_mean": "weightedmean",
    "mean_sqrt_len": "mean_sqrt_len_tokens",
}
PLAN = ProjectionPlan(in_width=32, out_width=7, activation="linear", has_bias=False)


def our_folder(folder: Path, **fields: Any) -> SentenceModel:
    bare = tiny_bert()
    bare.tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    model = SentenceModel(bare, SentenceRecipe(**fields))
    model.save_pretrained(folder)
    return model


def their_model(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return theirs.SentenceTransformer(str(folder), device="cpu")


def our_vectors(model: Any, **options: Any) -> np.ndarray:
    found: np.ndarray = model.encode(TEXTS, precision="fp32", **options)
    return found


@pytest.mark.parametrize(
    "fields",
    [
        *({"poolings": (name,), "normalize": False} for name in POOLINGS),
        {"poolings": ("cls", "mean"), "max_length": 6},
        {"poolings": ("mean", "cls")},
        {"projections": (PLAN,)},
        {"prompts": {"query": "who is "}, "default_prompt": "query"},
    ],
    ids=str,
)
def test_our_folders_give_equal_vectors_there(fields, tmp_path):
    model = our_folder(tmp_path, **fields)
    np.testing.assert_allclose(
        their_model(tmp_path).encode(TEXTS), our_vectors(model), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("pooling", POOLINGS.values())
def test_their_folders_give_equal_vectors_here(pooling, tmp_path):
    our_folder(tmp_path / "start")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformer = modules.Transformer(str(tmp_path / "start"), max_seq_length=20)
        width = transformer.get_word_embedding_dimension()
        steps = [
            transformer,
            modules.Pooling(width, pooling_mode=pooling),
            modules.Dense(width, 9, activation_function=torch.nn.GELU()),
            modules.Normalize(),
        ]
        model = theirs.SentenceTransformer(
            modules=steps, device="cpu", prompts={"q": "who "}, similarity_fn_name="dot"
        )
        model.save(str(tmp_path / "theirs"), create_model_card=False)
    for kind in (SentenceModel, BertModel):
        ours = kind.from_pretrained(tmp_path / "theirs")
        np.testing.assert_allclose(our_vectors(ours), model.encode(TEXTS), rtol=0, atol=1e-5)
    prompted = our_vectors(ours, prompt_name="q")
    np.testing.assert_allclose(prompted, model.encode(TEXTS, prompt_name="q"), rtol=0, atol=1e-5)
    assert SentenceModel.from_pretrained(tmp_path / "theirs").recipe.similarity == "dot"


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarities_are_equal(metric, tmp_path):
    model = our_folder(tmp_path, similarity=metric, normalize=False)
    other = their_model(tmp_path)
    vectors = other.encode(TEXTS[:4])
    expected = other.similarity(vectors[:3], vectors).numpy()
    found = model.similarity(TEXTS[:3], TEXTS[:4], precision="fp32")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "scores", [torch.arange(9.0), torch.tensor([0.0, 1, 1, 0, 0.5, 0.5, 1, 0, 1])]
)
def test_cosent_and_its_gradient_are_those_of_the_library(scores):
    torch.manual_seed(0)
    ours = torch.randn(9, 2, 8, requires_grad=True)
    other = ours.detach().clone().requires_grad_()
    found = PairObjective("cosent", temperature=1 / 20)(ours, scores[:, None]).mean
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = losses.CoSENTLoss(None).compute_loss_from_embeddings(
            [other[:, 0], other[:, 1]], scores
        )
    torch.testing.assert_close(found, wanted)
    found.backward()
    wanted.backward()
    torch.testing.assert_close(ours.grad, other.grad)
