"""The files of LoRA adapters: which matrices they can hold, under which names, and what is in them.

The format is that of `peft`, https://github.com/huggingface/peft. Its files have query, key and
value apart, which are one matrix here.
"""

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from abrazo.checkpoints.jsonfile import read_json_object
from abrazo.checkpoints.keymap import Form
from abrazo.checkpoints.safetensors import open_tensors
from abrazo.errors import CheckpointError
from abrazo.heads.causal_lm import CausalLMHead
from abrazo.layers.linear import Linear
from abrazo.models.base import PretrainedModel

logger = logging.getLogger("abrazo")

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
_SIDES = {"lora_A": 0, "lora_B": 1}
_REQUIRED: Mapping[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "use_dora": (False, None),
    "lora_bias": (False, None),
    "layer_replication": (None,),
    "target_parameters": (None, []),
}
"""Settings of `peft` that change what is computed, and the values that are understood."""
_MOST_LISTED = 20


@dataclasses.dataclass(frozen=True)
class Place:
    """A matrix that can be corrected."""

    layer: str
    """Our name of the layer."""
    part: int
    """Which of the layer's joined matrices it is."""
    outside: str
    """Its name in files, without `.weight`."""
    height: int
    """How high it is."""
    form: Form | None
    """How files hold it in another form."""

    def outputs(self, up: Tensor, *, to_theirs: bool) -> Tensor:
        """Bring the rows of U into the order of files, or back; `peft` does not transpose it."""
        if self.form is None or self.form.is_transposed:
            return up
        return self.form.to_theirs(up) if to_theirs else self.form.to_ours(up)


def places_of(model: PretrainedModel) -> list[Place]:
    """Return all matrices of the blocks that can be corrected."""
    key_map = model.key_map()
    places = []
    for prefix, stack in model.backbone.stacks.items():
        for inner, module in stack.blocks.named_modules():
            if not isinstance(module, Linear):
                continue
            name = f"backbone.{prefix}blocks.{inner}"
            row, outside = key_map.row_for(f"{name}.weight")
            heights = row.heights(module.out_features)
            for part, (each, height) in enumerate(zip(outside, heights, strict=True)):
                stem = each.removesuffix(".weight")
                places.append(Place(name, part, stem, height, row.form))
    return places


def heights_of(model: PretrainedModel, name: str) -> list[int]:
    """Return how high each of the matrices is that a layer joins."""
    row, _ = model.key_map().row_for(f"{name}.weight")
    return row.heights(linear_at(model, name).out_features)


def trained_in_head(model: PretrainedModel) -> dict[str, Tensor]:
    """Return the head's weights that train beside adapters, by their names in the head.

    What it shares with the backbone stays as it is, and so does the matrix that scores what word
    follows: that is a large part of a pretrained model.
    """
    if model.head is None:
        return {}
    fixed = {id(weight) for weight in model.backbone.parameters()}
    if isinstance(model.head, CausalLMHead):
        fixed.add(id(model.head.decoder.weight))
    return {name: w for name, w in model.head.named_parameters() if id(w) not in fixed}


def head_weights(model: PretrainedModel) -> dict[str, Tensor]:
    """Return those weights by their names in files; none of heads that have no files."""
    if model.head_name not in model.family.heads:
        return {}
    key_map = model.key_map()
    return {
        key_map.names_for(f"head.{name}")[0]: weight
        for name, weight in trained_in_head(model).items()
    }


def linear_at(model: PretrainedModel, name: str) -> Linear:
    """Return a layer by its name."""
    layer = model.get_submodule(name)
    assert isinstance(layer, Linear)
    return layer


@dataclasses.dataclass(frozen=True)
class AdapterSettings:
    """What is read of an `adapter_config.json`."""

    alpha: float
    dropout: float
    is_rank_stabilised: bool
    alphas: Mapping[str, float]

    def scale(self, outside: Sequence[str], rank: int) -> float:
        """Return what the corrections of a layer are multiplied with."""
        alpha = next(
            (
                alpha
                for key, alpha in self.alphas.items()
                for name in outside
                if f".{name}".endswith(f".{key}")
            ),
            self.alpha,
        )
        return alpha / (math.sqrt(rank) if self.is_rank_stabilised else rank)


