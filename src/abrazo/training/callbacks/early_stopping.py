"""Ends a run when evaluation no longer gets better."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from abrazo.errors import ConfigError
from abrazo.training.callbacks.base import Callback

if TYPE_CHECKING:
    from abrazo.inference.evaluation import Evaluation
    from abrazo.training.trainer import Trainer


class EarlyStoppingCallback(Callback):
    """Stops after some evaluations in a row without a better figure of `metric_for_best_model`."""

    def __init__(
        self, early_stopping_patience: int = 1, early_stopping_threshold: float = 0.0
    ) -> None:
        """Set the limits.

        Args:
            early_stopping_patience: Evaluations in a row that may bring nothing.
            early_stopping_threshold: By how much a figure must be better to count.

        Raises:
            ConfigError: A value is out of range.
        """
        problems = []
        if isinstance(early_stopping_patience, bool) or not isinstance(
            early_stopping_patience, int
        ):
            problems.append(
                "`early_stopping_patience` must be a whole number, but is "
                f"{early_stopping_patience!r}."
            )
        elif early_stopping_patience < 1:
            problems.append(
                f"`early_stopping_patience` must be at least 1, but is {early_stopping_patience}."
            )
        if not early_stopping_threshold >= 0:
            problems.append(
                f"`early_stopping_threshold` must be at least 0, but is {early_stopping_threshold}."
            )
        if problems:
            raise ConfigError("\n".join(problems))
        self.patience = early_stopping_patience
        self.threshold = early_stopping_threshold
        self.best: float | None = None
        self.evaluations_without_gain = 0

    def check(self, trainer: "Trainer") -> list[str]:
        """Early stopping needs evaluation."""
        if trainer.plan.evaluation.strategy != "no":
            return []
        if trainer.eval_source is None:
            return ["Early stopping needs evaluation: give the Trainer an `eval_dataset`."]
        return ["Early stopping needs evaluation: set `eval_strategy` to 'epoch' or 'steps'."]

    def on_evaluate(self, trainer: "Trainer", evaluation: "Evaluation") -> None:
        """Count evaluations without a gain; stop when they are too many."""
        figure = trainer.watch.figure(evaluation)
        if self.best is None or trainer.watch.is_better(figure, self.best, by=self.threshold):
            self.best, self.evaluations_without_gain = figure, 0
            return
        self.evaluations_without_gain += 1
        if self.evaluations_without_gain >= self.patience:
            trainer.stop(
                f"`{trainer.watch.name}` was not better than {self.best:.4g} in "
                f"{self.patience} evaluation{'s' * (self.patience > 1)} in a row"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the best figure and the count."""
        return {"best": self.best, "evaluations_without_gain": self.evaluations_without_gain}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        self.best = state["best"]
        self.evaluations_without_gain = state["evaluations_without_gain"]
