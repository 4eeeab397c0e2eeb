"""What a search tries: ranges of settings, under the names that settings have everywhere.

A space maps fields of `TrainingArguments` and of the task's settings to ranges, or is a function
from an optuna trial to a dict of values.
"""

import dataclasses
import math
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from abrazo.config import Config
from abrazo.errors import ConfigError, did_you_mean
from abrazo.tasks.base import TaskSettings
from abrazo.training.arguments import TrainingArguments

if TYPE_CHECKING:
    from optuna.trial import Trial

Value: TypeAlias = str | float | bool | None
T = TypeVar("T")

NOT_SEARCHED = (
    "output_dir",
    "overwrite_output_dir",
    "resume_from_checkpoint",
    "run_name",
    "metric_for_best_model",
    "greater_is_better",
    "save_strategy",
    "save_steps",
    "save_total_limit",
)
"""Settings that the search itself decides on."""


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Numbers from `low` to `high`, both included."""

    low: float
    """The least."""
    high: float
    """The greatest."""
    log: bool = False
    """Whether orders of magnitude are equally likely, as suits learning rates."""

    def __post_init__(self) -> None:
        _require_range(self, (int, float))

    def suggest(self, trial: "Trial", name: str) -> Value:
        """Let a trial choose."""
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def extremes(self) -> tuple[Value, ...]:
        """Return values that are right only if all are."""
        return (self.low, self.high)


@dataclasses.dataclass(frozen=True)
class IntRange:
    """Whole numbers from `low` to `high`, both included."""

    low: int
    """The least."""
    high: int
    """The greatest."""
    step: int = 1
    """From one number to the next."""
    log: bool = False
    """Whether orders of magnitude are equally likely; `step` must then be 1."""

    def __post_init__(self) -> None:
        _require_range(self, (int,))
        if isinstance(self.step, bool) or not isinstance(self.step, int) or self.step < 1:
            raise ConfigError(f"`step` of {self} must be a whole number of at least 1.")
        if self.log and self.step != 1:
            raise ConfigError(f"{self} has both `log` and a `step`; leave one out.")

    def suggest(self, trial: "Trial", name: str) -> Value:
        """Let a trial choose."""
        return trial.suggest_int(name, self.low, self.high, step=self.step, log=self.log)

    def extremes(self) -> tuple[Value, ...]:
        """Return values that are right only if all are."""
        return (self.low, self.high)


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several values."""

    options: Sequence[Value]
    """Numbers, texts, True, False or None."""

    def __post_init__(self) -> None:
        if isinstance(self.options, str) or not isinstance(self.options, Iterable):
            raise ConfigError(f"`Choice` takes a list of values, but is given {self.options!r}.")
        object.__setattr__(self, "options", tuple(self.options))
        if not self.options:
            raise ConfigError("`Choice` needs at least one value.")
        _require_plain({f"option {n}": option for n, option in enumerate(self.options, 1)})

    def suggest(self, trial: "Trial", name: str) -> Value:
        """Let a trial choose."""
        chosen: Value = trial.suggest_categorical(name, self.options)
        return chosen

    def extremes(self) -> tuple[Value, ...]:
        """Return all values."""
        return tuple(self.options)


Range: TypeAlias = Uniform | IntRange | Choice
Space: TypeAlias = Mapping[str, Range] | Callable[["Trial"], Mapping[str, Value]]


def default_space(args: TrainingArguments) -> dict[str, Range]:
    """Return ranges around what is usual; fields that `args` makes idle are left out."""
    rate = args.learning_rate
    space: dict[str, Range] = {"learning_rate": Uniform(rate / 10, rate * 10, log=True)}
    if args.max_steps == -1:
        space["num_train_epochs"] = IntRange(1, 5)
    space["per_device_train_batch_size"] = Choice([8, 16, 32])
    space["weight_decay"] = Uniform(0.0, 0.1)
    if args.warmup_steps == 0:
        space["warmup_ratio"] = Uniform(0.0, 0.2)
    return space


@dataclasses.dataclass(frozen=True)
class Searched:
    """The settings that hyper-parameters are changes of."""

    args: TrainingArguments
    """Those of the run."""
    task: TaskSettings
    """Those of the task."""

    def settle_names(self, values: Mapping[str, T]) -> dict[str, T]:
        """Return values by the fields' own names.

        Raises:
            ConfigError: A field is unknown (names the nearest), twice there, or not to be searched.
        """
        aliases = {**type(self.task).ALIASES, **type(self.args).ALIASES}
        known = [*self.args.to_dict(), *self.task.to_dict()]
        settled: dict[str, T] = {}
        problems = []
        for given, value in values.items():
            name = aliases.get(given, given)
            if name not in known:
                hint = did_you_mean(str(given), [*known, *aliases])
                problems.append(f"There is no setting `{given}` to search.{hint}")
            elif name in NOT_SEARCHED:
                problems.append(f"`{given}` cannot be searched: the search decides on it.")
            elif name in settled:
                problems.append(f"`{given}` and `{name}` are one setting; leave one out.")
            settled[name] = value
        if problems:
            raise ConfigError("\n".join(problems))
        return settled

    def changed(self, values: Mapping[str, Value]) -> "Searched":
        """Return the settings with some of them changed.

        Raises:
            ConfigError: A value is wrong.
        """
        of_run = self.args.to_dict().keys()
        run = {name: value for name, value in values.items() if name in of_run}
        task = {name: value for name, value in values.items() if name not in of_run}
        settings = self.task.replace(**task)
        problems = settings.wrong_types() if task else []
        if problems:
            raise ConfigError("\n".join(problems))
        return Searched(self.args.replace(**run), settings)

    def hint_of(self, name: str) -> Any:
        """Return the type that a field declares; None where there is no such field."""
        hints = {**typing.get_type_hints(type(self.task)), **typing.get_type_hints(type(self.args))}
        return hints.get(name)


