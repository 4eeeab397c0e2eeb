"""The rows of one batch while words are added to them.

Rows stand right-aligned, so that each step adds one column. Rows made from one prompt (beams, or
several texts drawn for it) follow each other.

Shapes: S sources (prompts), R rows, C columns.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

FinishReason = Literal["eos", "length", "stop_string"]

_COLUMNS_AT_ONCE = 64


@dataclasses.dataclass(frozen=True)
class Request:
    """One prompt of a call, and how much may be written to it."""

    number: int
    """Which prompt of the call it is."""
    prompt: np.ndarray
    """Tokens to go on from."""
    source: np.ndarray | None
    """Tokens for the encoder, in models that have one."""
    fewest: int
    """The fewest new tokens."""
    most: int
    """The most new tokens."""
    key: int
    """What its draws depend on besides the seed: its tokens, and which of its equals it is."""


@dataclasses.dataclass(frozen=True, eq=False)
class Generated:
    """One text that was written, in tokens."""

    ids: np.ndarray
    """The new tokens, with the one that ended it; without the prompt."""
    score: float | None
    """Sum of its words' log-probabilities over its length to the power of `length_penalty`, in
    beam search."""
    finish_reason: FinishReason
    """Why it ended: an end token, its most tokens, or a stop string."""


class Rows:
    """Tokens of all rows of a batch, and their limits."""

    def __init__(self, requests: Sequence[Request], per_source: int, device: torch.device) -> None:
        """Start with the prompts, each as many times as rows go on from it."""
        self.per_source = per_source
        self.numbers = np.array([request.number for request in requests])
        """(S,) which prompt of the call each source is."""
        self.fewest = np.array([request.fewest for request in requests])
        """(S,) the fewest new tokens of a row."""
        self.most = np.array([request.most for request in requests])
        """(S,) the most new tokens of a row."""
        self.keys = np.array([request.key for request in requests], dtype=np.int64)
        """(S,) what draws depend on."""
        self.prompt_lengths = np.array([len(request.prompt) for request in requests])
        """(S,) tokens of each prompt."""
        self.num_prompt_columns = int(self.prompt_lengths.max())
        self.num_columns = self.num_prompt_columns
        prompts = np.full((len(requests), self.num_columns), -1, dtype=np.int64)
        for row, request in zip(prompts, requests, strict=True):
            row[len(row) - len(request.prompt) :] = request.prompt
        self._held = torch.from_numpy(prompts.repeat(per_source, axis=0)).to(device)

    @property
    def num_sources(self) -> int:
        """S."""
        return len(self.numbers)

    @property
    def num_rows(self) -> int:
        """R."""
        return len(self._held)

    @property
    def step(self) -> int:
        """How many tokens each row has got so far."""
        return self.num_columns - self.num_prompt_columns

    @property
    def ids(self) -> Tensor:
        """(R, C) all tokens so far; -1 left of a prompt shorter than others."""
        return self._held[:, : self.num_columns]

    @property
    def new_ids(self) -> Tensor:
        """(R, step) the new tokens so far."""
        return self._held[:, self.num_prompt_columns : self.num_columns]

    def of_rows(self, of_sources: np.ndarray) -> Tensor:
        """Turn (S,) values into (R,), on the device."""
        return torch.from_numpy(of_sources.repeat(self.per_source)).to(self._held.device)

    def append(self, tokens: Tensor) -> None:
        """Add one token to each row.

        Args:
            tokens: (R,) one for each.
        """
        if self.num_columns == self._held.shape[1]:
            wider = self._held.new_empty(self.num_rows, self.num_columns + _COLUMNS_AT_ONCE)
            wider[:, : self.num_columns] = self._held
            self._held = wider
        self._held[:, self.num_columns] = tokens
        self.num_columns += 1

    def reorder(self, origins: Tensor) -> None:
        """Let row i go on from row `origins[i]`."""
        self._held[:, : self.num_columns] = self.ids.index_select(0, origins)

    def keep(self, sources: np.ndarray) -> None:
        """Go on with the rows of these sources alone."""
        for name in ("numbers", "fewest", "most", "keys", "prompt_lengths"):
            setattr(self, name, getattr(self, name)[sources])
        rows = sources[:, None] * self.per_source + np.arange(self.per_source)
        index = torch.from_numpy(rows.reshape(-1)).to(self._held.device)
        self._held = self._held.index_select(0, index)
