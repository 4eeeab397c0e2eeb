"""LoRA adapters: a few small matrices are trained in place of a whole model.

    add_lora(model, rank=8)              # from now on only adapters and head train
    Trainer(model, args, rows).train()
    save_adapter(model, "my-adapter")    # a few megabytes, in the format of `peft`
    load_adapter(model, "my-adapter")    # onto the same pretrained model
    merge_lora(model)                    # as fast as without; `unmerge_lora` takes it back

A folder holds `adapter_config.json` and `adapter_model.safetensors`. `peft` adapts query, key and
value apart, and so do we, although they are one matrix here: files fit either way.

Source: Hu et al. 2021, LoRA, https://arxiv.org/abs/2106.09685.
"""

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from abrazo.checkpoints.folder import open_weights
from abrazo.checkpoints.jsonfile import read_json_object, write_json
from abrazo.checkpoints.keymap import Form
from abrazo.checkpoints.loading import load_weights
from abrazo.checkpoints.safetensors import open_tensors, save_tensors
from abrazo.errors import CheckpointError, ConfigError, did_you_mean
from abrazo.heads.causal_lm import CausalLMHead
from abrazo.layers.linear import Linear
from abrazo.layers.lora import LoraLinear, adapted_layers
from abrazo.models.base import ADAPTER_FOLDER, PretrainedModel

logger = logging.getLogger("abrazo")

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_SIDES = {"lora_A": 0, "lora_B": 1}
_TASK_TYPES = {
    "": "FEATURE_EXTRACTION",
    "sequence_classification": "SEQ_CLS",
    "token_classification": "TOKEN_CLS",
    "question_answering": "QUESTION_ANS",
    "causal_lm": "CAUSAL_LM",
    "seq2seq_lm": "SEQ_2_SEQ_LM",
}
_REQUIRED: Mapping[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "use_dora": (False, None),
    "lora_bias": (False, None),
    "layer_replication": (None,),
    "target_parameters": (None, []),
}
"""Settings of `peft` that change what is computed, and the values that are understood."""
_BASE_TOLERANCE = 1e-3
_MOST_LISTED = 20


@dataclasses.dataclass(frozen=True)
class _Place:
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


def add_lora(
    model: PretrainedModel,
    rank: int = 8,
    alpha: float = 16,
    dropout: float = 0.0,
    *,
    targets: Sequence[str] = ("query_key_value",),
) -> int:
    """Put new adapters on a model's blocks and freeze all else but the head.

    Adapters change nothing until they are trained. Weights that the head shares with the
    embeddings stay frozen.

    Args:
        model: Changed in place.
        rank: Rows of the narrow matrices.
        alpha: The correction is multiplied with `alpha / rank`.
        dropout: Share of an adapter's input dropped in training.
        targets: Layers, by the ends of our names (`query_key_value`, `attention.output`, `up`,
            `down`) or of those in the family's files (`query`, `value`).

    Returns:
        The number of weights that train.

    Raises:
        ConfigError: A number is out of range, a target names no layer, or there are adapters.
    """
    problems = []
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        problems.append(f"`rank` must be a whole number of 1 or more, but is {rank!r}.")
    if not 0 < alpha < math.inf:
        problems.append(f"`alpha` must be above 0, but is {alpha!r}.")
    if not 0 <= dropout < 1:
        problems.append(f"`dropout` must be from 0 to below 1, but is {dropout!r}.")
    if adapted_layers(model):
        problems.append("The model has adapters already; take them off with `remove_lora`.")
    if isinstance(targets, str) or not targets:
        problems.append(f"`targets` must be a list of names of layers, but is {targets!r}.")
    if problems:
        raise ConfigError("\n".join(problems))
    places = _places(model)
    chosen: dict[str, set[int]] = {}
    for target in targets:
        found = [place for place in places if _is_named(place, target)]
        if not found:
            names = sorted({_last(name) for p in places for name in (p.layer, p.outside)})
            raise ConfigError(
                f"No layer of {type(model).__name__} is called `{target}`; there are "
                f"{', '.join(names)}.{did_you_mean(target, names)}"
            )
        for place in found:
            chosen.setdefault(place.layer, set()).add(place.part)
    for name, parts in chosen.items():
        layer = LoraLinear(
            _linear(model, name),
            rank=rank,
            scale=alpha / rank,
            dropout=dropout,
            parts=sorted(parts),
            heights=_heights(model, name),
        )
        _put(model, name, layer)
    return _freeze_but_adapters(model)


def remove_lora(model: PretrainedModel) -> None:
    """Take the adapters off; what was merged stays merged. All weights train again."""
    for name, layer in adapted_layers(model).items():
        _put(model, name, layer.without())
    model.requires_grad_(True)


def merge_lora(model: PretrainedModel) -> None:
    """Put the adapters into the weights, so that they cost no time; adapters then do not train.

    Raises:
        ConfigError: The model has no adapters.
    """
    for layer in _require_adapters(model).values():
        layer.merge()


