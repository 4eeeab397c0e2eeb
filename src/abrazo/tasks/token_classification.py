"""Token classification: names in texts, slots of requests, tags of words.

Inside, a row is a text and spans of characters, whatever form it came in (`annotations`). The head
gives each unit one tag; a unit is a word, or a piece of the tokenizer where the data marks parts of
words (`alignment`). All pieces of a word learn its type and have a say in it: trained for an epoch
on English names, MiniLM found more of them so than by first pieces alone, or by pieces each for
itself. Long texts are read in overlapping windows, each piece in the window where it has most
context; nothing is cut off. The answer is the likeliest sequence of tags that the scheme allows
(`viterbi`).

Shapes: N pieces of a row, U units of a row, C tags.
"""

import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, DataError, TokenizerError, one_of
from abrazo.heads.base import IGNORED_LABEL
from abrazo.metrics.base import Metric
from abrazo.metrics.spans import SpanMetrics
from abrazo.metrics.tags import INSIDE, Scheme, TagSet, write_tags
from abrazo.models.base import PretrainedModel
from abrazo.tasks.alignment import Units, align_spans, find_units
from abrazo.tasks.annotation_survey import read_rows, survey_rows
from abrazo.tasks.annotations import AnnotatedText, AnnotationReader, JoinWords, Overlaps
from abrazo.tasks.base import Features, Task, TaskSettings, row_name
from abrazo.tasks.probabilities import log_softmax
from abrazo.tasks.remarks import Remarks
from abrazo.tasks.span_remarks import SpanRemarks
from abrazo.tasks.tagged_text import (
    Aggregation,
    FoundSpan,
    TagPrediction,
    UnitRow,
    score_units,
    spans_of,
    to_padded,
)
from abrazo.tasks.text_classification import require_label_count
from abrazo.tasks.viterbi import decode_tags
from abrazo.tasks.windows import join_windows, windows_of
from abrazo.tokenization.tokenizer import Tokenizer
from abrazo.tokenization.windows import EncodedWindows

_MOST_SHOWN = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenClassificationSettings(TaskSettings):
    """Which columns are read, what the labels mean, and how pieces become spans."""

    text_column: str | None = None
    """Column of the text, or of its words; found by its name unless given."""
    label_column: str | None = None
    """Column of tags or spans; found by its name unless given."""
    labels: Sequence[str] | None = None
    """The tags in the order of their numbers, or the types of spans; found in the data unless
    given."""
    scheme: Scheme | None = None
    """How spans are written as tags: `BIO`, `BIOES`, or `tags` where each word has a tag of its
    own. `tags` if that is what the data has, else `BIO`."""
    aggregation_strategy: Aggregation | None = None
    """What gets a tag: a word, by all its pieces (`average`, `max`) or by the `first` alone, or
    each piece (`simple`; with `none` pieces are also the answer). `average`, but `simple` if the
    data marks parts of words, and `first` for models that were trained elsewhere."""
    is_constrained: bool = True
    """Whether only sequences of tags that the scheme allows are answers."""
    stride: int | None = None
    """Tokens that neighbouring windows of a long text share; a quarter of a window, 128 at most."""
    join_words: JoinWords | None = None
    """How words become a text: `space`, `none`, or `auto`, with spaces but for scripts without."""
    overlaps: Overlaps = "error"
    """What becomes of spans that overlap: an `error`, or the `longest` is kept."""

    def __post_init__(self) -> None:
        """Check the values."""
        problems = [
            one_of(f"`{name}`", value, choices)
            for name, value, choices in (
                ("scheme", self.scheme, typing.get_args(Scheme)),
                ("aggregation_strategy", self.aggregation_strategy, typing.get_args(Aggregation)),
                ("join_words", self.join_words, typing.get_args(JoinWords)),
                ("overlaps", self.overlaps, typing.get_args(Overlaps)),
            )
            if value is not None and value not in choices
        ]
        if self.labels is not None and len(set(self.labels)) != len(self.labels):
            problems.append(f"`labels` must not name a label twice, but is {list(self.labels)}.")
        if self.stride is not None and self.stride < 0:
            problems.append(f"`stride` must be at least 0, but is {self.stride}.")
        if problems:
            raise ConfigError("\n".join(problems))


