"""How positive a text is, from -1 to 1."""

import pytest

from abrazo.errors import ConfigError
from abrazo.inference.pipeline import pipeline
from abrazo.tasks.polarity import polarities
from helpers.tiny import tiny_bert, tiny_tokenizer


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        (["negative", "neutral", "positive"], [-1, 0, 1]),
        (["POS", "NEG"], [1, -1]),
        (["负面", "中性", "正面"], [-1, 0, 1]),
        (
            ["very_negative", "negative", "neutral", "positive", "very_positive"],
            [-1, -0.5, 0, 0.5, 1],
        ),
        (["1 star", "2 stars", "3 stars", "4 stars", "5 stars"], [-1, -0.5, 0, 0.5, 1]),
        (["1星", "5星"], [-1, 1]),
    ],
    ids=lambda value: str(value[0]),
)
def test_labels_have_a_polarity(labels: list[str], values: list[float]) -> None:
    assert polarities(labels) == values


def test_the_polarity_is_the_mean_of_the_labels_by_their_scores() -> None:
    model = tiny_bert(
        "sequence_classification", id2label={0: "positive", 1: "neutral", 2: "negative"}
    )
    model.tokenizer = tiny_tokenizer()
    classify = pipeline("sentiment-analysis", model, precision="fp32")
    texts = ["a fine film", "这部电影很好看", "boring"]
    for text, answer in zip(texts, classify(texts, polarity=True), strict=True):
        scores = {each["label"]: each["score"] for each in classify(text, top_k=None)}
        expected = scores["positive"] - scores["negative"]
        assert answer["polarity"] == pytest.approx(expected, abs=1e-5)
        assert answer["label"] == max(scores, key=scores.__getitem__)
    assert "polarity" not in classify(texts[0])


def test_labels_without_polarity_and_lists_are_told() -> None:
    model = tiny_bert("sequence_classification", id2label={0: "positive", 1: "blue"})
    model.tokenizer = tiny_tokenizer()
    classify = pipeline("sentiment-analysis", model, precision="fp32")
    with pytest.raises(ConfigError, match="the model has blue"):
        classify("a film", polarity=True)
    with pytest.raises(ConfigError, match="`top_k` is 2"):
        classify("a film", polarity=True, top_k=2)
    several = tiny_bert(
        "sequence_classification", num_labels=2, problem_type="multi_label_classification"
    )
    several.tokenizer = tiny_tokenizer()
    with pytest.raises(ConfigError, match="needs one class a text"):
        pipeline("sentiment-analysis", several, precision="fp32")("a film", polarity=True)
