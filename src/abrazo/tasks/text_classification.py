"""Text classification: one text, or a pair, to one class, several, or a number.

What kind it is shows in the labels: a list means several classes at once, a number with a fraction
means regression, anything else (strings, whole numbers, true and false) names one class.

Shapes: C labels.
"""

import copy
import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from torch import Tensor

from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, DataError, did_you_mean
from abrazo.metrics.base import Metric
from abrazo.metrics.classification import ClassificationMetrics
from abrazo.metrics.multilabel import MultiLabelMetrics
from abrazo.metrics.regression import RegressionMetrics
from abrazo.metrics.selective import SelectiveMetrics
from abrazo.models.base import PretrainedModel
from abrazo.tasks.base import Features, Task, TaskSettings, features_of, row_name
from abrazo.tasks.columns import find_column, require_unicode, text_of
from abrazo.tasks.polarity import polarities
from abrazo.tokenization.tokenizer import Tokenizer

TEXT_COLUMNS = ("text", "sentence", "content", "review", "message", "text1", "sentence1", "premise")
PAIR_COLUMNS = ("text_pair", "text2", "sentence2", "hypothesis")
LABEL_COLUMNS = ("label", "labels", "category", "class", "sentiment", "intent", "score", "target")

Problem = Literal["single_label_classification", "multi_label_classification", "regression"]

_NAMES = ("text", "whole number", "truth value")
"""Kinds of values that name a class."""
_LARGEST = float(np.finfo(np.float32).max)
_SCANNED_AT_ONCE = 10_000
_MOST_LISTED = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextClassificationSettings(TaskSettings):
    """Which columns are read and what the labels mean."""

    text_column: str | None = None
    """Column of the text; found by its name unless given."""
    pair_column: str | None = None
    """Column of the second text of a pair; found by its name unless given."""
    label_column: str | None = None
    """Column of the label; found by its name unless given."""
    labels: Sequence[str] | None = None
    """The labels in class order; found in the data unless given."""
    problem: Problem | None = None
    """What the labels mean; told from the labels unless given."""
    threshold: float = 0.5
    """With several labels at once: the probability from which a label is given."""
    temperature: float = 1.0
    """With one class: what logits are divided by, so that scores are true; `calibrate` finds it."""
    rejection_threshold: float | None = None
    """With one class: the score below which the answer is no label; `calibrate` finds it."""

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 < self.threshold < 1:
            raise ConfigError(f"`threshold` must be between 0 and 1, but is {self.threshold}.")
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"`temperature` must be above 0, but is {self.temperature}.")
        if self.rejection_threshold is not None and not 0 <= self.rejection_threshold <= 1:
            raise ConfigError(
                f"`rejection_threshold` must be from 0 to 1, but is {self.rejection_threshold}."
            )
        if self.labels is not None and len(set(self.labels)) != len(self.labels):
            raise ConfigError(f"`labels` must not name a label twice, but is {list(self.labels)}.")


