"""Texts as they are written: whole characters only, and nothing of a stop string.

for piece in stream(model, "Once upon a time", max_new_tokens=50):
    print(piece, end="", flush=True)
"""

import queue
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TextIO

import numpy as np
import torch
from torch import Tensor

from abrazo.errors import DataError
from abrazo.generation.config import GenerationConfig
from abrazo.generation.decoding import Decoding, complete, decodings_for, plan_for, prompt_ids
from abrazo.generation.stopping import cut_at_stop, safe_length
from abrazo.heads.causal_lm import Seq2SeqLMHead
from abrazo.models.base import PretrainedModel
from abrazo.tokenization.tokenizer import Tokenizer

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What decoding makes of bytes that are no whole character."""
_CONTEXT = 16
"""Tokens of a prompt that decide how the first word after it is written."""


class Detokenizer:
    """Turns tokens into text, piece by piece, so that the pieces make up the text of all tokens.

    A token may hold a part of a character only, as byte-level tokens of Chinese do, and its text
    may depend on the tokens before, as a space between words does. So a piece is what a token adds
    to the text of the last tokens, given out once it ends with a whole character.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        skip_special_tokens: bool = True,
        stop_strings: Sequence[str] = (),
        prompt: Sequence[int] = (),
    ) -> None:
        """Start with no text.

        Args:
            tokenizer: What decodes.
            skip_special_tokens: Whether special tokens are left out.
            stop_strings: Texts that end it: they and what follows are left out.
            prompt: Tokens that are gone on from. Their text is not given out, but it decides
                whether a space is before the first word.
        """
        self._tokenizer = tokenizer
        self._skips = skip_special_tokens
        self._stops = tuple(stop_strings)
        self._ids = list(prompt[-_CONTEXT:])
        self._start = 0  # tokens from here on are decoded together
        self._given = len(self._ids)  # tokens before this have been turned into text
        self._waiting = ""  # text that may be the beginning of a stop string
        self._has_stopped = False

    def add(self, token: int) -> str:
        """Take a token and return the text that is certain by now, which may be empty."""
        self._ids.append(token)
        before, now = self._text(self._given), self._text(len(self._ids))
        if len(now) <= len(before) or now.endswith(_UNFINISHED):
            return ""
        self._start, self._given = self._given, len(self._ids)
        return self._past_stops(now[len(before) :], is_last=False)

    def finish(self) -> str:
        """Return the text that is left when no token follows."""
        before, now = self._text(self._given), self._text(len(self._ids))
        self._given = len(self._ids)
        return self._past_stops(now[len(before) :], is_last=True)

    def _text(self, end: int) -> str:
        text = self._tokenizer.decode(self._ids[self._start : end], skip_special_tokens=self._skips)
        assert isinstance(text, str)
        return text

    def _past_stops(self, piece: str, *, is_last: bool) -> str:
        """Return what of the text so far is before any stop string."""
        if self._has_stopped:
            return ""
        text = self._waiting + piece
        before = cut_at_stop(text, self._stops)
        if len(before) < len(text):
            self._has_stopped = True
            return before
        safe = len(text) if is_last else safe_length(text, self._stops)
        self._waiting = text[safe:]
        return text[:safe]


class Streamer(Protocol):
    """What `model.generate(streamer=...)` hands tokens to, as in `transformers`."""

    def put(self, value: Tensor) -> None:
        """Take the tokens of the prompt, (1, S), and then each new one, (1,)."""

    def end(self) -> None:
        """Learn that no more will come."""


