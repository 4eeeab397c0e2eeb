"""Conversations in a column of rows, checked before a template writes them as one text."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from abrazo.errors import DataError, TokenizerError, did_you_mean
from abrazo.heads.base import IGNORED_LABEL
from abrazo.tasks.columns import require_unicode
from abrazo.tokenization.encoding import BatchEncoding
from abrazo.tokenization.tokenizer import Tokenizer

Message = Mapping[str, Any]

ROLES = ("system", "user", "assistant", "tool", "developer", "function")
"""Roles that templates know; others must be named in the template."""


def messages_of(
    row: Mapping[str, Any],
    column: str,
    number: int,
    origin: Callable[[int], str],
    tokenizer: Tokenizer,
) -> list[Message]:
    """Return the conversation in a column.

    Args:
        row: The row.
        column: The column.
        number: The row's number.
        origin: From a row's number to where it came from.
        tokenizer: Its template may know further roles.

    Raises:
        DataError: It is none, or a message has no role, one that nobody has, or no text; the row
            and the message are named.
    """
    messages = row.get(column)
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes) or not messages:
        raise DataError(
            f"{origin(number)}: `{column}` must be a list of messages with `role` and `content`, "
            f"but is {messages!r:.80}."
        )
    template = tokenizer.chat_template or ""
    for place, message in enumerate(messages, start=1):
        problem = _problem(message, template)
        if problem:
            raise DataError(f"{origin(number)}, message {place} of `{column}`: {problem}")
        if isinstance(text := message.get("content"), str):
            require_unicode(text, column, number, origin)
    return list(messages)


def learned_conversation(
    row: Mapping[str, Any],
    column: str,
    number: int,
    tokenizer: Tokenizer,
    origin: Callable[[int], str],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of a conversation, and its labels: what the assistant says.

    Raises:
        DataError: It is none, or the assistant says nothing in it.
    """
    messages = messages_of(row, column, number, origin, tokenizer)
    chat = in_template(messages, tokenizer, origin(number), return_assistant_tokens_mask=True)
    ids = np.array(chat["input_ids"], dtype=np.int32)
    is_said = np.array(chat["assistant_masks"], dtype=bool)
    if not is_said.any():
        raise DataError(
            f"{origin(number)}: the assistant says nothing, so there is nothing to learn. Leave "
            "the row out."
        )
    return ids, np.where(is_said, ids, IGNORED_LABEL)


def in_template(
    messages: Sequence[Message], tokenizer: Tokenizer, where: str, **options: Any
) -> BatchEncoding:
    """Return a conversation as the model reads it.

    Raises:
        DataError: The template cannot take it; the row is named.
    """
    try:
        chat: BatchEncoding = tokenizer.apply_chat_template(messages, **options)
    except TokenizerError as error:
        raise DataError(f"{where}: {error}") from error
    return chat


def _problem(message: Any, template: str) -> str:
    """Say what is wrong with a message; an empty text if nothing is."""
    if not isinstance(message, Mapping):
        return f"it must be a mapping with `role` and `content`, but is {message!r:.60}."
    role, content = message.get("role"), message.get("content")
    if role is None:
        there = ", ".join(f"`{n}`" for n, value in message.items() if value is not None)
        return f"it has no `role`, only {there or 'nothing'}. Name its parts `role` and `content`."
    named = (f"'{role}'", f'"{role}"')
    if role not in ROLES and not any(name in template for name in named):
        known = ", ".join(ROLES)
        return (
            f"its role {role!r:.40} is not one that conversations have ({known}), and the model's "
            f"template does not name it.{did_you_mean(str(role), ROLES)}"
        )
    is_content = isinstance(content, str) or (
        isinstance(content, list | tuple) and all(isinstance(part, Mapping) for part in content)
    )
    if not is_content and not (content is None and message.get("tool_calls")):
        return f"its `content` must be a text, but is {content!r:.60}."
    return ""
