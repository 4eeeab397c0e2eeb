"""Where a run stands: all that goes on from one step to the next besides tensors."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Self

from abrazo.errors import CheckpointError
from abrazo.training.stepping import StepResult

LogEntry = dict[str, Any]


@dataclasses.dataclass
class TrainerState:
    """Plain values only; a checkpoint keeps them in `trainer_state.json`."""

    global_step: int = 0
    """Steps of the optimizer taken so far."""
    epoch: float = 0.0
    """Epochs done so far, as a fraction."""
    epoch_number: int = 0
    """The running epoch, from 0."""
    rows_in_epoch: int = 0
    """Rows of the running epoch that were learned from: the position in the data."""
    max_steps: int = 0
    """Steps of the whole run."""
    num_rows_seen: int = 0
    """Rows learned from, over all epochs."""
    num_tokens_seen: int = 0
    """Tokens learned from, over all epochs."""
    seconds: float = 0.0
    """Time spent in training, over all stretches of the run."""
    loss_sum: float = 0.0
    """Sum of the mean losses of all steps."""
    window_loss: float = 0.0
    """Sum of the mean losses of the steps since the last log entry."""
    window_steps: int = 0
    """Steps since the last log entry."""
    window_parts: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    """Where several tasks are learned: of each, the sum and the number of the losses of its
    targets since the last log entry."""
    log_history: list[LogEntry] = dataclasses.field(default_factory=list)
    """All log entries."""
    best_metric: float | None = None
    """The best figure of `metric_for_best_model` so far."""
    best_step: int | None = None
    """The step that gave it."""
    best_metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    """All figures of that evaluation."""
    awaits_evaluation: bool = False
    """Whether the run was stopped before the evaluation that was due."""
    stop_reason: str = ""
    """Why the run ends before its last step, if it does."""
    is_finished: bool = False
    """Whether there is nothing left to train."""
    skipped_steps: int = 0
    """Steps passed over because fp16 overflowed."""

    @property
    def train_loss(self) -> float:
        """Mean of the losses of all steps, also those before the run was resumed."""
        return self.loss_sum / self.global_step if self.global_step else 0.0

    def count_step(self, result: StepResult, rows: int, rows_of_epoch: int) -> None:
        """Count a step of the optimizer.

        Args:
            result: What the step came to.
            rows: Rows it has learned from.
            rows_of_epoch: Rows of a whole epoch.
        """
        self.global_step += 1
        self.rows_in_epoch += rows
        self.epoch = self.epoch_number + self.rows_in_epoch / rows_of_epoch
        self.num_rows_seen += rows
        self.num_tokens_seen += result.num_tokens
        self.skipped_steps += result.was_passed
        self.loss_sum += result.loss
        self.window_loss += result.loss
        self.window_steps += 1
        for name, (total, count) in result.parts.items():
            known = self.window_parts.get(name, [0.0, 0.0])
            self.window_parts[name] = [known[0] + total, known[1] + count]

    def take_window(self) -> dict[str, float]:
        """Return the mean losses since the last log entry, and begin anew."""
        losses = {"loss": self.window_loss / max(1, self.window_steps)}
        for name, (total, count) in self.window_parts.items():
            losses[f"loss_{name}"] = total / max(1, count)
        self.window_loss, self.window_steps, self.window_parts = 0.0, 0, {}
        return losses

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON can hold them; figures that are no number become null."""
        plain: dict[str, Any] = _finite(dataclasses.asdict(self))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave.

        Raises:
            CheckpointError: A field is missing, unknown or of another type.
        """
        state = cls()
        expected = state.to_dict()
        wrong = [
            name
            for name in sorted(set(values) | set(expected))
            if name not in values
            or name not in expected
            or not isinstance(values[name], _accepted(expected[name]))
        ]
        if wrong:
            raise CheckpointError(
                f"The state of the run is not one of this version of abrazo: {', '.join(wrong)}."
            )
        for name, value in values.items():
            setattr(state, name, value)
        return state


def _accepted(example: object) -> tuple[type, ...]:
    if example is None:
        return (int, float, type(None))
    return (int, float) if isinstance(example, float) else (type(example),)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
