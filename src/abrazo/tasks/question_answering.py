"""Question answering: the stretch of a context that answers a question, or that none does.

The model reads the question and the context together. Long contexts are read in overlapping
windows, each with the whole question; in a window without the answer, the first token ([CLS]) is
what is to be found. Where several answers are right, a window learns the first that it shows.

Shapes: T tokens of a window, N tokens of a context.
"""

import dataclasses
import logging
import math
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from abrazo.data.rows import RowSource
from abrazo.data.sampling import generator_for
from abrazo.errors import ConfigError, DataError, TokenizerError, one_of
from abrazo.metrics.answers import AnswerMetrics, exact_match
from abrazo.metrics.base import Metric
from abrazo.models.base import PretrainedModel
from abrazo.tasks.answer_remarks import NO_ANSWER, UNLEARNABLE, AnswerRemarks
from abrazo.tasks.answer_spans import (
    AnswerPrediction,
    ContextRow,
    FoundAnswer,
    find_answers,
    score_window,
    token_span,
)
from abrazo.tasks.base import Features, Task, TaskSettings, row_name
from abrazo.tasks.columns import find_column
from abrazo.tasks.question_rows import (
    ANSWER_COLUMNS,
    CONTEXT_COLUMNS,
    QUESTION_COLUMNS,
    Places,
    Question,
    QuestionReader,
    has_answer,
    read_questions,
)
from abrazo.tasks.remarks import Remarks
from abrazo.tasks.windows import Window, windows_of
from abrazo.tokenization.tokenizer import Tokenizer
from abrazo.tokenization.windows import EncodedWindows

_SCANNED_AT_ONCE = 1_000

logger = logging.getLogger("abrazo")


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuestionAnsweringSettings(TaskSettings):
    """Which columns are read, how long contexts are read, and what may be an answer."""

    ALIASES: ClassVar[Mapping[str, str]] = {
        "context_column": "text_column",
        "pair_column": "question_column",
        "answer_column": "label_column",
        "answers_column": "label_column",
        "max_seq_len": "max_length",
        "max_seq_length": "max_length",
        "doc_stride": "stride",
        "max_answer_len": "max_answer_length",
    }

    text_column: str | None = None
    """Column of the context; found by its name unless given."""
    question_column: str | None = None
    """Column of the question; found by its name unless given."""
    label_column: str | None = None
    """Column of the answers; found by its name unless given."""
    stride: int | None = None
    """Tokens that neighbouring windows of a long context share; a quarter of a window, 128 at
    most."""
    max_answer_length: int = 64
    """The most tokens of an answer that is given."""
    handle_impossible_answer: bool | None = None
    """Whether the answer may be that there is none; so if some training rows have none."""
    null_threshold: float = 0.0
    """How much likelier no answer must be than the best answer to be given in its place, as a
    difference of logarithms of probabilities."""
    empty_windows: float = 1.0
    """Share of the windows without the answer that are learned, of rows that have one; drawn anew
    for each epoch. Windows of rows without an answer are always learned."""
    answer_places: Places = "given"
    """Whether an answer must stand where the data says (`given`), or is taken where it stands
    nearest to that (`find`)."""

    def __post_init__(self) -> None:
        """Check the values."""
        problems = []
        if self.answer_places not in typing.get_args(Places):
            problems.append(one_of("`answer_places`", self.answer_places, typing.get_args(Places)))
        if self.stride is not None and self.stride < 0:
            problems.append(f"`stride` must be at least 0, but is {self.stride}.")
        if self.max_answer_length < 1:
            problems.append(
                f"`max_answer_length` must be at least 1, but is {self.max_answer_length}."
            )
        if not 0 <= self.empty_windows <= 1:
            problems.append(f"`empty_windows` must be from 0 to 1, but is {self.empty_windows}.")
        if math.isnan(self.null_threshold):
            problems.append("`null_threshold` must be a number, but is NaN.")
        if problems:
            raise ConfigError("\n".join(problems))


