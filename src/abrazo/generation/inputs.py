"""What `model.generate` is given: checked, and taken apart into rows.

Shapes: B rows, S padded columns.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from abrazo.errors import DataError
from abrazo.generation.decoding import decoder_start
from abrazo.generation.settling import Plan
from abrazo.heads.causal_lm import Seq2SeqLMHead
from abrazo.layers.packing import Padding
from abrazo.models.base import PretrainedModel

_HOW = 'as `tokenizer(texts, padding=True, return_tensors="pt")` makes them'


class GivenRows:
    """Padded rows of a caller."""

    def __init__(self, columns: np.ndarray, mask: np.ndarray) -> None:
        self.columns = columns
        """(B, S) as they were given."""
        self.rows: Sequence[np.ndarray] = [
            row[kept] for row, kept in zip(columns, mask, strict=True)
        ]
        """The tokens of each row."""
        self._mask = mask

    def without_ends(self, plan: Plan) -> "GivenRows":
        """Return the rows without the token that ends texts, which tokenizers of BERT put last."""
        places = np.arange(self._mask.shape[1])
        last = np.where(self._mask, places, -1).max(1, keepdims=True)
        is_end = (places == last) & np.isin(self.columns, plan.end_ids)
        mask = self._mask & ~(is_end & (self._mask.sum(1, keepdims=True) > 1))
        used = int((mask * (places + 1)).max())  # columns
        return GivenRows(np.where(mask, self.columns, plan.pad_id)[:, :used], mask[:, :used])


def given_rows(
    input_ids: Tensor | None,
    attention_mask: Tensor | None,
    token_type_ids: Tensor | None,
    plan: Plan,
    model: PretrainedModel,
) -> GivenRows:
    """Take the caller's rows apart.

    Raises:
        DataError: They are no ids, their shapes do not fit each other, or a row has no token or
            more than the encoder reads.
    """
    if token_type_ids is not None and ids_of(token_type_ids, "token_type_ids").any():
        raise DataError(
            "`token_type_ids` must be 0 everywhere: what is written to is one text a row, without "
            "a second one."
        )
    if input_ids is None:
        input_ids = _beginning(plan, model)
    ids = ids_of(input_ids, "input_ids")
    mask = _mask_of(ids, plan)
    if attention_mask is not None:
        if not isinstance(attention_mask, Tensor):
            raise DataError(
                f"`attention_mask` must be a tensor of 0 and 1, but is {attention_mask!r:.60}."
            )
        mask = torch.atleast_2d(attention_mask)
    padding = Padding(mask)
    padding.pack(ids)  # refuses shapes that differ
    given = GivenRows(ids.cpu().numpy(), padding.kept.cpu().numpy())
    if isinstance(model.head, Seq2SeqLMHead):
        _require_readable(given.rows, model.max_length)
    return given


def decoder_rows(decoder_input_ids: Tensor | None, plan: Plan, num_rows: int) -> GivenRows:
    """Return what the decoders go on from, with the token they start with.

    Raises:
        ConfigError: It is not known what the decoder starts with.
        DataError: They are no ids, or not as many rows as the encoder reads.
    """
    start = decoder_start(plan)
    if decoder_input_ids is None:
        ids = np.full((num_rows, 1), start, dtype=np.int64)
    else:
        ids = ids_of(decoder_input_ids, "decoder_input_ids").cpu().numpy()
        if len(ids) != num_rows:
            raise DataError(f"`decoder_input_ids` has {len(ids)} rows, `input_ids` {num_rows}.")
        if (ids[:, 0] != start).all():
            ids = np.concatenate([np.full((num_rows, 1), start, dtype=np.int64), ids], axis=1)
    return GivenRows(ids, np.ones(ids.shape, dtype=bool))


def ids_of(given: object, name: str) -> Tensor:
    """Return ids as (B, S).

    Raises:
        DataError: They are no tensor of whole numbers, or of another shape.
    """
    if isinstance(given, Mapping):
        raise DataError(
            f"`{name}` must be a tensor of ids, but is what a tokenizer returns. Pass all of it: "
            "`model.generate(**inputs)`."
        )
    if not isinstance(given, Tensor):
        raise DataError(f"`{name}` must be a tensor of ids, {_HOW}, but is {given!r:.60}.")
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise DataError(f"`{name}` must be a tensor of ids, {_HOW}, but its type is {given.dtype}.")
    if given.dim() not in (1, 2) or given.numel() == 0:
        shape = tuple(given.shape)
        raise DataError(f"`{name}` must have the shape (rows, columns), but has {shape}.")
    ids: Tensor = torch.atleast_2d(given).long()
    return ids


def _beginning(plan: Plan, model: PretrainedModel) -> Tensor:
    """Return the one token that a text without a prompt begins with."""
    name, start = type(model).__name__, plan.config.bos_token_id
    if isinstance(model.head, Seq2SeqLMHead):
        raise DataError(f"{name} needs `input_ids` for its encoder.")
    if start is None:
        raise DataError(f"{name} needs `input_ids`; there is no `bos_token_id` to start with.")
    return torch.tensor([[start]])


def _mask_of(ids: Tensor, plan: Plan) -> Tensor:
    """Tell tokens from padding, where the caller does not."""
    pad = plan.config.pad_token_id
    if pad is None or pad in plan.end_ids:
        return torch.ones_like(ids)
    is_padding: Tensor = ids == pad
    return torch.ones_like(ids) if is_padding.all(1).any() else (~is_padding).long()


def _require_readable(rows: Sequence[np.ndarray], most: int) -> None:
    """Refuse rows that an encoder cannot read."""
    for number, row in enumerate(rows):
        if len(row) > most:
            raise DataError(
                f"Row {number} has {len(row)} tokens, but the model reads at most {most}. Encode "
                f"with `truncation=True, max_length={most}`, or take a pipeline, which writes to "
                "long texts piece by piece."
            )