def read_settings(path: Path) -> AdapterSettings:
    """Read and check an `adapter_config.json`.

    Raises:
        CheckpointError: It is damaged, or asks for a kind of adapter that is not known here.
    """
    fields = read_json_object(path)
    problems = [
        f"`{name}` is {fields[name]!r:.80}, but only {allowed[0]!r} is known"
        for name, allowed in _REQUIRED.items()
        if name in fields and fields[name] not in allowed
    ]
    alpha, dropout = fields.get("lora_alpha", 8), fields.get("lora_dropout", 0.0)
    if not _is_number(alpha) or alpha <= 0:
        problems.append(f"`lora_alpha` must be above 0, but is {alpha!r:.80}")
    if not _is_number(dropout) or not 0 <= dropout < 1:
        problems.append(f"`lora_dropout` must be from 0 to below 1, but is {dropout!r:.80}")
    alphas = fields.get("alpha_pattern") or {}
    if not isinstance(alphas, dict) or not all(_is_number(value) for value in alphas.values()):
        problems.append(f"`alpha_pattern` must map names to numbers, but is {alphas!r:.80}")
    elif any(not key.replace(".", "").replace("_", "").isalnum() for key in alphas):
        problems.append("`alpha_pattern` has patterns; only whole names or their ends are known")
    if problems:
        listing = "\n".join(f"  {line}" for line in problems)
        raise CheckpointError(f"`{path}` cannot be used:\n{listing}")
    return AdapterSettings(float(alpha), float(dropout), bool(fields.get("use_rslora")), alphas)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6


@dataclasses.dataclass
class AdapterTensors:
    """Tensors of a file, sorted by where they go."""

    layers: dict[str, dict[int, tuple[Tensor, Tensor]]]
    outside: dict[str, list[str]]
    head: dict[str, Tensor]


def read_tensors(model: PretrainedModel, path: Path) -> AdapterTensors:
    """Read a file and check every tensor against the model.

    Raises:
        CheckpointError: A tensor is unknown, missing or of a wrong shape; all are listed.
    """
    file = open_tensors(path)
    prefix = model.family.prefix
    places = {place.outside.removeprefix(prefix): place for place in places_of(model)}
    head = head_weights(model)
    read = AdapterTensors({}, {}, {})
    pairs: dict[str, dict[int, Tensor]] = {}
    problems: list[str] = []
    for full in file.names:
        name = full.removeprefix(PREFIX)
        stem, _, side = name.removesuffix(".weight").rpartition(".")
        if not file.info(full).dtype.is_floating_point:
            problems.append(f"wrong type     {full}")
        elif side in _SIDES and stem.removeprefix(prefix) in places:
            pairs.setdefault(stem.removeprefix(prefix), {})[_SIDES[side]] = file.tensor(full)
        elif name in head:
            shape, expected = tuple(file.info(full).shape), tuple(head[name].shape)
            if shape == expected:
                read.head[name] = file.tensor(full)
            else:
                problems.append(f"wrong shape    {full}   file {shape}   model {expected}")
        elif name.removeprefix(prefix).startswith(model.family.elsewhere):
            logger.info("%s: `%s` belongs to another head and is not used.", path, full)
        else:
            problems.append(f"unexpected     {full}")
    for outside, sides in pairs.items():
        place = places[outside]
        if found := _pair_problems(model, place, sides):
            problems += found
            continue
        up = place.outputs(sides[1], to_theirs=False)
        read.layers.setdefault(place.layer, {})[place.part] = (sides[0], up)
        read.outside.setdefault(place.layer, []).append(place.outside)
    for tensor in (
        *read.head.values(),
        *(each for sides in pairs.values() for each in sides.values()),
    ):
        if not bool(tensor.isfinite().all()):
            problems.append("NaN or infinite numbers")
            break
    if not problems:
        problems += [
            f"unlike ranks   {layer}"
            for layer, parts in read.layers.items()
            if len({len(down) for down, _ in parts.values()}) > 1
        ]
    if not pairs and not problems:
        problems.append("no adapters")
    if problems:
        listing = "\n".join(f"  {line}" for line in problems[:_MOST_LISTED])
        raise CheckpointError(
            f"The adapters in `{path}` do not fit {type(model).__name__}:\n{listing}"
        )
    return read


def _pair_problems(model: PretrainedModel, place: Place, sides: Mapping[int, Tensor]) -> list[str]:
    linear = linear_at(model, place.layer)
    if len(sides) < 2:
        return [f"missing        {place.outside}.{'lora_B' if 0 in sides else 'lora_A'}.weight"]
    down, up = tuple(sides[0].shape), tuple(sides[1].shape)
    is_right = len(down) == len(up) == 2 and down[0] > 0
    if is_right and down[1] == linear.in_features and up == (place.height, down[0]):
        return []
    wanted = f"(r, {linear.in_features}) and ({place.height}, r)"
    return [f"wrong shape    {place.outside}   file {down} and {up}   model {wanted}"]
