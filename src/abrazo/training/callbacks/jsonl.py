"""Writes the log as JSON lines, one an entry, so that a run can be followed from outside."""

import json
from typing import TYPE_CHECKING

from abrazo.checkpoints.atomic import atomic_file
from abrazo.training.callbacks.base import Callback

if TYPE_CHECKING:
    from abrazo.training.state import LogEntry
    from abrazo.training.trainer import Trainer

LOG_FILE = "log.jsonl"


class JsonlCallback(Callback):
    """Keeps `log.jsonl` in the run's folder; a resumed run goes on with it, without doubles."""

    def on_train_start(self, trainer: "Trainer") -> None:
        """Write what was logged up to here: lines after the checkpoint are logged again."""
        lines = [_line(entry) for entry in trainer.state.log_history]
        with atomic_file(trainer.args.folder / LOG_FILE) as place:
            place.write_text("".join(lines), encoding="utf-8")

    def on_log(self, trainer: "Trainer", entry: "LogEntry") -> None:
        """Add a line and close the file, so that it is there whatever happens next."""
        with (trainer.args.folder / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(_line(entry))


def _line(entry: "LogEntry") -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"
