"""Keeps small gradients of fp16 from becoming zero, by a factor that finds its own size.

Source: Micikevicius et al. 2017, Mixed precision training, section 3.2.
"""

import dataclasses
import math

_GROW_AFTER = 2000


@dataclasses.dataclass
class LossScale:
    """A factor on the loss: halved when gradients overflow, doubled after a while without."""

    factor: float = 1.0
    """What the loss is multiplied with."""
    is_dynamic: bool = False
    """Whether the factor changes; only fp16 needs one."""
    good_steps: int = 0
    """Steps without an overflow since the factor last changed."""

    @classmethod
    def for_precision(cls, precision: str) -> "LossScale":
        """Return a scale for a precision; for all but fp16 it is 1 for good."""
        return cls(2.0**16, True) if precision == "fp16" else cls()

    def overflowed(self, gradient_norm: float) -> bool:
        """Adapt to a step's gradients; return whether they overflowed, so the step must be passed.

        At a factor of 1 nothing is left to halve: then the gradients themselves are not finite.
        """
        if not self.is_dynamic:
            return False
        if not math.isfinite(gradient_norm) and self.factor > 1:
            self.factor, self.good_steps = self.factor / 2, 0
            return True
        self.good_steps += 1
        if self.good_steps >= _GROW_AFTER:
            self.factor, self.good_steps = self.factor * 2, 0
        return False
