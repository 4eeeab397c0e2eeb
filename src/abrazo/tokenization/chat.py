"""Conversations: a model's template writes messages as the one text that the model was trained on.

    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)

Source: https://huggingface.co/docs/transformers/chat_templating
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import jinja2
from jinja2 import meta

from abrazo.errors import ConfigError, TokenizerError, did_you_mean, one_of
from abrazo.tokenization.chat_environment import (
    MAX_TEMPLATE,
    ChatEnvironment,
    Refused,
    TooMuch,
    compiled,
    metered,
    run,
)
from abrazo.tokenization.encoding import BatchEncoding, TensorType
from abrazo.tokenization.options import Padding, Truncation
from abrazo.tokenization.vocabulary import Vocabulary

Message = Mapping[str, Any]
Messages = Sequence[Message]

_MAX_DEPTH = 64
_GIVEN = ("messages", "tools", "documents", "add_generation_prompt")


@dataclass(frozen=True)
class RenderedChat:
    """A conversation as text."""

    text: str
    """What the template wrote."""

    assistant_spans: tuple[tuple[int, int], ...]
    """The characters that the assistant says, as (start, end), with what ends its turns."""


class _Encodes(Protocol):
    def __call__(
        self,
        text: list[str],
        *,
        add_special_tokens: bool,
        padding: Padding,
        truncation: Truncation,
        max_length: int | None,
        return_tensors: TensorType | None,
        return_offsets_mapping: bool,
    ) -> BatchEncoding: ...


class Chats(Vocabulary):
    """What a tokenizer does with conversations."""

    @property
    def chat_template(self) -> str | None:
        """The template of conversations, None where the model has none."""
        return self.settings.chat_templates.get("default")

    @chat_template.setter
    def chat_template(self, template: str | None) -> None:
        self.settings.chat_templates.pop("default", None)
        if template is not None:
            self.settings.chat_templates["default"] = template

    def get_chat_template(self, name: str | None = None) -> str:
        """Return the template of a name, or the usual one; a text that is a template is returned.

        Raises:
            ConfigError: There is none.
        """
        known = self.settings.chat_templates
        if name is not None and ("{{" in name or "{%" in name):
            return name
        if (name or "default") in known:
            return known[name or "default"]
        if name is not None or known:
            raise ConfigError(one_of("`chat_template`", name or "default", known))
        raise ConfigError(
            "This tokenizer has no chat template, so it is not known how conversations are written "
            "for its model. Set `tokenizer.chat_template`, or join the messages yourself."
        )

    def apply_chat_template(
        self,
        conversation: Messages | Sequence[Messages],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        tokenize: bool = True,
        padding: Padding = False,
        truncation: Truncation = None,
        max_length: int | None = None,
        return_tensors: TensorType | None = None,
        return_dict: bool = True,
        return_assistant_tokens_mask: bool = False,
        **variables: object,
    ) -> Any:
        """Write a conversation, or a list of them, as the model was trained to read it.

        Args:
            conversation: Messages with `role` and `content`, or a list of conversations.
            tools: What the model may call, as JSON schemas.
            documents: What the model may read.
            chat_template: A template, or the name of one of the model's.
            add_generation_prompt: Whether to end with the beginning of the assistant's turn.
            tokenize: Whether to return ids and not texts.
            padding: As in a call of the tokenizer.
            truncation: As in a call of the tokenizer.
            max_length: As in a call of the tokenizer.
            return_tensors: As in a call of the tokenizer.
            return_dict: Whether to return all that a call returns, and not the ids alone.
            return_assistant_tokens_mask: Whether to return `assistant_masks` too: 1 for the tokens
                that the assistant says.
            variables: What the template reads besides, such as `enable_thinking`.

        Returns:
            A text or a list of texts; with `tokenize` what a call of the tokenizer returns.

        Raises:
            ConfigError: There is no template, or it does not read one of `variables`.
            TokenizerError: The template is damaged, refuses the messages or does too much.
        """
        is_batch = bool(conversation) and not isinstance(conversation[0], Mapping)
        chats = list(conversation) if is_batch else [conversation]
        source = self.get_chat_template(chat_template)
        given = {
            "tools": tools,
            "documents": documents,
            **_known_variables(source, variables),
        }
        texts, spans = [], []
        for chat in cast(list[Messages], chats):
            if return_assistant_tokens_mask and tokenize:
                rendered = self._rendered(source, chat, given)
                texts.append(rendered.text)
                spans.append(rendered.assistant_spans)
            else:
                texts.append(self._render(source, chat, given, add_generation_prompt)[0])
        if not tokenize:
            return texts if is_batch else texts[0]
        encoding = cast(_Encodes, self)(
            texts,
            add_special_tokens=False,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            return_tensors=return_tensors,
            return_offsets_mapping=False,
        )
        if return_assistant_tokens_mask:
            rows = encoding.encodings or []
            masks = [
                [int(any(_is_within(token, span) for span in spoken)) for token in row.offsets]
                for row, spoken in zip(rows, spans, strict=True)
            ]
            encoding["assistant_masks"] = masks
            encoding.convert_to_tensors(return_tensors)
        if not is_batch and return_tensors is None:
            encoding.data = {name: values[0] for name, values in encoding.data.items()}
        return encoding if return_dict else encoding["input_ids"]

    def render_chat(
        self,
        messages: Messages,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
    ) -> RenderedChat:
        """Write a conversation, and say which of its characters the assistant says.

        A template may mark them by `{% generation %}`. Else they are what each assistant's message
        adds to the messages before it, which is checked: what a template writes of the first
        messages must be how it begins to write all.

        Raises:
            ConfigError: There is no template.
            TokenizerError: The template is damaged, refuses the messages or does too much, or what
                the assistant says cannot be told apart.
        """
        return self._rendered(self.get_chat_template(chat_template), messages, {"tools": tools})

    def _rendered(self, source: str, messages: Messages, given: Mapping[str, Any]) -> RenderedChat:
        text, marked = self._render(source, messages, given, False)
        if marked:
            return RenderedChat(text, tuple(marked))
        spans = []
        for place, message in enumerate(messages):
            if message.get("role") != "assistant":
                continue
            before = self._render(source, messages[:place], given, True)[0] if place else ""
            after = self._render(source, messages[: place + 1], given, False)[0]
            said = message.get("content")
            is_apart = after.startswith(before) and text.startswith(after)
            if not is_apart or (isinstance(said, str) and said.strip() not in after[len(before) :]):
                raise TokenizerError(
                    f"Message {place}: what the assistant says cannot be told apart, as the "
                    "template writes these messages differently when others follow. Mark it by "
                    "`{% generation %}` in the template, or train on the whole text."
                )
            spans.append((len(before), len(after)))
        return RenderedChat(text, tuple(spans))

    def _render(
        self, source: str, messages: Messages, given: Mapping[str, Any], prompt: bool
    ) -> tuple[str, list[tuple[int, int]]]:
        """Run a template; return its text and what it marks as the assistant's."""
        values = {
            **self.special_tokens_map,
            **{name: _plain(value, f"`{name}`") for name, value in given.items()},
            "messages": _plain_messages(messages),
            "add_generation_prompt": prompt,
        }
        template = _compile(source)
        with metered() as meter:
            try:
                return run(template, values, meter), meter.generated
            except Refused as error:
                raise TokenizerError(
                    f"The chat template cannot take these messages: {error}"
                ) from error
            except TooMuch as error:
                raise TokenizerError(f"The chat template was stopped: {error}.") from error
            except jinja2.exceptions.SecurityError as error:
                raise TokenizerError(f"The chat template was stopped: {error}") from error
            except RecursionError as error:
                raise TokenizerError("The chat template was stopped: it calls itself.") from error
            except Exception as error:
                raise TokenizerError(
                    f"The chat template failed: {error or type(error).__name__}. Are the messages "
                    "as it wants them (`role` and `content`)?"
                ) from error


