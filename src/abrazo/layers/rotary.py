"""Rotary angles, also for rows longer than those that a model was pretrained on.

A model's `rope_parameters`, formerly `rope_scaling`, name the way its waves are stretched. Two ways
depend on how long a row is: `dynamic` and `longrope`. Here that is the row's own length, so that a
row's answer does not depend on the rows around it, and keys that are kept stay as they were turned.

Sources: Su et al. 2021, RoFormer, section 3.2.2, https://arxiv.org/abs/2104.09864; Chen et al.
2023, https://arxiv.org/abs/2306.15595 (linear); Peng et al. 2023, YaRN, sections 3 and A.1,
https://arxiv.org/abs/2309.00071 (dynamic, yarn); Ding et al. 2024, LongRoPE,
https://arxiv.org/abs/2402.13753; Llama 3.1, released code (llama3).

Shapes: T tokens, R rows, D width that is turned.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from abrazo.errors import one_of
from abrazo.layers.layout import Layout
from abrazo.layers.positions import Rotation

_REQUIRED: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "longrope": ("short_factor", "long_factor"),
}
"""The ways to stretch waves, by their names in `config.json`, with the settings they need."""
_LOWEST = {
    "rope_theta": 1.0,
    "factor": 1.0,
    "original_max_position_embeddings": 1,
    "low_freq_factor": 0.0,
    "high_freq_factor": 0.0,
    "attention_factor": 0.0,
    "beta_fast": 0.0,
    "beta_slow": 0.0,
    "mscale": 0.0,
    "mscale_all_dim": 0.0,
    "partial_rotary_factor": 0.0,
}
"""The smallest value of settings that are numbers."""


def rope_settings(
    parameters: Mapping[str, Any] | None,
    scaling: Mapping[str, Any] | None = None,
    *,
    theta: float,
    num_positions: int,
) -> dict[str, Any]:
    """Return the rotary settings that a `config.json` means, each of them decided.

    Args:
        parameters: `rope_parameters`.
        scaling: `rope_scaling`, which files have that are older; it goes first.
        theta: Base of the wave lengths, where the settings do not say.
        num_positions: The most tokens of a row in pretraining, where the settings do not say.
    """
    given = dict(scaling or parameters or {})
    given["rope_type"] = given.get("rope_type", given.get("type", "default"))
    given.setdefault("rope_theta", theta)
    if given.get("original_max_position_embeddings") is None:
        given["original_max_position_embeddings"] = num_positions
    return given


def wrong_rope_settings(field: str, settings: Any, width: int) -> list[str]:
    """Return a line for each rotary setting that is missing, unknown or out of range.

    Args:
        field: What the settings are called, for messages.
        settings: The settings as they are given.
        width: D.
    """
    if not isinstance(settings, Mapping):
        return [f"`{field}` must map names to values, but is {settings!r:.80}."]
    kind = settings.get("rope_type", settings.get("type", "default"))
    if not isinstance(kind, str) or kind not in _REQUIRED:
        return [one_of(f"`{field}.rope_type`", kind, _REQUIRED)]
    problems = [
        f"`{field}` needs `{name}`, since its `rope_type` is {kind!r}."
        for name in _REQUIRED[kind]
        if settings.get(name) is None
    ]
    for name, lowest in _LOWEST.items():
        value = settings.get(name)
        if value is not None and not _is_number(value, lowest):
            problems.append(
                f"`{field}.{name}` must be a number of {lowest:g} or more, but is {value!r:.80}."
            )
    for name in ("short_factor", "long_factor"):
        value = settings.get(name)
        if value is not None and not _is_list(value, width // 2):
            problems.append(f"`{field}.{name}` must be {width // 2} numbers above 0.")
    if not problems and kind == "llama3":
        low, high = settings["low_freq_factor"], settings["high_freq_factor"]
        if not 0 < low < high:
            problems.append(
                f"`{field}` needs `low_freq_factor` above 0 and `high_freq_factor` above that, but "
                f"they are {low} and {high}."
            )
    return problems


def _is_number(value: Any, lowest: float) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and lowest <= value < math.inf


def _is_list(value: Any, length: int) -> bool:
    is_list = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == length
    return is_list and all(_is_number(each, 0.0) and each > 0 for each in value)


class Rotary:
    """From positions to angles, in one kind of block. It has no weights and is no module."""

    def __init__(self, width: int, settings: Mapping[str, Any], num_positions: int) -> None:
        """Settle the waves, which are computed when they are first read.

        Args:
            width: D, which must be even; elements beyond it are not turned.
            settings: As of `rope_settings`.
            num_positions: `max_position_embeddings` of the model.
        """
        self.width = width
        self.settings = settings
        self.num_positions = num_positions
        self._waves: dict[tuple[torch.device, bool], Tensor] = {}

    @property
    def kind(self) -> str:
        """The way the waves are stretched."""
        return str(self.settings["rope_type"])

    @property
    def theta(self) -> float:
        """Base of the wave lengths."""
        return float(self.settings["rope_theta"])

    @property
    def max_length(self) -> int:
        """The most tokens of a row that the waves are made for."""
        factor, original = self.settings.get("factor"), self.settings[_ORIGINAL]
        if self.kind in ("linear", "dynamic"):
            return int(self.num_positions * float(factor or 1))
        if self.kind == "yarn":
            return max(self.num_positions, int(original * float(factor or 1)))
        return self.num_positions

    @property
    def amplitude(self) -> float:
        """What cosines and sines are multiplied with, so that scores stay as sharp."""
        given = self.settings.get("attention_factor")
        if self.kind not in ("yarn", "longrope"):
            return 1.0
        if given is not None:
            return float(given)
        factor, original = self.settings.get("factor"), self.settings[_ORIGINAL]
        factor = self.num_positions / original if factor is None else float(factor)
        if self.kind == "longrope":
            return 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
        scale, of_all = self.settings.get("mscale"), self.settings.get("mscale_all_dim")
        if scale and of_all:
            return _sharpness(factor, scale) / _sharpness(factor, of_all)
        return _sharpness(factor, 1.0)

    def angles(self, positions: Tensor, layout: Layout, lengths: np.ndarray) -> Rotation:
        """Return the cosines and sines for each token, (T, 1, D / 2) each.

        Args:
            positions: (T,) position of each token in its row.
            layout: Which tokens belong to which row.
            lengths: (R,) tokens of each row, with those that it holds already.
        """
        waves = self._waves_on(positions.device, is_long=False)  # (D / 2,)
        if self.kind in _BY_LENGTH and lengths.max() > self._limit:
            of_tokens = np.repeat(lengths, layout.lengths)
            waves = self._waves_by_length(torch.from_numpy(of_tokens).to(positions.device))
        angles = positions[:, None].float() * waves  # (T, D / 2)
        angles = angles[:, None]
        cosines, sines = angles.cos(), angles.sin()
        if self.amplitude == 1:
            return cosines, sines
        return cosines * self.amplitude, sines * self.amplitude

    @property
    def _limit(self) -> int:
        """The length from which waves depend on how long a row is."""
        return int(self.settings[_ORIGINAL]) if self.kind == "longrope" else self.num_positions

    def _waves_on(self, device: torch.device, *, is_long: bool) -> Tensor:
        """Return (D / 2,) radians from one position to the next, kept for each device."""
        key = (device, is_long)
        if key not in self._waves:
            with torch.inference_mode(False):  # they may be part of a pass with gradients later
                waves = _WAVES[self.kind](self, is_long)
                self._waves[key] = waves.to(device)
        return self._waves[key]

    def _waves_by_length(self, lengths: Tensor) -> Tensor:
        """Return (T, D / 2) waves for tokens of rows of these (T,) lengths."""
        if self.kind == "longrope":
            short, long = (self._waves_on(lengths.device, is_long=each) for each in (False, True))
            return torch.where(lengths[:, None] > self._limit, long, short)
        factor, width = float(self.settings["factor"]), self.width
        stretched = (factor * lengths / self._limit - (factor - 1)).clamp(min=1)
        theta = self.theta * stretched ** (width / (width - 2))  # (T,)
        return (theta[:, None] ** _exponents(width).to(lengths.device)).reciprocal()


_ORIGINAL = "original_max_position_embeddings"
_BY_LENGTH = ("dynamic", "longrope")


def _exponents(width: int) -> Tensor:
    """Return (D / 2,) what the base is raised to in the wave lengths."""
    return torch.arange(0, width, 2, device="cpu").float() / width


def _plain(rotary: Rotary, is_long: bool) -> Tensor:
    return (rotary.theta ** _exponents(rotary.width)).reciprocal()


def _linear(rotary: Rotary, is_long: bool) -> Tensor:
    return _plain(rotary, is_long) / float(rotary.settings["factor"])


def _longrope(rotary: Rotary, is_long: bool) -> Tensor:
    factors = torch.tensor(rotary.settings["long_factor" if is_long else "short_factor"])
    return (factors.float() * rotary.theta ** _exponents(rotary.width)).reciprocal()


def _llama3(rotary: Rotary, is_long: bool) -> Tensor:
    settings, waves = rotary.settings, _plain(rotary, is_long)
    names = ("low_freq_factor", "high_freq_factor", "factor")
    low, high, factor = (float(settings[name]) for name in names)
    turns = float(settings[_ORIGINAL]) * waves / (2 * math.pi)  # in a row of pretraining
    share = ((turns - low) / (high - low)).clamp(0, 1)  # slow waves are stretched whole
    return (1 - share) * waves / factor + share * waves


def _yarn(rotary: Rotary, is_long: bool) -> Tensor:
    settings, waves, width = rotary.settings, _plain(rotary, is_long), rotary.width

    def pair_with(turns: float) -> float:
        """Return which pair of elements turns so often in a row of pretraining."""
        length = settings[_ORIGINAL] / (turns * 2 * math.pi)
        return width * math.log(length) / (2 * math.log(rotary.theta))

    first = pair_with(settings.get("beta_fast") or 32)
    last = pair_with(settings.get("beta_slow") or 1)
    if settings.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, width - 1)
    last += 0.001 if first == last else 0
    share = ((torch.arange(width // 2, device="cpu").float() - first) / (last - first)).clamp(0, 1)
    return waves / float(settings["factor"]) * share + waves * (1 - share)


def _sharpness(factor: float, scale: float) -> float:
    """Return by how much attention is sharpened when waves are stretched (YaRN, section 3.4)."""
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1


_WAVES = {
    "default": _plain,
    "linear": _linear,
    "dynamic": _plain,
    "yarn": _yarn,
    "llama3": _llama3,
    "longrope": _longrope,
}
