"""The likeliest legal sequence of tags."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abrazo.metrics.tags import TagSet
from abrazo.tasks import viterbi
from abrazo.tasks.viterbi import decode_tags


@given(st.integers(0, 10_000), st.integers(1, 5), st.sampled_from(["BIO", "BIOES"]))
@settings(deadline=None, max_examples=60)
def test_no_legal_sequence_scores_higher(seed, length, scheme):
    tag_set = TagSet.of_types(["A"], scheme)
    scores = np.random.default_rng(seed).normal(size=(length, len(tag_set)))

    def is_legal(tags):
        return (
            tag_set.may_start[tags[0]]
            and tag_set.may_end[tags[-1]]
            and all(tag_set.may_follow[a, b] for a, b in itertools.pairwise(tags))
        )

    every = itertools.product(range(len(tag_set)), repeat=length)
    best = max(
        (tags for tags in every if is_legal(tags)),
        key=lambda tags: sum(scores[place, tag] for place, tag in enumerate(tags)),
    )
    assert decode_tags(scores, tag_set).tolist() == list(best)


@given(st.data(), st.integers(1, 6), st.sampled_from(["BIO", "BIOES"]))
@settings(deadline=None)
def test_the_best_tags_are_those_of_a_search_where_they_are_legal(data, length, scheme):
    tag_set = TagSet.of_types(["A", "B"], scheme)
    few = st.sampled_from([-4.0, -1.0, -0.5])  # so that many sums are equal
    count = length * len(tag_set)
    scores = np.reshape(data.draw(st.lists(few, min_size=count, max_size=count)), (length, -1))
    if data.draw(st.booleans()):  # all tags chosen are `O`, but for ties
        scores[:, 0] = -0.5
    chosen = decode_tags(scores, tag_set)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(viterbi, "_is_legal", lambda tags, tag_set: False)
        searched = decode_tags(scores, tag_set)
    assert chosen.tolist() == searched.tolist()


def test_a_row_without_units_has_no_tags():
    tag_set = TagSet.of_types(["A"], "BIO")
    assert decode_tags(np.empty((0, 3)), tag_set).tolist() == []


def test_an_inside_takes_the_beginning_that_fits_it():
    tag_set = TagSet.of_types(["A", "B"], "BIO")
    scores = np.log([[0.4, 0.35, 0.05, 0.15, 0.05], [0.1, 0.05, 0.7, 0.05, 0.1]])
    names = [tag_set.names[tag] for tag in decode_tags(scores, tag_set)]
    assert names == ["B-A", "I-A"]


@pytest.mark.parametrize("names", [["NOUN", "VERB"], ["O", "PER", "LOC"], ["O", "I-PER"]])
def test_without_tags_that_begin_all_sequences_are_legal(names):
    scores = np.random.default_rng(0).normal(size=(20, len(names)))
    assert decode_tags(scores, TagSet.of_names(names)).tolist() == scores.argmax(-1).tolist()
