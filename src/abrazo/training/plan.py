"""When things happen in a run, counted in steps of the optimizer."""

import dataclasses
import math
from typing import Self

from abrazo.training.arguments import Strategy, TrainingArguments
from abrazo.training.schedules import learning_rate_factor

_STEPS_BETWEEN_SAVES = 500
_LOG_ENTRIES = 100


@dataclasses.dataclass(frozen=True)
class Cadence:
    """How often something happens."""

    strategy: Strategy
    """Never, every so many steps, or at the end of each epoch."""
    every: int = 1
    """Steps in between."""

    def is_due(self, step: int, *, ends_epoch: bool, is_last: bool) -> bool:
        """Return whether it happens after a step; what happens at all does after the last one."""
        if self.strategy == "no":
            return False
        if is_last:
            return True
        return ends_epoch if self.strategy == "epoch" else step % self.every == 0


@dataclasses.dataclass(frozen=True)
class Plan:
    """The steps of a run."""

    num_rows: int
    """Rows of the training data."""
    rows_per_step: int
    """Rows that one step learns from; the last step of an epoch takes what is left."""
    total_steps: int
    """Steps from the start to the end."""
    warmup_steps: int
    """Steps over which the learning rate rises."""
    logging: Cadence
    evaluation: Cadence
    saving: Cadence

    @classmethod
    def of(cls, args: TrainingArguments, num_rows: int, *, has_eval_rows: bool) -> Self:
        """Work out the steps for some rows."""
        steps_per_epoch = math.ceil(num_rows / args.rows_per_step)
        total = args.max_steps
        if total < 0:
            total = max(1, math.ceil(args.num_train_epochs * steps_per_epoch))
        log_every = args.logging_steps or max(1, total // _LOG_ENTRIES)
        evaluation = args.cadence_of_evaluation(has_rows=has_eval_rows)
        return cls(
            num_rows=num_rows,
            rows_per_step=args.rows_per_step,
            total_steps=total,
            warmup_steps=args.warmup_steps or math.ceil(args.warmup_ratio * total),
            logging=Cadence("steps" if args.logging_strategy == "steps" else "epoch", log_every)
            if args.logging_strategy != "no"
            else Cadence("no"),
            evaluation=Cadence(evaluation, args.eval_steps or log_every),
            saving=Cadence(args.cadence_of_saving, args.save_steps or _STEPS_BETWEEN_SAVES),
        )

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which all rows are seen once."""
        return math.ceil(self.num_rows / self.rows_per_step)

    def learning_rate(self, args: TrainingArguments, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return args.learning_rate * learning_rate_factor(
            args.lr_scheduler_type,
            step,
            warmup_steps=self.warmup_steps,
            total_steps=self.total_steps,
        )
