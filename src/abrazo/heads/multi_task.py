"""Several heads on one backbone, each with rows of its own in a batch.

A batch joins the rows of all tasks (`join_parts`): the backbone reads them in one pass, and each
head sees its own stretch of tokens.

Shapes: T tokens of all rows, R rows.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from abrazo.errors import DataError
from abrazo.heads.base import IGNORED_LABEL, Encoded, Head, Loss
from abrazo.heads.masked_lm import weigh_targets
from abrazo.heads.outputs import ModelOutput
from abrazo.layers.packing import PackedBatch, Padding


@dataclasses.dataclass(kw_only=True)
class MultiTaskOutput(ModelOutput):
    """What each head says, by the name of its task."""

    loss: Tensor | None = None
    """The loss of a batch that joins rows of several tasks."""
    tasks: Mapping[str, ModelOutput]
    """The output of each task's head."""
    hidden_states: tuple[Tensor, ...] | None = None
    """As of any model, when asked for."""
    attentions: tuple[Tensor, ...] | None = None
    """As of any model, when asked for."""


class MultiHead(Head):
    """Heads by the names of their tasks."""

    per_token = False

    def __init__(self, heads: Mapping[str, Head]) -> None:
        """Put heads side by side.

        Args:
            heads: The head of each task.
        """
        super().__init__()
        self.names = tuple(heads)
        self.heads = nn.ModuleList(heads.values())
        self.weights = dict.fromkeys(self.names, 1.0)
        """What the loss of each task is multiplied with."""

    def of(self, name: str) -> Head:
        """Return the head of a task."""
        head = self.heads[self.names.index(name)]
        assert isinstance(head, Head)
        return head

    def tie(self, word_embeddings: nn.Embedding) -> None:
        """Share the embedding matrix with heads that score words."""
        for name in self.names:
            self.of(name).tie(word_embeddings)

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return what each head says, as `task.tensor`: of its part of a batch, or else of all."""
        parts = dict.fromkeys(self.names, encoded)
        if encoded.batch.parts:
            parts = _cut(encoded)
        return {
            f"{name}.{field}": tensor
            for name, part in parts.items()
            for field, tensor in self.of(name)(part).items()
        }

    def loss(self, outputs: dict[str, Any], batch: PackedBatch) -> Loss | None:
        """Return the sum of each task's mean loss times its rows, with the rows as targets.

        So a row weighs as much as any other, whether it has one target or one for each token, and
        only `weights` make tasks unlike. The mean is that over all batches of the step, by
        `targets_per_row`, so that batches add up exactly.
        """
        found: dict[str, Loss] = {}
        total: Tensor | None = None
        rows = 0
        for name, part in batch.parts.items():
            loss = self.of(name).loss(_of_task(outputs, name), part)
            if loss is None:
                return None
            found[name] = loss
            rows += part.layout.num_rows
            share = loss.total * (self.weights[name] / _targets_per_row(part, loss))
            total = share if total is None else total + share
        return None if total is None else Loss(total, rows, found)

    def answers_tokens(self, name: str) -> bool:
        """Tell whether the tensor of that name has a line for each token, not for each row."""
        task, _, field = name.rpartition(".")
        return self.of(task).answers_tokens(field)

    def pack_labels(self, labels: Tensor, padding: Padding) -> NoReturn:
        """Refuse: labels alone do not say whose they are."""
        raise DataError(
            "A model of several tasks takes no `labels`; call one of its tasks: "
            f"`model.part({self.names[0]!r})`."
        )

    def output(  # type: ignore[override]
        self,
        *,
        loss: Tensor | None,
        hidden_states: tuple[Tensor, ...] | None = None,
        attentions: tuple[Tensor, ...] | None = None,
        **answers: Tensor,
    ) -> MultiTaskOutput:
        """Return the outputs of the heads that have said something."""
        tasks = {name: _of_task(answers, name) for name in self.names}
        return MultiTaskOutput(
            loss=loss,
            tasks={name: self.of(name).output(**said) for name, said in tasks.items() if said},
            hidden_states=hidden_states,
            attentions=attentions,
        )


def weigh_parts(batches: Sequence[PackedBatch]) -> None:
    """Tell the parts of a step's batches how many targets of their task there are to a row.

    Args:
        batches: All batches of a step; those without parts are left alone.
    """
    of_task: dict[str, list[PackedBatch]] = {}
    for batch in batches:
        for name, part in batch.parts.items():
            of_task.setdefault(name, []).append(part)
    for parts in of_task.values():
        weigh_targets(parts)
        if any(part.next_sentence_label is not None or part.labels is None for part in parts):
            continue  # such heads count rows themselves
        rows = sum(part.layout.num_rows for part in parts)
        targets = sum(_num_targets(part.labels) for part in parts if part.labels is not None)
        for part in parts:
            part.targets_per_row = targets / rows


def _num_targets(labels: Tensor) -> int:
    """Count targets as the losses of heads do.

    Args:
        labels: Numbers or marks, each a target; classes, of which ignored ones are none; or
            (R, 2) places, one target a row unless one of them is ignored.
    """
    if labels.is_floating_point():
        return labels.numel()
    is_target = labels != IGNORED_LABEL
    return int((is_target.all(-1) if labels.dim() == 2 else is_target).sum())


def _targets_per_row(part: PackedBatch, loss: Loss) -> float | Tensor:
    """Return by what a task's sum of losses is divided to be one of rows."""
    rows = part.layout.num_rows
    if part.next_sentence_label is not None:
        return 1.0  # the head has brought them together already
    if part.targets_per_row is not None:
        return max(part.targets_per_row, 1 / rows)
    return torch.as_tensor(loss.count).clamp(min=1) / rows


def _of_task(tensors: Mapping[str, Tensor], task: str) -> dict[str, Tensor]:
    """Return the tensors of one task by their plain names."""
    start = f"{task}."
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }


def _cut(encoded: Encoded) -> dict[str, Encoded]:
    """Cut what the backbone made of a joined batch into its parts."""
    parts, token, row = {}, 0, 0
    for name, part in encoded.batch.parts.items():
        tokens = slice(token, token + part.layout.num_tokens)
        rows = slice(row, row + part.layout.num_rows)
        pooled = None if encoded.pooled is None else encoded.pooled[rows]
        parts[name] = Encoded(encoded.hidden[tokens], pooled, part, encoded.is_packed_call)
        token, row = tokens.stop, rows.stop
    return parts
