"""What a metric is: counts that are updated batch by batch, merged over processes, and computed.

A `Metric` of abrazo keeps counts, not rows, so its memory does not grow with the data. What a user
brings may be simpler: any object with `update` and `compute`, or a function of all predictions.
`as_metric` makes either into a `Metric`.
"""

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from abrazo.errors import ConfigError, DataError, did_you_mean, one_of

Array: TypeAlias = npt.NDArray[np.generic]
FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
State: TypeAlias = dict[str, Array]
Better: TypeAlias = Literal["higher", "lower"]
Direction: TypeAlias = Literal["max", "min"]

_LOWER_IS_BETTER = ("loss", "error", "mse", "mae", "perplexity")
"""Endings of names for which less is better, where a metric does not say."""

_PADDING = -100
"""Fills up what is shorter, as `compute_metrics` functions written for transformers expect."""

logger = logging.getLogger("abrazo")


class Metric(ABC):
    """Counts over rows, and the figures made of them."""

    better: Mapping[str, Better]
    """For each key of `compute`, whether a higher or a lower figure is better."""

    is_open: ClassVar[bool] = False
    """Whether `compute` may give keys that `better` does not list."""

    @abstractmethod
    def update(self, predictions: Array, labels: Array) -> None:
        """Count the rows of one batch."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Add the rows that `other` has counted, for example on another process."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Return the figures for all rows counted so far; a `DataError` if there are none."""

    @abstractmethod
    def state_dict(self) -> State:
        """Return everything counted, as plain arrays that processes can exchange."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the place of what was counted; a `ConfigError` if `state` does not fit."""

    @abstractmethod
    def reset(self) -> None:
        """Forget all rows."""

    def known_keys(self) -> tuple[str, ...]:
        """Return the keys that `compute` is known to give."""
        return tuple(self.better)

    def direction_of(self, key: str) -> Direction:
        """Return whether the best `key` is the greatest (`"max"`) or the least (`"min"`).

        Args:
            key: A key of `compute`, or `loss`, which every evaluation gives; also with `eval_`
                in front.

        Raises:
            ConfigError: There will be no such figure; names the nearest one.
        """
        name = key.removeprefix("eval_")
        better = {"loss": "lower", **self.better}
        if name in better:
            return "max" if better[name] == "higher" else "min"
        if self.is_open:
            return "min" if name.lower().endswith(_LOWER_IS_BETTER) else "max"
        message = one_of("The metric to watch", name, better)
        if not did_you_mean(name, better):  # `f1` is too short to be near to `macro_f1`
            message += "".join(
                f" Did you mean `{k}`?" for k in [k for k in better if name in k][:1]
            )
        raise ConfigError(message)


