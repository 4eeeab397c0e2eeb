"""Where a run computes: everything that depends on the device and on other processes.

The trainer asks a strategy and never `torch.cuda` or `torch.distributed` itself.
"""

import contextlib
from collections.abc import Mapping

import torch
from torch import Tensor

from abrazo.errors import CheckpointError, ConfigError
from abrazo.layers.packing import PackedBatch
from abrazo.layers.precision import autocast, precision_name, resolve_precision
from abrazo.models.base import PretrainedModel


def choose_device(name: str | None) -> torch.device:
    """Return the device of a name, or the best there is.

    Raises:
        ConfigError: This machine has no such device; it says what is there.
    """
    there = available_devices()
    if name is None:
        return torch.device(there[0])
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"`device` {name!r} is no device. {_there(there)}") from error
    if device.type not in {known.partition(":")[0] for known in there}:
        raise ConfigError(f"`device` is {name!r}, but this machine has none. {_there(there)}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"`device` is {name!r}, but there is no such GPU. {_there(there)}")
    return device


def available_devices() -> list[str]:
    """Return the names of this machine's devices, the best one first."""
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*gpus, *mps, "cpu"]


def _there(names: list[str]) -> str:
    return f"There is {', '.join(repr(name) for name in names)}; leave it out to take the best."


class SingleDevice:
    """One process on one device."""

    def __init__(self, device: str | None, precision: str) -> None:
        """Settle on a device and a precision.

        Raises:
            ConfigError: The device is not there, or does not have the precision.
        """
        self.device = choose_device(device)
        self.dtype = resolve_precision(precision, self.device)

    @property
    def precision(self) -> str:
        """Short name of what products are computed in."""
        return precision_name(self.dtype)

    def describe(self) -> str:
        """Return device and precision in words, for reports."""
        name = str(self.device)
        if self.device.type == "cuda":
            name += f" ({torch.cuda.get_device_name(self.device)})"
        kept = "" if self.dtype == torch.float32 else " products, fp32 weights"
        return f"{name}, {self.precision}{kept}"

    def place(self, model: PretrainedModel) -> PretrainedModel:
        """Bring the model to the device."""
        return model.to(self.device)

    def place_batch(self, batch: PackedBatch) -> PackedBatch:
        """Bring a batch to the device."""
        return batch.to(self.device)

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Return the context in which losses are computed."""
        return autocast(self.dtype, self.device)

    def seed(self, seed: int) -> None:
        """Start the generators that dropout and new weights draw from."""
        torch.manual_seed(seed)

    def random_state(self) -> dict[str, Tensor]:
        """Return the state of the generators that dropout draws from."""
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        if self.device.type == "mps":
            state["mps"] = torch.mps.get_rng_state()
        return state

    def load_random_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on drawing where `random_state` was taken; another device starts its own.

        Raises:
            CheckpointError: The state is none of this version of torch.
        """
        try:
            torch.set_rng_state(state["cpu"].clone())
            if self.device.type == "cuda" and "cuda" in state:
                torch.cuda.set_rng_state(state["cuda"].clone(), self.device)
            if self.device.type == "mps" and "mps" in state:
                torch.mps.set_rng_state(state["mps"].clone())
        except (KeyError, RuntimeError, TypeError) as error:
            raise CheckpointError(
                f"The state of the random generators does not fit: {error}"
            ) from error
