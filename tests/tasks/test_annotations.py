"""Every form of marks is read as one text with spans of characters; what is wrong is named."""

import time

import numpy as np
import pytest

from abrazo.errors import DataError
from abrazo.metrics.tags import TagSet
from abrazo.tasks.annotations import AnnotationReader, join_words

TAGS = TagSet.of_types(["LOC", "PER"], "BIO")


def reader(text="text", label="entities", tag_set=TAGS, scheme="BIO", **options):
    return AnnotationReader(text, label, tag_set, scheme, **options)


def read(row, **options):
    text, label = list(row)
    return reader(text, label, **options).read(row, with_labels=True)


def marked(row, **options):
    found = read(row, **options)
    types = options.get("tag_set", TAGS).types
    return [(found.text[start:end], types[kind]) for start, end, kind in found.spans.tolist()]


ADA = [("Ada", "PER"), ("Tampa Bay", "LOC")]
TEXT = "Ada lives in Tampa Bay"
WORD_TAGS = ["B-PER", "O", "O", "B-LOC", "I-LOC"]


@pytest.mark.parametrize(
    "row",
    [
        {"tokens": TEXT.split(), "ner_tags": WORD_TAGS},
        {"tokens": np.asarray(TEXT.split()), "ner_tags": np.asarray(WORD_TAGS)},
        {"tokens": TEXT.split(), "ner_tags": [3, 0, 0, 1, 2]},
        {"tokens": TEXT.split(), "ner_tags": np.asarray([3, 0, 0, 1, 2])},
        {"tokens": TEXT.split(), "ner_tags": ["I-PER", "O", "O", "I-LOC", "I-LOC"]},
        {"tokens": TEXT.split(), "ner_tags": ["S-PER", "O", "O", "B-LOC", "E-LOC"]},
        {"tokens": TEXT.split(), "ner_tags": ["PER", "O", "O", "LOC", "LOC"]},
        {"text": TEXT, "tags": " ".join(WORD_TAGS)},
        {"text": TEXT, "tags": WORD_TAGS},
        {"text": TEXT, "entities": [{"label": "PER", "start": 0, "end": 3}, (13, 22, "LOC")]},
        {"text": TEXT, "entities": [["LOC", 13, 22], ["PER", 0, 3]]},
        {"text": TEXT, "entities": [{"type": "LOC", "start": 13, "end": 22, "text": "Tampa Bay"},
                                    {"entity_group": "PER", "start_offset": 0, "end_offset": 3}]},
        {"text": TEXT, "spans": {"label": ["PER", "LOC"], "start": [0, 13], "end": [3, 22]}},
        {"text": TEXT, "spans": [(0, 4, "PER"), (12, 22, "LOC")]},
    ],
)  # fmt: skip
def test_all_forms_mark_the_same_spans(row):
    assert marked(row) == ADA


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("艾达住在坦帕。", ["B-PER", "I-PER", "O", "O", "B-LOC", "I-LOC", "O"]),
        ("艾达 住在 坦帕", "B-PER I-PER O O O O B-LOC I-LOC"),
        ("艾达 住在 坦帕", "B-PER I-PER O O B-LOC I-LOC"),
    ],
)
def test_tags_of_characters_may_leave_spaces_out(text, tags):
    assert marked({"text": text, "tags": tags}) == [("艾达", "PER"), ("坦帕", "LOC")]


def test_a_string_of_letters_has_one_for_each_character():
    tags = TagSet.of_names(["O", "B", "I"])
    assert marked({"text": "去坦帕", "tags": "OBI"}, tag_set=tags) == [("坦帕", "entity")]


@pytest.mark.parametrize(
    ("words", "how", "text"),
    [
        (["Ada", "lives", "."], "auto", "Ada lives ."),
        (["今天", "天气", "，", "iPhone", "7", "好"], "auto", "今天天气，iPhone 7好"),
        (list("用iPhone"), "none", "用iPhone"),
        (["今", "天"], "space", "今 天"),
        (["a", "", "b"], "auto", "a  b"),
        (["今", "", "天"], "auto", "今天"),
        ([], "auto", ""),
    ],
)
def test_words_are_found_again_in_their_text(words, how, text):
    joined, places = join_words(words, how)
    assert joined == text
    assert [joined[start:end] for start, end in places.tolist()] == words


def test_words_that_are_characters_say_nothing_about_words():
    found = read({"tokens": list("艾达住"), "tags": ["B-PER", "I-PER", "O"]})
    assert found.words is None
    assert read({"tokens": ["艾达", "住"], "tags": ["B-PER", "O"]}).words.tolist() == [
        [0, 2],
        [2, 3],
    ]


def test_an_empty_word_has_no_place():
    assert marked({"tokens": ["", "Ada"], "tags": ["B-PER", "I-PER"]}) == [("Ada", "PER")]


def test_emoji_and_accents_are_characters_like_others():
    text = "👩‍👩‍👧 Zoë in Ko\u0308ln 😀!"
    start = text.index("Ko")
    row = {"text": text, "entities": [("PER", 6, 9), ("LOC", start, start + 5)]}
    assert marked(row) == [("Zoë", "PER"), ("Ko\u0308ln", "LOC")]