class TextClassification(Task):
    """One text or pair to labels or a number."""

    name = "text-classification"
    head_name = "sequence_classification"
    settings_type: ClassVar[type[TaskSettings]] = TextClassificationSettings
    settings: TextClassificationSettings

    def __init__(self, settings: TextClassificationSettings) -> None:
        """Take settings that leave nothing open but `max_length`."""
        assert settings.problem is not None
        assert settings.labels is not None
        self.settings = settings
        self.problem: Problem = settings.problem
        self.labels = tuple(settings.labels)
        self._number_of = {label: number for number, label in enumerate(self.labels)}
        self._polarities: np.ndarray | None = None

    @classmethod
    def learn(cls, rows: RowSource, settings: TaskSettings) -> Self:
        """Find columns and labels in training rows."""
        assert isinstance(settings, TextClassificationSettings)
        columns = rows.column_names
        found = settings.replace(
            text_column=find_column(columns, settings.text_column, TEXT_COLUMNS, "text"),
            pair_column=find_column(
                columns, settings.pair_column, PAIR_COLUMNS, "second text", is_optional=True
            ),
            label_column=find_column(columns, settings.label_column, LABEL_COLUMNS, "label"),
        )
        assert found.label_column is not None
        problem, labels = _survey(rows, found.label_column, settings)
        return cls(found.replace(problem=problem, labels=labels))

    @classmethod
    def complete(cls, settings: TaskSettings, model: PretrainedModel) -> TaskSettings:
        """Return the settings with the labels of the model and the usual columns."""
        assert isinstance(settings, TextClassificationSettings)
        problem = settings.problem or model.config.problem_type
        if problem is None:
            is_number = model.config.num_labels == 1
            problem = "regression" if is_number else "single_label_classification"
        labels = settings.labels or model.config.labels
        if len(labels) != model.config.num_labels:
            raise ConfigError(
                f"The task's settings name {len(labels)} labels, but the model has "
                f"{model.config.num_labels} classes."
            )
        return settings.replace(
            problem=problem,
            labels=labels,
            text_column=settings.text_column or TEXT_COLUMNS[0],
            label_column=settings.label_column or LABEL_COLUMNS[0],
        )

    def model_options(self) -> dict[str, Any]:
        """Return labels and problem type."""
        return {"labels": self.labels, "problem_type": self.problem}

    @property
    def labels_are_lists(self) -> bool:
        """Whether the label of one row may be a list."""
        return self.problem == "multi_label_classification"

    def settle_labels(self, rows: RowSource, model: PretrainedModel) -> Self:
        """Return the task with labels found in a call, where the model has no names for them."""
        labels = [_plain(row.get(self.label_column)) for row in rows.rows(range(len(rows)))]
        are_numbers = all(
            _kind(label) in ("whole number", "truth value", "fraction") for label in labels
        )
        # A head that has learned nothing yet is for several labels where labels are lists.
        is_open = model.config.problem_type is None and all(
            _kind(label) == "list" for label in labels
        )
        are_settled = model.config.has_named_labels and not is_open
        if are_settled or self.problem == "regression" or are_numbers:
            return self
        known = self.known_settings(model, rows.column_names)
        task = self.learn(rows, self.settings_type.from_dict(known))
        require_label_count(task.labels, model)
        task.fit_length(model)
        return task

    @classmethod
    def require_head(cls, model: PretrainedModel) -> None:
        """Check that the model's head tells classes apart."""
        if not hasattr(model.head, "problem_type"):
            raise ConfigError(
                f"{cls.name} needs a model with a classifier, but {type(model).__name__} has none."
            )

    def prepare_model(self, model: PretrainedModel) -> None:
        """Write labels, problem type and settings into the model."""
        self.require_head(model)
        assert model.head is not None
        model.set_labels(self.labels)
        model.config = model.config.replace(problem_type=self.problem)
        model.head.problem_type = self.problem  # type: ignore[assignment]
        super().prepare_model(model)

    # The way of a row ----------------------------------------------------------------------

    def as_row(self, item: Any) -> Mapping[str, Any]:
        """Accept a text, a pair of texts, or a mapping with the task's columns or stock names."""
        text, pair = self.settings.text_column, self.settings.pair_column
        assert text is not None
        if isinstance(item, str):
            return {text: item}
        if isinstance(item, Sequence) and len(item) == 2:
            return {text: item[0], pair or PAIR_COLUMNS[0]: item[1]}
        if isinstance(item, Mapping):
            if text in item or "text" not in item:
                return item
            stock = {text: item["text"]}
            if "text_pair" in item:
                stock[pair or PAIR_COLUMNS[0]] = item["text_pair"]
            return stock
        raise DataError(f"A text, a pair of texts or a mapping is wanted, not {item!r:.80}.")

    def encode(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
        origin: Callable[[int], str] = row_name,
    ) -> list[Features]:
        """Turn each row into one stretch of tokens, cut at `max_length`."""
        settings = self.settings
        assert settings.text_column is not None
        pair_column = settings.pair_column or PAIR_COLUMNS[0]
        are_pairs = [settings.pair_column is not None or pair_column in row for row in rows]
        if len(set(are_pairs)) > 1:  # a text alone is not a pair with nothing
            found: dict[int, Features] = {}
            for kind in (False, True):
                places = [place for place, is_pair in enumerate(are_pairs) if is_pair is kind]
                some = self.encode(
                    [rows[place] for place in places],
                    [numbers[place] for place in places],
                    tokenizer,
                    with_labels=with_labels,
                    origin=origin,
                )
                found.update(zip(places, some, strict=True))
            return [found[place] for place in range(len(rows))]
        texts = [
            text_of(row, settings.text_column, number, origin, may_be_empty=not with_labels)
            for row, number in zip(rows, numbers, strict=True)
        ]
        pairs = None
        if any(are_pairs):
            pairs = [
                text_of(row, pair_column, number, origin)
                for row, number in zip(rows, numbers, strict=True)
            ]
        labels: list[Any] = [None] * len(rows)
        if with_labels:
            labels = [
                self._read_label(row, number, origin)
                for row, number in zip(rows, numbers, strict=True)
            ]
        encoded = tokenizer.encode_rows(texts, pairs, max_length=settings.max_length)
        return features_of(encoded, numbers, labels)

    def _read_label(self, row: Mapping[str, Any], number: int, origin: Callable[[int], str]) -> Any:
        column = self.settings.label_column
        assert column is not None
        if column not in row:
            there = ", ".join(f"`{name}`" for name in row)
            raise DataError(f"{origin(number)}: there is no column `{column}`, only {there}.")
        value = _plain(row[column])
        if self.problem == "regression":
            if _kind(value) not in ("whole number", "fraction") or not abs(value) < _LARGEST:
                raise DataError(
                    f"{origin(number)}: `{column}` must be a number, but is {value!r:.80}."
                )
            return np.float32(value)
        if self.problem == "multi_label_classification":
            if _kind(value) != "list":
                raise DataError(
                    f"{origin(number)}: `{column}` must be a list, but is {value!r:.80}."
                )
            _require_names(value, origin(number), column)
            marks = np.zeros(len(self.labels), dtype=np.float32)
            marks[[self._class_of(label, number, origin) for label in value]] = 1
            return marks
        return np.int64(self._class_of(value, number, origin))

    def _class_of(self, value: Any, number: int, origin: Callable[[int], str]) -> int:
        found = self._number_of.get(label_name(value)) if _kind(value) in _NAMES else None
        if found is not None:
            return found
        if isinstance(value, int) and 0 <= value < len(self.labels) and self._names_are_words():
            return value
        listed = ", ".join(self.labels[:_MOST_LISTED]) + ", ..." * (len(self.labels) > _MOST_LISTED)
        shown = f'"{value:.80}"' if isinstance(value, str) else f"{value!r:.80}"
        raise DataError(
            f"{origin(number)}: label {shown} is not one of the model's labels ({listed})."
            f"{did_you_mean(str(value)[:80], self.labels)}"
        )

    def _names_are_words(self) -> bool:
        """Tell whether class numbers can stand for labels without being taken for names."""
        return not any(label.lstrip("-").isdigit() for label in self.labels)

    def predict(
        self, features: Sequence[Features], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> np.ndarray:
        """Return the row's (C,) logits, or the one number of a regression."""
        return outputs[0]["logits"]

    def answer(self, prediction: np.ndarray, *, top_k: int | None = 1) -> Any:
        """Return `{label, score}`, a list of them, or `{score}` for a regression.

        The one label is None where its score is below `rejection_threshold`. After
        `with_polarity` the one answer has a `polarity` too.
        """
        if self.problem == "regression":
            return {"score": float(prediction[0])}
        scores = self.probabilities(prediction)
        best = np.argsort(-scores, kind="stable")
        if self.problem == "multi_label_classification" and top_k == 1:
            best = best[scores[best] >= self.settings.threshold]
            return [{"label": self.labels[i], "score": float(scores[i])} for i in best]
        ranked: list[dict[str, Any]] = [
            {"label": self.labels[i], "score": float(scores[i])} for i in best[:top_k]
        ]
        if top_k != 1:
            return ranked
        answer = ranked[0]
        if self._is_rejected(answer["score"]):
            answer["label"] = None
        if self._polarities is not None:
            answer["polarity"] = float(scores @ self._polarities)
        return answer

    def with_polarity(self) -> Self:
        """Return the task with answers that say how positive a text is, from -1 to 1.

        Raises:
            ConfigError: Rows do not have one class, or a label has no known polarity.
        """
        if self.problem != "single_label_classification":
            raise ConfigError(f"A polarity needs one class a text, but this is {self.problem}.")
        asked = copy.copy(self)
        asked._polarities = np.asarray(polarities(self.labels))  # (C,)
        return asked

    def _is_rejected(self, score: float) -> bool:
        threshold = self.settings.rejection_threshold
        return threshold is not None and score < threshold

    def judge(self, prediction: np.ndarray, label: Any) -> tuple[str, str, float] | None:
        """Compare the likeliest class with the right one, where rows have one class.

        A row that gets no answer is not got wrong.
        """
        if self.problem != "single_label_classification":
            return None
        scores = self.probabilities(prediction)
        best = int(scores.argmax())
        if self._is_rejected(float(scores[best])):
            best = int(label)
        return self.labels[int(label)], self.labels[best], float(scores[best])

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Turn (..., C) logits into probabilities: of one class, or of each label by itself."""
        wide = logits.astype(np.float64)
        if self.problem == "multi_label_classification":
            chances: np.ndarray = np.exp(-np.logaddexp(0, -wide))
            return chances
        shifted = np.exp((wide - wide.max(-1, keepdims=True)) / self.settings.temperature)
        shares: np.ndarray = shifted / shifted.sum(-1, keepdims=True)
        return shares

    def new_metrics(self) -> Metric:
        """Return counters for the kind of labels."""
        if self.problem == "regression":
            return RegressionMetrics()
        if self.problem == "multi_label_classification":
            return MultiLabelMetrics(self.labels, self.settings.threshold)
        settings = self.settings
        if settings.temperature != 1 or settings.rejection_threshold is not None:
            return SelectiveMetrics(
                self.labels,
                temperature=settings.temperature,
                threshold=settings.rejection_threshold,
            )
        return ClassificationMetrics(self.labels)


def require_label_count(labels: Sequence[str], model: PretrainedModel) -> None:
    """Refuse labels found in a call that are more or fewer than the classes of the model.

    Raises:
        DataError: They are; says how to name the labels.
    """
    if len(labels) != model.config.num_labels:
        listed = ", ".join(labels[:_MOST_LISTED]) + ", ..." * (len(labels) > _MOST_LISTED)
        raise DataError(
            f"The model has {model.config.num_labels} classes without names, but the texts have "
            f"{len(labels)} labels ({listed}). Name them in the order of the classes: "
            "`from_pretrained(..., labels=[...])`."
        )


def label_name(value: Any) -> str:
    """Return the name of a label given as a string, a whole number or a truth value."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_there(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _column_values(rows: RowSource, column: str) -> Iterator[tuple[int, Any]]:
    for start in range(0, len(rows), _SCANNED_AT_ONCE):
        numbers = range(start, min(start + _SCANNED_AT_ONCE, len(rows)))
        for number, row in zip(numbers, rows.rows(numbers), strict=True):
            yield number, _plain(row.get(column))


def _survey(
    rows: RowSource, column: str, settings: TextClassificationSettings
) -> tuple[Problem, tuple[str, ...]]:
    """Read all labels once and tell what they mean.

    Raises:
        DataError: A label is missing, labels are of several kinds, or there is only one class.
    """
    kinds: dict[str, int] = {}
    item_kinds: dict[str, int] = {}
    values: set[Any] = set()
    for number, value in _column_values(rows, column):
        kind = _kind(value)
        if kind == "missing":
            raise DataError(
                f"{rows.origin(number)}: `{column}` is missing. Remove or fill such rows."
            )
        if kind not in (*_NAMES, "fraction", "list"):
            raise DataError(
                f"{rows.origin(number)}: `{column}` must be a text, a number, a truth value or a "
                f"list of labels, but is of type {kind}."
            )
        kinds.setdefault(kind, number)
        if kind == "list":
            _require_names(value, rows.origin(number), column)
            for item in value:
                item_kinds.setdefault(_kind(item), number)
                if isinstance(item, str):
                    require_unicode(item, column, number, rows.origin)
            values.update(value)
        elif kind != "fraction":
            if kind == "text":
                require_unicode(value, column, number, rows.origin)
            values.add(value)
    if len(item_kinds) > 1:
        raise DataError(_mixed(f"The labels in the lists of `{column}`", item_kinds, rows))
    problem = settings.problem or _problem_of(kinds, column, rows)
    if problem == "regression":
        return problem, ("score",)
    if settings.labels is not None:
        return problem, tuple(settings.labels)
    numeric = all(isinstance(value, int) for value in values)
    labels = tuple(
        label_name(value) for value in (sorted(values) if numeric else sorted(map(str, values)))
    )
    if len(labels) < 2 and problem == "single_label_classification":
        raise DataError(
            f"There must be at least two classes, but every row has the label "
            f"{', '.join(labels) or 'nothing'} in `{column}`."
        )
    if not labels:
        raise DataError(f"No row has a label in `{column}`.")
    return problem, labels


def _require_names(labels: Collection[Any], where: str, column: str) -> None:
    """Check that a list names the labels that apply, each once.

    Raises:
        DataError: It holds something else, or names a label twice, as a list of marks would.
    """
    wrong = [item for item in labels if _kind(item) not in _NAMES]
    if wrong or len(set(labels)) < len(labels):
        reason = f"holds {wrong[0]!r:.80}" if wrong else "names a label twice"
        raise DataError(
            f"{where}: a list in `{column}` must name the labels that apply, but this one {reason}."
        )


def _plain(value: Any) -> Any:
    """Return numbers of numpy and torch as Python's own, and their arrays as lists."""
    is_array = isinstance(value, np.generic | np.ndarray | Tensor)
    return value.tolist() if is_array else value


def _kind(value: Any) -> str:
    if not _is_there(value) or (isinstance(value, str) and not value.strip()):
        return "missing"
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "truth value"
    if isinstance(value, int):
        return "whole number"
    if isinstance(value, float):
        return "fraction"
    is_list = isinstance(value, Collection) and not isinstance(value, bytes | Mapping)
    return "list" if is_list else type(value).__name__


def _problem_of(kinds: Mapping[str, int], column: str, rows: RowSource) -> Problem:
    if set(kinds) <= {"fraction", "whole number"} and "fraction" in kinds:
        return "regression"
    if set(kinds) == {"list"}:
        return "multi_label_classification"
    if len(kinds) == 1 and "list" not in kinds:
        return "single_label_classification"
    raise DataError(_mixed(f"The labels in `{column}`", kinds, rows))


def _mixed(what: str, kinds: Mapping[str, int], rows: RowSource) -> str:
    where = "; ".join(f"{kind} in {rows.origin(number)}" for kind, number in kinds.items())
    return f"{what} must all be of one kind, but are: {where}."
