"""`BatchEncoding`: what a tokenizer gives back, ready for `model(**encoding)`."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from abrazo.errors import ConfigError, TokenizerError, one_of
from abrazo.tokenization.row import CharSpan, RowEncoding, TokenSpan

if TYPE_CHECKING:
    import torch

TensorType = Literal["pt", "np"]


class BatchEncoding(UserDict[str, Any]):
    """A mapping of `input_ids`, `attention_mask` and the like, with the rows they were made from.

    Values are lists, numpy arrays or torch tensors, (rows, tokens) each; for one text without
    `return_tensors` they are (tokens,). Keys can be read as attributes; `encoding[0]` is the first
    row with tokens and offsets.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        encodings: Sequence[RowEncoding] | None = None,
        *,
        tensor_type: TensorType | None = None,
        num_dropped_tokens: Sequence[int] | None = None,
    ) -> None:
        super().__init__(data)
        self._encodings = None if encodings is None else list(encodings)
        self._num_dropped_tokens = list(num_dropped_tokens or [])
        self.convert_to_tensors(tensor_type)

    def __getattr__(self, name: str) -> Any:
        if name != "data" and name in self.data:
            return self.data[name]
        raise AttributeError(f"`BatchEncoding` has no key or attribute `{name}`.")

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            return self.data[key]
        if isinstance(key, slice):
            return {name: values[key] for name, values in self.data.items()}
        return self._row(key)

    @property
    def encodings(self) -> list[RowEncoding] | None:
        """The rows with tokens, words and offsets; None when made by `pad` from ids alone."""
        return self._encodings

    @property
    def num_dropped_tokens(self) -> list[int]:
        """For each row of the result, how many text tokens truncation left out of all its windows.

        Of texts far longer than `max_length` only the beginning is encoded; then the number is a
        lower bound.
        """
        return self._num_dropped_tokens

    def _row(self, index: int) -> RowEncoding:
        if self._encodings is None:
            raise TokenizerError("This batch was made from ids alone, so it knows no tokens.")
        if not -len(self._encodings) <= index < len(self._encodings):
            raise TokenizerError(
                f"There is no row {index}: the batch has {len(self._encodings)} rows."
            )
        return self._encodings[index]

    def _at(self, first: int, second: int | None) -> tuple[RowEncoding, int]:
        """Read `(row, index)`, or `(index,)` of the first row."""
        return (self._row(0), first) if second is None else (self._row(first), second)

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return the tokens of a row as text."""
        return self._row(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return the number of each token's word, None for special tokens."""
        return self._row(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return 0 or 1 for tokens of the first or second text, None for special tokens."""
        return self._row(batch_index).sequence_ids

    def token_to_sequence(
        self, batch_or_token_index: int, token_index: int | None = None
    ) -> int | None:
        """Return which text a token is from; called as `(token)` or `(row, token)`."""
        row, token = self._at(batch_or_token_index, token_index)
        return row.token_to_sequence(token)

    def token_to_word(
        self, batch_or_token_index: int, token_index: int | None = None
    ) -> int | None:
        """Return the number of a token's word; called as `(token)` or `(row, token)`."""
        row, token = self._at(batch_or_token_index, token_index)
        return row.token_to_word(token)

    def token_to_chars(
        self, batch_or_token_index: int, token_index: int | None = None
    ) -> CharSpan | None:
        """Return a token's characters; called as `(token)` or `(row, token)`."""
        row, token = self._at(batch_or_token_index, token_index)
        return row.token_to_chars(token)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the token that holds a character; called as `(char)` or `(row, char)`."""
        row, char = self._at(batch_or_char_index, char_index)
        return row.char_to_token(char, sequence_index)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the word that holds a character; called as `(char)` or `(row, char)`."""
        row, char = self._at(batch_or_char_index, char_index)
        return row.char_to_word(char, sequence_index)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """Return the tokens of a word; called as `(word)` or `(row, word)`."""
        row, word = self._at(batch_or_word_index, word_index)
        return row.word_to_tokens(word, sequence_index)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """Return the characters of a word; called as `(word)` or `(row, word)`."""
        row, word = self._at(batch_or_word_index, word_index)
        return row.word_to_chars(word, sequence_index)

    def convert_to_tensors(self, tensor_type: TensorType | None = None) -> BatchEncoding:
        """Turn the values into numpy arrays (`"np"`) or torch tensors (`"pt"`) of int64, in place.

        Raises:
            ConfigError: rows differ in length, or `tensor_type` is unknown.
        """
        if tensor_type is None:
            return self
        if tensor_type not in ("pt", "np"):
            raise ConfigError(one_of("`return_tensors`", tensor_type, ("pt", "np")))
        for name, values in self.data.items():
            if isinstance(values, list):
                self.data[name] = _to_array(name, values)
        if tensor_type == "pt":
            import torch

            for name, values in self.data.items():
                if isinstance(values, np.ndarray):
                    self.data[name] = torch.from_numpy(values)
        return self

    def to(self, device: str | int | torch.device, *, non_blocking: bool = False) -> BatchEncoding:
        """Move all tensors to `device`, in place."""
        import torch

        for name, values in self.data.items():
            if isinstance(values, torch.Tensor):
                self.data[name] = values.to(device=device, non_blocking=non_blocking)
        return self


def _to_array(name: str, values: list[Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    lengths = {len(value) for value in values if isinstance(value, (list, tuple))}
    if len(lengths) > 1:
        raise ConfigError(
            f"The rows of `{name}` have {min(lengths)} to {max(lengths)} tokens, so they cannot "
            "be one tensor. Pass `padding=True`; to shorten long rows `truncation=True` as well."
        )
    try:
        return np.asarray(values, dtype=np.int64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"`{name}` cannot be a tensor of numbers: {error}") from error
