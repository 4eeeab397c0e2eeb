"""One vector for each text, and losses that draw texts of like meaning together.

A row of a data set has two or three texts, each encoded by itself. In a packed batch they stand
among the texts of other rows, in any order; the labels say where each belongs.

Shapes: T tokens of all texts, R texts, N rows of the data set, M texts of a row, E width of the
hidden vectors, D width of the embeddings, K numbers that a row is labelled with.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abrazo.errors import ConfigError, one_of
from abrazo.heads.base import Encoded, Head, Loss
from abrazo.heads.outputs import ModelOutput
from abrazo.layers.feedforward import activation
from abrazo.layers.packing import PackedBatch
from abrazo.layers.pooling import POOLINGS

LossName = Literal["cosent", "cosine_mse", "in_batch_negatives"]

TEMPERATURES: Mapping[LossName, float] = {
    "cosent": 0.2,
    "cosine_mse": 1.0,
    "in_batch_negatives": 0.05,
}
"""What cosines are divided by in each loss unless told otherwise.

CoSENT's is not the usual 0.05 (`scale=20` in sentence-transformers): with that, a batch learns from
its few worst pairs alone, and a run on STS-B ended below the untrained model (docs/results.md)."""

NUM_MARKS = 2
"""Columns of the labels before the numbers that the loss looks at: the row, the text in it."""


@dataclasses.dataclass(kw_only=True)
class EmbeddingOutput(ModelOutput):
    """One vector for each row."""

    loss: Tensor | None = None
    """Mean loss, when labels were given."""
    embeddings: Tensor
    """(rows, width) vectors, of length 1 where the model normalises."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProjectionPlan:
    """A product after pooling, into another width."""

    in_width: int
    """Width of what goes in."""
    out_width: int
    """Width of what comes out."""
    has_bias: bool = True
    """Whether a bias is added."""
    activation: str = "tanh"
    """What is applied after it, by its name in `abrazo.layers.feedforward`."""


class Projection(nn.Module):
    """A product and an activation, always in fp32, which costs little for one vector a text."""

    def __init__(self, plan: ProjectionPlan) -> None:
        super().__init__()
        self.linear = nn.Linear(plan.in_width, plan.out_width, bias=plan.has_bias)
        self.activation = activation(plan.activation)

    def forward(self, pooled: Tensor) -> Tensor:
        """Turn (R, in) into (R, out)."""
        bias = None if self.linear.bias is None else self.linear.bias.to(pooled.dtype)
        return self.activation(F.linear(pooled, self.linear.weight.to(pooled.dtype), bias))


class EmbeddingHead(Head):
    """Pools the tokens of each text, projects, and brings the vector to length 1."""

    per_token = False
    output = EmbeddingOutput

    def __init__(
        self,
        poolings: Sequence[str],
        projections: Sequence[ProjectionPlan] = (),
        *,
        normalize: bool = True,
    ) -> None:
        """Build.

        Args:
            poolings: Names in `POOLINGS`; several vectors are put side by side.
            projections: Products after pooling, in order.
            normalize: Whether vectors get length 1.

        Raises:
            ConfigError: There is no such pooling, or none is named.
        """
        super().__init__()
        if not poolings:
            raise ConfigError(f"`poolings` must name at least one of {', '.join(POOLINGS)}.")
        for name in poolings:
            if name not in POOLINGS:
                raise ConfigError(one_of("`pooling`", name, POOLINGS))
        self.poolings = tuple(poolings)
        self.projections = nn.ModuleList(Projection(plan) for plan in projections)
        self.normalize = normalize
        self.objective = PairObjective()

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return `embeddings` (R, D) in fp32."""
        with torch.autocast(encoded.hidden.device.type, enabled=False):
            layout = encoded.batch.layout
            parts = [POOLINGS[name](encoded.hidden, layout) for name in self.poolings]
            vectors = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
            for projection in self.projections:
                vectors = projection(vectors)
            return {"embeddings": F.normalize(vectors, dim=-1) if self.normalize else vectors}

    def loss(self, outputs: dict[str, Any], batch: PackedBatch) -> Loss | None:
        """Return the loss over the rows of which all texts are in the batch.

        `batch.labels` is (R, 2 + K): the number of the row in the batch, the place of the text in
        its row, and what the row is labelled with: one score, or for each of its texts a number
        that equal texts share.
        """
        if batch.labels is None:
            return None
        with torch.autocast(batch.labels.device.type, enabled=False):
            vectors, targets = whole_rows(outputs["embeddings"], batch.labels)
            # Vectors that are no numbers make a loss that is none, also where no row is whole.
            nothing = outputs["embeddings"].sum() * 0
            found = self.objective(vectors, targets)
            return Loss(nothing + found.total, found.count)


def whole_rows(vectors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Bring the texts of each row together, leaving out rows that lack a text.

    Args:
        vectors: (R, D) one for each text.
        labels: (R, 2 + K) as `EmbeddingHead.loss` takes them.

    Returns:
        (N, M, D) vectors, and (N, K) numbers of each row.
    """
    num_values = labels.shape[1] - NUM_MARKS
    num_texts = max(2, num_values)
    rows, texts = labels[:, :NUM_MARKS].long().unbind(-1)
    place = rows.new_full((int(rows.max()) + 1, num_texts), -1)  # (N, M)
    place[rows, texts] = torch.arange(len(rows), device=rows.device)
    place = place[(place >= 0).all(-1)]
    return vectors[place], labels[place[:, 0], NUM_MARKS:]


