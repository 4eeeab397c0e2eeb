"""How a model writes texts: every option with what it means, and `generation_config.json`.

A field that is None is not set. What a call leaves unset is taken from the model's own
`generation_config.json`, and what that leaves unset has the default that the field's text names.
Names and meanings are those of `transformers` 5.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from abrazo.checkpoints.jsonfile import read_json_object, write_json
from abrazo.config import Config
from abrazo.errors import ConfigError

GENERATION_FILE = "generation_config.json"

_TOKEN_FIELDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
_MAX_COUNT = 10_000_000
_MAX_POWER = 10
_SMALLEST = {
    "max_length": 1,
    "max_new_tokens": 1,
    "min_length": 0,
    "min_new_tokens": 0,
    "num_beams": 1,
    "num_return_sequences": 1,
    "top_k": 0,
    "no_repeat_ngram_size": 0,
    "bos_token_id": 0,
    "pad_token_id": -1,
    "decoder_start_token_id": 0,
    "forced_bos_token_id": 0,
}
"""The smallest value of whole numbers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerationConfig(Config):
    """The options of `model.generate`."""

    max_length: int | None = None
    """The most tokens of a row, its prompt included; see `max_new_tokens`."""
    max_new_tokens: int | None = None
    """The most tokens that are written. With neither this nor `max_length`: 20."""
    min_length: int | None = None
    """The fewest tokens of a row, its prompt included."""
    min_new_tokens: int | None = None
    """The fewest tokens that are written; by default none has to be."""
    stop_strings: str | Sequence[str] | None = None
    """Texts at whose end a row ends; they need a tokenizer."""
    num_beams: int | None = None
    """How many beginnings of a row are followed at a time; 1, the default, takes the best word."""
    num_return_sequences: int | None = None
    """How many texts are returned for each prompt; at most `num_beams` where words are not drawn.
    1 by default."""
    do_sample: bool | None = None
    """Whether words are drawn by their probability; not by default."""
    temperature: float | None = None
    """Scores are divided by it before words are drawn; below 1 likely words get likelier."""
    top_k: int | None = None
    """How many of the likeliest words are drawn from; 0 takes all, 50 is the default."""
    top_p: float | None = None
    """The likeliest words that make up this probability are drawn from."""
    min_p: float | None = None
    """Words below this share of the likeliest word's probability are not drawn."""
    seed: int | None = None
    """What draws depend on, besides the prompt; None takes one from torch's generator."""
    early_stopping: bool | Literal["never"] | None = None
    """When a beam search ends: True as soon as there are `num_beams` texts, False (the default)
    when a better one is unlikely, "never" when there cannot be a better one."""
    length_penalty: float | None = None
    """The score of a text found by beams is divided by its length to this power; 1 by default."""
    repetition_penalty: float | None = None
    """By how much words that the row has already get less likely; above 1 avoids them."""
    no_repeat_ngram_size: int | None = None
    """No sequence of so many tokens comes twice in a row; 0 allows all."""
    bad_words_ids: Sequence[Sequence[int]] | None = None
    """Sequences of tokens that are never written."""
    suppress_tokens: Sequence[int] | None = None
    """Tokens that are never written."""
    begin_suppress_tokens: Sequence[int] | None = None
    """Tokens that are not written first."""
    forced_bos_token_id: int | None = None
    """The token that follows the first one of a row, such as the language to translate to."""
    forced_eos_token_id: int | Sequence[int] | None = None
    """The token a row ends with when it has reached its most tokens."""
    renormalize_logits: bool | None = None
    """Whether scores are made probabilities again after all of the above."""
    bos_token_id: int | None = None
    """The token a row starts with when there is no prompt."""
    eos_token_id: int | Sequence[int] | None = None
    """The token, or the tokens, that end a row."""
    pad_token_id: int | None = None
    """What fills rows up to the longest one; the first end token by default."""
    decoder_start_token_id: int | None = None
    """The token that the decoder starts with, in models with an encoder."""
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    """Fields of the file that abrazo does not know; kept and written back, never read."""

    def __post_init__(self) -> None:
        """Check every field; raise one `ConfigError` that lists all that is wrong."""
        problems = self.wrong_types() or self._wrong_values()
        if problems:
            raise ConfigError("\n".join(problems))

    def _wrong_values(self) -> list[str]:
        problems = []
        for name, smallest in _SMALLEST.items():
            value = getattr(self, name)
            if value is not None and not smallest <= value <= _MAX_COUNT:
                problems.append(f"`{name}` must be at least {smallest}, but is {value}.")
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            problems.append(
                f"`temperature` must be above 0, but is {self.temperature}. "
                "For the likeliest word each time take `do_sample=False`."
            )
        if self.top_p is not None and not 0 < self.top_p <= 1:
            problems.append(f"`top_p` must be above 0 and at most 1, but is {self.top_p}.")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            problems.append(f"`min_p` must be from 0 to 1, but is {self.min_p}.")
        if self.repetition_penalty is not None and not 0 < self.repetition_penalty < math.inf:
            problems.append(f"`repetition_penalty` must be above 0, not {self.repetition_penalty}.")
        if self.length_penalty is not None and not abs(self.length_penalty) <= _MAX_POWER:
            problems.append(
                f"`length_penalty` must be a number from -{_MAX_POWER} to {_MAX_POWER}, but is "
                f"{self.length_penalty}."
            )
        if self.seed is not None and not 0 <= self.seed < 2**64:
            problems.append(f"`seed` must be from 0 to 2^64 - 1, but is {self.seed}.")
        return problems + self._wrong_lists()

    def _wrong_lists(self) -> list[str]:
        problems = []
        for name in ("eos_token_id", "forced_eos_token_id", *_LISTS):
            if any(number < 0 for number in as_ids(getattr(self, name))):
                problems.append(f"`{name}` must hold token ids, which count from 0.")
        for words in self.bad_words_ids or ():
            if not words or min(words) < 0:
                problems.append(f"`bad_words_ids` must hold lists of token ids, not {words!r}.")
        if "" in self.stop_texts:
            problems.append("`stop_strings` must hold texts of at least one character.")
        return problems

    @property
    def stop_texts(self) -> tuple[str, ...]:
        """The texts that end a row."""
        if self.stop_strings is None:
            return ()
        return (
            (self.stop_strings,) if isinstance(self.stop_strings, str) else tuple(self.stop_strings)
        )

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end a row."""
        return as_ids(self.eos_token_id)

    def set_fields(self) -> dict[str, Any]:
        """Return the fields that are set, by name."""
        fields = self.to_dict()
        del fields["extra"]
        return {name: value for name, value in fields.items() if value is not None}

    @classmethod
    def from_hf(cls, values: Mapping[str, Any], *, where: str = GENERATION_FILE) -> Self:
        """Read the fields of a `generation_config.json`.

        Raises:
            ConfigError: A known field has the wrong type or value; all of them are listed.
        """
        names = {field.name for field in dataclasses.fields(cls)} - {"extra"}
        known = {name: value for name, value in values.items() if name in names}
        extra = {name: value for name, value in values.items() if name not in names}
        try:
            return cls(**known, extra=extra)
        except ConfigError as error:
            raise ConfigError(f"`{where}` does not say how to generate:\n{error}") from error

    @classmethod
    def from_model_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Read the options that older models keep in their `config.json`.

        Raises:
            ConfigError: A field has the wrong type or value.
        """
        names = {field.name for field in dataclasses.fields(cls)} - {"extra"}
        known = {name: fields[name] for name in names & fields.keys()}
        return cls.from_hf(known, where="config.json")

    @classmethod
    def of_model(cls, folder: Path | None, fields: Mapping[str, Any]) -> Self:
        """Read the options of a model, from its folder or else from its `config.json`.

        Args:
            folder: The model's folder, where it has one.
            fields: What its `config.json` has; special tokens that the folder's file leaves out
                are taken from here.

        Raises:
            CheckpointError: The file is damaged.
            ConfigError: A field has the wrong type or value.
        """
        if folder is None or not (folder / GENERATION_FILE).exists():
            return cls.from_model_fields(fields)
        found = read_json_object(folder / GENERATION_FILE)
        tokens = {name: fields[name] for name in _TOKEN_FIELDS if fields.get(name) is not None}
        return cls.from_hf({**tokens, **found}, where=str(folder / GENERATION_FILE))

    def to_hf(self) -> dict[str, Any]:
        """Return what belongs into `generation_config.json`."""
        return {**self.extra, **self.set_fields()}

    def save(self, folder: str | Path) -> None:
        """Write `generation_config.json` into a folder.

        Raises:
            CheckpointError: The file cannot be written.
        """
        write_json(Path(folder) / GENERATION_FILE, self.to_hf())


_LISTS = ("suppress_tokens", "begin_suppress_tokens")


def as_ids(value: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return one token id, several or none as a tuple."""
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)
