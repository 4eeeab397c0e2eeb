"""One step of the optimizer: the losses of its batches, their gradients, and the weights moved.

Gradients are those of the sum of all losses; they are divided by the number of targets once, on
the way into the weights. So 1 batch of 16 rows and 4 of 4 make the same step.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from abrazo.errors import TrainingError
from abrazo.heads.base import Loss
from abrazo.layers.layout import Layout
from abrazo.layers.packing import PackedBatch, join_parts
from abrazo.models.base import PretrainedModel
from abrazo.training.arguments import TrainingArguments
from abrazo.training.loss_scale import LossScale
from abrazo.training.objectives import Objective
from abrazo.training.optim import AdamW
from abrazo.training.strategies import SingleDevice

_MOST_NAMED = 8
_CLIP_GUARD = 1e-6
_SCALE = "loss_scale"


@dataclasses.dataclass(frozen=True)
class StepResult:
    """What a step came to."""

    loss: float
    """Mean loss over the targets of all batches."""
    gradient_norm: float
    """Length of the mean gradient before it was shortened."""
    num_tokens: int
    """Tokens of all batches."""
    was_passed: bool
    """Whether fp16 overflowed, so that the weights were left as they are."""
    parts: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    """Where several tasks are learned: of each, the sum of the losses of its targets and their
    number."""


class Stepper:
    """Owns the model, what is minimised and the optimizer."""

    def __init__(
        self,
        model: PretrainedModel,
        objective: Objective,
        args: TrainingArguments,
        strategy: SingleDevice,
    ) -> None:
        """Make the optimizer for a model that is on its device."""
        self.model, self.objective, self.strategy = model, objective, strategy
        self.max_norm = args.max_grad_norm
        self.scale = LossScale.for_precision(strategy.precision)
        self.optimizer = AdamW(
            model,
            learning_rate=args.learning_rate,
            weight_decay=args.weight_decay,
            betas=(args.adam_beta1, args.adam_beta2),
            eps=args.adam_epsilon,
            layer_decay=args.layerwise_lr_decay,
        )

    def step(
        self,
        batches: Sequence[PackedBatch],
        learning_rate: float,
        origin: Callable[[int], str],
    ) -> StepResult:
        """Learn from some batches.

        Args:
            batches: The rows of the step.
            learning_rate: The rate of this step.
            origin: From a row's number to its name, for messages.

        Raises:
            TrainingError: The loss or the gradient is not a number; the rows are named, and the
                weights are as they were before.
        """
        self.model.train()
        self.optimizer.zero_grad()
        losses = [self._backward(batch) for batch in batches]
        totals, counts = torch.stack([_figures(loss) for loss in losses]).cpu().unbind(1)
        total, count = float(totals.sum()), float(counts.sum())
        if not math.isfinite(total):
            bad = [b for b, value in zip(batches, totals, strict=True) if not value.isfinite()]
            raise TrainingError(self._blame("The loss", total, bad, origin))
        result = StepResult(
            total / max(count, 1), 0.0, _num_tokens(batches), was_passed=True, parts=_parts(losses)
        )
        if count == 0:
            return result
        norm = self.optimizer.gradient_norm() / (count * self.scale.factor)
        divisor = count * self.scale.factor
        result = dataclasses.replace(result, gradient_norm=norm)
        if self.scale.overflowed(norm):
            return result
        if not math.isfinite(norm):
            raise TrainingError(self._blame("The gradient", norm, batches, origin))
        clip = min(1.0, self.max_norm / (norm + _CLIP_GUARD)) if self.max_norm else 1.0
        self.optimizer.step(learning_rate, scale=clip / divisor)
        return dataclasses.replace(result, was_passed=False)

    def _backward(self, batch: PackedBatch) -> Loss:
        """Add a batch's gradients; return its loss, without them."""
        placed = self.strategy.place_batch(batch)
        with self.strategy.autocast():
            loss = self.objective(self.model, placed)
        (loss.total * self.scale.factor).backward()
        return loss.detach()

    def _blame(
        self,
        what: str,
        value: float,
        batches: Sequence[PackedBatch],
        origin: Callable[[int], str],
    ) -> str:
        """Name the rows that make a loss which is no number, or else all that it can have been."""
        rows = [row for batch in batches for row in batch.rows]
        guilty = sorted({row for batch in batches for row in self._guilty_rows(batch)})
        named = [origin(row) for row in (guilty or rows)[:_MOST_NAMED]]
        more = len(guilty or rows) - len(named)
        listed = ", ".join(named) + (f" and {more} more" if more else "")
        if guilty:
            cause = f"It comes from {listed}. Look at the text and the label there"
        else:
            cause = f"It came up in the step with {listed}, but no row alone makes it"
        return (
            f"{what} is {value}, so training cannot go on. {cause}; if they are right, lower "
            "`learning_rate`, keep `max_grad_norm` at 1.0, or set `precision='fp32'`. The weights "
            "of the last checkpoint are good."
        )

    def _guilty_rows(self, batch: PackedBatch) -> list[int]:
        """Try each row by itself, without dropout."""
        self.model.eval()
        guilty = []
        for number, single in _single_rows(batch):
            with torch.no_grad(), self.strategy.autocast():
                loss = self.objective(self.model, self.strategy.place_batch(single))
            if not math.isfinite(float(loss.total)):
                guilty.append(number)
        return guilty

    def state_tensors(self) -> dict[str, Tensor]:
        """Return all that the next step depends on, besides the weights."""
        state = self.optimizer.state_tensors()
        if self.scale.is_dynamic:
            factor, good = self.scale.factor, float(self.scale.good_steps)
            state[_SCALE] = torch.tensor([factor, good], dtype=torch.float64)
        return state

    def load_state_tensors(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state_tensors` was taken.

        Raises:
            CheckpointError: The state is that of another model.
        """
        left = dict(state)
        scale = left.pop(_SCALE, None)
        if scale is not None and self.scale.is_dynamic:
            self.scale.factor, self.scale.good_steps = float(scale[0]), int(scale[1])
        self.optimizer.load_state_tensors(left)


def _figures(loss: Loss) -> Tensor:
    """Return the sum of a loss and its number of targets (2,) in fp64."""
    total = loss.total.detach().double()
    return torch.stack([total, torch.as_tensor(loss.count, device=total.device).double()])


def _parts(losses: Sequence[Loss]) -> dict[str, tuple[float, float]]:
    """Return sum and number of targets of each part of some losses, by name."""
    found: dict[str, list[Tensor]] = {}
    for loss in losses:
        for name, part in loss.parts.items():
            found.setdefault(name, []).append(_figures(part))
    sums = {name: torch.stack(figures).sum(0).cpu() for name, figures in found.items()}
    return {name: (float(total), float(count)) for name, (total, count) in sums.items()}


def _num_tokens(batches: Sequence[PackedBatch]) -> int:
    return sum(batch.layout.num_tokens for batch in batches)


def _single_rows(batch: PackedBatch) -> Iterator[tuple[int, PackedBatch]]:
    """Yield each row of a batch as a batch of its own, with its number."""
    if batch.parts:
        for name, part in batch.parts.items():
            for number, single in _single_rows(part):
                yield number, join_parts({name: single})
        return
    offsets = batch.layout.offsets.tolist()
    sizes = {batch.layout.num_tokens: "token", batch.layout.num_rows: "row"}  # rows go first
    for place, (start, end) in enumerate(itertools.pairwise(offsets)):
        parts: dict[str, Any] = {}
        for field in dataclasses.fields(batch):
            value = getattr(batch, field.name)
            if isinstance(value, Tensor):
                is_row = sizes.get(len(value)) == "row"
                parts[field.name] = value[place : place + 1] if is_row else value[start:end]
        number = batch.rows[place] if batch.rows else place
        layout = Layout([end - start])
        yield number, dataclasses.replace(batch, layout=layout, rows=(number,), **parts)
