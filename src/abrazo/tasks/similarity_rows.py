"""Which rows sentence similarity is learned from, and what their scores mean.

The columns tell what is learned from:

| columns | problem | loss |
| --- | --- | --- |
| two texts and a score | `scores` | order of the cosines (CoSENT), or their squared error |
| two texts and a label 0 or 1 | `labels` | the same |
| a text and one that fits it | `pairs` | the fitting text among all of the batch |
| and one that does not fit | `triplets` | the same, with the third texts as more wrong answers |
"""

import dataclasses
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, DataError, one_of
from abrazo.heads.similarity import LossName
from abrazo.layers.pooling import POOLINGS, PoolingName
from abrazo.tasks.base import TaskSettings
from abrazo.tasks.columns import find_column

logger = logging.getLogger("abrazo")

TEXT_COLUMNS = ("text1", "sentence1", "anchor", "query", "question", "text", "sentence", "premise")
PAIR_COLUMNS = (
    *("text2", "sentence2", "positive", "document", "passage", "answer"),
    *("text_pair", "hypothesis"),
)
NEGATIVE_COLUMNS = ("negative", "hard_negative")
LABEL_COLUMNS = ("score", "similarity", "similarity_score", "label", "labels")

SCALES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 5.0), (0.0, 10.0), (0.0, 100.0))
"""The usual scales of scores, of which the first that holds all scores is taken."""

Problem = Literal["scores", "labels", "pairs", "triplets"]

_SCANNED_AT_ONCE = 10_000
WITH_LABELS: tuple[Problem, ...] = ("scores", "labels")
"""The problems whose rows have a column of scores or labels."""
USABLE_LOSSES: Mapping[str, tuple[LossName, ...]] = {
    "scores": ("cosent", "cosine_mse"),
    "labels": ("cosent", "cosine_mse"),
    "pairs": ("in_batch_negatives",),
    "triplets": ("in_batch_negatives",),
}
"""The losses that each problem can be learned with, the usual one first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentenceSimilaritySettings(TaskSettings):
    """Which columns are read, what the scores mean, and how vectors are learned."""

    text_column: str | None = None
    """Column of the first text; found by its name unless given."""
    pair_column: str | None = None
    """Column of the second text; found by its name unless given."""
    negative_column: str | None = None
    """Column of a text that does not fit the first; found by its name unless given."""
    label_column: str | None = None
    """Column of the score or label; found by its name unless given."""
    problem: Problem | None = None
    """What is learned from; told from the columns unless given."""
    lowest: float | None = None
    """The score of texts that have nothing in common; told from the scores unless given."""
    highest: float | None = None
    """The score of texts that mean the same; told from the scores unless given."""
    loss: LossName | None = None
    """`cosent`, `cosine_mse` or `in_batch_negatives`; None takes what suits the problem."""
    temperature: float | None = None
    """Cosines are divided by this before they are compared; None takes 0.2 for `cosent` and 0.05
    for `in_batch_negatives`."""
    matryoshka_sizes: Sequence[int] | None = None
    """Leading parts of the vectors that are to be good by themselves, such as 64, 128, 256."""
    pooling: PoolingName | None = None
    """How tokens become a vector; None leaves it as the model has it."""
    text_prompt: str | None = None
    """What is put before first texts; None takes the model's prompt."""
    pair_prompt: str | None = None
    """What is put before all other texts; None takes the model's prompt."""
    lowercase: bool = False
    """Whether texts are brought to lower case first; the model decides."""

    def __post_init__(self) -> None:
        """Check the values."""
        problems = []
        if self.problem is not None and self.problem not in USABLE_LOSSES:
            problems.append(one_of("`problem`", self.problem, USABLE_LOSSES))
        if self.loss is not None and self.loss not in get_args(LossName):
            problems.append(one_of("`loss`", self.loss, get_args(LossName)))
        if self.pooling is not None and self.pooling not in POOLINGS:
            problems.append(one_of("`pooling`", self.pooling, POOLINGS))
        if self.temperature is not None and not self.temperature > 0:
            problems.append(f"`temperature` must be above 0, but is {self.temperature}.")
        if (self.lowest is None) != (self.highest is None):
            problems.append("`lowest` and `highest` are given together, or not at all.")
        elif self.lowest is not None and self.highest is not None and self.lowest >= self.highest:
            problems.append(
                f"`lowest` must be below `highest`, but they are {self.lowest} and {self.highest}."
            )
        sizes = self.matryoshka_sizes
        if sizes is not None and (not sizes or any(size < 1 for size in sizes)):
            problems.append(f"`matryoshka_sizes` must be numbers from 1, but are {sizes}.")
        if problems:
            raise ConfigError("\n".join(problems))


