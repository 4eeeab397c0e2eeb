"""How much of the hardware a run uses: its arithmetic, against the fastest products measured here.

Shapes: L layers, E hidden width, V vocabulary.
"""

import time
from typing import TYPE_CHECKING

import torch
from torch import nn

from abrazo.layers.linear import Linear
from abrazo.models.base import PretrainedModel
from abrazo.training.callbacks.base import Callback

if TYPE_CHECKING:
    from abrazo.training.state import LogEntry
    from abrazo.training.trainer import Trainer

_SIZES = {"cpu": 1_024, "mps": 2_048, "cuda": 8_192}
_SECONDS = 0.5
_PER_WEIGHT = 6
"""Operations of a weight for each token: a product and a sum, forward once and backward twice."""


def measure_peak(device: torch.device, dtype: torch.dtype, seconds: float = _SECONDS) -> float:
    """Return how many operations a second square products reach on a device.

    Args:
        device: Where.
        dtype: What the matrices are of.
        seconds: How long to measure.
    """
    size = _SIZES.get(device.type, _SIZES["cpu"])
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):  # what dropout draws from must not move
        rows = torch.randn(size, size, device=device, dtype=dtype)
        product = Linear(size, size, bias=False, device=device, dtype=dtype)
    best, until = 0.0, time.perf_counter() + seconds
    with torch.no_grad():
        while time.perf_counter() < until:
            started = time.perf_counter()
            product(rows)
            _wait(device)
            best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def operations_per_token(model: PretrainedModel, row_length: float, share_scored: float) -> float:
    """Return the operations that training takes for each token.

    Args:
        model: An encoder.
        row_length: Mean tokens of a row; each token attends to all of its row.
        share_scored: Share of the tokens for which words are scored.
    """
    blocks = sum(weight.numel() for weight in model.blocks.parameters() if weight.dim() == 2)
    width = model.backbone.word_embeddings.embedding_dim
    attention = 2 * len(model.blocks) * width * row_length  # scores, and their sum of values
    head = 0.0
    if model.head is not None:
        weights = [m.weight.numel() for m in model.head.modules() if isinstance(m, nn.Linear)]
        head = share_scored * sum(weights)
    return float(_PER_WEIGHT * (blocks + attention + head))


class ShareOfPeakCallback(Callback):
    """Adds `share_of_peak` to the log: arithmetic of the run, as a share of what was measured."""

    def __init__(self, share_scored: float = 0.15) -> None:
        """Take the share of tokens for which words are scored."""
        self.share_scored = share_scored
        self.peak = 0.0
        """Operations a second of the fastest product."""

    def on_train_start(self, trainer: "Trainer") -> None:
        """Measure the peak."""
        self.peak = measure_peak(trainer.strategy.device, trainer.strategy.dtype)

    def on_log(self, trainer: "Trainer", entry: "LogEntry") -> None:
        """Add the share where the entry has a rate."""
        rate, state = entry.get("tokens_per_second"), trainer.state
        if rate is None or not state.num_rows_seen or not self.peak:
            return
        length = state.num_tokens_seen / state.num_rows_seen
        operations = operations_per_token(trainer.model, length, self.share_scored)
        entry["share_of_peak"] = round(rate * operations / self.peak, 4)
