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

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from abrazo.checkpoints.folder import open_weights
from abrazo.checkpoints.jsonfile import write_json
from abrazo.checkpoints.loading import load_weights
from abrazo.checkpoints.safetensors import save_tensors
from abrazo.errors import CheckpointError, ConfigError, did_you_mean
from abrazo.layers.linear import Linear
from abrazo.layers.lora import LoraLinear, adapted_layers
from abrazo.models.adapter_files import (
    CONFIG_FILE,
    PREFIX,
    WEIGHTS_FILE,
    AdapterTensors,
    Place,
    head_weights,
    heights_of,
    linear_at,
    places_of,
    read_settings,
    read_tensors,
    trained_in_head,
)
from abrazo.models.base import ADAPTER_FOLDER, PretrainedModel

_TASK_TYPES = {
    "": "FEATURE_EXTRACTION",
    "sequence_classification": "SEQ_CLS",
    "token_classification": "TOKEN_CLS",
    "question_answering": "QUESTION_ANS",
    "causal_lm": "CAUSAL_LM",
    "seq2seq_lm": "SEQ_2_SEQ_LM",
}
_BASE_TOLERANCE = 1e-3


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
    places = places_of(model)
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
            linear_at(model, name),
            rank=rank,
            scale=alpha / rank,
            dropout=dropout,
            parts=sorted(parts),
            heights=heights_of(model, name),
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
    for place in places_of(model):
        layer = layers.get(place.layer)
        if layer is None or place.part not in layer.parts:
            continue
        number = layer.parts.index(place.part)
        up = place.outputs(layer.ups[number].detach(), to_theirs=True)
        tensors[f"{PREFIX}{place.outside}.lora_A.weight"] = layer.lora_down.detach()[number]
        tensors[f"{PREFIX}{place.outside}.lora_B.weight"] = up
        is_transposed = place.form is not None and place.form.is_transposed
        ranks[place.outside] = layer.rank
        alphas[place.outside] = layer.scale * layer.rank
    head = head_weights(model)
    tensors |= {PREFIX + name: weight.detach() for name, weight in head.items()}
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
    settings = read_settings(Path(folder) / CONFIG_FILE)
    read = read_tensors(model, Path(folder) / WEIGHTS_FILE)
    for name, layer in adapted_layers(model).items():
        _put(model, name, layer.without())
    with torch.no_grad():
        for name, parts in read.layers.items():
            downs, ups = zip(*(parts[part] for part in sorted(parts)), strict=True)
            layer = LoraLinear(
                linear_at(model, name),
                rank=len(downs[0]),
                scale=settings.scale(read.outside[name], len(downs[0])),
                dropout=settings.dropout,
                parts=sorted(parts),
                heights=heights_of(model, name),
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
    settings = read_settings(folder / CONFIG_FILE)
    read = read_tensors(model, folder / WEIGHTS_FILE)
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


def _fill_head(model: PretrainedModel, read: AdapterTensors) -> None:
    weights = head_weights(model)
    for name, tensor in read.head.items():
        weights[name].copy_(tensor)


def _is_named(place: Place, target: str) -> bool:
    return any(f".{name}".endswith(f".{target}") for name in (place.layer, place.outside))


def _last(name: str) -> str:
    return name.rpartition(".")[2]


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
    trained += trained_in_head(model).values()
    for weight in trained:
        weight.requires_grad_(True)
    return sum(weight.numel() for weight in trained)