class QuestionAnswering(Task):
    """A question and a context to a stretch of the context."""

    name = "question-answering"
    head_name = "question_answering"
    settings_type: ClassVar[type[TaskSettings]] = QuestionAnsweringSettings
    settings: QuestionAnsweringSettings
    call_arguments = ("contexts", "questions", "answers")
    label_argument = "answers"

    def __init__(self, settings: QuestionAnsweringSettings) -> None:
        """Take settings that leave nothing open but `max_length` and `stride`."""
        assert settings.text_column is not None
        assert settings.question_column is not None
        assert settings.label_column is not None
        self.settings = settings
        self.reader = QuestionReader(
            settings.text_column,
            settings.question_column,
            settings.label_column,
            settings.answer_places,
        )
        self._told: set[str] = set()

    @classmethod
    def learn(cls, rows: RowSource, settings: TaskSettings) -> Self:
        """Find columns in training rows, and whether some questions have no answer."""
        assert isinstance(settings, QuestionAnsweringSettings)
        columns = rows.column_names
        found = settings.replace(
            text_column=find_column(columns, settings.text_column, CONTEXT_COLUMNS, "text"),
            question_column=find_column(
                columns, settings.question_column, QUESTION_COLUMNS, "question"
            ),
            label_column=find_column(columns, settings.label_column, ANSWER_COLUMNS, "label"),
        )
        assert found.label_column is not None
        some_lack_answers = _survey(rows, found.label_column)
        if found.handle_impossible_answer is None:
            found = found.replace(handle_impossible_answer=some_lack_answers)
        return cls(found)

    @classmethod
    def complete(cls, settings: TaskSettings, model: PretrainedModel) -> TaskSettings:
        """Return the settings with the usual columns."""
        assert isinstance(settings, QuestionAnsweringSettings)
        return settings.replace(
            text_column=settings.text_column or CONTEXT_COLUMNS[0],
            question_column=settings.question_column or QUESTION_COLUMNS[0],
            label_column=settings.label_column or ANSWER_COLUMNS[0],
        )

    def asking(self, changes: Mapping[str, Any]) -> "QuestionAnswering":
        """Return the task with some settings changed."""
        return type(self)(self.settings.replace(**changes))

    # The way of a row ----------------------------------------------------------------------

    def as_row(self, item: Any) -> Mapping[str, Any]:
        """Accept a mapping with the task's columns or the stock names, or a pair.

        A pair is a question and its context, in this order.
        """
        reader = self.reader
        if isinstance(item, Mapping):
            stock = ((reader.context_column, "context"), (reader.question_column, "question"))
            missing = {
                column: item[name] for column, name in stock if column not in item and name in item
            }
            return {**item, **missing}
        if isinstance(item, Sequence) and not isinstance(item, str) and len(item) == 2:
            return {reader.question_column: item[0], reader.context_column: item[1]}
        raise DataError(
            "A question with its context is wanted, such as "
            f'`{{"question": "...", "context": "..."}}`, not {item!r:.80}.'
        )

    @property
    def labels_are_lists(self) -> bool:
        """Whether the label of one row may be a list."""
        return True

    def rows_of_call(
        self,
        columns: Sequence[Sequence[Any]],
        labels: Sequence[Any] | None,
        tokenizer: Tokenizer,
    ) -> list[dict[str, Any]]:
        """Turn contexts, questions and answers into rows.

        An answer that is a text alone is taken where it stands first in its context.
        """
        turned = columns if len(columns) == 1 else (columns[1], columns[0])  # question first
        rows = super().rows_of_call(turned, labels, tokenizer)
        unsure = []
        for number, row in enumerate(rows if labels is not None else ()):
            try:
                if self.reader.find_places(row):
                    unsure.append(row_name(number))
            except DataError as error:
                raise DataError(f"{row_name(number)}: {error}") from error
        if unsure:
            self._tell_once(
                "%d of %d answers stand at several places of their context, as that of %s; the "
                "first is taken. Give the place: `{'text': [...], 'answer_start': [...]}`.",
                *(len(unsure), len(rows), unsure[0]),
            )
        return rows

    def columns_of_label(self, feature: Features) -> dict[str, Any]:
        """Return the first and last token of the answer."""
        if feature.label is None:
            return {}
        start, end = feature.label
        return {"start_positions": start, "end_positions": end}

    def encode(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
        origin: Callable[[int], str] = row_name,
    ) -> list[Features]:
        """Turn each row into one window, or several where its context is long."""
        read = read_questions(self.reader, rows, numbers, origin, with_answers=with_labels)
        encoded = self._encode_texts(read, numbers, tokenizer, origin)
        if not with_labels:
            self._tell_cut(encoded, numbers, origin)
        sources = list(_context_rows(read, encoded))
        spans = [self._answer_spans(row, source) for row, source in zip(read, sources, strict=True)]
        return list(_features(encoded, sources, spans, numbers))

    def _encode_texts(
        self,
        rows: Sequence[Question],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        origin: Callable[[int], str],
    ) -> EncodedWindows:
        settings = self.settings
        assert settings.max_length is not None
        try:
            return tokenizer.encode_windows(
                [row.context for row in rows],
                [row.question for row in rows],
                max_length=settings.max_length,
                stride=settings.stride,
            )
        except TokenizerError as error:
            for row, number in zip(rows, numbers, strict=True):
                if any("\ud800" <= sign <= "\udfff" for sign in row.question + row.context):
                    raise DataError(
                        f"{origin(number)}: question or context holds half a surrogate pair, which "
                        "is no character. Remove or mend such rows."
                    ) from error
            raise

    def _tell_cut(
        self, encoded: EncodedWindows, numbers: Sequence[int], origin: Callable[[int], str]
    ) -> None:
        """Name a question that is cut; how many of labelled rows are, `new_remarks` counts."""
        cut = encoded.dropped.nonzero()[0]
        if len(cut):
            self._tell_once(
                "Questions longer than half of what the model reads, as that of %s, are cut at "
                "their ends.",
                origin(numbers[int(cut[0])]),
            )

    def _answer_spans(self, row: Question, source: ContextRow) -> list[tuple[int, int]] | None:
        """Return first and last token of each right answer; None without labels."""
        if row.answers is None:
            return None
        found = [token_span(source.places, answer.start, answer.end) for answer in row.answers]
        return [span for span in found if span is not None]

    def new_remarks(self) -> Remarks:
        """Return counters of cut questions, and of answers not to be learned or given whole."""
        return AnswerRemarks(self.settings.max_answer_length)

    def _tell_once(self, message: str, *values: object) -> None:
        if message not in self._told:
            self._told.add(message)
            logger.warning(message, *values)

    def choose(self, features: list[Features], *, seed: int, epoch: int) -> list[Features]:
        """Leave out a share of the windows without the answer, of rows that have one."""
        share = self.settings.empty_windows
        if share == 1:
            return features
        chosen: list[Features] = []
        for place, feature in enumerate(features):
            row = feature.row
            is_needed = feature.label[0] != 0 or not feature.source.answers
            is_last = place + 1 == len(features) or features[place + 1].row != row
            is_only = is_last and (not chosen or chosen[-1].row != row)
            assert feature.window is not None
            purpose = f"window {feature.window.start}"
            if is_needed or is_only or generator_for(seed, epoch, row, purpose).random() < share:
                chosen.append(feature)
        return chosen

    def predict(
        self, features: Sequence[Features], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> AnswerPrediction:
        """Return what the windows of a row say of its answer."""
        windows = tuple(
            score_window(_window_of(feature), output["start_logits"], output["end_logits"])
            for feature, output in zip(features, outputs, strict=True)
        )
        row = features[0].source or ContextRow.of_tokens(len(features[0].input_ids))
        return AnswerPrediction(row, windows)

    def row_label(self, features: Sequence[Features]) -> tuple[str, ...] | None:
        """Return the right answers of a row; as numbers of tokens where the text is not known."""
        row: ContextRow | None = features[0].source
        if row is not None:
            return row.answers
        if features[0].label is None:
            return None
        first, last = features[0].label.tolist()
        return (" ".join(map(str, range(first, last + 1))),) if first > 0 else ()

    def to_arrays(
        self, predictions: Sequence[Any], labels: Sequence[Any]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (rows,) answers as texts, and (rows,) tuples of the right ones."""
        given = np.empty(len(predictions), dtype=object)
        right = np.empty(len(predictions), dtype=object)
        for place, (prediction, label) in enumerate(zip(predictions, labels, strict=True)):
            given[place] = self._answers(prediction, 1)[0].text
            right[place] = tuple(label or ())
        yield given, right

    def answer(self, prediction: AnswerPrediction, *, top_k: int | None = 1) -> Any:
        """Return `{score, start, end, answer}`, or a list of the best, no text twice.

        `score` is the probability that the answer starts where it does times that it ends where it
        does, in its window; `start` and `end` count characters of the context. The empty answer
        from 0 to 0 says that there is none. Where a user's own collator has read the text, there
        are `start_token` and `end_token` in their place.
        """
        found = [_as_json(one, prediction.row) for one in self._answers(prediction, top_k)]
        return found[0] if top_k == 1 else found

    def _answers(self, prediction: AnswerPrediction, count: int | None) -> list[FoundAnswer]:
        settings = self.settings
        return find_answers(
            prediction,
            count,
            max_tokens=settings.max_answer_length,
            null_threshold=settings.null_threshold if settings.handle_impossible_answer else None,
        )

    def judge(self, prediction: AnswerPrediction, label: Any) -> tuple[str, str, float] | None:
        """Compare the answer given with the nearest right one."""
        best = self._answers(prediction, 1)[0]
        said = best.text or "no answer"
        right = said if exact_match(best.text, label or ()) else (*(label or ()), "no answer")[0]
        return right, said, float(np.exp(best.score))

    def new_metrics(self) -> Metric:
        """Return counters of exact match and F1."""
        return AnswerMetrics()


def _survey(rows: RowSource, column: str) -> bool:
    """Return whether some rows have no answer.

    Raises:
        DataError: None has one.
    """
    seen: set[bool] = set()
    for start in range(0, len(rows), _SCANNED_AT_ONCE):
        numbers = range(start, min(start + _SCANNED_AT_ONCE, len(rows)))
        seen.update(has_answer(row, column) for row in rows.rows(numbers))
        if len(seen) == 2:
            return True
    if True not in seen:
        raise DataError(
            f"No row has an answer in `{column}`, so there is nothing to learn. Give answers as "
            '`{"text": ["..."], "answer_start": [17]}`, or name their column with '
            "`label_column=...`."
        )
    return False


def _context_rows(rows: Sequence[Question], encoded: EncodedWindows) -> Iterator[ContextRow]:
    offsets = encoded.text_offsets.tolist()
    for row, start, end in zip(rows, offsets, offsets[1:], strict=False):
        right = None if row.answers is None else tuple(answer.text for answer in row.answers)
        yield ContextRow(row.context, encoded.spans[start:end], right)


def _features(
    encoded: EncodedWindows,
    sources: Sequence[ContextRow],
    spans: Sequence[Sequence[tuple[int, int]] | None],
    numbers: Sequence[int],
) -> Iterator[Features]:
    """Yield the windows, each with the place of the answer in it."""
    offsets, segments, seen = encoded.offsets.tolist(), encoded.token_type_ids, -1
    for place, (row, window) in enumerate(
        zip(encoded.rows.tolist(), windows_of(encoded), strict=True)
    ):
        part = slice(offsets[place], offsets[place + 1])
        of_row, label = spans[row], None
        if of_row is not None:
            is_lost = bool(sources[row].answers) and not of_row
            found = UNLEARNABLE if is_lost else _place_in(window, of_row)
            label = np.asarray(found, dtype=np.int64)
        yield Features(
            encoded.input_ids[part],
            None if segments is None else segments[part],
            label,
            numbers[row],
            int(encoded.dropped[row]) if row != seen else 0,
            window=window,
            source=sources[row],
        )
        seen = row


def _place_in(window: Window, spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return first and last token, in the window, of the first span it shows; else no answer's."""
    end = window.start + window.count
    shift = window.first - window.start
    shown = (span for span in spans if window.start <= span[0] and span[1] < end)
    return next(((first + shift, last + shift) for first, last in shown), NO_ANSWER)


def _window_of(feature: Features) -> Window:
    """Return where the features stand; all but the first token where nothing is known of them."""
    count = len(feature.input_ids)
    return feature.window or Window(1, 0, count - 1, (0, count - 1))


def _as_json(found: FoundAnswer, row: ContextRow) -> dict[str, Any]:
    score, start = float(np.exp(found.score)), found.start
    if row.is_text:
        return {
            "score": score,
            "start": start,
            "end": start + len(found.text),
            "answer": found.text,
        }
    tokens = [int(number) for number in found.text.split()] or [0]
    return {"score": score, "start_token": tokens[0], "end_token": tokens[-1]}
