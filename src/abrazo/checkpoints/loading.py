"""Weights from a folder into a model, every tensor accounted for.

A tensor of the model that the files lack, one of another shape, or a tensor of the files that no
one knows: all of them end in one error. Two things are no error but told: a head (or pooler) that
the files lack as a whole starts new, and the weights of another head are left alone.
"""

import dataclasses
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from abrazo.checkpoints.keymap import KeyMap, Row
from abrazo.errors import CheckpointError

logger = logging.getLogger("abrazo")


class Weights(Protocol):
    """Named tensors of a model folder, read one by one."""

    @property
    def path(self) -> Path:
        """The folder or file, for messages."""
        ...

    def names(self) -> Collection[str]:
        """Return the names of all tensors."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor without reading it."""
        ...

    def dtype(self, name: str) -> torch.dtype:
        """Return the type of a tensor's elements without reading it."""
        ...

    def copy_to(self, name: str, destination: Tensor) -> None:
        """Copy a tensor into another of the same shape, converting where dtypes differ."""
        ...


@dataclasses.dataclass(frozen=True)
class Expectations:
    """What a model's family knows about the files it is loaded from."""

    prefix: str
    """What stands before the backbone's names in files of a model with a head, as `bert.`."""
    optional: tuple[str, ...]
    """Parts of the model, by our names, that may be absent as a whole and then start new."""
    elsewhere: tuple[str, ...]
    """Prefixes of tensors that belong to other heads or are no weights, and may be left alone."""
    aliases: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Other names, without the prefix, of tensors that files may have under one of them alone."""


@dataclasses.dataclass(frozen=True)
class Match:
    """Which tensors of the files go where, settled before the model takes any memory."""

    weights: Weights
    """The tensors of a model folder."""
    sources: Mapping[str, Sequence[str]]
    """The files' names for each tensor of ours that they fill; several are joined, and without any
    the tensor is zero."""
    key_map: KeyMap
    """The names of either side, and what form files have."""
    new_parts: list[str]
    """The parts that the files lack and that the caller has to start, such as `head`."""

    @torch.no_grad()
    def fill(self, model: nn.Module) -> None:
        """Copy the tensors into a model like the one that was matched.

        Raises:
            CheckpointError: A tensor holds something that is no number; all are listed.
        """
        broken = []
        for ours, tensor in model.named_parameters():
            names = self.sources.get(ours)
            if names is not None and not names:
                tensor.zero_()
            elif names:
                self._copy(ours, names, tensor)
                if not _is_finite(tensor):
                    broken.append(f"NaN or infinite    {ours}")
        if broken:
            listing = "\n".join(f"  {line}" for line in _shorten(broken))
            raise CheckpointError(
                f"The checkpoint in `{self.weights.path}` cannot be used, it has weights that are "
                f"no numbers. Take an earlier one.\n{listing}"
            )

    def _copy(self, ours: str, names: Sequence[str], tensor: Tensor) -> None:
        """Copy tensors of the files into one of ours, in its form."""
        row, _ = self.key_map.row_for(ours)
        if row.form is None:
            for part, name in zip(row.split(tensor), names, strict=True):
                self.weights.copy_to(name, part)
            return
        theirs = torch.empty_like(row.form.to_theirs(tensor).contiguous())
        self.weights.copy_to(names[0], theirs)
        tensor.copy_(row.form.to_ours(theirs))


def load_weights(
    model: nn.Module, weights: Weights, key_map: KeyMap, expectations: Expectations
) -> None:
    """Copy every weight into a model.

    Raises:
        CheckpointError: Something is missing, unknown or of another shape; all of it is listed.
    """
    match_weights(model, weights, key_map, expectations).fill(model)


def match_weights(
    model: nn.Module,
    weights: Weights,
    key_map: KeyMap,
    expectations: Expectations,
    *,
    start_new: Collection[str] = (),
) -> Match:
    """Find for every weight of a model its tensors in the files, of which nothing is read.

    Args:
        model: The model; it may be on the meta device, without memory.
        weights: The tensors of a model folder.
        key_map: The names of either side.
        expectations: What may be absent and what may be left alone.
        start_new: Parts to start new although the files may have them.

    Raises:
        CheckpointError: Something is missing, unknown or of another shape; all of it is listed.
    """
    found = {_plain(name, expectations.prefix): name for name in weights.names()}
    for name, others in expectations.aliases.items():
        there = [found[other] for other in others if other in found]
        if there and name not in found:
            found[name] = there[0]
    wanted = {
        ours: [found.get(_plain(name, expectations.prefix)) for name in key_map.names_for(ours)]
        for ours, _ in model.named_parameters()
    }
    new_parts = [
        part
        for part in expectations.optional
        if (inside := [ours for ours in wanted if _is_inside(ours, part, key_map)])
        and (part in start_new or all(name is None for ours in inside for name in wanted[ours]))
    ]
    problems: list[str] = []
    used: set[str] = set()
    sources: dict[str, list[str]] = {}
    for ours, tensor in model.named_parameters():
        names = wanted[ours]
        row, _ = key_map.row_for(ours)
        used.update(name for name in names if name is not None)
        if ours.startswith(tuple(part + "." for part in new_parts)):
            continue
        if not row.zero_if_absent or any(names):
            problems += _problems(ours, tensor, row, names, weights)
        sources[ours] = [name for name in names if name is not None]
    left = sorted(set(weights.names()) - used)
    unknown = [name for name in left if not _is_elsewhere(name, expectations)]
    problems += [f"unexpected     {name}" for name in unknown]
    if problems:
        listing = "\n".join(f"  {line}" for line in _shorten(problems))
        raise CheckpointError(
            f"The checkpoint in `{weights.path}` does not fit {type(model).__name__}:\n{listing}"
        )
    unused = [name for name in left if not name.endswith("position_ids")]  # a count, no weight
    if unused:
        logger.info("%s: %d tensors of other heads are not used.", weights.path, len(unused))
    return Match(weights, sources, key_map, new_parts)


def _is_inside(ours: str, part: str, key_map: KeyMap) -> bool:
    """Tell whether a tensor is one that a part cannot be without."""
    return ours.startswith(part + ".") and not key_map.row_for(ours)[0].zero_if_absent


def _is_finite(tensor: Tensor) -> bool:
    """Tell whether all elements are numbers; a sum shows it, unless it is too large itself."""
    if bool(tensor.sum(dtype=torch.float32).isfinite()):
        return True
    return bool(tensor.isfinite().all())


def _plain(name: str, prefix: str) -> str:
    """Return a tensor's name without the family's prefix and in today's spelling."""
    name = name.removeprefix(prefix)
    if name.endswith("LayerNorm.gamma"):
        return name.removesuffix("gamma") + "weight"
    if name.endswith("LayerNorm.beta"):
        return name.removesuffix("beta") + "bias"
    return name


def _is_elsewhere(name: str, expectations: Expectations) -> bool:
    return name.removeprefix(expectations.prefix).startswith(expectations.elsewhere)


def _problems(
    ours: str, tensor: Tensor, row: Row, names: Sequence[str | None], weights: Weights
) -> list[str]:
    if None in names:
        return [f"missing        {ours}"]
    problems = []
    for name, part in zip(names, row.split(tensor), strict=True):
        assert name is not None
        expected = tuple(part.shape)
        if (shape := weights.shape(name)) != expected:
            problems.append(f"wrong shape    {ours}   file {shape}   model {expected}")
        elif not (dtype := weights.dtype(name)).is_floating_point:
            problems.append(f"wrong type     {ours}   file {dtype}, which holds no weights")
    return problems


def _shorten(lines: Iterable[str], most: int = 40) -> list[str]:
    listed = list(lines)
    more = [f"... and {len(listed) - most} more"] if len(listed) > most else []
    return listed[:most] + more
