"""Randomness of what users bring, tied to what it is for and not to what was drawn before.

A data set or a collator that draws random numbers (masking, augmentation) draws the same ones for
the same rows of the same epoch, whatever was drawn before, in which process, and whether the run
was resumed. The generators that dropout draws from are not moved.
"""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch

from abrazo.data.sampling import generator_for


@contextlib.contextmanager
def own_randomness(seed: int, epoch: int, number: int, purpose: str) -> Iterator[None]:
    """Let `torch`, `numpy.random` and `random` draw from a stream of their own for a while.

    Args:
        seed: The run's seed.
        epoch: The epoch, from 0.
        number: The row, or whatever else the draws are for.
        purpose: What is drawn, so that two purposes never share numbers.
    """
    words = generator_for(seed, epoch, number, purpose).integers(0, 2**32, size=3)
    before = (torch.get_rng_state(), np.random.get_state(), random.getstate())
    torch.default_generator.manual_seed(int(words[0]))
    np.random.seed(int(words[1]))
    random.seed(int(words[2]))
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])
