"""Tags to spans and back; which tag may follow which."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abrazo.metrics.tags import (
    END,
    INSIDE,
    SINGLE,
    UNTAGGED,
    MixedTagsError,
    TagSet,
    TagSpans,
    find_spans,
    read_tag,
    write_tags,
)

BIO = TagSet.of_types(["PER", "LOC"], "BIO")
BIOES = TagSet.of_types(["PER", "LOC"], "BIOES")


def spans_in(names, tag_set, starts_row=None):
    tags = np.asarray([tag_set.names.index(name) for name in names.split()], dtype=np.int64)
    found = find_spans(tag_set.kind_of[tags], tag_set.type_of[tags], starts_row)
    return [
        (start, end, tag_set.types[kind])
        for start, end, kind in zip(found.starts, found.ends, found.types, strict=True)
    ]


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("O O", []),
        ("B-PER I-PER O B-LOC", [(0, 2, "PER"), (3, 4, "LOC")]),
        ("B-PER B-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("I-PER I-PER O", [(0, 2, "PER")]),
        ("O I-LOC", [(1, 2, "LOC")]),
        ("B-PER I-LOC", [(0, 1, "PER"), (1, 2, "LOC")]),
    ],
)
def test_an_inside_without_a_beginning_begins_a_span(tags, spans):
    assert spans_in(tags, BIO) == spans


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("S-PER S-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("B-PER I-PER E-PER O", [(0, 3, "PER")]),
        ("B-PER E-PER I-PER", [(0, 2, "PER"), (2, 3, "PER")]),
        ("E-LOC S-LOC I-LOC", [(0, 1, "LOC"), (1, 2, "LOC"), (2, 3, "LOC")]),
    ],
)
def test_ends_and_singles_close_a_span(tags, spans):
    assert spans_in(tags, BIOES) == spans


def test_spans_do_not_cross_into_the_next_row():
    starts_row = np.asarray([True, False, True, False])
    assert spans_in("O B-PER I-PER O", BIO, starts_row) == [(1, 2, "PER"), (2, 3, "PER")]


def is_going_on(tag_set, before, tag):
    """Return what the rule says in words."""
    is_next = tag_set.kinds[tag] in (INSIDE, END) and tag_set.kinds[before] not in (END, SINGLE)
    return is_next and tag_set.type_numbers[before] == tag_set.type_numbers[tag]


@given(st.lists(st.integers(0, len(BIOES) - 1), max_size=12), st.data())
def test_spans_are_those_of_a_walk_by_the_rule(tags, data):
    size = len(tags)
    starts_row = data.draw(st.none() | st.lists(st.booleans(), min_size=size, max_size=size))
    expected = []
    for place, tag in enumerate(tags):
        if tag == BIOES.outside:
            continue
        is_first = place == 0 or (starts_row is not None and starts_row[place])
        if not is_first and is_going_on(BIOES, tags[place - 1], tag):
            expected[-1] = (expected[-1][0], place + 1, expected[-1][2])
        else:
            expected.append((place, place + 1, BIOES.type_numbers[tag]))
    places = np.asarray(tags, dtype=np.int64)
    rows = None if starts_row is None else np.asarray(starts_row, dtype=np.bool_)
    found = find_spans(BIOES.kind_of[places], BIOES.type_of[places], rows)
    columns = (found.starts.tolist(), found.ends.tolist(), found.types.tolist())
    assert list(zip(*columns, strict=True)) == expected


@st.composite
def spans_of_a_row(draw):
    length = draw(st.integers(0, 20))
    starts, ends, types, place = [], [], [], 0
    while place < length:
        start = draw(st.integers(place, length - 1))
        end = draw(st.integers(start + 1, length))
        starts.append(start), ends.append(end), types.append(draw(st.integers(0, 1)))
        place = end + draw(st.integers(0, 2))
    arrays = (np.asarray(values, dtype=np.int64) for values in (starts, ends, types))
    return length, TagSpans(*arrays)


@given(spans_of_a_row(), st.sampled_from([BIO, BIOES]))
def test_spans_written_as_tags_are_read_back(row, tag_set):
    length, spans = row
    tags = write_tags(spans, length, tag_set)
    found = find_spans(tag_set.kind_of[tags], tag_set.type_of[tags])
    assert found.starts.tolist() == spans.starts.tolist()
    assert found.ends.tolist() == spans.ends.tolist()
    assert found.types.tolist() == spans.types.tolist()
    if length:
        assert tag_set.may_follow[tags[:-1], tags[1:]].all()
        assert tag_set.may_start[tags[0]]
        assert tag_set.may_end[tags[-1]]


def test_the_tags_of_types_have_the_names_that_others_expect():
    assert BIO.names == ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    assert BIOES.names[:5] == ("O", "B-PER", "I-PER", "E-PER", "S-PER")
    assert TagSet.of_types(["NOUN"], "tags").names == ("NOUN",)


@pytest.mark.parametrize(
    ("names", "types", "scheme"),
    [
        (["O", "B-PER", "I-PER"], ("PER",), "BIO"),
        (["O", "B_PER", "M_PER", "L_PER", "U_PER"], ("PER",), "BIOES"),
        (["B", "I", "O"], ("entity",), "BIO"),
        (["O", "person-actor", "LOC"], ("person-actor", "LOC"), "BIO"),
        (["NOUN", "VERB"], ("NOUN", "VERB"), "tags"),
    ],
)
def test_names_of_tags_are_understood(names, types, scheme):
    tag_set = TagSet.of_names(names)
    assert tag_set.types == types
    assert tag_set.is_plain == (scheme == "tags")
    for number, name in enumerate(names):
        expected = (tag_set.kinds[number], tag_set.type_numbers[number])
        assert read_tag(name, types, scheme) == expected


def test_tags_without_letters_are_one_span_where_they_follow_each_other():
    tag_set = TagSet.of_names(["O", "PER", "LOC"])
    assert spans_in("PER PER LOC O PER", tag_set) == [(0, 2, "PER"), (2, 3, "LOC"), (4, 5, "PER")]
    assert tag_set.may_follow.all()
    plain = TagSet.of_names(["NOUN", "VERB"])
    assert len(spans_in("NOUN NOUN VERB", plain)) == 3


def test_letters_for_some_tags_alone_are_refused():
    with pytest.raises(MixedTagsError, match='"PRE"') as caught:
        TagSet.of_names(["O", "B-PER", "PRE"])
    assert caught.value.names == ("PRE",)


def test_tags_that_are_missing_to_write_a_type_are_appended():
    tag_set = TagSet.of_names(["B-PER", "I-PER", "B-LOC"]).completed()
    assert tag_set.names == ("B-PER", "I-PER", "B-LOC", "O", "I-LOC")
    inside_only = TagSet.of_names(["O", "I-PER"])
    assert inside_only.completed() == inside_only


@pytest.mark.parametrize("name", ["B-ORG", "PERSON", "X-PER", "B", ""])
def test_an_unknown_tag_is_none(name):
    assert read_tag(name, ["PER"], "BIO") is None


def test_places_without_a_span_are_untagged_where_there_is_no_outside():
    spans = TagSpans(*(np.asarray([value]) for value in (1, 2, 0)))
    assert write_tags(spans, 3, TagSet.of_types(["NOUN"], "tags")).tolist() == [
        UNTAGGED,
        0,
        UNTAGGED,
    ]


def test_a_scheme_says_which_tag_may_follow():
    names = BIO.names
    assert BIO.may_follow[names.index("B-PER"), names.index("I-PER")]
    assert not BIO.may_follow[names.index("O"), names.index("I-PER")]
    assert not BIO.may_follow[names.index("B-LOC"), names.index("I-PER")]
    assert not BIO.may_start[names.index("I-LOC")]
    assert BIO.may_end.all()
    names = BIOES.names
    assert not BIOES.may_follow[names.index("B-PER"), names.index("O")]
    assert not BIOES.may_follow[names.index("S-PER"), names.index("E-PER")]
    assert not BIOES.may_end[names.index("B-PER")]
