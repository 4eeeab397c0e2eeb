"""What every head is: hidden states in, an output with logits and a loss that can be added up.

Shapes: T tokens of all rows, R rows, E hidden width.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from abrazo.errors import DataError
from abrazo.heads.cross_entropy import IGNORED_LABEL as IGNORED_LABEL
from abrazo.heads.cross_entropy import summed_cross_entropy
from abrazo.heads.outputs import ModelOutput
from abrazo.layers.packing import PackedBatch, Padding


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss as a sum over targets, so that parts of a batch add up exactly."""

    total: Tensor
    """Scalar sum of the losses of all targets."""
    count: int | Tensor
    """Number of targets in the sum."""
    parts: Mapping[str, "Loss"] = dataclasses.field(default_factory=dict)
    """The losses it is made of, where a log should tell them apart, by name."""

    @property
    def mean(self) -> Tensor:
        """The mean over targets; zero where there is none."""
        return self.total / max(self.count, 1)

    def detach(self) -> "Loss":
        """Return the same figures without what gradients need."""
        parts = {name: part.detach() for name, part in self.parts.items()}
        return Loss(self.total.detach(), self.count, parts)


@dataclasses.dataclass
class Encoded:
    """What a backbone makes of a batch."""

    hidden: Tensor
    """(T, E) vectors of the last block."""
    pooled: Tensor | None
    """(R, E) one vector a row, where the backbone has a pooler."""
    batch: PackedBatch
    """The batch itself."""
    is_packed_call: bool = True
    """Whether the caller handed over packed tokens, and so takes packed answers."""


class Head(nn.Module):
    """Base of all heads."""

    per_token: ClassVar[bool]
    """Whether there is an answer for each token (then padded calls get it padded) or each row."""
    row_outputs: ClassVar[tuple[str, ...]] = ()
    """Where `per_token` is set: the tensors that have a line for each row all the same."""
    output: ClassVar[type[ModelOutput]]
    needs_pooler: ClassVar[bool] = False
    """Whether the head reads the backbone's pooled vector."""

    def tie(self, word_embeddings: nn.Embedding) -> None:
        """Share the embedding matrix, in heads that score the whole vocabulary."""

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return the tensors of the output, by field name."""
        raise NotImplementedError

    def loss(self, outputs: dict[str, Any], batch: PackedBatch) -> Loss | None:
        """Return the loss against the labels in `batch`, or None where they are absent."""
        raise NotImplementedError

    def targets(self, batch: PackedBatch) -> Tensor | None:
        """Return what each line of a whole batch's logits is compared with, None without labels."""
        return batch.labels

    def answers_tokens(self, name: str) -> bool:
        """Tell whether the tensor of that name has a line for each token, not for each row."""
        return self.per_token and name not in self.row_outputs

    def pack_labels(self, labels: Tensor, padding: Padding) -> Tensor:
        """Turn the labels of a padded call into those of a packed batch.

        Raises:
            DataError: They are not as many as there are rows, or tokens.
        """
        if self.per_token:
            return pack_token_labels(labels, padding)
        if len(torch.atleast_1d(labels)) != padding.shape[0]:
            raise DataError(
                f"`labels` must have one for each of the {padding.shape[0]} rows, but have the "
                f"shape {tuple(labels.shape)}."
            )
        return labels


def pack_token_labels(labels: Tensor, padding: Padding) -> Tensor:
    """Turn (B, S) labels of tokens, padded, into (T,).

    Raises:
        DataError: They have another shape than the ids.
    """
    labels = torch.atleast_2d(labels)
    if labels.shape[:2] != padding.shape:
        raise DataError(
            "`labels` must have one for each token, -100 where nothing is to be learned, but have "
            f"the shape {tuple(labels.shape)} beside `input_ids` of the shape {padding.shape}."
        )
    return padding.pack(labels)


def cross_entropy(logits: Tensor, labels: Tensor) -> Loss:
    """Sum the cross-entropy of (targets, classes) logits, passing over ignored labels.

    Raises:
        DataError: A label is none of the classes; on GPUs torch stops by itself.
    """
    try:
        total = summed_cross_entropy(logits, labels.long())
    except IndexError as error:
        raise DataError(
            f"A label is out of range: there are {logits.shape[-1]} classes, numbered from 0. "
            f"({error})"
        ) from error
    return Loss(total, (labels != IGNORED_LABEL).sum())
