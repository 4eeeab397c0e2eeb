"""The configuration of a model: strict towards a user, tolerant towards files of the world.

`BertConfig(hiden_size=3)` is refused with the nearest name. Reading a `config.json` keeps every
unknown field in `extra`, where nothing reads it, and writes it back on saving; known fields are
checked for type and size. No value chooses a module, a path or a repository.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from abrazo.config import Config
from abrazo.errors import ConfigError, one_of
from abrazo.heads.sequence import PROBLEM_TYPES
from abrazo.tokenization.tokenizer import Tokenizer

_MAX_SIZE = 10_000_000
MAX_LAYERS = 300
"""The most blocks of a model."""
_MAX_LABELS = 100_000
_NUM_LAYERS = (
    *("num_hidden_layers", "n_layers", "n_layer"),
    *("num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers"),
)
"""What families call their numbers of blocks."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """Fields that every family has. Names are those of `config.json`."""

    model_type: ClassVar[str] = ""
    """The family's name in `config.json`."""
    LOWEST: ClassVar[Mapping[str, int]] = {}
    """The smallest value of number fields that may be below 0."""
    ABSENT: ClassVar[Mapping[str, Any]] = {}
    """What fields mean that a `config.json` leaves out, where that is not our default."""

    id2label: Mapping[int, str] = dataclasses.field(
        default_factory=lambda: {0: "LABEL_0", 1: "LABEL_1"}
    )
    """The labels of a classification head, by class number."""
    problem_type: str | None = None
    """Kind of a classification head; None tells it from the labels."""
    tie_word_embeddings: bool = True
    """Whether the masked-word or next-word head shares the embedding matrix."""
    initializer_range: float = 0.02
    """Standard deviation of new weights."""
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    """Fields of `config.json` that abrazo does not know; kept and written back, never read."""

    @classmethod
    def known_fields(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Accept `num_labels` as short for as many unnamed labels."""
        given = dict(values)
        if "num_labels" in given:
            count = given.pop("num_labels")
            if not isinstance(count, int) or not 1 <= count <= _MAX_LABELS:
                raise ConfigError(
                    f"`num_labels` must be a number from 1 to {_MAX_LABELS}, but is {count!r}."
                )
            given.setdefault("id2label", {i: f"LABEL_{i}" for i in range(count)})
        given.pop("label2id", None)
        return super().known_fields(given)

    def __post_init__(self) -> None:
        """Check every field; raise one `ConfigError` that lists all that is wrong."""
        # values can be compared only once they are of the right types
        problems = self.wrong_types() or self._wrong_values()
        if problems:
            raise ConfigError("\n".join(problems))

    def _wrong_values(self) -> list[str]:
        """Return a line for each value that breaks a rule; families add theirs."""
        problems = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            lowest = self.LOWEST.get(field.name, 0)
            if not math.isfinite(value) or value < lowest or value > _MAX_SIZE:
                problems.append(
                    f"`{field.name}` must be a number from {lowest} to {_MAX_SIZE}, "
                    f"but is {value!r}."
                )
            elif value > 1 and ("dropout" in field.name or field.name.endswith("_prob")):
                problems.append(f"`{field.name}` must be from 0 to 1, but is {value!r}.")
        if self.problem_type is not None and self.problem_type not in PROBLEM_TYPES:
            problems.append(one_of("`problem_type`", self.problem_type, PROBLEM_TYPES))
        for name in _NUM_LAYERS:
            if (layers := getattr(self, name, 0)) > MAX_LAYERS:
                problems.append(f"`{name}` must be at most {MAX_LAYERS}, but is {layers}.")
        return problems

    @property
    def num_labels(self) -> int:
        """The number of labels of a classification head."""
        return len(self.id2label)

    @property
    def labels(self) -> list[str]:
        """The labels in class order."""
        return [self.id2label[i] for i in range(len(self.id2label))]

    @property
    def has_named_labels(self) -> bool:
        """Whether the labels are names someone chose, not `LABEL_0`, `LABEL_1`, ..."""
        return any(label != f"LABEL_{i}" for i, label in self.id2label.items())

    @property
    def width(self) -> int:
        """Width of a token's vector, which families call by different names.

        Raises:
            ConfigError: It has another name yet; a family then defines `width` itself.
        """
        for name in ("hidden_size", "dim", "d_model"):
            if hasattr(self, name):
                return int(getattr(self, name))
        raise ConfigError(f"`{type(self).__name__}` must define `width`, that of a token's vector.")

    def with_labels(self, labels: Sequence[str]) -> Self:
        """Return a copy with these labels."""
        return self.replace(id2label=dict(enumerate(labels)))

    def for_tokenizer(self, tokenizer: Tokenizer) -> Self:
        """Return a copy for the pieces of a tokenizer: how many there are, and the special ids.

        Texts begin and end with `cls_token` and `sep_token` where a tokenizer has no others. What
        a decoder reads first keeps its role: what pads, begins or ends rows here does so there.
        """
        begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
        ids = {
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.cls_token_id if begin is None else begin,
            "eos_token_id": tokenizer.sep_token_id if end is None else end,
        }
        names = {field.name for field in dataclasses.fields(self)}
        changes = {"vocab_size": len(tokenizer), **ids}
        start = getattr(self, "decoder_start_token_id", None)
        roles = [name for name in ids if start is not None and getattr(self, name, None) == start]
        if roles:
            changes["decoder_start_token_id"] = ids[roles[0]]
        return self.replace(**{name: changes[name] for name in names & changes.keys()})

    @classmethod
    def from_hf(cls, values: Mapping[str, Any], *, where: str = "config.json") -> Self:
        """Read the fields of a `config.json`.

        Raises:
            ConfigError: A known field has the wrong type or size; all of them are listed.
        """
        values = {**cls.ABSENT, **values}
        names = {field.name for field in dataclasses.fields(cls)} - {"extra", "id2label"}
        known = {name: values[name] for name in names & values.keys()}
        handled = names | {"id2label", "label2id", "num_labels", "model_type", "architectures"}
        if values.get("id2label"):
            known["id2label"] = _read_labels(values["id2label"], where)
        elif isinstance(values.get("num_labels"), int):
            known["num_labels"] = values["num_labels"]
        extra = {name: value for name, value in values.items() if name not in handled}
        try:
            return cls(**known, extra=extra)
        except ConfigError as error:
            raise ConfigError(
                f"`{where}` does not describe a {cls.model_type} model:\n{error}"
            ) from error

    def to_hf(self) -> dict[str, Any]:
        """Return what belongs into `config.json`."""
        values = self.to_dict()
        extra, labels = values.pop("extra"), values.pop("id2label")
        return {
            **extra,
            "model_type": self.model_type,
            **values,
            "id2label": {str(i): label for i, label in labels.items()},
            "label2id": {label: i for i, label in labels.items()},
        }

    def __str__(self) -> str:
        """Show every field with its value, one a line."""
        lines = (f"  {name} = {value!r}" for name, value in self.to_dict().items())
        return "\n".join([type(self).__name__, *lines])


def _read_labels(labels: Any, where: str) -> dict[int, str]:
    """Return `id2label` of a file, with numbers from 0 without a gap."""
    try:
        numbered = {int(number): str(label) for number, label in labels.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"`id2label` of `{where}` must map numbers to labels.") from error
    if len(numbered) > _MAX_LABELS or sorted(numbered) != list(range(len(numbered))):
        shown = json.dumps(sorted(numbered)[:8])
        raise ConfigError(
            f"`id2label` of `{where}` must number its labels from 0 without a gap, but has {shown}."
        )
    return dict(sorted(numbered.items()))
