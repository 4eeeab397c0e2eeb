"""Settings on the command line: one option for each field of their dataclasses.

A command is a plain function with parameters that are settings. `with_options` gives it one
keyword for each of their fields instead, with the help text that stands under the field, so that
what Python callers write as `learning_rate=3e-5` is `--learning-rate 3e-5` here.
"""

import collections
import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Annotated, Any

from cyclopts import Group, Parameter

from abrazo.config import Config, field_docs
from abrazo.errors import ConfigError

SHORT_NAMES = {"output_dir": ("output", "o")}
"""Further names of options, beside the field's own and the aliases of its settings."""

_GROUP_NAMES = re.compile(r"(?<!^)(?=[A-Z])")


def with_options(
    function: Callable[..., int | None],
    *,
    leave_out: Collection[str] = (),
    **kinds: type[Config],
) -> Callable[..., int | None]:
    """Return a function that takes fields by name where `function` takes settings.

    Args:
        function: A command. Parameters annotated with a subclass of `Config` are settings; where
            one of their fields has the name of another parameter, the field goes first.
        leave_out: Fields that are no options, such as those that words cannot say.
        kinds: For some of these parameters, the subclass to use instead.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    settings: dict[str, type[Config]] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        kind = kinds.get(name, hints[name])
        if isinstance(kind, type) and issubclass(kind, Config):
            settings[name] = kind
        else:
            parameters.append(parameter.replace(annotation=hints[name]))
    options = [
        option
        for place, kind in enumerate(settings.values(), start=1)
        for option in _options(kind, place)
        if option.name not in leave_out
    ]
    names = {option.name for option in options}
    if len(names) < len(options):  # with a task of the user's own
        counts = collections.Counter(option.name for option in options)
        twice = ", ".join(f"`{name}`" for name, count in counts.items() if count > 1)
        raise ConfigError(f"Settings of the task are settings of a run too; rename {twice}.")
    parameters = [parameter for parameter in parameters if parameter.name not in names]
    parameters += options

    @functools.wraps(function)
    def command(*args: Any, **values: Any) -> int | None:
        for name, kind in settings.items():
            given = {key: values.pop(key) for key in _field_names(kind) if key in values}
            values[name] = _build(kind, given)
        return function(*args, **values)

    command.__annotations__ = {}  # those of `function` would go before the signature's
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def as_options(text: str, fields: Iterable[str]) -> str:
    """Return a text with fields in backticks as the options they are here.

    `learning_rate` becomes `--learning-rate`, `labels=3` becomes `--labels 3`.
    """
    names = set(fields)

    def spelled(found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        if name not in names:
            return found[0]
        return f"`{option_name(name)}{f' {value}' if value not in (None, 'True') else ''}`"

    return re.sub(r"`(\w+)(?:=([^`]*))?`", spelled, text)


def option_name(field: str) -> str:
    """Return `--learning-rate` for `learning_rate`."""
    return "--" + field.replace("_", "-")


def _options(kind: type[Config], place: int) -> Iterator[inspect.Parameter]:
    docs, hints = field_docs(kind), typing.get_type_hints(kind)
    names = _field_names(kind)
    group = Group(_GROUP_NAMES.sub(" ", kind.__name__), sort_key=place)
    aliases = _aliases(kind.ALIASES)
    for field in dataclasses.fields(kind):
        default = _default(field)
        annotation = Parameter(
            name=[option_name(field.name)],
            alias=[_dashed(name) for name in aliases.get(field.name, ())],
            help=as_options(docs.get(field.name, ""), names),
            group=group,
            show_default=default not in (None, False, ()),
            negative="" if default is False else None,
            negative_iterable=(),
            consume_multiple=_takes_several(hints[field.name]),
        )
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[hints[field.name], annotation],
        )


def _build(kind: type[Config], given: Mapping[str, Any]) -> Config:
    """Make the settings; what is wrong is told by the names of options."""
    try:
        return kind(**given)
    except ConfigError as error:
        raise ConfigError(as_options(str(error), _field_names(kind))) from error


def _field_names(kind: type[Config]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _aliases(table: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the further names of each field, from a table of names to fields."""
    names = {field: list(short) for field, short in SHORT_NAMES.items()}
    for alias, field in table.items():
        names.setdefault(field, []).append(alias)
    return names


def _dashed(name: str) -> str:
    return f"-{name}" if len(name) == 1 else option_name(name)


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _takes_several(hint: Any) -> bool:
    """Tell whether an option takes a list of values, as `Sequence[str] | None` does."""
    kinds = [typing.get_origin(choice) or choice for choice in (hint, *typing.get_args(hint))]
    return str not in kinds and any(
        isinstance(kind, type) and issubclass(kind, Iterable) for kind in kinds
    )