def unmerge_lora(model: PretrainedModel) -> None:
    """Undo `merge_lora`: the weights are what they were, bit for bit, and adapters train again.

    Raises:
        ConfigError: The model has no adapters.
    """
    for layer in _require_adapters(model).values():
        layer.unmerge()


# Files ---------------------------------------------------------------------------------------


def save_adapter(model: PretrainedModel, folder: str | Path) -> None:
    """Write the adapters and the head in the format of `peft`.

    Args:
        model: A model with adapters.
        folder: Made when absent.

    Raises:
        ConfigError: The model has no adapters.
        CheckpointError: The folder cannot be written.
    """
    layers = _require_adapters(model)
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    is_transposed = False
    for place in _places(model):
        layer = layers.get(place.layer)
        if layer is None or place.part not in layer.parts:
            continue
        number = layer.parts.index(place.part)
        up = place.outputs(layer.ups[number].detach(), to_theirs=True)
        tensors[f"{_PREFIX}{place.outside}.lora_A.weight"] = layer.lora_down.detach()[number]
        tensors[f"{_PREFIX}{place.outside}.lora_B.weight"] = up
        is_transposed = place.form is not None and place.form.is_transposed
        ranks[place.outside] = layer.rank
        alphas[place.outside] = layer.scale * layer.rank
    head = _head_weights(model)
    tensors |= {_PREFIX + name: weight.detach() for name, weight in head.items()}
    rank, alpha = next(iter(ranks.values())), next(iter(alphas.values()))
    settings = {
        "peft_type": "LORA",
        "task_type": _TASK_TYPES.get(model.head_name),
        "base_model_name_or_path": None if model.source is None else str(model.source),
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": next(iter(layers.values())).dropout.probability,
        "target_modules": list(ranks),
        "modules_to_save": sorted({name.partition(".")[0] for name in head}) or None,
        "rank_pattern": {name: each for name, each in ranks.items() if each != rank},
        "alpha_pattern": {name: each for name, each in alphas.items() if each != alpha},
        "bias": "none",
        "fan_in_fan_out": is_transposed,
        "inference_mode": True,
        "use_rslora": False,
    }
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    save_tensors(tensors, target / WEIGHTS_FILE)
    write_json(target / CONFIG_FILE, settings)


def load_adapter(model: PretrainedModel, folder: str | Path) -> None:
    """Put the adapters of a folder on the model they were trained on, in place of any others.

    What the folder has for the head is taken too. Adapters and head can be trained on.

    Args:
        model: Changed in place, but not where there is an error.
        folder: With `adapter_config.json` and `adapter_model.safetensors`, by us or by `peft`.

    Raises:
        CheckpointError: The files are damaged, do not fit the model, or ask for a kind of adapter
            that is not known here; everything amiss is listed.
        ConfigError: The model's adapters are merged.
    """
    if any(layer.is_merged for layer in adapted_layers(model).values()):
        raise ConfigError("The model has merged adapters; call `unmerge_lora` or `remove_lora`.")
    settings = _read_settings(Path(folder) / CONFIG_FILE)
    read = _read_tensors(model, Path(folder) / WEIGHTS_FILE)
    for name, layer in adapted_layers(model).items():
        _put(model, name, layer.without())
    with torch.no_grad():
        for name, parts in read.layers.items():
            downs, ups = zip(*(parts[part] for part in sorted(parts)), strict=True)
            layer = LoraLinear(
                _linear(model, name),
                rank=len(downs[0]),
                scale=settings.scale(read.outside[name], len(downs[0])),
                dropout=settings.dropout,
                parts=sorted(parts),
                heights=_heights(model, name),
            )
            layer.lora_down.copy_(torch.stack(downs))
            layer.lora_up.copy_(torch.cat(ups))
            _put(model, name, layer)
        _fill_head(model, read)
    _freeze_but_adapters(model)


def load_adapted_weights(model: PretrainedModel, folder: Path) -> None:
    """Take adapters and all else out of a model's folder, but the weights under the adapters.

    Those are in the folder with the adapters put in; they must come to the same.

    Raises:
        CheckpointError: The folder has no adapters, they are damaged, or they were trained on
            other weights than the model has.
    """
    if not (folder / ADAPTER_FOLDER / CONFIG_FILE).exists():
        raise CheckpointError(
            f"The model has LoRA adapters, but `{folder}` has none in `{ADAPTER_FOLDER}/`."
        )
    layers = adapted_layers(model)
    base = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    found: dict[str, Tensor] = {}
    for name, layer in layers.items():
        _put(model, name, layer.without())
    try:
        load_weights(model, open_weights(folder), model.key_map(), model.family.expectations())
        found = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    finally:
        with torch.no_grad():
            for name, layer in layers.items():
                layer.weight.copy_(base[name])
                _put(model, name, layer)
    _refill(model, folder / ADAPTER_FOLDER)
    for name, layer in layers.items():
        if not torch.allclose(
            layer.matrix(), found[name], rtol=_BASE_TOLERANCE, atol=_BASE_TOLERANCE
        ):
            raise CheckpointError(
                f"The adapters in `{folder}` were trained on other weights than those of the "
                f"model: `{name}` differs. Start from the same pretrained model."
            )


