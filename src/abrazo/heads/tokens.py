"""One answer for each token: the tag of a word, a part of a name.

Shapes: T tokens of all rows, E hidden width, C labels.
"""

from typing import Any

from torch import Tensor

from abrazo.heads.base import Encoded, Head, Loss, cross_entropy
from abrazo.heads.outputs import TokenClassifierOutput
from abrazo.layers.dropout import Dropout
from abrazo.layers.linear import Linear
from abrazo.layers.packing import PackedBatch


class TokenClassificationHead(Head):
    """Dropout and one product on each token."""

    per_token = True
    output = TokenClassifierOutput

    def __init__(self, width: int, num_labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.classifier = Linear(width, num_labels)

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return `logits` (T, C)."""
        return {"logits": self.classifier(self.dropout(encoded.hidden))}

    def loss(self, outputs: dict[str, Any], batch: PackedBatch) -> Loss | None:
        """Return the cross-entropy over labelled tokens."""
        return None if batch.labels is None else cross_entropy(outputs["logits"], batch.labels)
