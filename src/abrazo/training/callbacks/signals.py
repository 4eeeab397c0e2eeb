"""Lets a run end in good order when told to: by Ctrl-C, or by SIGTERM as schedulers send it."""

import logging
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

from abrazo.training.callbacks.base import Callback

if TYPE_CHECKING:
    from abrazo.training.trainer import Trainer

logger = logging.getLogger("abrazo")

_WATCHED = (signal.SIGINT, signal.SIGTERM)


class SignalCallback(Callback):
    """Asks the trainer to stop after the running step; the second signal stops at once.

    Handlers can be set in the main thread only; elsewhere signals keep their usual effect.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._trainer: Trainer | None = None

    def on_train_start(self, trainer: "Trainer") -> None:
        """Set the handlers."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._trainer = trainer
        for number in _WATCHED:
            self._before[number] = signal.signal(number, self._handle)

    def on_train_end(self, trainer: "Trainer") -> None:
        """Put back the handlers that were there before."""
        self._restore()

    def on_exception(self, trainer: "Trainer", error: BaseException) -> None:
        """Put back the handlers that were there before."""
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        assert self._trainer is not None
        trainer, name = self._trainer, signal.Signals(number).name
        if trainer.interruption is not None:
            self._restore()
            raise KeyboardInterrupt(f"{name} came a second time; the run stops at once.")
        logger.warning(
            "%s: the run stops after this step and saves a checkpoint. Again to stop at once.", name
        )
        trainer.interrupt(signal.Signals(number))

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before, self._trainer = {}, None