@torch.no_grad()
def _refill(model: PretrainedModel, folder: Path) -> None:
    """Copy a folder's adapters into those that the model has, which an optimizer may hold.

    Raises:
        CheckpointError: They are on other layers, or of another rank or scale.
    """
    settings = _read_settings(folder / CONFIG_FILE)
    read = _read_tensors(model, folder / WEIGHTS_FILE)
    layers = adapted_layers(model)
    wanted = {name: (layer.parts, layer.rank, layer.scale) for name, layer in layers.items()}
    found = {}
    for name, parts in read.layers.items():
        rank = len(parts[min(parts)][0])
        found[name] = (tuple(sorted(parts)), rank, settings.scale(read.outside[name], rank))
    if wanted != found:
        raise CheckpointError(
            f"The adapters in `{folder}` are not those of the model: layers, `rank` or `alpha` "
            "differ. Call `add_lora` with the same settings, or read them with `load_adapter`."
        )
    for name, layer in layers.items():
        downs, ups = zip(*(read.layers[name][part] for part in layer.parts), strict=True)
        layer.lora_down.copy_(torch.stack(downs))
        layer.lora_up.copy_(torch.cat(ups))
    _fill_head(model, read)


def _fill_head(model: PretrainedModel, read: "_Read") -> None:
    weights = _head_weights(model)
    for name, tensor in read.head.items():
        weights[name].copy_(tensor)


@dataclasses.dataclass(frozen=True)
class _Settings:
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


def _read_settings(path: Path) -> _Settings:
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
    return _Settings(float(alpha), float(dropout), bool(fields.get("use_rslora")), alphas)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6


@dataclasses.dataclass
class _Read:
    """Tensors of a file, sorted by where they go."""

    layers: dict[str, dict[int, tuple[Tensor, Tensor]]]
    outside: dict[str, list[str]]
    head: dict[str, Tensor]


def _read_tensors(model: PretrainedModel, path: Path) -> _Read:
    """Read a file and check every tensor against the model.

    Raises:
        CheckpointError: A tensor is unknown, missing or of a wrong shape; all are listed.
    """
    file = open_tensors(path)
    prefix = model.family.prefix
    places = {place.outside.removeprefix(prefix): place for place in _places(model)}
    head = _head_weights(model)
    read = _Read({}, {}, {})
    pairs: dict[str, dict[int, Tensor]] = {}
    problems: list[str] = []
    for full in file.names:
        name = full.removeprefix(_PREFIX)
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


def _pair_problems(model: PretrainedModel, place: _Place, sides: Mapping[int, Tensor]) -> list[str]:
    linear = _linear(model, place.layer)
    if len(sides) < 2:
        return [f"missing        {place.outside}.{'lora_B' if 0 in sides else 'lora_A'}.weight"]
    down, up = tuple(sides[0].shape), tuple(sides[1].shape)
    is_right = len(down) == len(up) == 2 and down[0] > 0
    if is_right and down[1] == linear.in_features and up == (place.height, down[0]):
        return []
    wanted = f"(r, {linear.in_features}) and ({place.height}, r)"
    return [f"wrong shape    {place.outside}   file {down} and {up}   model {wanted}"]


# Names ---------------------------------------------------------------------------------------


def _places(model: PretrainedModel) -> list[_Place]:
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
                places.append(_Place(name, part, stem, height, row.form))
    return places


def _heights(model: PretrainedModel, name: str) -> list[int]:
    row, _ = model.key_map().row_for(f"{name}.weight")
    return row.heights(_linear(model, name).out_features)


def _is_named(place: _Place, target: str) -> bool:
    return any(f".{name}".endswith(f".{target}") for name in (place.layer, place.outside))


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _trained_in_head(model: PretrainedModel) -> dict[str, Tensor]:
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


def _head_weights(model: PretrainedModel) -> dict[str, Tensor]:
    """Return those weights by their names in files; none of heads that have no files."""
    if model.head_name not in model.family.heads:
        return {}
    key_map = model.key_map()
    return {
        key_map.names_for(f"head.{name}")[0]: weight
        for name, weight in _trained_in_head(model).items()
    }


def _linear(model: PretrainedModel, name: str) -> Linear:
    layer = model.get_submodule(name)
    assert isinstance(layer, Linear)
    return layer


def _put(model: PretrainedModel, name: str, layer: Linear) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)


def _require_adapters(model: PretrainedModel) -> dict[str, LoraLinear]:
    layers = adapted_layers(model)
    if not layers:
        raise ConfigError("The model has no adapters; put some on with `add_lora`.")
    return layers


def _freeze_but_adapters(model: PretrainedModel) -> int:
    """Let adapters and the head's own weights train; return how many weights that is."""
    model.requires_grad_(False)
    trained: list[Tensor] = [
        w for layer in adapted_layers(model).values() for w in (layer.lora_down, layer.lora_up)
    ]
    trained += _trained_in_head(model).values()
    for weight in trained:
        weight.requires_grad_(True)
    return sum(weight.numel() for weight in trained)
