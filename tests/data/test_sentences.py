import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abrazo.data.sentences import sentence_spans, split_sentences

PIECES = [
    "Dr. ",
    "e.g. ",
    "He",
    " left",
    ". ",
    "! ",
    "?",
    "。",
    "！”",
    "\n",
    "\n\n",
    "3.5",
    "a",
    "他",
]


@pytest.mark.parametrize(
    "sentences",
    [
        ["Dr. Li came.", "She left early."],
        ["It cost 3.5 dollars.", "He paid e.g. in cash.", "Really?!", "Yes."],
        ['"Stop!" he said.', "Nobody moved."],
        ["J. Smith lives in the U.S. now.", "See p. 5 of vol. 2."],
        ['He said "Go."', "(Really.)", "Wait...", "What?"],
        ["i like it.", "it is e.g. good.", "ok?"],
        ["The site www.example.com is up.", "v1.2.3 works."][:1],
        ["Apples etc. are fine.", "We met at 5 p.m. on Monday."],
    ],
)
def test_english_texts_are_split_at_the_ends_of_sentences(sentences):
    assert split_sentences(" ".join(sentences)) == sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["他来了！", "这部电影很好看。", "你呢？"],
        ["“你好。”", "他说。", "走吧……好！"],
        ["价格是3.5元。", "太贵了？！", "是的。"],
    ],
)
def test_chinese_texts_are_split_without_spaces(sentences):
    assert split_sentences("".join(sentences)) == sentences


def test_a_blank_line_ends_a_sentence_and_a_line_break_does_not():
    assert split_sentences("A title\n\nA line\ngoes on. Next") == [
        "A title",
        "A line\ngoes on.",
        "Next",
    ]


@given(st.lists(st.sampled_from(PIECES)).map("".join) | st.text())
def test_every_character_that_is_no_space_is_in_one_sentence(text):
    spans = sentence_spans(text)
    assert all(text[span] == text[span].strip() != "" for span in spans)
    assert all(a.stop <= b.start for a, b in itertools.pairwise(spans))
    assert "".join("".join(text[span] for span in spans).split()) == "".join(text.split())


@pytest.mark.parametrize("piece", ["!", ".", " ", "\n", '"', "。", "…", "?a", " !"])
def test_long_runs_of_anything_take_no_long_time(piece):
    started = time.perf_counter()
    sentence_spans(piece * 200_000)
    assert time.perf_counter() - started < 2
