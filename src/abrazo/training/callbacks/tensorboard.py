"""Writes figures for TensorBoard."""

from typing import TYPE_CHECKING

from abrazo.errors import MissingExtraError
from abrazo.training.callbacks.base import Callback

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from abrazo.training.state import LogEntry
    from abrazo.training.trainer import Trainer

_NOT_FIGURES = ("step", "epoch")


class TensorBoardCallback(Callback):
    """Writes each log entry; evaluation stands under `eval/`, training under `train/`."""

    def __init__(self) -> None:
        """Check that TensorBoard is installed.

        Raises:
            MissingExtraError: It is not.
        """
        try:
            import tensorboard  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("`report_to='tensorboard'`", "tensorboard") from error
        self._writer: SummaryWriter | None = None

    def on_train_start(self, trainer: "Trainer") -> None:
        """Open the files; steps after the checkpoint of a resumed run are dropped."""
        from torch.utils.tensorboard import SummaryWriter

        folder = trainer.args.logging_dir or trainer.args.folder / "tensorboard"
        self._writer = SummaryWriter(str(folder), purge_step=trainer.state.global_step + 1)

    def on_log(self, trainer: "Trainer", entry: "LogEntry") -> None:
        """Write the figures of an entry."""
        assert self._writer is not None
        for name, value in entry.items():
            if name not in _NOT_FIGURES and isinstance(value, int | float):
                group, short = (
                    ("eval", name.removeprefix("eval_"))
                    if name.startswith("eval_")
                    else ("train", name)
                )
                self._writer.add_scalar(f"{group}/{short}", value, entry["step"])
        self._writer.flush()

    def on_train_end(self, trainer: "Trainer") -> None:
        """Close the files."""
        self._close()

    def on_exception(self, trainer: "Trainer", error: BaseException) -> None:
        """Close the files."""
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
