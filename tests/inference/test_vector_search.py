"""Search is exact, bounded, and an index comes back as it was saved."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from abrazo.errors import CheckpointError, ConfigError, DataError
from abrazo.inference.embedding import compare
from abrazo.inference.search import Hit, SearchIndex, nearest, search
from abrazo.models.sentence import SentenceModel
from abrazo.models.sentence_files import SentenceRecipe
from helpers.tiny import tiny_bert, tiny_tokenizer

TEXTS = ["the film is good", "a dull story", "anna lives in paris", "这部电影很好", "tom works"]


def sentence_model(**fields: object) -> SentenceModel:
    bare = tiny_bert()
    bare.tokenizer = tiny_tokenizer()
    return SentenceModel(bare, SentenceRecipe(**fields))  # type: ignore[arg-type]


MODEL = sentence_model()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    count=st.integers(1, 60),
    top_k=st.integers(1, 70),
    metric=st.sampled_from(["cosine", "dot", "euclidean", "manhattan"]),
    block=st.integers(1, 50),
)
def test_the_nearest_are_found_whatever_the_blocks(seed, count, top_k, metric, block):
    generator = torch.Generator().manual_seed(seed)
    corpus = torch.randint(-2, 3, (count, 3), generator=generator).float()
    queries = torch.randint(-2, 3, (5, 3), generator=generator).float()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("abrazo.inference.search._SCORES_AT_ONCE", block)
        patch.setattr("abrazo.inference.search._QUESTIONS_AT_ONCE", 2)
        scores, places = nearest(queries, corpus, top_k=top_k, metric=metric)
    whole = compare(queries, corpus, metric=metric)
    expected = whole.sort(1, descending=True).values[:, :top_k]
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(whole.gather(1, places), scores, rtol=1e-5, atol=1e-5)
    assert all(len(set(line)) == len(line) for line in places.tolist())


def test_of_equal_ones_the_first_comes_first():
    _, places = nearest(torch.ones(1, 2), torch.ones(4, 2), top_k=4, metric="dot")
    assert places.tolist() == [[0, 1, 2, 3]]


def test_a_text_finds_itself_with_its_place_and_text():
    index = SearchIndex.build(MODEL, TEXTS, precision="fp32")
    assert len(index) == 5
    hits = index.search(TEXTS[3], top_k=2, precision="fp32")
    assert isinstance(hits[0], Hit)
    assert (hits[0].index, hits[0].text) == (3, TEXTS[3])
    assert hits[0].score == pytest.approx(1, abs=1e-5)
    assert len(hits) == 2
    several = index.search(TEXTS[:3], top_k=99, precision="fp32")
    assert [line[0].index for line in several] == [0, 1, 2]  # type: ignore[index]
    assert [len(line) for line in several] == [5, 5, 5]  # type: ignore[arg-type]


def test_the_function_takes_texts_vectors_and_an_index():
    vectors = MODEL.encode(TEXTS, precision="fp32")
    index = SearchIndex(vectors, TEXTS, model=MODEL)
    expected = [hit.index for hit in index.search(vectors[1], top_k=3)]  # type: ignore[union-attr]
    for query, corpus, model in (
        (TEXTS[1], TEXTS, MODEL),
        (vectors[1], vectors, None),
        (torch.from_numpy(vectors[1]), TEXTS, MODEL),
        (TEXTS[1], vectors, MODEL),
    ):
        hits = search(query, corpus, model=model, top_k=3, precision="fp32")
        assert [hit.index for hit in hits] == expected  # type: ignore[union-attr]
    assert search(vectors[1], index, top_k=3) == index.search(vectors[1], top_k=3)


def test_questions_and_texts_get_the_prompts_of_the_model():
    prompts = {"query": "who ", "passage": "what "}
    model = sentence_model(prompts=prompts, similarity="dot", normalize=False)
    index = SearchIndex.build(model, TEXTS, precision="fp32")
    assert index.metric == "dot"
    texts = model.encode(TEXTS, prompt="what ", precision="fp32")
    assert torch.equal(index.vectors, torch.from_numpy(texts))
    asked = model.encode("the film", prompt="who ", precision="fp32")
    found = index.search("the film", top_k=1, precision="fp32")[0]
    assert found.score == pytest.approx(float((texts @ asked).max()), rel=1e-5)  # type: ignore[union-attr]


@pytest.mark.parametrize("texts", [TEXTS, None])
def test_an_index_comes_back_as_it_was_saved(texts, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    index = SearchIndex(vectors, texts, metric="euclidean")
    index.save(tmp_path / "index")
    index.save(tmp_path / "index")
    loaded = SearchIndex.load(tmp_path / "index")
    assert torch.equal(loaded.vectors, index.vectors)
    assert (loaded.texts, loaded.metric) == (texts, "euclidean")
    assert loaded.search(vectors[2], top_k=2) == index.search(vectors[2], top_k=2)
    with pytest.raises(ConfigError, match="has no model to encode"):
        loaded.search("the film")


@pytest.mark.parametrize("name", ["index.json", "vectors.safetensors", "texts.arrow"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "noise"])
def test_a_damaged_index_is_one_typed_error(name, damage, tmp_path):
    SearchIndex(torch.randn(5, 8), TEXTS).save(tmp_path / "index")
    for manifest in (True, False):
        path = tmp_path / "index" / name
        if damage == "gone":
            path.unlink(missing_ok=True)
        else:
            data = path.read_bytes()
            path.write_bytes(
                {"cut": data[: len(data) // 2], "empty": b"", "noise": b"\xff" * len(data)}[damage]
            )
        if not manifest:
            (tmp_path / "index" / "MANIFEST.json").unlink()
        with pytest.raises(CheckpointError):
            SearchIndex.load(tmp_path / "index")


def test_no_question_finds_nothing():
    assert search([], TEXTS, model=MODEL) == []
    assert SearchIndex(torch.randn(5, 8)).search(torch.empty(0, 8)) == []


def test_bad_input_is_named():
    with pytest.raises(DataError, match="a list of at least one text"):
        SearchIndex.build(MODEL, [])
    with pytest.raises(DataError, match="a list of at least one text"):
        SearchIndex.build(MODEL, "the film")
    with pytest.raises(DataError, match="5 vectors, but 4 texts"):
        SearchIndex(torch.randn(5, 8), TEXTS[:4])
    with pytest.raises(DataError, match="at least one vector"):
        SearchIndex(torch.empty(0, 8))
    with pytest.raises(DataError, match="Vector 2"):
        SearchIndex(torch.tensor([[1.0], [2.0], [torch.inf]]))
    with pytest.raises(ConfigError, match="`top_k` must be at least 1"):
        search(torch.randn(8), torch.randn(3, 8), top_k=0)
    with pytest.raises(ConfigError, match="only with a `model`"):
        search("the film", TEXTS)
    with pytest.raises(ConfigError, match=r"encoded by a model, but it is 'minilm'\. Load one"):
        search("the film", TEXTS, model="minilm")
    with pytest.raises(ConfigError, match="`metric` must be one of"):
        SearchIndex(torch.randn(5, 8), metric="near")
    with pytest.raises(ConfigError, match="leave them out"):
        search("x", SearchIndex(torch.randn(5, 8)), model=MODEL)
    with pytest.raises(DataError, match="one width"):
        search(torch.randn(7), torch.randn(3, 8))