class MetricGroup(Metric):
    """Several metrics over the same rows as one; without any, only the loss can be watched."""

    def __init__(self, metrics: Sequence[Metric] = ()) -> None:
        self.metrics = tuple(metrics)
        self.better = {}
        for metric in self.metrics:
            self._refuse_twice(set(self.better) & set(metric.better))
            self.better |= metric.better

    @property
    def is_open(self) -> bool:  # type: ignore[override]
        """Whether any of the metrics may give keys that it does not list."""
        return any(metric.is_open for metric in self.metrics)

    def update(self, predictions: Array, labels: Array) -> None:
        """Count the rows of one batch in every metric."""
        for metric in self.metrics:
            metric.update(predictions, labels)

    def merge(self, other: Self) -> None:
        """Merge metric by metric; `other` must hold the same kinds in the same order."""
        if [type(metric) for metric in other.metrics] != [type(metric) for metric in self.metrics]:
            raise ConfigError("Groups of metrics can be merged only if both hold the same kinds.")
        for metric, others in zip(self.metrics, other.metrics, strict=True):
            metric.merge(others)

    def compute(self) -> dict[str, float]:
        """Return the figures of all metrics in one mapping."""
        figures: dict[str, float] = {}
        for metric in self.metrics:
            more = metric.compute()
            self._refuse_twice(set(figures) & set(more))
            figures |= more
        return figures

    def state_dict(self) -> State:
        """Return the states of all metrics, each name with the metric's place in front."""
        return {
            f"{place}.{name}": array
            for place, metric in enumerate(self.metrics)
            for name, array in metric.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Give each metric its part of `state`."""
        for place, metric in enumerate(self.metrics):
            metric.load_state_dict(part_of(state, f"{place}."))

    def reset(self) -> None:
        """Forget all rows in every metric."""
        for metric in self.metrics:
            metric.reset()

    @staticmethod
    def _refuse_twice(keys: set[str]) -> None:
        if keys:
            names = ", ".join(f"`{key}`" for key in sorted(keys))
            raise ConfigError(f"Two metrics of one group give {names}. Rename one or leave it out.")


@runtime_checkable
class MetricLike(Protocol):
    """The least that a user's own metric must have.

    It may also have `better` (keys to `"higher"` or `"lower"`), which lets a misspelt metric to
    watch be found before the first step, and `merge`, `state_dict` and `load_state_dict`, which
    evaluation on several processes needs.
    """

    def update(self, predictions: Array, labels: Array) -> None:
        """Count the rows of one batch."""

    def compute(self) -> Mapping[str, float]:
        """Return the figures."""


class PlainMetric(Metric):
    """A user's own object with `update` and `compute`, made into a `Metric`."""

    def __init__(self, plain: MetricLike) -> None:
        self.plain = plain
        self._fresh = copy.deepcopy(plain)
        declared: Mapping[str, Better] | None = getattr(plain, "better", None)
        self.better = dict(declared or {})
        self.is_open = declared is None  # type: ignore[misc]

    def update(self, predictions: Array, labels: Array) -> None:
        """Pass the batch on."""
        self.plain.update(predictions, labels)

    def merge(self, other: Self) -> None:
        """Pass the other object on to this one's `merge`."""
        self._ability("merge")(other.plain)

    def compute(self) -> dict[str, float]:
        """Return the object's figures as plain floats."""
        return plain_figures(self.plain.compute(), type(self.plain).__name__)

    def state_dict(self) -> State:
        """Return the object's own state."""
        state: State = self._ability("state_dict")()
        return state

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Pass the state on."""
        self._ability("load_state_dict")(state)

    def reset(self) -> None:
        """Start again from a copy of the object as it was given."""
        self.plain = copy.deepcopy(self._fresh)

    def _ability(self, name: str) -> Callable[..., State]:
        method: Callable[..., State] | None = getattr(self.plain, name, None)
        if method is None:
            raise ConfigError(
                f"The metric `{type(self.plain).__name__}` has no `{name}`, which evaluation on "
                f"several processes needs. Add it, or evaluate on one process."
            )
        return method


class EvalPrediction(NamedTuple):
    """All predictions of an evaluation and what they should have been.

    Unpacks as ``predictions, labels = eval_prediction``.
    """

    predictions: Array
    label_ids: Array


class FunctionMetric(Metric):
    """A function of all predictions, as `compute_metrics` is in transformers.

    Unlike all other metrics it keeps every prediction in memory, and a message says so. Batches
    whose rows differ in shape are filled up with -100.
    """

    def __init__(
        self,
        function: Callable[[EvalPrediction], Mapping[str, float]],
        *,
        better: Mapping[str, Better] | None = None,
    ) -> None:
        self.function = function
        self.better = dict(better or {})
        self.is_open = better is None  # type: ignore[misc]
        self.reset()
        logger.info(
            "`%s` is called with all predictions at once, so evaluation keeps them all in memory.",
            self._name,
        )

    def update(self, predictions: Array, labels: Array) -> None:
        """Keep the rows of one batch."""
        self._predictions.append(np.asarray(predictions))
        self._labels.append(np.asarray(labels))

    def merge(self, other: Self) -> None:
        """Keep the other's rows after this one's."""
        self._predictions += other._predictions
        self._labels += other._labels

    def compute(self) -> dict[str, float]:
        """Call the function on all rows."""
        require_rows(len(self._predictions))
        kept = EvalPrediction(join_padded(self._predictions), join_padded(self._labels))
        return plain_figures(self.function(kept), self._name)

    def state_dict(self) -> State:
        """Return all rows; empty if there are none."""
        if not self._predictions:
            return {}
        return {"predictions": join_padded(self._predictions), "labels": join_padded(self._labels)}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the place of the rows kept."""
        self.reset()
        if state:
            self.update(state["predictions"], state["labels"])

    def reset(self) -> None:
        """Forget all rows."""
        self._predictions: list[Array] = []
        self._labels: list[Array] = []

    @property
    def _name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)


