"""Collators by the names users know from `transformers`: rows of ids in, padded tensors out.

    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    batch = collate([{"input_ids": [101, 7592, 102]}, {"input_ids": [101, 102]}])

The trainer takes them as `data_collator=`; without one it packs rows itself and pads nothing.

Shapes: B rows, S padded columns.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from abrazo.data.masking import IGNORED, NO_WORD, Masker
from abrazo.data.sampling import generator_for
from abrazo.errors import ConfigError, DataError

if TYPE_CHECKING:
    from abrazo.tokenization.tokenizer import Tokenizer

Row = Mapping[str, Any]
Batch = dict[str, Tensor]

PURPOSE = "masked words"
"""What randomness by counter is drawn for, in masking."""

_OF_TOKENS = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask")


@runtime_checkable
class CountingCollator(Protocol):
    """A collator whose randomness depends on the rows alone, not on what was drawn before."""

    def collate_rows(
        self, features: Sequence[Row], rows: Sequence[int], *, seed: int, epoch: int
    ) -> Batch:
        """Collate rows of a data set, given their numbers in it."""


class DataCollatorWithPadding:
    """Pads what a tokenizer returned to one length; `label` becomes `labels`."""

    def __init__(
        self,
        tokenizer: "Tokenizer",
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_tensors: str = "pt",
    ) -> None:
        """Take how to pad, as in a call of the tokenizer.

        Raises:
            ConfigError: Other tensors than torch's are asked for.
        """
        require_torch(return_tensors)
        self.tokenizer, self.padding, self.max_length = tokenizer, padding, max_length
        self.pad_to_multiple_of = pad_to_multiple_of

    def __call__(self, features: Sequence[Row]) -> Batch:
        """Return each column as a tensor, those of tokens (B, S)."""
        return self.pad([_renamed(row) for row in features])

    def pad(self, rows: Sequence[Row]) -> Batch:
        """Pad the columns of tokens, and stack the others as they are.

        Raises:
            ConfigError: Rows have different columns.
            DataError: There are no rows, or a column cannot be stacked.
        """
        if not rows:
            raise DataError("There are no rows to collate.")
        flat = [
            {name: token_values(name, v) if name in _OF_TOKENS else v for name, v in row.items()}
            for row in rows
        ]
        of_tokens = [{name: row[name] for name in row if name in _OF_TOKENS} for row in flat]
        padded = self.tokenizer.pad(
            of_tokens,
            padding=self.padding,  # type: ignore[arg-type]
            max_length=self.max_length,
            pad_to_multiple_of=self.pad_to_multiple_of,
            return_tensors="pt",
        )
        batch = dict(padded.items())
        for name in flat[0]:
            if name not in _OF_TOKENS:
                batch[name] = _stacked(name, [row[name] for row in flat])
        return batch


class DataCollatorForTokenClassification(DataCollatorWithPadding):
    """Pads `labels`, one a token, together with the tokens."""

    def __init__(
        self,
        tokenizer: "Tokenizer",
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        label_pad_token_id: int = IGNORED,
        return_tensors: str = "pt",
    ) -> None:
        """Take how to pad, and the label of padding."""
        super().__init__(tokenizer, padding, max_length, pad_to_multiple_of, return_tensors)
        self.label_pad_token_id = label_pad_token_id

    def __call__(self, features: Sequence[Row]) -> Batch:
        """Return each column as a tensor, `labels` (B, S) too where rows have them.

        Raises:
            DataError: A row has another number of labels than of tokens.
        """
        rows = [dict(_renamed(row)) for row in features]
        labels = _take_labels(rows)
        batch = self.pad(rows)
        if labels:
            batch["labels"] = self._padded_labels(labels, rows, batch["input_ids"].shape[1])
        return batch

    def _padded_labels(
        self, labels: Sequence[npt.NDArray[np.int64]], rows: Sequence[Row], columns: int
    ) -> Tensor:
        """Pad labels on the side where tokens are padded."""
        whole = torch.full((len(rows), columns), self.label_pad_token_id)
        for number, (row, own) in enumerate(zip(rows, labels, strict=True)):
            count = np.asarray(row["input_ids"]).size
            if len(own) != count:
                raise DataError(f"Row {number} has {count} tokens, but {len(own)} labels.")
            left = self.tokenizer.padding_side == "left"
            place = slice(columns - count, columns) if left else slice(count)
            whole[number, place] = torch.from_numpy(own)
        return whole


class DataCollatorForSeq2Seq(DataCollatorWithPadding):
    """Pads sources and, to a length of their own, targets."""

    def __init__(
        self,
        tokenizer: "Tokenizer",
        model: object | None = None,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        label_pad_token_id: int = IGNORED,
        return_tensors: str = "pt",
    ) -> None:
        """Take how to pad.

        Args:
            tokenizer: Pads.
            model: Where it has `prepare_decoder_input_ids_from_labels`, what the decoder reads is
                made of the labels.
            padding: As in a call of the tokenizer.
            max_length: As in a call of the tokenizer.
            pad_to_multiple_of: Pad sources and targets to a multiple of this.
            label_pad_token_id: The label of padding.
            return_tensors: `pt`.
        """
        super().__init__(tokenizer, padding, max_length, pad_to_multiple_of, return_tensors)
        self.label_pad_token_id = label_pad_token_id
        self.prepare: Callable[..., Tensor] | None = getattr(
            model, "prepare_decoder_input_ids_from_labels", None
        )

    def __call__(self, features: Sequence[Row]) -> Batch:
        """Return each column as a tensor, with `labels` (B, target columns)."""
        rows = [dict(_renamed(row)) for row in features]
        labels = _take_labels(rows)
        batch = self.pad(rows)
        if labels:
            multiple = self.pad_to_multiple_of or 1
            columns = -(-max(map(len, labels)) // multiple) * multiple
            whole = torch.full((len(labels), columns), self.label_pad_token_id)
            for number, own in enumerate(labels):
                left = self.tokenizer.padding_side == "left"
                place = slice(columns - len(own), columns) if left else slice(len(own))
                whole[number, place] = torch.from_numpy(own)
            batch["labels"] = whole
            if self.prepare is not None:
                batch["decoder_input_ids"] = self.prepare(labels=whole)
        return batch


class DataCollatorForLanguageModeling:
    """Hides words and asks for them (`mlm=True`), or asks for each next word.

    In the trainer, what is hidden depends on the run's seed, the epoch and the row alone, so that
    a resumed run hides the same words. Called by hand, it draws from a generator of its own.
    """

    def __init__(
        self,
        tokenizer: "Tokenizer",
        mlm: bool = True,
        mlm_probability: float = 0.15,
        *,
        whole_word: bool = False,
        chinese_words: bool = False,
        pad_to_multiple_of: int | None = None,
        seed: int | None = None,
        return_tensors: str = "pt",
    ) -> None:
        """Take what to hide.

        Args:
            tokenizer: Pads, and has the mask token.
            mlm: Whether words are hidden; else `labels` are the ids themselves.
            mlm_probability: Share of the words that are chosen.
            whole_word: Whether all pieces of a word are chosen together.
            chinese_words: Whether this holds for Chinese words too (`abrazo[chinese]`).
            pad_to_multiple_of: Pad to a multiple of this.
            seed: Of the collator's own generator; None draws one.
            return_tensors: `pt`.

        Raises:
            ConfigError: There is no mask token, or a value is wrong.
            MissingExtraError: There is no segmenter for Chinese words.
        """
        self.tokenizer, self.mlm, self.mlm_probability = tokenizer, mlm, mlm_probability
        self.masker = (
            Masker(
                tokenizer,
                probability=mlm_probability,
                whole_words=whole_word,
                chinese_words=chinese_words,
            )
            if mlm
            else None
        )
        self._padding = DataCollatorForTokenClassification(
            tokenizer, pad_to_multiple_of=pad_to_multiple_of, return_tensors=return_tensors
        )
        self._generator = np.random.default_rng(seed)

    def __call__(self, features: Sequence[Row | Sequence[int] | Tensor]) -> Batch:
        """Return `input_ids`, `attention_mask`, `labels` and other columns of tokens, (B, S)."""
        return self._collate(features, [self._generator] * len(features))

    def collate_rows(
        self,
        features: Sequence[Row | Sequence[int] | Tensor],
        rows: Sequence[int],
        *,
        seed: int,
        epoch: int,
    ) -> Batch:
        """Collate rows of a data set; what is hidden depends on the arguments alone.

        Args:
            features: The rows.
            rows: Their numbers in the data set.
            seed: The run's seed.
            epoch: The epoch.
        """
        return self._collate(
            features, [generator_for(seed, epoch, int(row), PURPOSE) for row in rows]
        )

    def _collate(
        self,
        features: Sequence[Row | Sequence[int] | Tensor],
        generators: Sequence[np.random.Generator],
    ) -> Batch:
        pairs = zip(features, generators, strict=True)
        return self._padding([self._learned(row, generator) for row, generator in pairs])

    def _learned(
        self, row: Row | Sequence[int] | Tensor, generator: np.random.Generator
    ) -> dict[str, Any]:
        """Return a row with `labels`, its words hidden."""
        columns = dict(row) if isinstance(row, Mapping) else {"input_ids": row}
        if "input_ids" not in columns:
            raise DataError(f"A row must have `input_ids`, but has {', '.join(columns)}.")
        kept = ("token_type_ids", "attention_mask", "next_sentence_label")
        learned = {name: columns[name] for name in kept if name in columns}
        ids = token_values("input_ids", columns["input_ids"])
        labels: npt.NDArray[np.integer] = ids
        if self.masker is None:
            attended = columns.get("attention_mask")
            if attended is not None:
                labels = np.where(token_values("attention_mask", attended) != 0, ids, IGNORED)
        else:
            words = self.masker.words(ids)
            if "special_tokens_mask" in columns:
                special = token_values("special_tokens_mask", columns["special_tokens_mask"])
                words[special != 0] = NO_WORD
            ids, labels = self.masker.mask(ids, words, generator)  # type: ignore[assignment]
        return {"input_ids": ids, "labels": labels, **learned}


def require_torch(return_tensors: str) -> None:
    """Refuse other tensors than torch's."""
    if return_tensors != "pt":
        raise ConfigError(
            f"`return_tensors` of a collator must be 'pt', but is {return_tensors!r}."
        )


