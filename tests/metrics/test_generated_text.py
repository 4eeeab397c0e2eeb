"""BLEU, chrF, ROUGE, exact match and perplexity of generated texts, batch by batch."""

import math
import random

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from abrazo.errors import ConfigError, DataError
from abrazo.metrics import (
    BleuMetrics,
    ChrfMetrics,
    ExactMatchMetrics,
    MetricGroup,
    PerplexityMetrics,
    RougeMetrics,
)

WORDS = [
    *("the", "cat", "sat", "on", "a", "mat", ",", '"quick"', "brown", "fox", "(", "jumps", ")"),
    *("over", "3.5", "dogs", "!", "Café", "e-mail"),
]
CHINESE = "你好世界机器翻译深度学习今天天气很好，。GPU"
JAPANESE = "これはとてもいい天気です。"
KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def corpus(rows=40, alphabet=None, seed=0):
    """Return texts and texts that are like them."""
    rng = random.Random(seed)
    given, right = [], []
    for _ in range(rows):
        if alphabet is None:
            words = rng.choices(WORDS, k=rng.randint(1, 20))
            other = [rng.choice([word, word, rng.choice(WORDS)]) for word in words]
            right.append(" ".join(words))
            given.append(" ".join(other[: rng.randint(0, 20)]))
        else:
            text = "".join(rng.choices(alphabet, k=rng.randint(1, 30)))
            right.append(text)
            given.append(text[: rng.randint(0, 30)] + rng.choice(alphabet))
    return given, right


def arrays(given, right):
    rows = np.empty(len(right), dtype=object), np.empty(len(right), dtype=object)
    for place, (one, label) in enumerate(zip(given, right, strict=True)):
        rows[0][place], rows[1][place] = one, label
    return rows


def counted(metric, given, right, batch=7):
    for start in range(0, len(given), batch):
        metric.update(*arrays(given[start : start + batch], right[start : start + batch]))
    return metric


@pytest.mark.parametrize(
    ("alphabet", "way"), [(None, "13a"), (CHINESE, "zh"), (JAPANESE, "char")], ids=str
)
@pytest.mark.parametrize("seed", [0, 1])
def test_bleu_of_batches_is_that_of_sacrebleu_over_all(alphabet, way, seed):
    given, right = corpus(alphabet=alphabet, seed=seed)
    oracle = sacrebleu.BLEU(tokenize=way)
    expected = oracle.corpus_score(given, [right])
    metric = counted(BleuMetrics(), given, right)
    assert metric.compute() == {"bleu": pytest.approx(expected.score, abs=1e-9)}
    assert metric.signature == str(oracle.get_signature())
    named = counted(BleuMetrics(way), given, right)
    assert named.compute() == metric.compute()


def test_bleu_with_several_right_texts_is_that_of_sacrebleu():
    given, right = corpus()
    _, second = corpus(seed=3)
    oracle = sacrebleu.BLEU()
    expected = oracle.corpus_score(given, [right, second])
    metric = counted(BleuMetrics(), given, list(zip(right, second, strict=True)))
    assert metric.compute()["bleu"] == pytest.approx(expected.score, abs=1e-9)
    assert metric.signature == str(oracle.get_signature())


@pytest.mark.parametrize("alphabet", [None, CHINESE], ids=["english", "chinese"])
def test_chrf_of_batches_is_that_of_sacrebleu_over_all(alphabet):
    given, right = corpus(alphabet=alphabet)
    _, second = corpus(alphabet=alphabet, seed=5)
    for references in ([right], [right, second]):
        metric = counted(ChrfMetrics(), given, list(zip(*references, strict=True)))
        figures = metric.compute()
        for key, order in (("chrf", 0), ("chrf++", 2)):
            oracle = sacrebleu.CHRF(word_order=order).corpus_score(given, references)
            assert figures[key] == pytest.approx(oracle.score, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), min_size=1, max_size=6))
def test_chrf_of_any_text_is_that_of_sacrebleu(pairs):
    given, right = map(list, zip(*pairs, strict=True))
    figures = counted(ChrfMetrics(), given, right).compute()
    for key, order in (("chrf", 0), ("chrf++", 2)):
        oracle = sacrebleu.CHRF(word_order=order).corpus_score(given, [right])
        assert figures[key] == pytest.approx(oracle.score, abs=1e-9)


def test_rouge_of_batches_is_the_mean_of_rouge_score():
    given, right = corpus()
    given = [text.replace(" , ", "\n") for text in given]
    scorer = rouge_scorer.RougeScorer(list(KINDS))
    scores = [scorer.score(one, other) for one, other in zip(right, given, strict=True)]
    expected = {kind: np.mean([score[kind].fmeasure for score in scores]) for kind in KINDS}
    assert counted(RougeMetrics(), given, right).compute() == pytest.approx(expected)
    assert expected["rougeL"] != expected["rougeLsum"]


def test_rouge_of_several_right_summaries_takes_the_nearest():
    figures = counted(RougeMetrics(), ["the cat sat"], [["a dog ran", "the cat sat"]]).compute()
    assert figures == pytest.approx(dict.fromkeys(KINDS, 1.0))


SENTENCES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)
SEVERAL = st.lists(
    st.tuples(st.one_of(SENTENCES, st.just("")), st.lists(SENTENCES, min_size=1, max_size=4)),
    min_size=1,
    max_size=6,
)
"""Rows of a text and of one to four right ones."""