def as_metric(given: object) -> Metric:
    """Make a `Metric` of what a user gave.

    Args:
        given: A `Metric`; a list of things this function takes; an object with `update` and
            `compute`; or a function from an `EvalPrediction` to a mapping of names to figures.

    Raises:
        ConfigError: It is none of these.
    """
    if isinstance(given, Metric):
        return given
    if isinstance(given, list | tuple):
        return MetricGroup([as_metric(one) for one in given])
    if isinstance(given, type):
        raise ConfigError(f"A metric must be an object, but is the class `{given.__name__}`.")
    if isinstance(given, MetricLike):
        return PlainMetric(given)
    if callable(given):
        return FunctionMetric(given, better=getattr(given, "better", None))
    raise ConfigError(
        "A metric must be a function of an `EvalPrediction` or an object with `update` and "
        f"`compute`, but is {given!r}."
    )


def plain_figures(figures: Mapping[str, float], source: str) -> dict[str, float]:
    """Return `figures` as plain floats; a `ConfigError` names every one that is not a number."""
    if not isinstance(figures, Mapping):
        raise ConfigError(f"`{source}` must return a mapping of names to numbers, not {figures!r}.")
    plain: dict[str, float] = {}
    wrong = []
    for name, value in figures.items():
        try:
            plain[name] = float(value)
        except (TypeError, ValueError):
            wrong.append(f"`{source}` must return numbers, but `{name}` is {value!r}.")
    if wrong:
        raise ConfigError("\n".join(wrong))
    return plain


def require_rows(rows: int) -> None:
    """Refuse to make figures of nothing."""
    if not rows:
        raise DataError("No rows were evaluated, so there are no figures. Is the data set empty?")


def part_of(state: Mapping[str, Array], prefix: str) -> State:
    """Return the entries whose names start with `prefix`, without it."""
    return {
        name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)
    }


def require_fit(expected: Mapping[str, Array], given: Mapping[str, Array]) -> None:
    """Refuse a state whose names or shapes differ from those expected, listing all that do."""
    problems = [
        f"  {name}: expected {_shape(expected, name)}, given {_shape(given, name)}"
        for name in sorted(set(expected) | set(given))
        if _shape(expected, name) != _shape(given, name)
    ]
    if problems:
        raise ConfigError("The state does not fit this metric:\n" + "\n".join(problems))


def _shape(state: Mapping[str, Array], name: str) -> str:
    return str(state[name].shape) if name in state else "none"


def join_padded(chunks: Sequence[Array]) -> Array:
    """Join batches along the first axis, the other axes filled up with -100 to the longest."""
    longest = np.max([chunk.shape[1:] for chunk in chunks], axis=0)
    filled = []
    for chunk in chunks:
        lacking = [(0, 0)] + [
            (0, int(most) - size) for most, size in zip(longest, chunk.shape[1:], strict=True)
        ]
        if any(after for _, after in lacking):
            chunk = np.pad(chunk, lacking, constant_values=_PADDING)
        filled.append(chunk)
    return np.concatenate(filled)
