"""Rows of several tasks as one data set, and how often each task comes.

    mixture = Mixture({"intent": rows, "slots": rows}, sampling="equal", weights={"slots": 0.5})

The rows are numbered through, task after task; each knows its task. An epoch has as many rows as
all tasks together. The order is a pure function of seed and epoch, and tasks mix at random: a step
that learns from all of them at once wanders less than one task at a time.

Source: Aghajanyan et al. 2021, Muppet, on heterogeneous batches, https://arxiv.org/abs/2101.11038.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

import numpy as np

from abrazo.data.rows import Indices, Row, RowSource, as_rows
from abrazo.data.sampling import epoch_order
from abrazo.errors import ConfigError, DataError, did_you_mean

Sampling = Literal["size", "equal"] | Mapping[str, float]
"""How often the rows of each task come."""


class Mixture:
    """Rows of several tasks; a `RowSource` whose rows are `{"task": name, "row": {...}}`."""

    def __init__(
        self,
        tasks: Mapping[str, object],
        *,
        sampling: Sampling = "size",
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """Put data sets together.

        Args:
            tasks: The rows of each task by its name, of any kind that `as_rows` takes.
            sampling: `size` visits every row once in an epoch; `equal` visits as many rows of each
                task; numbers by task are their shares. What comes more often than it has rows is
                visited again, after all its other rows; what comes less often goes on in the next
                epoch where it stopped.
            weights: What the loss of a task is multiplied with; 1 unless given.

        Raises:
            ConfigError: `sampling` or `weights` are wrong, or name a task without data.
            DataError: There is no task, or the rows of one cannot be read.
        """
        if not isinstance(tasks, Mapping) or not tasks:
            raise DataError(
                "The data of several tasks must be a dict of rows by task, such as "
                f"`{{'intent': rows, 'slots': rows}}`, but is {tasks!r:.80}."
            )
        problems = mixing_problems(sampling, weights, tasks)
        if problems:
            raise ConfigError("\n".join(problems))
        self.given = dict(tasks)
        self.sources = {name: _rows_of(name, data) for name, data in tasks.items()}
        sizes = [len(source) for source in self.sources.values()]
        self._starts = np.cumsum([0, *sizes])
        self.sampling: Sampling = sampling if isinstance(sampling, str) else dict(sampling)
        self.counts = dict(zip(self.sources, self._counts(), strict=True))
        """Rows of each task in an epoch."""
        given = {} if weights is None else weights
        self.weights = {name: float(given.get(name, 1)) for name in self.sources}
        """What the loss of each task is multiplied with."""

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def column_names(self) -> list[str]:
        """Names of what a row is made of."""
        return ["task", "row"]

    def rows(self, indices: Indices) -> list[Row]:
        """Return the rows at `indices`, each with the name of its task."""
        places = [self._place(int(number)) for number in indices]
        wanted: dict[str, list[int]] = {}
        for name, number in places:
            wanted.setdefault(name, []).append(number)
        found = {name: iter(self.sources[name].rows(some)) for name, some in wanted.items()}
        return [{"task": name, "row": next(found[name])} for name, _ in places]

    def origin(self, row: int) -> str:
        """Say which task a row belongs to and where it came from."""
        name, number = self._place(row)
        return f"{name}: {self.sources[name].origin(number)}"

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """Return the numbers of an epoch's rows, in order (len(self),)."""
        mixed = epoch_order(len(self), seed, epoch)
        if self.sampling == "size":
            return mixed
        parts = zip(self._starts, self.sources.values(), self.counts.values(), strict=False)
        drawn = [
            start + _go_on(len(source), count, seed, epoch)
            for start, source, count in parts
            if count
        ]
        numbers: np.ndarray = np.concatenate(drawn)[mixed]
        return numbers

    def describe(self) -> str:
        """Return all that decides what comes when, to tell one mixture from another."""
        listed = [(name, len(s), s.column_names) for name, s in self.sources.items()]
        return repr((listed, self.counts, self.weights))

    def _place(self, row: int) -> tuple[str, int]:
        """Return the task of a row, and its number there."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return list(self.sources)[number], row - int(self._starts[number])

    def _counts(self) -> list[int]:
        """Share the rows of an epoch out, what is left over to the largest remainders."""
        if self.sampling == "size":
            return [len(source) for source in self.sources.values()]
        if isinstance(self.sampling, str):
            shares = [1.0] * len(self.sources)
        else:
            shares = [float(self.sampling[name]) for name in self.sources]
        exact = np.asarray(shares) / sum(shares) * len(self)
        counts = np.floor(exact).astype(np.int64)
        largest = np.argsort(counts - exact, kind="stable")
        counts[largest[: len(self) - int(counts.sum())]] += 1
        return [int(count) for count in counts]


def require_task_name(name: object) -> None:
    """Check the name that a user gave to a task; it becomes part of names of tensors and figures.

    Raises:
        ConfigError: It is no text of letters, digits, `-` and `_`.
    """
    if not isinstance(name, str) or not name.replace("-", "_").isidentifier():
        raise ConfigError(
            "The name of a task must be letters, digits, `-` and `_`, and begin with a letter, but "
            f"is {name!r:.80}."
        )


def mixing_problems(sampling: object, weights: object, tasks: Iterable[str]) -> list[str]:
    """Return a line for all that is wrong with how tasks are to be mixed.

    Args:
        sampling: As for `Mixture`.
        weights: As for `Mixture`.
        tasks: Names of the tasks that have rows.
    """
    names, problems = list(tasks), []
    if isinstance(sampling, Mapping):
        problems += _wrong_numbers("sampling", sampling, names)
        problems += [
            f"`sampling` has no share for the task `{name}`."
            for name in names
            if name not in sampling
        ]
    elif sampling not in ("size", "equal"):
        problems.append(
            f"`sampling` must be 'size', 'equal' or a share for each task, but is {sampling!r:.80}."
        )
    if isinstance(weights, Mapping):
        problems += _wrong_numbers("weights", weights, names)
    elif weights is not None:
        problems.append(f"`weights` must be a number for each task, but is {weights!r:.80}.")
    return problems


def _rows_of(name: object, data: object) -> RowSource:
    require_task_name(name)
    try:
        return as_rows(data)
    except DataError as error:
        raise DataError(f"The task `{name}`: {error}") from error


def _go_on(size: int, count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the next rows of a task that goes through its rows again and again (count,)."""
    places = epoch * count + np.arange(count)
    rounds = [
        epoch_order(size, seed, number)[places[places // size == number] % size]
        for number in np.unique(places // size).tolist()
    ]
    return np.concatenate(rounds)


def _wrong_numbers(field: str, numbers: Mapping[str, Any], tasks: Collection[str]) -> list[str]:
    """Return a line for each entry that is no task's, or no positive number."""
    problems = []
    for name, value in numbers.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name not in tasks:
            hint = did_you_mean(str(name), tasks)
            problems.append(
                f"`{field}` names the task {name!r}, for which there are no rows.{hint}"
            )
        elif not is_number or not 0 < value < math.inf:
            problems.append(f"`{field}` of `{name}` must be above 0, but is {value!r:.80}.")
    return problems
