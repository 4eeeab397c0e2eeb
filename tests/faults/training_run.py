"""A run as a program, for tests that kill it: `python training_run.py FOLDER [MILLISECONDS]`.

The second argument slows each step down, so that signals find the run at work.
"""

import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from abrazo.training.callbacks.base import Callback
from abrazo.training.trainer import Trainer
from helpers.training import small_trainer


class Slow(Callback):
    """Sleeps in each step, and says which one it is."""

    def __init__(self, milliseconds: int) -> None:
        self.milliseconds = milliseconds

    def on_step_end(self, trainer: Trainer) -> None:
        """Sleep."""
        print(trainer.state.global_step, flush=True)
        time.sleep(self.milliseconds / 1000)


if __name__ == "__main__":
    torch.set_num_threads(1)
    slow = Slow(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    small_trainer(
        Path(sys.argv[1]),
        options={"callbacks": [slow]},
        num_train_epochs=6,
        save_steps=4,
        eval_steps=5,
    ).train()
