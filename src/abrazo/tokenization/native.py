"""The calls into the compiled `tokenizers` library, made safe: typed errors, forks, threads.

Nothing here ever sets truncation or padding on the shared object, as that would leak from one
thread's call into another's.
"""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import tokenizers

from abrazo.errors import TokenizerError

NativeTokenizer = tokenizers.Tokenizer
NativeEncoding = tokenizers.Encoding
Words = Sequence[str]
T = TypeVar("T")


def guarded(doing: str, call: Callable[[], T]) -> T:
    """Return `call()`; whatever the compiled library raises, panics too, becomes ours.

    Raises:
        TokenizerError: says what was being done and what the library said.
    """
    try:
        return call()
    except Exception as error:
        raise TokenizerError(f"{doing} failed: {error}") from error
    except BaseException as error:  # a Rust panic is not an `Exception`
        if type(error).__name__ != "PanicException":
            raise
        raise TokenizerError(f"{doing} failed inside the tokenizers library: {error}") from error


def encode_texts(
    backend: NativeTokenizer,
    texts: Sequence[str] | Sequence[Words],
    *,
    words: bool = False,
    offsets: bool = True,
    rows: Sequence[int] | None = None,
) -> list[NativeEncoding]:
    """Encode texts on all cores, without special tokens, untruncated and unpadded.

    Args:
        backend: The shared tokenizer.
        texts: Strings, or lists of words when `words` is true. Their types are checked already.
        words: Whether each row is split into words.
        offsets: Whether character offsets are needed; without them it is faster.
        rows: The number of each row, for error messages.

    Raises:
        TokenizerError: a text holds half a surrogate pair; the row is named.
    """
    _Parallelism.used = True
    encode = backend.encode_batch if offsets else backend.encode_batch_fast
    try:
        return encode(texts, is_pretokenized=words, add_special_tokens=False)
    except BaseException as error:
        numbers = range(len(texts)) if rows is None else rows
        for row, text in zip(numbers, texts, strict=True):
            _refuse_surrogates(row, [text] if isinstance(text, str) else text)
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise TokenizerError(
            f"Encoding rows {numbers[0]} to {numbers[-1]} failed: {error}"
        ) from error


def _refuse_surrogates(row: int, parts: Words) -> None:
    for text in parts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise TokenizerError(
                f"Row {row}: character {error.start} is half a surrogate pair "
                f"(U+{ord(text[error.start]):04X}), which is no Unicode text. Replace it first, as "
                'in `text.encode("utf-8", "replace").decode()`.'
            ) from error


class _Parallelism:
    """Whether this process has encoded on several threads, and what to undo after a fork."""

    used = False
    hidden = False


_SETTING = "TOKENIZERS_PARALLELISM"


def _before_fork() -> None:
    # The library's thread pool does not survive a fork: a child that uses it waits for ever. The
    # library prints a warning and turns itself serial; we turn it serial without the noise.
    if _Parallelism.used and _SETTING not in os.environ:
        os.environ[_SETTING] = "false"
        _Parallelism.hidden = True


def _after_fork_in_parent() -> None:
    if _Parallelism.hidden:
        os.environ.pop(_SETTING, None)
        _Parallelism.hidden = False


def _after_fork_in_child() -> None:
    if _Parallelism.used:
        os.environ[_SETTING] = "false"
    _Parallelism.hidden = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