def _is_within(token: tuple[int, int], span: tuple[int, int]) -> bool:
    """Whether a token is of a span; a lone space has no characters, but the place behind it."""
    start, end = token
    place = start if end > start else start - 1
    return span[0] <= place < span[1]


def _compile(source: str) -> jinja2.Template:
    if len(source) > MAX_TEMPLATE:
        raise TokenizerError(
            f"The chat template has {len(source)} characters; at most {MAX_TEMPLATE} are read."
        )
    try:
        return compiled(source)
    except jinja2.TemplateSyntaxError as error:
        raise TokenizerError(f"The chat template, line {error.lineno}: {error.message}") from error
    except (jinja2.TemplateError, SyntaxError, RecursionError, MemoryError, ValueError) as error:
        raise TokenizerError(f"The chat template is damaged: {error}") from error


def _known_variables(source: str, variables: Mapping[str, object]) -> Mapping[str, object]:
    """Refuse what a template does not read; it is most likely misspelt."""
    if not variables:
        return variables
    _compile(source)
    read = meta.find_undeclared_variables(ChatEnvironment().parse(source)) - set(_GIVEN)
    unknown = sorted(set(variables) - read)
    if unknown:
        raise ConfigError(
            "\n".join(
                f"`apply_chat_template` has no option `{name}`, nor does the template read it."
                f"{did_you_mean(name, read)}"
                for name in unknown
            )
        )
    return variables


def _plain_messages(messages: Messages) -> list[dict[str, Any]]:
    if isinstance(messages, (str, Mapping)) or not all(
        isinstance(one, Mapping) for one in messages
    ):
        raise TokenizerError(
            "A conversation must be a list of messages, each a mapping with `role` and `content`, "
            f"but is {messages!r:.80}."
        )
    if any("role" not in message for message in messages):
        place = next(n for n, message in enumerate(messages) if "role" not in message)
        raise TokenizerError(f"Message {place} has no `role`: {messages[place]!r:.80}.")
    # An absent value and None mean the same to whoever writes messages, but not to templates.
    return [
        {
            str(key): _plain(value, f"Message {n}")
            for key, value in message.items()
            if value is not None
        }
        for n, message in enumerate(messages)
    ]


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    """Return JSON's kinds of values alone, so that a template meets no object with methods."""
    if depth > _MAX_DEPTH:
        raise TokenizerError(f"{where} is nested over {_MAX_DEPTH} deep.")
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(one, where, depth + 1) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one, where, depth + 1) for one in value]
    raise TokenizerError(
        f"{where} must hold texts, numbers, lists and mappings, but holds a {type(value).__name__}."
    )
