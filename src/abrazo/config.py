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
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, dataclass_transform

import yaml

from abrazo.errors import ConfigError, did_you_mean


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

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, in order, as plain values."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return type(self)(**{**self.to_dict(), **type(self).known_fields(changes)})


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
