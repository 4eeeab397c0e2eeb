"""The base of every settings object: frozen, documented field by field, strict about names.

What a user writes is refused when a name is unknown, with the nearest known one; what comes from a
file of the world, such as `config.json`, is read by `abrazo.models.config`, which keeps unknown
fields inert.
"""

import ast
import dataclasses
import functools
import inspect
import json
import textwrap
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, dataclass_transform

import yaml

from abrazo.errors import ConfigError, did_you_mean, one_of


class _StrictNames(type):
    """Checks keyword names before a settings object is made, so that a misspelt one cannot pass."""

    def __call__(cls, *args: Any, **values: Any) -> Any:
        if args:
            raise ConfigError(f"`{cls.__name__}` takes its fields by name, as in `field=value`.")
        return super().__call__(**cls.known_fields(values))  # type: ignore[attr-defined]


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(metaclass=_StrictNames):
    """Settings that a user writes."""

    ALIASES: ClassVar[Mapping[str, str]] = {}
    """Other spellings of a field that the ecosystem uses, mapped to ours."""

    @classmethod
    def known_fields(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return `values` under our names for them; a `ConfigError` lists all unknown ones."""
        names = [field.name for field in dataclasses.fields(cls) if field.init]
        renamed: dict[str, Any] = {}
        problems = []
        for given, value in values.items():
            name = cls.ALIASES.get(given, given)
            if name not in names:
                hint = did_you_mean(given, [*names, *cls.ALIASES])
                problems.append(f"`{cls.__name__}` has no field `{given}`.{hint}")
            elif name in renamed:
                problems.append(f"`{given}` and `{name}` of `{cls.__name__}` are one field.")
            renamed[name] = value
        if problems:
            raise ConfigError("\n".join(problems))
        return renamed

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a mapping; the same checks as for keyword arguments."""
        return cls(**dict(values))

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Build from a JSON or YAML file, told apart by its suffix."""
        file = Path(path)
        try:
            text = file.read_text(encoding="utf-8")
            values = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ConfigError(f"`{file}` cannot be read as settings: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"`{file}` must hold one mapping of names to values.")
        return cls.from_dict(values)

    def wrong_types(self) -> list[str]:
        """Return a line for each field whose value is not of the type it declares."""
        return _wrong_types(type(self), self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, in order, as plain values."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return type(self)(**{**self.to_dict(), **type(self).known_fields(changes)})


def require_types(cls: type[Config], values: Mapping[str, Any]) -> None:
    """Check values of a file, before an object is made of them, against the types of its fields.

    Raises:
        ConfigError: Some do not fit; all of them are listed.
    """
    problems = _wrong_types(cls, values)
    if problems:
        raise ConfigError("\n".join(problems))


def _wrong_types(cls: type[Config], values: Mapping[str, Any]) -> list[str]:
    hints = typing.get_type_hints(cls)
    problems = []
    for name, value in values.items():
        hint = hints[name]
        if _fits(value, hint):
            continue
        if choices := _choices(hint):
            problems.append(one_of(f"`{name}`", value, choices))
        else:
            kind = hint.__name__ if isinstance(hint, type) else str(hint)
            kind = kind.replace("collections.abc.", "").replace("typing.", "")
            problems.append(f"`{name}` must be of type {kind}, but is {value!r:.80}.")
    return problems


def _choices(hint: Any) -> tuple[str, ...]:
    """Return what a field of a few texts may be, None left out; of other fields nothing."""
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return inner if all(isinstance(choice, str) for choice in inner) else ()
    kinds = [kind for kind in inner if kind is not types.NoneType]
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return _choices(kinds[0]) if is_union and len(kinds) == 1 else ()


def _fits(value: object, hint: Any) -> bool:
    """Tell whether a value is of the type a field declares, whole numbers passing as floats."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, choice) for choice in inner)
    if origin is typing.Literal:
        return value in inner
    plain = origin or hint
    if plain in (int, float):
        numbers = int | float if plain is float else int
        return isinstance(value, numbers) and not isinstance(value, bool)
    if isinstance(value, str) and plain is not str:
        return False  # a text is a sequence of its letters, but no one means that
    if not isinstance(value, plain):
        return False
    if isinstance(value, Mapping) and len(inner) == 2:
        return all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str) and len(inner) == 1:
        return all(_fits(item, inner[0]) for item in value)
    return True


@functools.cache
def field_docs(cls: type) -> dict[str, str]:
    """Return the docstring under each field of a dataclass, its bases' fields included."""
    docs: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(owner):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for statement, following in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
                and isinstance(following.value.value, str)
            ):
                docs[statement.target.id] = inspect.cleandoc(following.value.value)
    return docs