def settle_space(space: Space | None, searched: Searched) -> Space:
    """Return the space to search, checked as far as it can be before the first trial.

    Raises:
        ConfigError: A name or a range is wrong; all of them are listed.
    """
    if space is None:
        return default_space(searched.args)
    if callable(space):
        return space
    if not isinstance(space, Mapping) or not space:
        raise ConfigError(
            "`space` must map settings to `Uniform`, `IntRange` or `Choice`, or be a function of "
            f"a trial, but is {space!r:.80}."
        )
    ranges = searched.settle_names(space)
    problems = []
    for name, values in ranges.items():
        if not isinstance(values, Uniform | IntRange | Choice):
            problems.append(
                f"`{name}` must be given a `Uniform`, an `IntRange` or a `Choice`, but is given "
                f"{values!r:.80}."
            )
            continue
        for value in values.extremes():
            try:
                searched.changed({name: value})
            except ConfigError as error:
                problems.append(f"The range of `{name}` does not fit: {error}")
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return ranges


def suggest(space: Space, trial: "Trial", searched: Searched) -> dict[str, Value]:
    """Let a trial choose the values of all settings of a space.

    Raises:
        ConfigError: A function that makes the space returned no such values.
    """
    if not callable(space):
        return {name: values.suggest(trial, name) for name, values in space.items()}
    values = space(trial)
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"The function given as `space` must return a dict of settings, but returned "
            f"{values!r:.80}."
        )
    _require_plain(values)
    return searched.settle_names(values)


def describe_space(space: Space) -> str:
    """Return a text by which a space is known again."""
    if callable(space):
        return f"function {getattr(space, '__qualname__', type(space).__qualname__)}"
    return ", ".join(f"{name}={values}" for name, values in sorted(space.items()))


def parse_ranges(texts: Iterable[str], kinds: Sequence[type[Config]]) -> dict[str, Range]:
    """Read ranges as the command line gives them.

    Args:
        texts: `learning_rate=1e-5..1e-3:log`, `num_train_epochs=1,2,3`, `warmup_steps=0..100`.
        kinds: Classes of settings; whole numbers are tried for fields that hold whole numbers.

    Raises:
        ConfigError: A text is no range; all of them are listed.
    """
    hints = {name: hint for kind in kinds for name, hint in typing.get_type_hints(kind).items()}
    aliases = {alias: name for kind in kinds for alias, name in kind.ALIASES.items()}
    space: dict[str, Range] = {}
    problems = []
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        if not name or not equals or not values.strip():
            problems.append(
                f"{text!r} is no range: write `learning_rate=1e-5..1e-3:log` or "
                "`num_train_epochs=1,2,3`."
            )
            continue
        if name in space:
            problems.append(f"`{name}` is given two ranges; leave one out.")
        try:
            space[name] = _parse_range(values.strip(), hints.get(aliases.get(name, name)))
        except ConfigError as error:
            problems.append(f"`{name}`: {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return space


def _parse_range(text: str, hint: Any) -> Range:
    bounds, _, scale = text.partition(":")
    low, dots, high = bounds.partition("..")
    if not dots:
        return Choice([_parse_value(part.strip()) for part in text.split(",")])
    if scale not in ("", "log"):
        raise ConfigError(f"a range ends in `:log` or in nothing, but {text!r} in `:{scale}`.")
    ends = (_parse_value(low.strip()), _parse_value(high.strip()))
    takes_whole = int in (hint, *typing.get_args(hint))
    if takes_whole and all(isinstance(end, int) for end in ends):
        return IntRange(int(ends[0] or 0), int(ends[1] or 0), log=bool(scale))
    if not all(isinstance(end, int | float) for end in ends):
        raise ConfigError(f"{bounds!r} must be two numbers with `..` between them.")
    return Uniform(float(ends[0] or 0), float(ends[1] or 0), log=bool(scale))


def _parse_value(text: str) -> Value:
    words: dict[str, Value] = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _require_range(values: Uniform | IntRange, kinds: tuple[type, ...]) -> None:
    for end in (values.low, values.high):
        if isinstance(end, bool) or not isinstance(end, kinds) or not math.isfinite(end):
            what = "numbers" if float in kinds else "whole numbers"
            raise ConfigError(f"The ends of {values} must be {what}.")
    if values.low > values.high:
        raise ConfigError(f"{values} is empty: `low` is above `high`.")
    if values.log and values.low <= 0:
        raise ConfigError(f"{values} has `log`, so `low` must be above 0.")


def _require_plain(values: Mapping[str, object]) -> None:
    wrong = {name: v for name, v in values.items() if not isinstance(v, str | int | float | None)}
    if wrong:
        listed = ", ".join(f"`{name}` is {value!r:.60}" for name, value in wrong.items())
        raise ConfigError(
            f"Values to search must be numbers, texts, True, False or None: {listed}."
        )
