"""Questions, their contexts and their answers, in all the forms that data has them.

Answers are `{text: [...], answer_start: [...]}`, a list of `{text, start}`, or one text with its
place in a column of its own. A place counts characters of the context, and the answer must stand
there: what stands elsewhere would be learned wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from abrazo.errors import DataError, did_you_mean

CONTEXT_COLUMNS = ("context", "passage", "paragraph", "document", "text", "context_text")
QUESTION_COLUMNS = ("question", "query", "query_text")
ANSWER_COLUMNS = ("answers", "answer", "answer_text", "label", "labels")
PLACE_COLUMNS = ("answer_start", "start")
IMPOSSIBLE_COLUMN = "is_impossible"

Places = Literal["given", "find"]
"""Whether an answer must stand where the data says, or is looked for where it does not."""

_TEXT_KEYS = ("text", "answer")
_PLACE_KEYS = ("answer_start", "start")
_SURROUNDINGS = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in its context, without spaces around it."""

    text: str
    start: int
    """Its first character in the context."""

    @property
    def end(self) -> int:
        """The character after its last."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Question:
    """A question as the task reads it."""

    question: str
    context: str
    answers: tuple[Answer, ...] | None
    """The right answers, none of them where the context has none; None without labels."""


@dataclass(frozen=True)
class QuestionReader:
    """Reads rows."""

    context_column: str
    question_column: str
    answer_column: str
    places: Places

    def read(self, row: Mapping[str, Any], *, with_answers: bool) -> Question:
        """Read a row.

        Raises:
            DataError: A column or a value is missing or of the wrong kind, or an answer is not
                where it should be.
        """
        context = _text(row, self.context_column)
        question = _text(row, self.question_column)
        answers = self.answers(row, context) if with_answers else None
        return Question(question, context, answers)

    def answers(self, row: Mapping[str, Any], context: str) -> tuple[Answer, ...]:
        """Return the right answers; the same errors as `read`."""
        if row.get(IMPOSSIBLE_COLUMN) is True:
            return ()
        column = self.answer_column
        if column not in row:
            there = ", ".join(f"`{name}`" for name in row)
            raise DataError(
                f"there is no column `{column}`, only {there}.{did_you_mean(column, row)}"
            )
        pairs = _pairs(row[column], row, column)
        return tuple(
            self._placed(text, start, context, f"answer {number}" if len(pairs) > 1 else "answer")
            for number, (text, start) in enumerate(pairs, start=1)
        )

    def find_places(self, row: dict[str, Any]) -> bool:
        """Give answers of a row that have no place the first where they stand in the context.

        Answers that stand nowhere are left without; `read` says so.

        Returns:
            Whether one of them stands at several places.

        Raises:
            DataError: The answers have none of the known forms.
        """
        column, context = self.answer_column, row.get(self.context_column)
        pairs = _pairs(row[column], row, column)
        if not isinstance(context, str) or all(start is not None for _, start in pairs):
            return False
        found = [
            _occurrences(text.strip(), context)
            if start is None and isinstance(text, str) and text.strip()
            else [start]
            for text, start in pairs
        ]
        starts = [places[0] if places else None for places in found]
        row[column] = {"text": [text for text, _ in pairs], "answer_start": starts}
        return any(len(places) > 1 for places in found)

    def _placed(self, text: Any, start: Any, context: str, name: str) -> Answer:
        column = self.answer_column
        if not isinstance(text, str) or not text.strip():
            what = "empty" if isinstance(text, str) else f"{text!r:.80} ({type(text).__name__})"
            raise DataError(
                f"the {name} in `{column}` must be a text, but is {what}. A question without an "
                "answer has an empty list."
            )
        bare = text.strip()
        place = _whole(start)
        if start is not None and place is None:
            raise DataError(
                f"the place of the {name} in `{column}` must be a whole number, but is "
                f"{start!r:.80} ({type(start).__name__})."
            )
        if place is not None and place >= 0 and context.startswith(text, place):
            return Answer(bare, place + len(text) - len(text.lstrip()))
        found = _occurrences(bare, context)
        if self.places == "find" and found:
            return Answer(bare, min(found, key=lambda at: abs(at - (place or 0))))
        raise DataError(_misplaced(text, place, found, context, f"the {name} in `{column}`"))


def read_questions(
    reader: QuestionReader,
    rows: Sequence[Mapping[str, Any]],
    numbers: Sequence[int],
    origin: Callable[[int], str],
    *,
    with_answers: bool,
) -> list[Question]:
    """Read rows; a `DataError` names the one that cannot be used."""
    read = []
    for row, number in zip(rows, numbers, strict=True):
        try:
            read.append(reader.read(row, with_answers=with_answers))
        except DataError as error:
            raise DataError(f"{origin(number)}: {error}") from error
    return read


def has_answer(row: Mapping[str, Any], column: str) -> bool:
    """Tell whether a row has an answer, right or wrong."""
    if row.get(IMPOSSIBLE_COLUMN) is True:
        return False
    try:
        return bool(_pairs(row.get(column), row, column))
    except DataError:
        return True  # what is wrong with it is said when it is read


def _text(row: Mapping[str, Any], column: str) -> str:
    if column not in row:
        there = ", ".join(f"`{name}`" for name in row)
        raise DataError(f"there is no column `{column}`, only {there}.{did_you_mean(column, row)}")
    text = row[column]
    if not isinstance(text, str):
        is_missing = text is None or text != text
        kind = "missing" if is_missing else f"of type {type(text).__name__}"
        raise DataError(f"`{column}` must be a text, but is {kind}. Remove or fill such rows.")
    if not text.strip():
        raise DataError(f"`{column}` is empty. Remove or fill such rows.")
    return text


def _pairs(value: Any, row: Mapping[str, Any], column: str) -> list[tuple[Any, Any]]:
    """Return texts and places as they are given, whatever the form.

    Raises:
        DataError: It has none of the known forms.
    """
    if isinstance(value, str):
        places = [row[name] for name in PLACE_COLUMNS if name in row]
        return [(value, places[0] if places else None)] if value.strip() else []
    if isinstance(value, Mapping):
        return _pairs_of_mapping(value, column)
    if not isinstance(value, Sequence | np.ndarray):
        is_missing = value is None or value != value
        raise DataError(
            f"`{column}` must be a text, a list of answers, or a mapping with `text` and "
            f"`answer_start`, but is {'missing' if is_missing else f'{value!r:.80}'}. A question "
            "without an answer has an empty list."
        )
    pairs: list[tuple[Any, Any]] = []
    for item in value:
        if isinstance(item, Mapping):
            pairs += _pairs_of_mapping(item, column)
        elif isinstance(item, str):
            pairs.append((item, None))
        else:
            raise DataError(
                f"`{column}` must hold answers with `text` and `start`, but holds {item!r:.80}."
            )
    return pairs


def _pairs_of_mapping(value: Mapping[str, Any], column: str) -> list[tuple[Any, Any]]:
    texts, places = _first(value, _TEXT_KEYS), _first(value, _PLACE_KEYS)
    if not any(key in value for key in _TEXT_KEYS):
        raise DataError(
            f"`{column}` must have `text` and `answer_start`, but has "
            f"{', '.join(f'`{name}`' for name in value) or 'nothing'}."
        )
    if not _is_list(texts):
        return [(texts, places)]
    listed = list(places) if _is_list(places) else [places] * len(texts)
    if len(texts) != len(listed):
        raise DataError(
            f"`{column}` must have a place for each text, but has {len(texts)} texts and "
            f"{len(listed)} places."
        )
    return list(zip(texts, listed, strict=True))


def _misplaced(text: str, place: int | None, found: list[int], context: str, name: str) -> str:
    """Say what is wrong with the place of an answer, and how to mend it."""
    shown = f'"{text:.60}"'
    if not found:
        return f"{name}, {shown}, is nowhere in the context. Correct it, or remove the row."
    elsewhere = ", ".join(map(str, found[:3])) + (", ..." if len(found) > 3 else "")
    remedy = 'Set `answer_places="find"` to take the nearest place where it stands.'
    if place is None:
        return f"{name}, {shown}, has no place (`answer_start`); it is at {elsewhere}. {remedy}"
    there = context[max(place, 0) :][: max(len(text), _SURROUNDINGS)]
    return (
        f'{name}, {shown}, is not at {place}, where the context has "{there:.60}"; it is at '
        f"{elsewhere}. Places count characters from 0, not bytes. {remedy}"
    )


def _occurrences(text: str, context: str) -> list[int]:
    found, start = [], context.find(text)
    while start >= 0:
        found.append(start)
        start = context.find(text, start + 1)
    return found


def _whole(value: Any) -> int | None:
    """Return a whole number, also one that a table with gaps holds as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    return int(value) if value == value and value == value // 1 else None


def _first(item: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((item[key] for key in keys if key in item), None)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
