"""oneDNN's matrix product with a bias and an activation, which has no public name in torch."""

from typing import Any

import torch


def _find_product() -> Any:
    """Return the product, or None in builds of torch without it."""
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def _find_dtypes() -> tuple[torch.dtype, ...]:
    """Return what is multiplied natively on this processor."""
    if product is None:
        return ()
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32, torch.bfloat16
    return (torch.float32,)


product = _find_product()
"""Takes (T, I) and a matrix (O, I) to (T, O)."""
DTYPES = _find_dtypes()