def token_values(name: str, values: Any) -> npt.NDArray[np.int64]:
    """Return a column of one row, (N,) or with a leading dimension of 1, as an array (N,).

    Raises:
        DataError: It is no list of whole numbers.
    """
    try:
        array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    except ValueError as error:
        raise DataError(f"`{name}` of a row must be a list of numbers: {error}.") from error
    if array.ndim == 2 and len(array) == 1:
        array = array[0]
    if array.ndim != 1 or (array.dtype.kind not in "iub" and array.size):
        raise DataError(
            f"`{name}` of a row must be a list of whole numbers, but has the shape {array.shape} "
            f"and the type {array.dtype}."
        )
    return array.astype(np.int64)


def _renamed(row: Row) -> Row:
    """Call the label `labels`, as models do."""
    known = {"label": "labels", "label_ids": "labels"}
    return {known.get(name, name): value for name, value in row.items()}


def _take_labels(rows: Sequence[dict[str, Any]]) -> list[npt.NDArray[np.int64]]:
    """Remove `labels` from all rows and return them; none if no row has any."""
    without = [number for number, row in enumerate(rows) if row.get("labels") is None]
    if 0 < len(without) < len(rows):
        raise DataError(f"Row {without[0]} has no `labels`, but others have.")
    given = [row.pop("labels", None) for row in rows]
    return [] if without else [token_values("labels", labels) for labels in given]


def _stacked(name: str, values: list[Any]) -> Tensor:
    try:
        if isinstance(values[0], Tensor):
            return torch.stack(values)
        array = np.asarray(values)
        return torch.from_numpy(array.astype(np.float32) if array.dtype.kind == "f" else array)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"The column `{name}` cannot become a tensor: {error}. Remove it from the rows."
        ) from error
