"""One answer for each token: the tag of a word, a part of a name, whether it is the true one.

Shapes: T tokens of all rows, E hidden width, C labels.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from abrazo.heads.base import IGNORED_LABEL, Encoded, Head, Loss, cross_entropy
from abrazo.heads.outputs import TokenClassifierOutput
from abrazo.layers.dropout import Dropout
from abrazo.layers.feedforward import activation
from abrazo.layers.linear import Linear, rounded_up
from abrazo.layers.packing import PackedBatch


class TokenClassificationHead(Head):
    """Dropout and one product on each token, in some families after a transform."""

    per_token = True
    output = TokenClassifierOutput

    def __init__(
        self, width: int, num_labels: int, dropout: float, transform: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.transform = nn.Identity() if transform is None else transform
        self.dropout = Dropout(dropout)
        self.classifier = Linear(width, num_labels)

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return `logits` (T, C)."""
        hidden = self.dropout(self.transform(rounded_up(encoded.hidden)))
        return {"logits": self.classifier(hidden)[: len(encoded.hidden)]}

    def loss(self, outputs: dict[str, Any], batch: PackedBatch) -> Loss | None:
        """Return the cross-entropy over labelled tokens."""
        return None if batch.labels is None else cross_entropy(outputs["logits"], batch.labels)


class ReplacedTokenHead(Head):
    """Is the token the one the text had, or one that a generator put in its place?

    Source: Clark et al. 2020, ELECTRA, section 2, https://arxiv.org/abs/2003.10555.
    """

    per_token = True
    output = TokenClassifierOutput

    def __init__(self, width: int, activation_name: str) -> None:
        super().__init__()
        self.dense = Linear(width, width)
        self.activation = activation(activation_name)
        self.classifier = Linear(width, 1)

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return `logits` (T,), above 0 where a token looks replaced."""
        hidden = self.activation(self.dense(rounded_up(encoded.hidden)))
        return {"logits": self.classifier(hidden)[: len(encoded.hidden)].squeeze(-1)}

    def loss(self, outputs: dict[str, Any], batch: PackedBatch) -> Loss | None:
        """Return the binary cross-entropy over labelled tokens: 1 replaced, 0 not."""
        if batch.labels is None:
            return None
        kept = batch.labels != IGNORED_LABEL
        logits, targets = outputs["logits"][kept].float(), batch.labels[kept].float()
        total = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
        return Loss(total, kept.sum())
