"""Token classification and question answering as the documentation of `transformers` shows them.

A word's label stands on its first piece, and the arg max is its tag. Contexts are read in windows
with the places of answers; an answer has the greatest sum of the logits of its start and end, of
the 20 best of each, and 30 tokens at most.
"""

import argparse
import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from abrazo.metrics.answers import AnswerMetrics
from abrazo.metrics.spans import SpanMetrics

IGNORED = -100
BEST_PLACES = 20
LONGEST_ANSWER = 30

Rows = list[dict[str, Any]]


@dataclasses.dataclass
class Asked:
    """Rows to answer, in tokens."""

    features: Rows
    answers: Callable[[Any], list[Any]]
    """From the logits of all features to what a user gets for each row."""
    figures: Callable[[Any], dict[str, float]]
    """From the predictions of a `Trainer` to the task's metrics."""


@dataclasses.dataclass
class Stock:
    """A model and its data, ready for the `Trainer` of `transformers`."""

    model: Any
    tokenizer: Any
    collator: Any
    train: Rows
    ask: Callable[[Rows], Asked]


def prepare(options: argparse.Namespace, folder: str, train: Rows) -> Stock:
    """Tokenise the rows to learn from and load a model.

    Args:
        options: `task` is `ner` or `qa`; `max_length` and `stride` of windows.
        folder: Of the pretrained model.
        train: The rows.
    """
    if options.task == "ner":
        return _token_classification(folder, train)
    return _question_answering(options, folder, train)


def _token_classification(folder: str, train: Rows) -> Stock:
    from transformers import (
        AutoModelForTokenClassification,
        AutoTokenizer,
        DataCollatorForTokenClassification,
    )

    tokenizer = AutoTokenizer.from_pretrained(folder)
    labels = {tag.partition("-")[2] for row in train for tag in row["ner_tags"]} - {""}
    names = ["O", *(f"{kind}-{label}" for label in sorted(labels) for kind in "BI")]

    def encoded(rows: Rows) -> Rows:
        features = []
        for row in rows:
            found = tokenizer(row["tokens"], is_split_into_words=True, truncation=True)
            words = found.word_ids()
            found["labels"] = [
                names.index(row["ner_tags"][word])
                if word is not None and word != words[place - 1]
                else IGNORED
                for place, word in enumerate(words)
            ]
            features.append(dict(found))
        return features

    def ask(rows: Rows) -> Asked:
        shown = encoded(rows)

        def answers(logits: Sequence[np.ndarray]) -> list[Any]:
            firsts = [np.array(feature["labels"]) != IGNORED for feature in shown]
            return [
                _spans([names[tag] for tag in scores[: len(first)].argmax(-1)[first]])
                for scores, first in zip(logits, firsts, strict=True)
            ]

        def figures(predicted: Any) -> dict[str, float]:
            metrics = SpanMetrics(names)
            metrics.update(predicted.predictions, predicted.label_ids)
            return {"f1": metrics.compute()["f1"]}

        return Asked(shown, answers, figures)

    model = AutoModelForTokenClassification.from_pretrained(
        folder, num_labels=len(names), dtype="float32"
    )
    collator = DataCollatorForTokenClassification(tokenizer)
    return Stock(model, tokenizer, collator, encoded(train), ask)


def _spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return label, first word and end of each run of `B-` and `I-` tags."""
    spans: list[tuple[str, int, int]] = []
    for word, tag in enumerate(tags):
        kind, _, label = tag.partition("-")
        if kind == "I" and spans and spans[-1][0] == label and spans[-1][2] == word:
            spans[-1] = (label, spans[-1][1], word + 1)
        elif kind != "O":
            spans.append((label, word, word + 1))
    return spans


def _question_answering(options: argparse.Namespace, folder: str, train: Rows) -> Stock:
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer, DataCollatorWithPadding

    tokenizer = AutoTokenizer.from_pretrained(folder)

    def windows(rows: Rows) -> Any:
        return tokenizer(
            [row["question"].lstrip() for row in rows],
            [row["context"] for row in rows],
            truncation="only_second",
            max_length=options.max_length,
            stride=options.stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )

    def features(found: Any) -> Rows:
        kept = ("input_ids", "token_type_ids", "attention_mask")
        return [{key: found[key][i] for key in kept} for i in range(len(found["input_ids"]))]

    learned = windows(train)
    train_set = features(learned)
    for place, feature in enumerate(train_set):
        given = train[learned["overflow_to_sample_mapping"][place]]["answers"]
        first = given["answer_start"][0]
        span = _token_span(
            learned["offset_mapping"][place],
            learned.sequence_ids(place),
            *(first, first + len(given["text"][0])),
        )
        feature["start_positions"], feature["end_positions"] = span

    def ask(rows: Rows) -> Asked:
        shown = windows(rows)

        def answers(logits: tuple[Any, Any]) -> list[str]:
            return _best_answers(shown, rows, *logits)

        def figures(predicted: Any) -> dict[str, float]:
            metrics = AnswerMetrics()
            for row, answer in zip(rows, answers(predicted.predictions), strict=True):
                metrics.update([answer], [row["answers"]["text"]])
            return metrics.compute()

        known = [{**each, "start_positions": 0, "end_positions": 0} for each in features(shown)]
        return Asked(known, answers, figures)

    model = AutoModelForQuestionAnswering.from_pretrained(folder, dtype="float32")
    return Stock(model, tokenizer, DataCollatorWithPadding(tokenizer), train_set, ask)


def _token_span(
    offsets: list[tuple[int, int]], sides: list[int | None], start: int, end: int
) -> tuple[int, int]:
    """Return the first and last token of an answer; (0, 0) where the window lacks a part of it."""
    first = sides.index(1)
    last = len(sides) - 1 - sides[::-1].index(1)
    if offsets[first][0] > start or offsets[last][1] < end:
        return 0, 0
    begin = max(i for i in range(first, last + 1) if offsets[i][0] <= start)
    stop = min(i for i in range(first, last + 1) if offsets[i][1] >= end)
    return begin, stop


def _best_answers(
    shown: Any, rows: Rows, starts: Sequence[np.ndarray], ends: Sequence[np.ndarray]
) -> list[str]:
    """Return for each row the text whose start and end have the greatest sum of logits."""
    windows_of: dict[int, list[int]] = collections.defaultdict(list)
    for window, row in enumerate(shown["overflow_to_sample_mapping"]):
        windows_of[row].append(window)
    answers = []
    for number, row in enumerate(rows):
        best = (-np.inf, "")
        for window in windows_of[number]:
            offsets, sides = shown["offset_mapping"][window], shown.sequence_ids(window)
            # padding that the collator put behind other windows has no offsets
            first_logits, last_logits = starts[window][: len(sides)], ends[window][: len(sides)]
            for first in np.argsort(-first_logits)[:BEST_PLACES]:
                for last in np.argsort(-last_logits)[:BEST_PLACES]:
                    if sides[first] != 1 or sides[last] != 1:
                        continue
                    if not first <= last < first + LONGEST_ANSWER:
                        continue
                    score = float(first_logits[first] + last_logits[last])
                    if score > best[0]:
                        best = (score, row["context"][offsets[first][0] : offsets[last][1]])
        answers.append(best[1])
    return answers
