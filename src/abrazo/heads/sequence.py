"""One answer for a whole row: its class, its classes, or a number.

Shapes: R rows, E hidden width, C labels.
"""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from abrazo.errors import ConfigError
from abrazo.heads.base import Encoded, Head, Loss, cross_entropy
from abrazo.heads.outputs import NextSentencePredictorOutput, SequenceClassifierOutput
from abrazo.layers.dropout import Dropout
from abrazo.layers.feedforward import activation
from abrazo.layers.layout import Layout
from abrazo.layers.linear import Linear
from abrazo.layers.packing import PackedBatch

PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")
"""The kinds of answers, by their names in `config.json`."""


def sequence_loss(logits: Tensor, labels: Tensor, problem_type: str | None = None) -> Loss:
    """Sum the loss of (R, C) logits.

    Args:
        logits: (R, C) scores.
        labels: (R,) class numbers, (R, C) zeros and ones, or (R,) numbers.
        problem_type: One of `PROBLEM_TYPES`; None tells it from labels and logits.
    """
    if problem_type is None:
        if logits.shape[-1] == 1:
            problem_type = "regression"
        elif labels.dim() == 2 or labels.is_floating_point():
            problem_type = "multi_label_classification"
        else:
            problem_type = "single_label_classification"
    logits = logits.float()
    if problem_type == "regression":
        targets = labels.float().reshape(logits.shape)
        return Loss(F.mse_loss(logits, targets, reduction="sum"), labels.numel())
    if problem_type == "multi_label_classification":
        targets = labels.float()
        return Loss(
            F.binary_cross_entropy_with_logits(logits, targets, reduction="sum"), labels.numel()
        )
    if problem_type == "single_label_classification":
        return cross_entropy(logits, labels.reshape(-1))
    raise ConfigError(f"`problem_type` must be one of {PROBLEM_TYPES}, but is {problem_type!r}.")


class SequenceClassificationHead(Head):
    """Dropout and one product on the pooled vector."""

    per_token = False
    output = SequenceClassifierOutput
    needs_pooler = True

    def __init__(
        self, width: int, num_labels: int, dropout: float, problem_type: str | None = None
    ) -> None:
        super().__init__()
        self.problem_type = problem_type
        self.dropout = Dropout(dropout)
        self.classifier = Linear(width, num_labels)

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return `logits` (R, C)."""
        assert encoded.pooled is not None
        return {"logits": self.classifier(self.dropout(encoded.pooled))}

    def loss(self, outputs: dict[str, Any], batch: PackedBatch) -> Loss | None:
        """Return the loss of the labels' kind."""
        if batch.labels is None:
            return None
        return sequence_loss(outputs["logits"], batch.labels, self.problem_type)


class DenseClassificationHead(SequenceClassificationHead):
    """A classifier with a dense layer of its own, for backbones without a pooler.

    Source: Liu et al. 2019, RoBERTa, released code, https://arxiv.org/abs/1907.11692.
    """

    needs_pooler = False

    def __init__(
        self,
        width: int,
        num_labels: int,
        activation_name: str,
        *,
        input_dropout: float,
        dropout: float,
        problem_type: str | None = None,
    ) -> None:
        super().__init__(width, num_labels, dropout, problem_type)
        self.input_dropout = Dropout(input_dropout)
        self.dense = Linear(width, width)
        self.activation = activation(activation_name)

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return `logits` (R, C)."""
        first = encoded.hidden.index_select(0, encoded.batch.layout.first_tokens)  # (R, E)
        pooled = self.activation(self.dense(self.input_dropout(first)))
        return {"logits": self.classifier(self.dropout(pooled))}


class TransformedClassificationHead(SequenceClassificationHead):
    """A classifier on what a transform makes of one vector a row, as ModernBERT's.

    Source: Warner et al. 2024, ModernBERT, released code, https://arxiv.org/abs/2412.13663.
    """

    needs_pooler = False

    def __init__(
        self,
        width: int,
        num_labels: int,
        dropout: float,
        problem_type: str | None = None,
        *,
        pool: Callable[[Tensor, Layout], Tensor],
        transform: nn.Module,
    ) -> None:
        super().__init__(width, num_labels, dropout, problem_type)
        self.pool = pool
        self.transform = transform

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return `logits` (R, C)."""
        pooled = self.pool(encoded.hidden, encoded.batch.layout).to(encoded.hidden.dtype)  # (R, E)
        return {"logits": self.classifier(self.dropout(self.transform(pooled)))}


class LastTokenClassificationHead(SequenceClassificationHead):
    """One product on the vector of the last token, which in decoders has read all others.

    Source: Radford et al. 2018, Improving Language Understanding by Generative Pre-Training,
    section 3.2.
    """

    needs_pooler = False

    def __init__(self, width: int, num_labels: int, problem_type: str | None = None) -> None:
        super().__init__(width, num_labels, 0.0, problem_type)
        self.classifier = Linear(width, num_labels, bias=False)

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return `logits` (R, C)."""
        last = encoded.batch.layout.cumulative_lengths[1:] - 1
        return {"logits": self.classifier(encoded.hidden.index_select(0, last))}


class NextSentenceHead(Head):
    """Does the second text follow the first?

    Source: Devlin et al. 2018, BERT, section 3.1, task 2.
    """

    per_token = False
    output = NextSentencePredictorOutput
    needs_pooler = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.classifier = Linear(width, 2)

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return `logits` (R, 2)."""
        assert encoded.pooled is not None
        return {"logits": self.classifier(encoded.pooled)}

    def loss(self, outputs: dict[str, Any], batch: PackedBatch) -> Loss | None:
        """Return the cross-entropy of `next_sentence_label`, or of `labels` in its absence."""
        labels = batch.labels if batch.next_sentence_label is None else batch.next_sentence_label
        return None if labels is None else cross_entropy(outputs["logits"], labels)
