"""What everything optional around the loop is made of.

A callback overrides the moments it cares for; `abrazo.training.trainer` shows where in the loop
each of them is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from abrazo.inference.evaluation import Evaluation
    from abrazo.training.state import LogEntry
    from abrazo.training.trainer import Trainer


class Callback:
    """Does nothing at any moment; subclasses override what they need.

    A callback may read all of the trainer and may end the run with `trainer.stop(reason)`.
    """

    def check(self, trainer: "Trainer") -> list[str]:
        """Return what is wrong with the set-up, in sentences; the run then does not start."""
        return []

    def on_train_start(self, trainer: "Trainer") -> None:
        """Act before the first step, also when a run goes on."""

    def on_epoch_start(self, trainer: "Trainer") -> None:
        """Act before an epoch's first step."""

    def on_step_end(self, trainer: "Trainer") -> None:
        """Act after the weights have moved."""

    def on_log(self, trainer: "Trainer", entry: "LogEntry") -> None:
        """Act on an entry of the log: `step`, `epoch` and figures."""

    def on_evaluate(self, trainer: "Trainer", evaluation: "Evaluation") -> None:
        """Act on an evaluation while training; `trainer.state` knows whether it is the best."""

    def on_save(self, trainer: "Trainer", folder: Path) -> None:
        """Act after a checkpoint is whole."""

    def on_epoch_end(self, trainer: "Trainer") -> None:
        """Act after all rows of an epoch were seen."""

    def on_train_end(self, trainer: "Trainer") -> None:
        """Act after the last checkpoint; the best weights are in the model if so wished."""

    def on_exception(self, trainer: "Trainer", error: BaseException) -> None:
        """Act when the run is broken off, by an error or by a signal."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know, as JSON can hold it."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take what `state_dict` gave when the checkpoint was written."""
