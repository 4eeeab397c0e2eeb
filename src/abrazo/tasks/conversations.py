"""Conversations in a column of rows, checked before a template writes them as one text."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from abrazo.errors import DataError, did_you_mean
from abrazo.tasks.columns import require_unicode
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
