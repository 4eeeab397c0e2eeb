"""Shows how far a run is: a bar below evaluations on a terminal, a line per log entry elsewhere."""

import logging
import sys
from typing import TYPE_CHECKING

from abrazo.training.callbacks.base import Callback
from abrazo.training.evaluating import PREFIX

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from abrazo.training.state import LogEntry
    from abrazo.training.trainer import Trainer

logger = logging.getLogger("abrazo")

_NOT_SHOWN = ("step", "epoch")
_MOST_SHOWN = 6


class ProgressCallback(Callback):
    """A bar with steps, time left and the newest figures."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def on_train_start(self, trainer: "Trainer") -> None:
        """Open the bar, where there is a terminal."""
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeft

        self._bar = Progress(
            TextColumn("training"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeLeft(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
        )
        self._bar.start()
        state = trainer.state
        self._task = self._bar.add_task(
            "", total=trainer.plan.total_steps, completed=state.global_step
        )

    def on_step_end(self, trainer: "Trainer") -> None:
        """Move the bar."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=trainer.state.global_step)

    def on_log(self, trainer: "Trainer", entry: "LogEntry") -> None:
        """Show the loss beside the bar and evaluations above it; without a bar, log a line."""
        shown = [
            f"{name} {value:.4g}"
            for name, value in entry.items()
            if name not in _NOT_SHOWN and isinstance(value, int | float)
        ]
        line = (
            f"step {entry['step']} of {trainer.plan.total_steps}, epoch {entry['epoch']:.2f}: "
            + "  ".join(shown[:_MOST_SHOWN])
        )
        if self._bar is None or self._task is None:
            logger.info(line)
        elif any(name.startswith(PREFIX) for name in entry):
            self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            self._bar.update(self._task, description=shown[0])

    def on_train_end(self, trainer: "Trainer") -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, trainer: "Trainer", error: BaseException) -> None:
        """Close the bar, so that the error stands below it."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
