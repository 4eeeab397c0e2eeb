"""What numbers a computation uses: bf16 where the hardware multiplies it natively, else fp32.

Measured on two Zen 5 cores, which have AVX512_BF16 but no AMX: oneDNN multiplies bf16 matrices of
BERT's sizes at 660 to 760 GFLOP/s, fp32 ones at 400 to 430. So on CPUs "auto" takes bf16 wherever
there is a bf16 unit of either kind.
"""

import contextlib
from typing import Literal

import torch

from abrazo.errors import ConfigError, one_of

Precision = Literal["auto", "fp32", "bf16", "fp16"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def bf16_units(device: torch.device | str) -> str:
    """Return the name of the device's bf16 units, or an empty string where it has none."""
    kind = torch.device(device).type
    if kind == "cuda":
        return "tensor cores" if torch.cuda.is_bf16_supported(including_emulation=False) else ""
    if kind != "cpu":
        return ""
    if torch.cpu._is_amx_tile_supported():
        return "AMX"
    return "AVX512_BF16" if torch.cpu._is_avx512_bf16_supported() else ""


def resolve_precision(precision: str, device: torch.device | str) -> torch.dtype:
    """Return the dtype that `precision` means on a device.

    Raises:
        ConfigError: There is no such precision, or fp16 is asked for on a CPU.
    """
    if precision == "auto":
        return torch.bfloat16 if bf16_units(device) else torch.float32
    if precision not in _DTYPES:
        raise ConfigError(one_of("`precision`", precision, ("auto", *_DTYPES)))
    if precision == "fp16" and torch.device(device).type == "cpu":
        raise ConfigError("`precision` fp16 needs a GPU; on a CPU take 'bf16', 'fp32' or 'auto'.")
    return _DTYPES[precision]


def precision_name(dtype: torch.dtype) -> str:
    """Return the short name of a dtype, as reports show it."""
    return next(name for name, known in _DTYPES.items() if known == dtype)


def autocast(
    dtype: torch.dtype, device: torch.device | str
) -> contextlib.AbstractContextManager[None]:
    """Return a context in which products are computed in `dtype` while weights stay fp32."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=dtype)
