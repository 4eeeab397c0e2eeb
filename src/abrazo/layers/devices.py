"""The devices of this machine, by the names people write."""

import torch

from abrazo.errors import ConfigError


def devices_here() -> list[str]:
    """Return the devices there are, the best first: `cuda:0`, ..., `mps`, `cpu`."""
    found = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def find_device(name: torch.device | str | None) -> torch.device:
    """Return the device of that name, or the best there is for None.

    Raises:
        ConfigError: The machine has no such device; those it has are listed.
    """
    here = devices_here()
    if name is None:
        return torch.device(here[0])
    text = str(name)
    wanted = "cuda:0" if text == "cuda" else text
    if wanted not in here:
        raise ConfigError(f"There is no device `{text}` on this machine, only {', '.join(here)}.")
    return torch.device(wanted)
