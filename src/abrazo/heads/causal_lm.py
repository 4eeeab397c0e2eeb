"""Guessing the next word.

Shapes: T tokens of all rows, R rows, E hidden width, V vocabulary, N labelled tokens.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from abrazo.heads.base import IGNORED_LABEL, Encoded, Head, Loss, cross_entropy
from abrazo.heads.outputs import CausalLMOutput, ModelOutput, Seq2SeqLMOutput
from abrazo.layers.layout import Layout
from abrazo.layers.linear import Linear, rounded_up
from abrazo.layers.packing import PackedBatch


class CausalLMHead(Head):
    """A product with the (often tied) embedding matrix.

    The label of a token is the token itself; what it is to guess is the label of the next one of
    its row.
    """

    per_token = True
    output: ClassVar[type[ModelOutput]] = CausalLMOutput

    def __init__(
        self,
        width: int,
        vocab_size: int,
        *,
        bias: bool = False,
        scale: float = 1.0,
        softcap: float | None = None,
        transform: nn.Module | None = None,
    ) -> None:
        """Build new weights.

        Args:
            width: E.
            vocab_size: V.
            bias: Whether the product has a bias.
            scale: What the hidden states are multiplied with.
            softcap: What scores are bent to stay below; None leaves them.
            transform: What hidden states go through before, as in heads for masked words.
        """
        super().__init__()
        self.transform = transform
        self.decoder = Linear(width, vocab_size, bias=bias)
        self.scale = scale
        self.softcap = softcap

    def tie(self, word_embeddings: nn.Embedding) -> None:
        """Score with the embedding matrix."""
        self.decoder.weight = word_embeddings.weight

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return `logits`.

        They are (T, V), with two exceptions in packed calls, for which most of that would be
        computed in vain: (N, V) of the tokens that have something to guess, where there are labels,
        and (R, V) of the last tokens, where rows are gone on with word by word.
        """
        hidden, batch = encoded.hidden, encoded.batch
        targets = self.targets(batch)
        if batch.past is not None:
            hidden = hidden[_last_tokens(batch.layout)]
        elif encoded.is_packed_call and targets is not None:
            hidden = hidden[targets != IGNORED_LABEL]
        num_scored = len(hidden)
        if torch.is_grad_enabled():  # numbers of labelled tokens hardly ever come twice
            hidden = rounded_up(hidden)
        if self.transform is not None:
            hidden = self.transform(hidden)
        if self.scale != 1:
            hidden = hidden * self.scale
        logits = self.decoder(hidden)[:num_scored]
        if self.softcap is not None:
            logits = (logits / self.softcap).tanh() * self.softcap
        return {"logits": logits}

    def targets(self, batch: PackedBatch) -> Tensor | None:
        """Return what each token is to guess, (T,), None without labels."""
        return next_labels(batch)

    def loss(self, outputs: dict[str, Any], batch: PackedBatch) -> Loss | None:
        """Return the cross-entropy over the tokens that have something to guess."""
        logits, targets = outputs["logits"], self.targets(batch)
        if targets is None:
            return None
        if logits.shape[0] != targets.shape[0]:
            targets = targets[targets != IGNORED_LABEL]
        return cross_entropy(logits, targets)


class Seq2SeqLMHead(CausalLMHead):
    """The same on a decoder whose input is its labels, moved on by one: nothing is moved here."""

    output = Seq2SeqLMOutput

    def targets(self, batch: PackedBatch) -> Tensor | None:
        """Return what each token is to guess, (T,), which is its label."""
        return batch.labels


def next_labels(batch: PackedBatch) -> Tensor | None:
    """Return (T,) the label of the token that follows in its row, None without labels."""
    if batch.labels is None:
        return None
    return batch.labels.roll(-1).index_fill(0, _last_tokens(batch.layout), IGNORED_LABEL)


def _last_tokens(layout: Layout) -> Tensor:
    """Return (R,) packed position of each row's last token."""
    return torch.from_numpy(layout.offsets[1:] - 1).to(layout.device)
