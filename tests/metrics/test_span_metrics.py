"""Figures of spans are those of seqeval and conlleval."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abrazo.errors import ConfigError, DataError
from abrazo.metrics.spans import SpanMetrics

NAMES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def padded(rows):
    longest = max(map(len, rows))
    return np.asarray(
        [[NAMES.index(tag) for tag in row] + [-100] * (longest - len(row)) for row in rows]
    )


def figures(right, predicted):
    metrics = SpanMetrics(NAMES)
    metrics.update(np.maximum(padded(predicted), 0), padded(right))
    return metrics.compute()


def by_hand(rows):
    """Read spans tag by tag, as conlleval does."""
    spans = set()
    for number, row in enumerate(rows):
        last, start = "O", 0
        for place, tag in enumerate([*row, "O"]):
            same = tag[0] == "I" and last != "O" and tag[2:] == last[2:]
            if last != "O" and not same:
                spans.add((number, start, place, last[2:]))
            if not same:
                start = place
            last = tag
    return spans


ROWS = st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=9), min_size=1, max_size=4)


@given(ROWS, st.data())
@settings(deadline=None)
def test_spans_are_counted_as_by_hand(right, data):
    predicted = [
        [tag if data.draw(st.booleans()) else data.draw(st.sampled_from(NAMES)) for tag in row]
        for row in right
    ]
    there, said = by_hand(right), by_hand(predicted)
    hits = len(there & said)
    found = figures(right, predicted)
    assert found["precision"] == pytest.approx(hits / len(said) if said else 0)
    assert found["recall"] == pytest.approx(hits / len(there) if there else 0)
    both = len(said) + len(there)
    assert found["f1"] == pytest.approx(2 * hits / both if both else 0)
    types = sorted({span[3] for span in there | said})
    each = []
    for kind in types:
        a, b = ({s for s in spans if s[3] == kind} for spans in (there, said))
        each.append(2 * len(a & b) / (len(a) + len(b)))
    assert found["macro_f1"] == pytest.approx(np.mean(each) if each else 0)

    def meets(span, others):
        return any(
            span[0] == o[0] and span[3] == o[3] and span[1] < o[2] and o[1] < span[2]
            for o in others
        )

    precision = sum(meets(s, there) for s in said) / len(said) if said else 0
    recall = sum(meets(s, said) for s in there) / len(there) if there else 0
    total = precision + recall
    assert found["partial_f1"] == pytest.approx(2 * precision * recall / total if total else 0)
    flat = [
        a == b for x, y in zip(right, predicted, strict=True) for a, b in zip(x, y, strict=True)
    ]
    assert found["accuracy"] == pytest.approx(np.mean(flat))


def test_figures_are_those_that_seqeval_gives():
    # seqeval 1.2.2 on the example of its own README
    right = [["O", "O", "O", "B-LOC", "I-LOC", "I-LOC", "O"], ["B-PER", "I-PER", "O"]]
    said = [["O", "O", "B-LOC", "I-LOC", "I-LOC", "I-LOC", "O"], ["B-PER", "I-PER", "O"]]
    found = figures(right, said)
    assert found["f1"] == found["precision"] == found["recall"] == 0.5
    assert found["accuracy"] == 0.8
    assert found["partial_f1"] == 1.0


def test_scores_count_as_the_tags_they_are_greatest_for():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(3, 6, len(NAMES)))
    labels = rng.integers(0, len(NAMES), (3, 6))
    labels[1, 3:] = -100
    by_scores, by_tags = SpanMetrics(NAMES), SpanMetrics(NAMES)
    by_scores.update(scores, labels)
    by_tags.update(scores.argmax(-1), labels)
    assert by_scores.compute() == by_tags.compute()


def test_merged_and_restored_counts_equal_one_run():
    rng = np.random.default_rng(1)
    predictions, labels = rng.integers(0, 5, (2, 20, 7))
    whole, first, second, restored = (SpanMetrics(NAMES) for _ in range(4))
    whole.update(predictions, labels)
    first.update(predictions[:8], labels[:8])
    second.update(predictions[8:], labels[8:])
    first.merge(second)
    restored.load_state_dict(first.state_dict())
    assert whole.compute() == first.compute() == restored.compute()
    restored.reset()
    with pytest.raises(DataError, match="No rows"):
        restored.compute()


def test_details_have_a_row_for_each_type():
    metrics = SpanMetrics(NAMES)
    metrics.update(padded([["B-PER", "B-LOC"]]), padded([["B-PER", "B-PER"]]))
    details = metrics.details()
    assert details.labels == ("PER", "LOC")
    person, place = details.classes
    assert (person.support, person.predicted, person.recall) == (2, 1, 0.5)
    assert (place.support, place.predicted, place.f1) == (0, 1, 0.0)
    assert set(metrics.compute()) == set(metrics.better)


def test_what_cannot_be_counted_is_refused():
    metrics = SpanMetrics(NAMES)
    with pytest.raises(DataError, match="need predictions of the same shape"):
        metrics.update(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(DataError, match="from 0 to 4, but one is 9"):
        metrics.update(np.zeros((1, 1)), np.full((1, 1), 9))
    with pytest.raises(ConfigError, match="must name a type"):
        SpanMetrics(["O"])
    with pytest.raises(ConfigError, match="the same labels"):
        metrics.merge(SpanMetrics(["O", "B-X", "I-X"]))
