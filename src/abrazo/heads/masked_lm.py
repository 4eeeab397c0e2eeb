"""Guessing masked words, alone or together with the next sentence.

Shapes: T tokens of all rows, E hidden width, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from abrazo.heads.base import IGNORED_LABEL, Encoded, Head, Loss, cross_entropy
from abrazo.heads.outputs import MaskedLMOutput, PreTrainingOutput
from abrazo.heads.sequence import NextSentenceHead
from abrazo.layers.feedforward import Transform
from abrazo.layers.linear import Linear
from abrazo.layers.packing import PackedBatch


class MaskedLMHead(Head):
    """A transform, then the (usually tied) embedding matrix.

    Source: Devlin et al. 2018, BERT, section 3.1, task 1.
    """

    per_token = True
    output = MaskedLMOutput

    def __init__(self, transform: Transform, vocab_size: int, *, bias: bool = True) -> None:
        super().__init__()
        self.transform = transform
        self.decoder = Linear(transform.dense.out_features, vocab_size, bias=bias)

    def tie(self, word_embeddings: nn.Embedding) -> None:
        """Score with the embedding matrix."""
        self.decoder.weight = word_embeddings.weight

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return `logits` (T, V).

        A packed call with labels gets the labelled tokens only: the others, usually 85% of them,
        would be multiplied with the whole vocabulary for nothing.
        """
        hidden, labels = encoded.hidden, encoded.batch.labels
        if encoded.is_packed_call and labels is not None:
            hidden = hidden[labels != IGNORED_LABEL]
        return {"logits": self.decoder(self.transform(hidden))}

    def loss(self, outputs: dict[str, Any], batch: PackedBatch) -> Loss | None:
        """Return the cross-entropy over labelled tokens."""
        if batch.labels is None:
            return None
        return masked_loss(outputs["logits"], batch.labels)


def masked_loss(logits: Tensor, labels: Tensor) -> Loss:
    """Sum the cross-entropy of logits for all (T, V) tokens, or for the labelled ones alone."""
    if logits.shape[0] != labels.shape[0]:
        labels = labels[labels != IGNORED_LABEL]
    return cross_entropy(logits, labels)


class PreTrainingHead(Head):
    """Masked words and next sentence, learned together."""

    per_token = True
    row_outputs = ("seq_relationship_logits",)
    output = PreTrainingOutput
    needs_pooler = True

    def __init__(self, masked_lm: MaskedLMHead, next_sentence: NextSentenceHead) -> None:
        super().__init__()
        self.masked_lm = masked_lm
        self.next_sentence = next_sentence

    def tie(self, word_embeddings: nn.Embedding) -> None:
        """Score words with the embedding matrix."""
        self.masked_lm.tie(word_embeddings)

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return `prediction_logits` (T, V) and `seq_relationship_logits` (R, 2)."""
        return {
            "prediction_logits": self.masked_lm(encoded)["logits"],
            "seq_relationship_logits": self.next_sentence(encoded)["logits"],
        }

    def loss(self, outputs: dict[str, Any], batch: PackedBatch) -> Loss | None:
        """Return the sum of the two mean losses, with the rows as targets.

        The two losses have different numbers of targets. Words are brought to the number of rows
        by `batch.targets_per_row`, so that batches of one step add up to the two means exactly.
        """
        if batch.labels is None or batch.next_sentence_label is None:
            return None
        words = masked_loss(outputs["prediction_logits"], batch.labels)
        sentences = cross_entropy(outputs["seq_relationship_logits"], batch.next_sentence_label)
        rows = batch.layout.num_rows
        if batch.targets_per_row is None:
            return Loss(words.mean * rows + sentences.total, rows)
        return Loss(words.total / max(batch.targets_per_row, 1 / rows) + sentences.total, rows)


def weigh_targets(batches: Sequence[PackedBatch]) -> None:
    """Tell batches with two kinds of targets how many words there are to a row in the step."""
    pairs = [batch for batch in batches if batch.next_sentence_label is not None]
    labels = [batch.labels for batch in pairs if batch.labels is not None]
    if len(labels) < len(batches):
        return
    words = sum(int((of_tokens != IGNORED_LABEL).sum()) for of_tokens in labels)
    rows = sum(batch.layout.num_rows for batch in pairs)
    for batch in pairs:
        batch.targets_per_row = words / rows