class TextStreamer:
    """Prints a text while it is written."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        skip_prompt: bool = False,
        *,
        skip_special_tokens: bool = True,
        stop_strings: Sequence[str] = (),
        file: TextIO | None = None,
    ) -> None:
        """Start.

        Args:
            tokenizer: What decodes.
            skip_prompt: Whether the prompt is left out.
            skip_special_tokens: Whether special tokens are left out.
            stop_strings: Those of the call, which are left out.
            file: Where to print; None takes standard output.
        """
        self._options: dict[str, Any] = {
            "skip_special_tokens": skip_special_tokens,
            "stop_strings": stop_strings,
        }
        self._tokenizer = tokenizer
        self._skip_prompt = skip_prompt
        self._file = file
        self._text: Detokenizer | None = None

    def put(self, value: Tensor) -> None:
        """Print what tokens add to the text.

        Raises:
            DataError: They are of several rows.
        """
        if value.dim() > 1 and len(value) > 1:
            raise DataError(f"A stream has one row, but there are {len(value)}.")
        is_prompt = self._text is None
        if self._text is None:
            prompt = value.reshape(-1).tolist()
            self._text = Detokenizer(self._tokenizer, prompt=prompt, **self._options)
            if self._skip_prompt:
                return
        # a stop string in the prompt ends nothing
        text = Detokenizer(self._tokenizer, skip_special_tokens=True) if is_prompt else self._text
        for token in value.reshape(-1).tolist():
            self.on_text(text.add(token), is_last=False)
        if is_prompt:
            self.on_text(text.finish(), is_last=False)

    def end(self) -> None:
        """Print what is left, and end the line."""
        if self._text is not None:
            self.on_text(self._text.finish(), is_last=True)
        self._text = None

    def on_text(self, text: str, *, is_last: bool) -> None:
        """Take a piece of text; a subclass may do something else with it."""
        file = self._file or sys.stdout
        file.write(text + "\n" * is_last)
        file.flush()


class TextIteratorStreamer(TextStreamer):
    """Hands a text out while `model.generate` writes it in another thread.

    Without a thread of one's own, `stream` does the same.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        skip_prompt: bool = False,
        *,
        timeout: float | None = None,
        skip_special_tokens: bool = True,
        stop_strings: Sequence[str] = (),
    ) -> None:
        """Start; see `TextStreamer`.

        Args:
            tokenizer: What decodes.
            skip_prompt: Whether the prompt is left out.
            timeout: Seconds to wait for a piece, after which `queue.Empty` is raised; None waits.
            skip_special_tokens: Whether special tokens are left out.
            stop_strings: Those of the call, which are left out.
        """
        super().__init__(
            tokenizer,
            skip_prompt,
            skip_special_tokens=skip_special_tokens,
            stop_strings=stop_strings,
        )
        self._timeout = timeout
        self._pieces: queue.Queue[str | None] = queue.Queue()

    def on_text(self, text: str, *, is_last: bool) -> None:
        """Hand on a piece."""
        if text:
            self._pieces.put(text)
        if is_last:
            self._pieces.put(None)

    def __iter__(self) -> Iterator[str]:
        while (piece := self._pieces.get(timeout=self._timeout)) is not None:
            yield piece


def stream_tokens(model: PretrainedModel, decoding: Decoding) -> Iterator[int]:
    """Yield the tokens that are written to one prompt, each as soon as it is there."""
    was_training = model.training
    model.eval()
    try:
        for rows in decoding:
            yield int(rows.ids[0, -1])
    finally:
        model.train(was_training)


def stream(
    model: PretrainedModel,
    text: str,
    *,
    tokenizer: Tokenizer | None = None,
    generation_config: GenerationConfig | None = None,
    skip_special_tokens: bool = True,
    **options: Any,
) -> Iterator[str]:
    """Write to a text, and yield what is written piece by piece.

    Args:
        model: A model that guesses the next word; one with an encoder reads the text there.
        text: The prompt.
        tokenizer: What encodes and decodes; None takes the model's own.
        generation_config: Options.
        skip_special_tokens: Whether special tokens are left out.
        options: More of them, by name, such as `max_new_tokens=50`.

    Raises:
        ConfigError: The model does not generate, or options contradict each other.
    """
    tokenizer = tokenizer or model.tokenizer
    config = (generation_config or GenerationConfig()).replace(**options)
    has_encoder = isinstance(model.head, Seq2SeqLMHead)
    yield from stream_ids(
        model,
        None if has_encoder else prompt_ids([text], tokenizer)[0],
        config,
        source=np.array(tokenizer.encode(text)) if has_encoder else None,
        tokenizer=tokenizer,
        skip_special_tokens=skip_special_tokens,
    )


def stream_ids(
    model: PretrainedModel,
    prompt: np.ndarray | None,
    config: GenerationConfig,
    *,
    source: np.ndarray | None = None,
    tokenizer: Tokenizer,
    skip_special_tokens: bool = True,
) -> Iterator[str]:
    """Write to the tokens of one prompt, and yield what is written piece by piece.

    Args:
        model: A model that guesses the next word.
        prompt: (S,) tokens; None starts as the decoder of a model with an encoder starts.
        config: Options.
        source: (S',) tokens for the encoder, in models that have one.
        tokenizer: What decodes.
        skip_special_tokens: Whether special tokens are left out.

    Raises:
        ConfigError: The model does not generate, or options contradict each other.
    """
    plan = plan_for(model, config, tokenizer=tokenizer, streams=True)
    prompts, sources = complete(
        model, plan, None if prompt is None else [prompt], None if source is None else [source]
    )
    (decoding,) = decodings_for(model, plan, prompts, sources, tokenizer, None)
    written = Detokenizer(
        tokenizer,
        skip_special_tokens=skip_special_tokens,
        stop_strings=plan.config.stop_texts,
        prompt=() if prompt is None else prompt.tolist(),
    )
    tokens = stream_tokens(model, decoding)
    for token in tokens:
        if piece := written.add(token):
            yield piece
    if piece := written.finish():
        yield piece


def put_tokens(streamer: Streamer, prompt: np.ndarray, tokens: Iterator[int]) -> list[int]:
    """Hand a prompt and the tokens written to it to a streamer; return the tokens."""
    streamer.put(torch.from_numpy(prompt)[None])
    written = []
    for token in tokens:
        written.append(token)
        streamer.put(torch.tensor([token]))
    streamer.end()
    return written
