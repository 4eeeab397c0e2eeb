"""Which weights several modules share, as an embedding and an output do that are tied."""

from collections import Counter

from torch import Tensor, nn


def count_owners(module: nn.Module) -> Counter[Tensor]:
    """Return for each weight how many modules, of this one and all within, hold it themselves."""
    return Counter(weight for part in module.modules() for weight in part.parameters(recurse=False))
