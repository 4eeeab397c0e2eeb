"""How the learning rate changes over a run: pure functions of the step, so nothing to save."""

import math
from collections.abc import Callable

Shape = Callable[[float, int, int], float]
"""From the share of the way after the warm-up, the step and the warm-up's steps to a factor."""

POLYNOMIAL_POWER = 2.0
POLYNOMIAL_END = 1e-7
"""Where the polynomial ends, as a share of the highest learning rate."""


def _linear(share: float, _step: int, _warmup: int) -> float:
    return 1.0 - share


def _cosine(share: float, _step: int, _warmup: int) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * share))


def _constant(_share: float, _step: int, _warmup: int) -> float:
    return 1.0


def _polynomial(share: float, _step: int, _warmup: int) -> float:
    left: float = (1.0 - share) ** POLYNOMIAL_POWER
    return (1.0 - POLYNOMIAL_END) * left + POLYNOMIAL_END


def _inverse_sqrt(_share: float, step: int, warmup: int) -> float:
    scale = warmup or 10_000
    return 1.0 / math.sqrt((step - warmup + scale) / scale)


SHAPES: dict[str, Shape] = {
    "linear": _linear,
    "cosine": _cosine,
    "constant": _constant,
    "constant_with_warmup": _constant,
    "polynomial": _polynomial,
    "inverse_sqrt": _inverse_sqrt,
}
"""The schedules by the names users write."""


def learning_rate_factor(name: str, step: int, *, warmup_steps: int, total_steps: int) -> float:
    """Return the share of the highest learning rate that a step takes.

    Args:
        name: One of `SHAPES`. `constant` has no warm-up, all others have.
        step: The step, counted from 0.
        warmup_steps: Steps over which the rate rises from 0.
        total_steps: All steps of the run.
    """
    if step < warmup_steps and name != "constant":
        return step / warmup_steps
    left = max(1, total_steps - warmup_steps)
    share = min(1.0, max(0, step - warmup_steps) / left)
    return SHAPES[name](share, step, warmup_steps)
