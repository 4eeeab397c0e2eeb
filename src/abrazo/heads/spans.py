"""Where an answer starts and where it ends: one score for each token, twice.

Shapes: T tokens of all rows, R rows, E hidden width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from abrazo.heads.base import IGNORED_LABEL, Encoded, Head, Loss
from abrazo.heads.outputs import QuestionAnsweringOutput
from abrazo.layers.dropout import Dropout
from abrazo.layers.layout import Layout
from abrazo.layers.linear import Linear, rounded_up
from abrazo.layers.packing import PackedBatch, Padding


class QuestionAnsweringHead(Head):
    """Start and end of the answer by one product on each token, in some families transformed.

    Source: Devlin et al. 2018, BERT, section 4.2.
    """

    per_token = True
    output = QuestionAnsweringOutput

    def __init__(
        self, width: int, dropout: float = 0.0, transform: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.transform = nn.Identity() if transform is None else transform
        self.dropout = Dropout(dropout)
        self.classifier = Linear(width, 2)

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return `start_logits` and `end_logits`, (T,) each."""
        hidden = self.dropout(self.transform(rounded_up(encoded.hidden)))
        start, end = self.classifier(hidden)[: len(encoded.hidden)].unbind(-1)
        return {"start_logits": start, "end_logits": end}

    def loss(self, outputs: dict[str, Any], batch: PackedBatch) -> Loss | None:
        """Return the mean of the two cross-entropies over the tokens of each row.

        `batch.labels` is (R, 2): the tokens, counted in their row, where the answer starts and
        ends; a row with `IGNORED_LABEL` does not count.
        """
        if batch.labels is None:
            return None
        kept = (batch.labels != IGNORED_LABEL).all(-1)  # (R,)
        total = outputs["start_logits"].new_zeros((), dtype=torch.float32)
        for name, targets in zip(
            ("start_logits", "end_logits"), batch.labels.unbind(-1), strict=True
        ):
            scores = log_softmax_by_row(outputs[name].float(), batch.layout)  # (T,)
            places = (batch.layout.first_tokens + targets)[kept]
            total = total - scores[places].sum() / 2
        return Loss(total, kept.sum())

    def pack_labels(self, labels: Tensor, padding: Padding) -> Tensor:
        """Turn (B, 2) padded columns into tokens counted in their row.

        A row whose start or end is outside it or at padding does not count.
        """
        return padding.count_tokens_before(labels, otherwise=IGNORED_LABEL)


def log_softmax_by_row(values: Tensor, layout: Layout) -> Tensor:
    """Take the log-softmax of (T,) values over the tokens of each row."""
    rows = layout.row_of_token
    highest = values.new_full((layout.num_rows,), -torch.inf)
    highest = highest.scatter_reduce(0, rows, values.detach(), "amax")  # (R,)
    shifted = values - highest[rows]
    sums = values.new_zeros(layout.num_rows).index_add(0, rows, shifted.exp())  # (R,)
    return shifted - sums.log()[rows]