@settings(max_examples=80, deadline=None)
@given(SEVERAL)
def test_rows_with_different_numbers_of_right_texts_count_as_in_sacrebleu(rows):
    given, right = map(list, zip(*rows, strict=True))
    most = max(map(len, right))
    streams = [[texts[n] if n < len(texts) else None for texts in right] for n in range(most)]
    oracle = sacrebleu.BLEU()
    metric = counted(BleuMetrics("13a"), given, right, batch=2)
    expected = oracle.corpus_score(given, streams)
    assert metric.compute()["bleu"] == pytest.approx(expected.score, abs=1e-9)
    assert metric.signature == str(oracle.get_signature())
    figures = counted(ChrfMetrics(), given, right, batch=2).compute()
    for key, order in (("chrf", 0), ("chrf++", 2)):
        oracle_chrf = sacrebleu.CHRF(word_order=order).corpus_score(given, streams)
        assert figures[key] == pytest.approx(oracle_chrf.score, abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(SEVERAL)
def test_of_several_right_summaries_the_nearest_counts_as_in_rouge_score(rows):
    given, right = map(list, zip(*rows, strict=True))
    given = [text.replace("Café", "cafe") for text in given]
    right = [[text.replace("Café", "cafe") for text in texts] for texts in right]
    scorer = rouge_scorer.RougeScorer(list(KINDS))
    best = [
        {kind: max(scorer.score(one, text)[kind].fmeasure for one in texts) for kind in KINDS}
        for text, texts in zip(given, right, strict=True)
    ]
    expected = {kind: np.mean([row[kind] for row in best]) for kind in KINDS}
    assert counted(RougeMetrics(), given, right, batch=2).compute() == pytest.approx(expected)


def test_rouge_of_chinese_counts_characters():
    figures = counted(RougeMetrics(), ["我爱北京"], ["我爱上海 GPU"]).compute()
    assert figures["rouge1"] == pytest.approx(2 * (2 / 4) * (2 / 5) / (2 / 4 + 2 / 5))
    assert figures["rouge2"] == pytest.approx(2 * (1 / 3) * (1 / 4) / (1 / 3 + 1 / 4))


def test_exact_match_ignores_spaces_at_both_ends():
    metric = counted(ExactMatchMetrics(), ["a b ", "c", "d"], ["a b", "C", ["x", "d"]])
    assert metric.compute() == {"exact_match": pytest.approx(2 / 3)}


def test_perplexity_is_of_the_mean_loss_of_all_tokens():
    metric = PerplexityMetrics()
    metric.update(np.array([[6.0, 1, 3], [2.0, 1, 1]]), np.zeros(2))
    metric.update(np.array([[4.0, 2, 2]]), np.zeros(1))
    assert metric.compute() == pytest.approx(
        {"token_accuracy": 4 / 6, "perplexity": math.exp(12 / 6)}
    )


EVERY = [BleuMetrics, ChrfMetrics, RougeMetrics, ExactMatchMetrics]


@pytest.mark.parametrize("kind", EVERY)
@settings(max_examples=15, deadline=None)
@given(cut=st.integers(0, 12), seed=st.integers(0, 99))
def test_parts_add_up_to_the_whole(kind, cut, seed):
    given, right = corpus(12, seed=seed)
    whole, first = counted(kind(), given, right), counted(kind(), given[:cut], right[:cut])
    first.merge(counted(kind(), given[cut:], right[cut:]))
    again = kind()
    again.load_state_dict(first.state_dict())
    assert again.compute() == pytest.approx(whole.compute())
    assert tuple(again.compute()) == again.known_keys()


def test_all_can_be_one_group():
    group = MetricGroup([kind() for kind in EVERY])
    counted(group, *corpus(5))
    assert {"bleu", "chrf", "chrf++", "rouge1", "rougeL", "exact_match"} <= set(group.compute())
    assert group.direction_of("eval_bleu") == "max"


@pytest.mark.parametrize("kind", EVERY)
def test_what_is_no_text_is_refused(kind):
    metric = kind()
    with pytest.raises(DataError, match="No rows were evaluated"):
        metric.compute()
    for text, right in ((["a"], [None]), (["a"], [[]]), ([1], ["a"]), (["a"], [["b", 2]])):
        with pytest.raises(DataError, match="compared with a text or a list of texts"):
            metric.update(*arrays(text, right))
    with pytest.raises(DataError, match="need as many labels"):
        metric.update(np.array(["a"]), np.array([]))
    with pytest.raises(ConfigError, match="does not fit"):
        metric.load_state_dict({"sums": np.zeros(99)})


def test_an_unknown_way_to_cut_words_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean `char`"):
        BleuMetrics("chars")


@pytest.mark.parametrize("metric", [ChrfMetrics(), RougeMetrics(), ExactMatchMetrics()])
def test_a_single_row_has_the_score_that_it_has_alone(metric):
    given, right = "the cat sat", ["a dog", "the cat sat on the mat"]
    counted(metric, [given], [right])
    assert metric.score(given, right) == metric.compute()[metric.row_figure]
    assert metric.score(right[0], right) > metric.score(given, right)
    assert metric.sums[0] == 1  # asking counts no row