@dataclasses.dataclass(frozen=True)
class PairObjective:
    """Which loss is taken, and how."""

    name: LossName = "cosent"
    """One of `LOSSES`."""
    temperature: float | None = None
    """Cosines are divided by this before they are compared; None takes that of `TEMPERATURES`."""
    sizes: tuple[int, ...] = ()
    """Leading parts of the vectors that are to be good by themselves; empty for the whole alone.

    Source: Kusupati et al. 2022, Matryoshka Representation Learning, section 3."""

    def __call__(self, vectors: Tensor, targets: Tensor) -> Loss:
        """Return the loss of (N, M, D) vectors and (N, K) targets, its mean over all sizes."""
        sizes = self.sizes or (vectors.shape[-1],)
        temperature = self.temperature or TEMPERATURES[self.name]
        losses = [
            LOSSES[self.name](F.normalize(vectors[..., :size], dim=-1), targets, temperature)
            for size in sizes
        ]
        return Loss(torch.stack([loss.total for loss in losses]).mean(), losses[0].count)


def cosent(vectors: Tensor, targets: Tensor, temperature: float) -> Loss:
    """Return how far pairs of lower score lie above pairs of higher score.

    Only the order of the scores matters. Every two pairs of the batch are compared, so the loss of
    two half batches is not that of the whole; it counts as one target a row.

    Source: Huang et al. 2024, CoSENT: Consistent Sentence Embedding via Similarity Ranking, eq. 6.

    Args:
        vectors: (N, 2, D) of length 1.
        targets: (N, 1) scores.
        temperature: Divides cosines.
    """
    cosines = (vectors[:, 0] * vectors[:, 1]).sum(-1) / temperature  # (N,)
    above = cosines[None, :] - cosines[:, None]  # (N, N): how far column lies above row
    is_wrong_way = targets > targets.T  # the row has the higher score
    terms = torch.cat([above.new_zeros(1), above[is_wrong_way]])
    return Loss(terms.logsumexp(0) * len(vectors), len(vectors))


def cosine_mse(vectors: Tensor, targets: Tensor, _temperature: float) -> Loss:
    """Return the squared distance of each pair's cosine from its score, (N, 2, D) and (N, 1).

    Source: Reimers and Gurevych 2019, Sentence-BERT, section 3.
    """
    cosines = (vectors[:, 0] * vectors[:, 1]).sum(-1, keepdim=True)  # (N, 1)
    return Loss(((cosines - targets) ** 2).sum(), len(vectors))


def in_batch_negatives(vectors: Tensor, targets: Tensor, temperature: float) -> Loss:
    """Return the cross-entropy of finding each first text's second among all of the batch.

    Third texts are more wrong answers for every row. A candidate that is the same text as the
    right answer, or as the question, is not held against a row. The loss depends on the batch:
    more rows make it harder.

    Source: Henderson et al. 2017, Efficient Natural Language Response Suggestion, section 4.

    Args:
        vectors: (N, M, D) of length 1.
        targets: (N, M) numbers that equal texts share.
        temperature: Divides cosines.
    """
    num_rows = len(vectors)
    candidates = vectors[:, 1:].transpose(0, 1).flatten(0, 1)  # ((M - 1) N, D), own answer first
    texts = targets[:, 1:].T.flatten()  # ((M - 1) N,)
    scores = vectors[:, 0] @ candidates.T / temperature  # (N, (M - 1) N)
    is_same = (texts == targets[:, :1]) | (texts == targets[:, 1:2])
    right = torch.arange(num_rows, device=vectors.device)
    is_same[right, right] = False
    scores = scores.masked_fill(is_same, -torch.inf)
    return Loss(F.cross_entropy(scores, right, reduction="sum"), num_rows)


LOSSES: Mapping[str, Callable[[Tensor, Tensor, float], Loss]] = {
    "cosent": cosent,
    "cosine_mse": cosine_mse,
    "in_batch_negatives": in_batch_negatives,
}
"""From (N, M, D) vectors of length 1, (N, K) targets and a temperature to the loss."""
