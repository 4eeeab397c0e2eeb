"""What tasks have in common whose models write: options of writing, requests, answers."""

import abc
import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from abrazo.errors import ConfigError
from abrazo.generation.config import GenerationConfig
from abrazo.tasks.base import Features, Task, TaskSettings
from abrazo.tasks.written import Request, WrittenText
from abrazo.tokenization.tokenizer import Tokenizer

MOST_NEW_TOKENS = 200
"""The most tokens written for a source where neither the task nor the model names a limit."""
_LIMITS = {"max_new_tokens": 1, "max_length": 0}
"""Options that limit how long texts get, and the tokens of the decoder that each leaves out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WritingSettings(TaskSettings):
    """How is written; each task adds which columns it reads."""

    generation: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Options of `generate`, such as `max_new_tokens`, that go before the model's own."""

    def __post_init__(self) -> None:
        """Check the values."""
        GenerationConfig(**self.generation)


class WritingTask(Task):
    """Base of tasks whose models write; `inference.generating` asks them what."""

    settings: WritingSettings
    call_arguments: ClassVar[tuple[str, ...]] = ("texts",)
    answer_key: ClassVar[str] = "generated_text"
    """What a text is called in answers."""

    @property
    def writes_in_evaluation(self) -> bool:
        """Whether evaluation writes texts, to compare them with those wished for."""
        return False

    @abc.abstractmethod
    def requests(self, features: Features) -> list[Request]:
        """Return what is to be written for a row."""

    def generation_config(self, tokenizer: Tokenizer) -> GenerationConfig:
        """Return the options that go before the model's own."""
        return GenerationConfig(**self.settings.generation)

    def writing(self, **options: Any) -> Self:
        """Return the task with other options of `generate`.

        Raises:
            ConfigError: An option is not known, or has a wrong value.
        """
        task = copy.copy(self)
        merged = {**self.settings.generation, **options}
        task.settings = self.settings.replace(generation=merged)
        return task

    def answer(self, prediction: WrittenText, *, top_k: int | None = 1) -> Any:
        """Return the text under the task's key, or a list of several."""
        answers = [{self.answer_key: text} for text in prediction.texts]
        return answers[0] if len(answers) == 1 else answers


def names_limit(options: Mapping[str, Any]) -> bool:
    """Tell whether options of `generate` say how long texts may get."""
    return bool(options.keys() & _LIMITS)


def require_writable(options: Mapping[str, Any], limit: int) -> None:
    """Refuse more tokens than a decoder reads, its first one included.

    Args:
        options: Those of `generate`.
        limit: The most tokens that the decoder reads.

    Raises:
        ConfigError: More are asked for.
    """
    for name, first in _LIMITS.items():
        wished = options.get(name)
        if wished is not None and wished + first > limit:
            raise ConfigError(
                f"`{name}` must be at most {limit - first}, which the model's decoder can read, "
                f"but is {wished}."
            )