def find_problem(
    settings: SentenceSimilaritySettings, rows: RowSource
) -> SentenceSimilaritySettings:
    """Find the columns in training rows, and settle what is learned from and the scale of scores.

    Raises:
        DataError: A column is missing, a score is no number, or all scores are the same.
    """
    names = rows.column_names
    settings = settings.replace(
        text_column=find_column(names, settings.text_column, TEXT_COLUMNS, "first text"),
        pair_column=find_column(names, settings.pair_column, PAIR_COLUMNS, "text of the pair"),
        negative_column=find_column(
            names, settings.negative_column, NEGATIVE_COLUMNS, "negative", is_optional=True
        ),
        label_column=find_column(
            names, settings.label_column, LABEL_COLUMNS, "label", is_optional=True
        ),
    )
    problem = settings.problem
    lacks_negative = problem == "triplets" and settings.negative_column is None
    if lacks_negative or (problem in WITH_LABELS and settings.label_column is None):
        logger.warning("`problem` is %r, but the rows lack a column for it.", problem)
        problem = None
    if problem is None and settings.negative_column is not None:
        problem = "triplets"
    if problem is None and settings.label_column is None:
        problem = "pairs"
    if problem in ("pairs", "triplets"):
        if settings.label_column is not None:
            logger.warning("The column `%s` is not used to learn.", settings.label_column)
        return settings.replace(problem=problem, label_column=None, lowest=None, highest=None)
    lowest, highest, is_binary = _survey(settings, rows)
    if problem is None:
        is_label = is_binary and settings.lowest is None
        problem = "labels" if is_label else "scores"
    if problem == "labels" or settings.lowest is not None:
        return settings.replace(problem=problem)
    scale = next(
        (ends for ends in SCALES if ends[0] <= lowest and highest <= ends[1]), (lowest, highest)
    )
    logger.info("Scores are taken to be from %g to %g.", *scale)
    return settings.replace(problem=problem, lowest=scale[0], highest=scale[1])


def read_score(
    row: Mapping[str, Any],
    settings: SentenceSimilaritySettings,
    number: int,
    origin: Callable[[int], str],
) -> float:
    """Return a row's score on the scale of cosines, or its label as 0 or 1.

    Raises:
        DataError: It is missing, no number, or outside the scale; the row is named.
    """
    column = settings.label_column
    assert column is not None
    if column not in row:
        there = ", ".join(f"`{name}`" for name in row)
        raise DataError(f"{origin(number)}: there is no column `{column}`, only {there}.")
    value = _number(row[column], column, number, origin)
    if settings.problem == "labels" and value not in (0, 1):
        raise DataError(
            f"{origin(number)}: `{column}` must be 0 or 1, but is {value:g}. If these are "
            "scores, set `problem='scores'`."
        )
    if settings.lowest is None or settings.highest is None or settings.problem == "labels":
        return value
    if not settings.lowest <= value <= settings.highest:
        raise DataError(
            f"{origin(number)}: `{column}` must be from {settings.lowest:g} to "
            f"{settings.highest:g}, but is {value:g}. Correct it, or set `lowest` and "
            "`highest` to the ends of the scale."
        )
    share = (value - settings.lowest) / (settings.highest - settings.lowest)
    return share if settings.lowest >= 0 else 2 * share - 1


def _survey(settings: SentenceSimilaritySettings, rows: RowSource) -> tuple[float, float, bool]:
    """Return the least and the greatest score, and whether all are whole numbers 0 or 1."""
    column = settings.label_column
    assert column is not None
    lowest, highest, is_binary = math.inf, -math.inf, True
    for number, value in _column_values(rows, column):
        found = _number(value, column, number, rows.origin)
        lowest, highest = min(lowest, found), max(highest, found)
        is_binary = is_binary and found in (0, 1) and not isinstance(value, float | np.floating)
    if lowest == highest:
        raise DataError(
            f"Every row has the same `{column}`, {lowest:g}, so there is nothing to learn from it. "
            "Leave the column out to learn from pairs that fit."
        )
    return lowest, highest, is_binary


def _column_values(rows: RowSource, column: str) -> Iterator[tuple[int, Any]]:
    for start in range(0, len(rows), _SCANNED_AT_ONCE):
        numbers = range(start, min(start + _SCANNED_AT_ONCE, len(rows)))
        for number, row in zip(numbers, rows.rows(numbers), strict=True):
            yield number, row.get(column)


def _number(value: Any, column: str, number: int, origin: Callable[[int], str]) -> float:
    if isinstance(value, bool | np.bool_ | int | float | np.integer | np.floating):
        found = float(value)
        if math.isfinite(found):
            return found
    shown = "missing" if value is None or value != value else repr(value)
    raise DataError(
        f"{origin(number)}: `{column}` must be a number, but is {shown:.80}. Remove or correct "
        "such rows."
    )