class TokenClassification(Task):
    """A text to spans."""

    name = "token-classification"
    head_name = "token_classification"
    settings_type: ClassVar[type[TaskSettings]] = TokenClassificationSettings
    settings: TokenClassificationSettings

    def __init__(self, settings: TokenClassificationSettings) -> None:
        """Take settings that leave nothing open but `max_length` and `stride`."""
        assert settings.labels is not None
        assert settings.text_column is not None
        assert settings.label_column is not None
        self.settings = settings
        self.tag_set = TagSet.of_names(settings.labels)
        self.how: Aggregation = settings.aggregation_strategy or "first"
        self.reader = AnnotationReader(
            settings.text_column,
            settings.label_column,
            self.tag_set,
            settings.scheme or "BIO",
            settings.join_words or "auto",
            settings.overlaps,
        )

    @classmethod
    def learn(cls, rows: RowSource, settings: TaskSettings) -> Self:
        """Find columns, tags and units in training rows."""
        assert isinstance(settings, TokenClassificationSettings)
        found = survey_rows(
            rows,
            text_column=settings.text_column,
            label_column=settings.label_column,
            labels=settings.labels,
            scheme=settings.scheme,
            join_words=settings.join_words,
            overlaps=settings.overlaps,
        )
        by_data: Aggregation = "average" if found.marks_words else "simple"
        return cls(
            settings.replace(
                text_column=found.text_column,
                label_column=found.label_column,
                labels=found.tag_set.names,
                scheme=found.scheme,
                join_words=found.join_words,
                aggregation_strategy=settings.aggregation_strategy or by_data,
            )
        )

    @classmethod
    def complete(cls, settings: TaskSettings, model: PretrainedModel) -> TaskSettings:
        """Return the settings with the tags of the model and the usual columns."""
        assert isinstance(settings, TokenClassificationSettings)
        labels = settings.labels or model.config.labels
        tag_set = TagSet.of_names(labels)
        by_labels: Scheme = "BIOES" if tag_set.has_end else "tags" if tag_set.is_plain else "BIO"
        return settings.replace(
            labels=labels,
            scheme=settings.scheme or by_labels,
            text_column=settings.text_column or "text",
            label_column=settings.label_column or "entities",
        )

    def model_options(self) -> dict[str, Any]:
        """Return the tags."""
        return {"labels": self.tag_set.names}

    @property
    def labels_are_lists(self) -> bool:
        """Whether the label of one row may be a list."""
        return True

    def settle_labels(self, rows: RowSource, model: PretrainedModel) -> Self:
        """Return the task with tags, scheme and units as training on these rows would find them.

        Numbers are classes of the model, whether these have names or not.
        """
        known = self.known_settings(model, rows.column_names)
        if known["labels"] is None and _are_numbers(rows, self.reader.label_column):
            return self
        task = self.learn(rows, self.settings_type.from_dict(known))
        require_label_count(task.tag_set.names, model)
        task.fit_length(model)
        return task

    def prepare_model(self, model: PretrainedModel) -> None:
        """Write tags and settings into the model."""
        self.require_head(model)
        model.set_labels(self.tag_set.names)
        super().prepare_model(model)

    # The way of a row ----------------------------------------------------------------------

    def as_row(self, item: Any) -> Mapping[str, Any]:
        """Accept a text, a list of words, or a mapping with the task's column or a stock name."""
        column = self.reader.text_column
        if isinstance(item, str) or _is_words(item):
            return {column: item}
        if isinstance(item, Mapping):
            stock = (item[name] for name in ("text", "tokens", "words") if name in item)
            return item if column in item else {column: next(stock, None)}
        raise DataError(f"A text, a list of words or a mapping is wanted, not {item!r:.80}.")

    def encode(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
        origin: Callable[[int], str] = row_name,
    ) -> list[Features]:
        """Turn each row into one window, or several where it is long."""
        read = read_rows(self.reader, rows, numbers, origin, with_labels=with_labels)
        encoded = self._encode_texts(read, numbers, tokenizer, origin)
        units = find_units(read, encoded, words=self.how in ("first", "average", "max"))
        tags = is_exact = None
        if with_labels:
            tags, is_exact = self._tags(read, units)
        sources = list(_unit_rows(read, encoded, units, tags, is_exact))
        labels = None if tags is None else self._labels_of_pieces(tags, units)
        return list(_features(encoded, sources, labels, numbers))

    def _encode_texts(
        self,
        rows: Sequence[AnnotatedText],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        origin: Callable[[int], str],
    ) -> EncodedWindows:
        settings = self.settings
        assert settings.max_length is not None
        try:
            return tokenizer.encode_windows(
                [row.text for row in rows], max_length=settings.max_length, stride=settings.stride
            )
        except TokenizerError as error:
            for row, number in zip(rows, numbers, strict=True):
                if any("\ud800" <= sign <= "\udfff" for sign in row.text):
                    raise DataError(
                        f"{origin(number)}: `{self.reader.text_column}` holds half a surrogate "
                        "pair, which is no character. Remove or mend such rows."
                    ) from error
            raise

    def _tags(self, rows: Sequence[AnnotatedText], units: Units) -> tuple[np.ndarray, list[bool]]:
        """Return the right tag of each unit (U,), and for each row whether units fit its spans."""
        aligned = align_spans(rows, units)
        tags = write_tags(aligned.spans, len(units.firsts), self.tag_set)
        counts = [0 if row.spans is None else len(row.spans) for row in rows]
        ends = np.cumsum([0, *counts])
        return tags, [bool(aligned.is_exact[start:end].all()) for start, end in pairwise(ends)]

    def _labels_of_pieces(self, tags: np.ndarray, units: Units) -> np.ndarray:
        """Return what the head learns at each piece (N,)."""
        labels = np.full(len(units.unit_of_piece), IGNORED_LABEL, dtype=np.int64)
        if self.how in ("average", "max"):  # all pieces of a word speak for it
            types = np.where(tags >= 0, self.tag_set.type_of[np.maximum(tags, 0)], -1)
            goes_on = np.where(types >= 0, self.tag_set.tag_of[types, INSIDE], tags)
            visible = units.unit_of_piece >= 0
            labels[visible] = goes_on[units.unit_of_piece[visible]]
        labels[units.firsts] = tags
        return labels

    def new_remarks(self) -> Remarks:
        """Return a counter of rows with spans that tags cannot say exactly."""
        return SpanRemarks()

    def join_labels(self, features: Sequence[Features]) -> Tensor | None:
        """Return the labels of all pieces as one tensor, or None without labels."""
        if features[0].label is None:
            return None
        return torch.from_numpy(np.concatenate([feature.label for feature in features]))

    def predict(
        self, features: Sequence[Features], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> TagPrediction:
        """Return the scores of the row's units and the tags chosen."""
        row: UnitRow | None = features[0].source
        if row is None:
            scores = log_softmax(outputs[0]["logits"])
            return TagPrediction(scores, scores.argmax(-1), None)
        windows = [feature.window for feature in features if feature.window is not None]
        logits = join_windows(windows, [output["logits"] for output in outputs])
        scores = score_units(logits, row, self.how, self.tag_set)
        if self.settings.is_constrained:
            return TagPrediction(scores, decode_tags(scores, self.tag_set), row)
        return TagPrediction(scores, scores.argmax(-1), row)

    def row_label(self, features: Sequence[Features]) -> Any:
        """Return the right tags of the row's units."""
        row: UnitRow | None = features[0].source
        return features[0].label if row is None else row.tags

    def to_arrays(
        self, predictions: Sequence[Any], labels: Sequence[Any]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (rows, longest, C) scores and (rows, longest) tags, -100 in padding."""
        yield from to_padded(predictions, labels, self.tag_set)

    def answer(self, prediction: Any, *, top_k: int | None = 1) -> Any:
        """Return a list of `{label, start, end, text, score}`, one for each span.

        The score is the mean probability, over the words of the span, of belonging to a span of its
        type. With another `top_k` than 1 each span has `candidates`, its likeliest types. With
        `aggregation_strategy="none"` there is an entry for each piece with a tag other than `O`.
        """
        row = prediction.row
        if row is None:
            return [{"label": self.tag_set.names[tag]} for tag in prediction.tags]
        if self.how == "none":
            return [
                {
                    "label": self.tag_set.names[tag],
                    **_place(row.text, start, end),
                    "score": float(np.exp(scores[tag])),
                }
                for (start, end), tag, scores in zip(
                    row.places.tolist(), prediction.tags.tolist(), prediction.scores, strict=True
                )
                if tag != self.tag_set.outside
            ]
        return [
            {
                "label": self.tag_set.types[span.type_number],
                **_place(row.text, span.start, span.end),
                "score": span.score,
                **({} if top_k == 1 else {"candidates": self._candidates(span, top_k)}),
            }
            for span in spans_of(prediction, self.tag_set)
        ]

    def _candidates(self, span: FoundSpan, top_k: int | None) -> list[dict[str, Any]]:
        best = np.argsort(-span.shares, kind="stable")[:top_k]
        return [{"label": self.tag_set.types[i], "score": float(span.shares[i])} for i in best]

    def judge(self, prediction: Any, label: Any) -> tuple[str, str, float] | None:
        """Compare the spans found with the right ones, in words."""
        row = prediction.row
        if row is None or row.spans is None or not len(prediction.tags):
            return None
        found = [
            (span.start, span.end, span.type_number) for span in spans_of(prediction, self.tag_set)
        ]
        chosen = prediction.scores[np.arange(len(prediction.tags)), prediction.tags]
        sure = float(np.exp(chosen).mean())
        return self._told(row.text, row.spans.tolist()), self._told(row.text, found), sure

    def _told(self, text: str, spans: Sequence[Sequence[int]]) -> str:
        told = [f"{text[start:end]} ({self.tag_set.types[kind]})" for start, end, kind in spans]
        rest = len(told) - _MOST_SHOWN
        return ", ".join(told[:_MOST_SHOWN]) + (f" and {rest} more" if rest > 0 else "") or "none"

    def new_metrics(self) -> Metric:
        """Return counters of spans."""
        return SpanMetrics(self.tag_set.names)


def _unit_rows(
    rows: Sequence[AnnotatedText],
    encoded: EncodedWindows,
    units: Units,
    tags: np.ndarray | None,
    is_exact: Sequence[bool] | None,
) -> Iterator[UnitRow]:
    """Yield each row with its own units, numbers counted from the row's beginning."""
    pieces, offsets = encoded.text_offsets, units.offsets
    firsts = units.firsts - np.repeat(pieces[:-1], np.diff(offsets))
    unit_of_piece = units.unit_of_piece - np.repeat(offsets[:-1], np.diff(pieces))
    unit_of_piece[units.unit_of_piece < 0] = -1
    stretches = zip(pairwise(offsets.tolist()), pairwise(pieces.tolist()), strict=True)
    for number, (row, stretch) in enumerate(zip(rows, stretches, strict=True)):
        of_units, of_pieces = (slice(*places) for places in stretch)
        yield UnitRow(
            row.text,
            units.places[of_units],
            firsts[of_units],
            unit_of_piece[of_pieces],
            None if tags is None else tags[of_units],
            row.spans,
            is_exact is None or is_exact[number],
        )


def _features(
    encoded: EncodedWindows,
    sources: Sequence[UnitRow],
    labels: np.ndarray | None,
    numbers: Sequence[int],
) -> Iterator[Features]:
    """Yield the windows; each piece has its label in the window it belongs to, and only there."""
    offsets, segments = encoded.offsets.tolist(), encoded.token_type_ids
    for place, (row, window) in enumerate(
        zip(encoded.rows.tolist(), windows_of(encoded), strict=True)
    ):
        span = slice(offsets[place], offsets[place + 1])
        learned = None
        if labels is not None:
            learned = np.full(span.stop - span.start, IGNORED_LABEL, dtype=np.int64)
            kept = labels[encoded.text_offsets[row] :][slice(*window.kept)]
            learned[window.kept_places] = kept
        yield Features(
            encoded.input_ids[span],
            None if segments is None else segments[span],
            learned,
            numbers[row],
            window=window,
            source=sources[row],
        )


def _place(text: str, start: int, end: int) -> dict[str, Any]:
    return {"start": start, "end": end, "text": text[start:end]}


def _are_numbers(rows: RowSource, column: str) -> bool:
    """Tell whether all tags of rows are numbers."""
    return all(
        isinstance(tag, int | np.integer)
        for row in rows.rows(range(len(rows)))
        for tag in row[column]
    )


def _is_words(item: Any) -> bool:
    return isinstance(item, Sequence) and all(isinstance(word, str) for word in item)
