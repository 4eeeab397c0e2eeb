"""Precisions and devices by the names people write."""

import pytest
import torch

from abrazo.errors import ConfigError
from abrazo.layers import precision as module
from abrazo.layers.devices import devices_here, find_device
from abrazo.layers.precision import autocast, bf16_units, precision_name, resolve_precision


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_names_mean_dtypes_and_back(name: str, dtype: torch.dtype) -> None:
    assert resolve_precision(name, "cpu") == dtype
    assert precision_name(dtype) == name


@pytest.mark.parametrize(("units", "dtype"), [("AMX", torch.bfloat16), ("", torch.float32)])
def test_auto_takes_bf16_where_there_are_units(
    units: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "bf16_units", lambda device: units)
    assert resolve_precision("auto", "cpu") == dtype


def test_units_are_asked_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert bf16_units("cpu") == ""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert bf16_units("cpu") == "AVX512_BF16"
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert bf16_units("cpu") == "AMX"
    assert bf16_units("meta") == ""


def test_fp16_on_a_cpu_is_refused_with_what_to_take() -> None:
    with pytest.raises(ConfigError, match="needs a GPU; on a CPU take 'bf16'"):
        resolve_precision("fp16", "cpu")


def test_unknown_precision_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"`precision` must be one of .*Did you mean `bf16`"):
        resolve_precision("bf61", "cpu")


def test_autocast_keeps_weights_and_does_nothing_for_fp32() -> None:
    product = torch.nn.Linear(2, 2)
    with autocast(torch.bfloat16, "cpu"):
        assert product(torch.ones(1, 2)).dtype == torch.bfloat16
    with autocast(torch.float32, "cpu"):
        assert product(torch.ones(1, 2)).dtype == torch.float32
    assert product.weight.dtype == torch.float32


def test_devices_end_with_the_cpu_and_none_takes_the_best() -> None:
    here = devices_here()
    assert here[-1] == "cpu"
    assert find_device(None) == torch.device(here[0])
    assert find_device("cpu") == find_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "", "cpu:7"])
def test_device_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(ConfigError, match=f"no device `{name}` on this machine, only .*cpu"):
        find_device(name)
