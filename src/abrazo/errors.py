"""The errors a user can act on: each names the thing, the rule, the value and the remedy."""

from collections.abc import Iterable
from difflib import get_close_matches


class AbrazoError(Exception):
    """Base of every error that abrazo raises on purpose."""


class ConfigError(AbrazoError, ValueError):
    """A setting, an argument or a `config.json` is wrong."""


class DataError(AbrazoError, ValueError):
    """A data file, a column, a row or a label is wrong."""


class CheckpointError(AbrazoError):
    """A model folder or a training checkpoint is absent, damaged or does not fit."""


class TokenizerError(AbrazoError):
    """A tokenizer's files are damaged, or a text cannot be encoded as asked."""


class TrainingError(AbrazoError):
    """A run cannot start or cannot go on, for example because the loss is not a number."""


class HubError(AbrazoError):
    """A name cannot be resolved to files, here or on a hub."""


class MissingExtraError(AbrazoError, ImportError):
    """An optional package is needed that is not installed."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs `pip install abrazo[{extra}]`.")


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``' Did you mean `x`?'`` for the choice nearest to `word`, or an empty string."""
    nearest = get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f" Did you mean `{nearest[0]}`?" if nearest else ""


def one_of(thing: str, value: object, choices: Iterable[str]) -> str:
    """Say that `thing` must be one of `choices`, name the value and the nearest choice."""
    names = list(choices)
    listed = ", ".join(f"`{name}`" for name in names)
    return f"{thing} must be one of {listed}, but is {value!r}.{did_you_mean(str(value), names)}"