def test_in_a_scheme_of_tags_each_word_is_a_span():
    tags = TagSet.of_types(["NOUN", "VERB"], "tags")
    row = {"tokens": ["birds", "birds", "fly"], "pos": ["NOUN", "NOUN", "VERB"]}
    assert len(marked(row, tag_set=tags, scheme="tags")) == 3


def test_the_longest_of_overlapping_spans_is_kept_when_asked_for():
    row = {
        "text": TEXT,
        "entities": [(13, 18, "PER"), (13, 22, "LOC"), (0, 3, "PER"), (19, 22, "PER")],
    }
    assert marked(row, overlaps="longest") == ADA


def test_overlaps_in_a_long_text_take_no_time():
    text = "a" * 40_000
    marks = [(place, place + 2, "PER") for place in range(39_998)]
    started = time.perf_counter()
    found = read({"text": text, "entities": marks}, overlaps="longest")
    assert time.perf_counter() - started < 2
    assert len(found.spans) == 20_000 - 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]},
         "`tags` has 1 labels, but `tokens` has 2 words. Give each word one label."),
        ({"text": "a bc", "tags": ["O"] * 7},
         r"7 labels, but `text` has 4 characters \(3 without spaces\) and 2 words. Give each"),
        ({"tokens": ["a"], "tags": ["B-PRE"]},
         r'label 1 in `tags` "B-PRE" is not one .*\(O, B-LOC.* Did you mean `B-PER`\?'),
        ({"tokens": ["a"], "tags": [None]}, r"label 1 in `tags` must be a text .* None"),
        ({"tokens": ["a", "b"], "tags": ["O", 2.5]}, r"label 2 in `tags` must .* 2.5 \(float\)"),
        ({"tokens": ["a"], "tags": [5]}, "is 5, but labels are numbered from 0 to 4"),
        ({"tokens": ["a"], "tags": [-1]}, "is -1, but labels are numbered"),
        ({"tokens": ["a", 7], "tags": ["O", "O"]}, r"word 2 in `tokens` must be a text, but is 7"),
        ({"tokens": [], "tags": []}, "`tokens` is empty. Remove or fill such rows."),
        ({"text": " ", "tags": []}, "`text` is empty. Remove or fill such rows."),
        ({"text": None, "tags": []}, "`text` is missing. Remove or fill such rows."),
        ({"text": 3, "tags": []}, "`text` must be a text or a list of words, but is of type int"),
        ({"text": "a", "tags": None}, "`tags` is missing. Remove or fill such rows."),
        ({"text": "a", "tags": 3}, "`tags` must be a list of labels or of spans, but is 3"),
        ({"text": "Ada", "entities": [(0, 9, "PER")]},
         "span 1 in `entities` must lie within 0 to 3, but is 0 to 9. `start` and `end` count"),
        ({"text": "Ada", "entities": [(-1, 2, "PER")]}, "must lie within 0 to 3, but is -1 to 2"),
        ({"text": "Ada", "entities": [(2, 2, "PER")]}, "must end after it starts, but is 2 to 2"),
        ({"text": "a  b", "entities": [(1, 3, "PER")]}, "nothing but spaces at 1 to 3. Remove it"),
        ({"text": "Ada", "entities": [(0, 3, "PRE")]},
         r'span 1 .*: label "PRE" is not one .*\(LOC, PER\). Did you mean `PER`\?'),
        ({"text": "Ada", "entities": [{"label": "PER"}]}, "must have a `label` .*, a `start` and"),
        ({"text": "Ada", "entities": [{"label": "PER", "start": "0", "end": 3}]}, "must have a"),
        ({"text": "Ada", "entities": [(0, True, "PER")]}, "must have a `label`"),
        ({"text": "Ada", "entities": [(0, 1, 2)]}, "must have a `label`"),
        ({"text": TEXT, "entities": [(0, 9, "PER"), (4, 12, "LOC")]},
         r'"Ada lives" \(0 to 9\) and "lives in" \(4 to 12\) .* overlap.*`overlaps="longest"`'),
        ({"text": "Ada Love", "entities": [{"label": "PER", "start": 4, "end": 7, "text": "Ada"}]},
         'is "Lov" at 4 to 7, but says it is "Ada"'),
        ({"text": "😀 Ada", "entities": [{"label": "PER", "start": 3, "end": 6, "text": "Ada"}]},
         "It seems to count UTF-16 units; `start` and `end` must count characters"),
        ({"text": "é Ada", "entities": [{"label": "PER", "start": 3, "end": 6, "text": "Ada"}]},
         "It seems to count bytes"),
        ({"tokens": ["Ada"], "entities": [(0, 3, "PER")]}, "Name the column of the text by"),
        ({"text": "Ada", "entities": {"label": ["PER"], "start": [0], "end": 3}}, "must be a list"),
        ({"text": "Ada", "entities": {"label": ["PER"], "start": [0], "end": [3, 4]}},
         "`entities` holds columns of different lengths: 1 `label`, 1 `start`, 2 `end`"),
    ],
)  # fmt: skip
def test_wrong_rows_are_told_with_what_to_do(row, message):
    with pytest.raises(DataError, match=message):
        read(row)


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(DataError, match="there is no column `entities`, only `text`"):
        reader().read({"text": "a"}, with_labels=True)


def test_without_labels_a_text_may_be_empty_and_unmarked():
    assert reader().read({"text": ""}, with_labels=False).spans is None
