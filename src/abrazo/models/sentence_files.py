"""Folders of the sentence-transformers library: how the tokens of a text become one vector.

    modules.json                        the steps, in order
    sentence_bert_config.json           how long texts may be
    1_Pooling/config.json               how tokens are pooled
    2_Dense/config.json, *.safetensors  a product after it, in some models
    config_sentence_transformers.json   prompts, and how vectors are compared

Format: https://sbert.net/docs/sentence_transformer/usage/custom_models.html. What a step is called
is compared with a table; nothing is imported. Folders named in the files must lie in the model's.
"""

import dataclasses
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from abrazo.checkpoints.files import name_problem, open_regular, raise_all
from abrazo.checkpoints.folder import open_weights
from abrazo.checkpoints.jsonfile import parse_json_object, read_json_object, write_json
from abrazo.checkpoints.safetensors import save_tensors
from abrazo.checkpoints.temporary import atomic_file
from abrazo.errors import CheckpointError
from abrazo.heads.similarity import ProjectionPlan

logger = logging.getLogger("abrazo")

MODULES_FILE = "modules.json"
LENGTH_FILE = "sentence_bert_config.json"
SETTINGS_FILE = "config_sentence_transformers.json"
WEIGHTS_FILE = "model.safetensors"
"""The weights of a projection, in its folder."""
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
"""How vectors are compared, by their names in files."""

_MAX_BYTES = 1_000_000
_MAX_STEPS = 16
_MAX_WIDTH = 1_000_000
_POOLINGS = {
    "cls": "cls",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean": "weighted_mean",
    "lasttoken": "last",
}
"""Poolings, theirs and ours, in the order in which several are put side by side."""
_POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weighted_mean",
    "pooling_mode_lasttoken": "last",
}
"""The older spelling: one truth value each, put side by side in this order."""
_ACTIVATIONS = {
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.modules.linear.Identity": "linear",
    "torch.nn.modules.activation.ReLU": "relu",
    "torch.nn.modules.activation.GELU": "gelu",
    "torch.nn.modules.activation.SiLU": "silu",
    "torch.nn.modules.activation.Sigmoid": "sigmoid",
}
_STEPS = ("Transformer", "Pooling", "Dense", "Normalize")
"""The steps that are known; their modules have moved, so the last part of the name decides."""
_LIBRARY = "sentence_transformers."


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentenceRecipe:
    """How the tokens of a text become one vector. The default is for a backbone without files."""

    poolings: tuple[str, ...] = ("mean",)
    """Names in `abrazo.layers.pooling.POOLINGS`; several are put side by side."""
    projections: tuple[ProjectionPlan, ...] = ()
    """Products after pooling."""
    projection_folders: tuple[str, ...] = ()
    """Where the weights of each product are, below the model's folder."""
    normalize: bool = True
    """Whether vectors get length 1."""
    max_length: int | None = None
    """The most tokens that are read of a text; None takes what the backbone reads."""
    lowercase: bool = False
    """Whether texts are brought to lower case first."""
    prompts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What is put before texts, by name, such as `query` and `document`."""
    default_prompt: str | None = None
    """The prompt that is used when none is named."""
    reads_prompt: bool = True
    """Whether the tokens of the prompt are pooled too."""
    similarity: str = "cosine"
    """How vectors are compared, one of `SIMILARITIES`."""


def read_recipe(folder: Path) -> SentenceRecipe:
    """Read how a model folder makes vectors of texts.

    A folder without `modules.json` gets the mean of the tokens at length 1, as is usual.

    Raises:
        CheckpointError: A file is damaged, or a step is not known; all mistakes are listed.
    """
    if not os.path.lexists(folder / MODULES_FILE):
        return SentenceRecipe()
    steps = _read_steps(folder)
    recipe: dict[str, Any] = {}
    projections, folders = [], []
    for kind, path in steps:
        if kind == "Transformer":
            recipe |= _read_lengths(folder / path)
        elif kind == "Pooling":
            recipe |= _read_pooling(folder / path)
        elif kind == "Dense":
            projections.append(_read_projection(folder / path))
            folders.append(path)
    return SentenceRecipe(
        **recipe,
        **_read_settings(folder),
        projections=tuple(projections),
        projection_folders=tuple(folders),
        normalize=steps[-1][0] == "Normalize",
    )


def write_recipe(folder: Path, recipe: SentenceRecipe, width: int) -> list[Path]:
    """Write how a model makes vectors of texts, so that sentence-transformers loads it.

    Args:
        folder: The model's folder.
        recipe: What to write.
        width: Width of a token's vector.

    Returns:
        The folders into which the weights of the projections belong.
    """
    steps = [("Transformer", ""), ("Pooling", "1_Pooling")]
    dense = [f"{2 + number}_Dense" for number in range(len(recipe.projections))]
    steps += [("Dense", path) for path in dense]
    if recipe.normalize:
        steps.append(("Normalize", f"{len(steps)}_Normalize"))
    for _, path in steps:
        (folder / path).mkdir(exist_ok=True)
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"{_LIBRARY}models.{kind}"}
        for i, (kind, path) in enumerate(steps)
    ]
    with atomic_file(folder / MODULES_FILE) as temporary:
        temporary.write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")
    write_json(
        folder / LENGTH_FILE,
        {"max_seq_length": recipe.max_length, "do_lower_case": recipe.lowercase},
    )
    write_json(folder / "1_Pooling" / "config.json", _pooling_fields(recipe, width))
    for plan, path in zip(recipe.projections, dense, strict=True):
        write_json(folder / path / "config.json", _projection_fields(plan))
    write_json(
        folder / SETTINGS_FILE,
        {
            "prompts": dict(recipe.prompts),
            "default_prompt_name": recipe.default_prompt,
            "similarity_fn_name": recipe.similarity,
        },
    )
    return [folder / path for path in dense]


def copy_recipe(source: Path, folder: Path, width: int) -> None:
    """Write into a folder how another one makes vectors of texts, if its files say so.

    Args:
        source: The folder a model was loaded from.
        folder: The folder it is saved to.
        width: Width of a token's vector.
    """
    if not os.path.lexists(source / MODULES_FILE):
        return
    try:
        recipe = read_recipe(source)
    except CheckpointError as error:
        logger.warning("How `%s` makes vectors of texts is not saved: %s", source, error)
        return
    weights = [open_weights(source / place) for place in recipe.projection_folders]
    for place, kept in zip(write_recipe(folder, recipe, width), weights, strict=True):
        save_tensors({name: kept.tensor(name) for name in kept.names()}, place / WEIGHTS_FILE)


# Reading ---------------------------------------------------------------------------------------


def _read_steps(folder: Path) -> list[tuple[str, str]]:
    """Return the kind and the folder of each step.

    Raises:
        CheckpointError: A step is unknown or out of order, or its folder is outside; all listed.
    """
    path = folder / MODULES_FILE
    entries = _read_list(path)
    problems, steps = [], []
    for number, entry in enumerate(entries):
        kind, place = entry.get("type"), entry.get("path")
        last = str(kind).rpartition(".")[2]
        if not str(kind).startswith(_LIBRARY) or last not in _STEPS:
            known = ", ".join(_STEPS)
            problems.append(f"step {number} is a {kind!r:.120}, but only these are known: {known}")
        elif problem := _place_problem(folder, place):
            problems.append(f"the path {place!r:.120} of step {number} {problem}")
        else:
            steps.append((last, str(place)))
    kinds = [kind for kind, _ in steps]
    expected = ["Transformer", "Pooling"]
    expected += ["Dense"] * kinds.count("Dense")
    expected += ["Normalize"] * min(1, kinds.count("Normalize"))
    if not problems and kinds != expected:
        problems.append(
            f"the steps are {', '.join(kinds) or 'none'}, but must be Transformer, Pooling, any "
            "number of Dense, and at most one Normalize, in this order"
        )
    if not problems and steps[0][1]:
        problems.append(f"the Transformer must be in the folder itself, but is in {steps[0][1]!r}")
    raise_all(f"`{path}` cannot be used", problems)
    return steps


def _read_list(path: Path) -> list[dict[str, Any]]:
    with open_regular(path) as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise CheckpointError(f"`{path}` is larger than {_MAX_BYTES:,} bytes.")
    try:
        parsed = parse_json_object(b'{"steps": ' + data + b"}")
    except ValueError as error:
        raise CheckpointError(f"`{path}` is not a JSON file as it should be: {error}.") from error
    entries = parsed["steps"]
    if len(parsed) != 1 or not isinstance(entries, list):
        raise CheckpointError(f"`{path}` must hold a list of steps.")
    if len(entries) > _MAX_STEPS or not all(isinstance(entry, dict) for entry in entries):
        raise CheckpointError(f"`{path}` must hold a list of at most {_MAX_STEPS} objects.")
    return entries


def _place_problem(folder: Path, place: object) -> str:
    """Say why a step's folder may not be used; empty if it may."""
    if place == "":
        return ""
    if not isinstance(place, str):
        return "must be a text"
    if problem := name_problem(place, folders=True):
        return problem
    if not Path(os.path.realpath(folder / place)).is_relative_to(os.path.realpath(folder)):
        return "is a link that leads out of the model's folder"
    return ""


def _read_lengths(folder: Path) -> dict[str, Any]:
    if not os.path.lexists(folder / LENGTH_FILE):
        return {}
    fields = read_json_object(folder / LENGTH_FILE, max_bytes=_MAX_BYTES)
    length, lowercase = fields.get("max_seq_length"), fields.get("do_lower_case", False)
    problems = []
    if length is not None and not _is_count(length):
        problems.append(f"`max_seq_length` must be a number from 1, but is {length!r:.80}")
    if not isinstance(lowercase, bool):
        problems.append(f"`do_lower_case` must be true or false, but is {lowercase!r:.80}")
    raise_all(f"`{folder / LENGTH_FILE}` cannot be used", problems)
    return {"max_length": length, "lowercase": lowercase}


def _read_pooling(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    fields = read_json_object(path, max_bytes=_MAX_BYTES)
    given = fields.get("pooling_mode")
    if given is None:
        on = [ours for key, ours in _POOLING_KEYS.items() if fields.get(key) is True]
        poolings: Sequence[str] = on or ["mean"]
    else:
        names = given if isinstance(given, list) else [given]
        unknown = [name for name in names if not isinstance(name, str) or name not in _POOLINGS]
        if unknown or not names:
            known = ", ".join(_POOLINGS)
            raise CheckpointError(
                f"`pooling_mode` of `{path}` must be of {known}, but is {given!r:.120}."
            )
        poolings = [_POOLINGS[name] for name in names]
    return {
        "poolings": tuple(poolings),
        "reads_prompt": fields.get("include_prompt", True) is not False,
    }


def _read_projection(folder: Path) -> ProjectionPlan:
    path = folder / "config.json"
    fields = read_json_object(path, max_bytes=_MAX_BYTES)
    name = fields.get("activation_function", "torch.nn.modules.activation.Tanh")
    problems = [
        f"`{key}` must be a number from 1 to {_MAX_WIDTH}, but is {fields.get(key)!r:.80}"
        for key in ("in_features", "out_features")
        if not _is_count(fields.get(key))
    ]
    if name not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        problems.append(f"`activation_function` {name!r:.120} is none of {known}")
    for key in ("module_input_name", "module_output_name"):
        if fields.get(key) not in (None, "sentence_embedding"):
            problems.append(f"`{key}` must be 'sentence_embedding', but is {fields[key]!r:.80}")
    raise_all(f"`{path}` cannot be used", problems)
    return ProjectionPlan(
        in_width=fields["in_features"],
        out_width=fields["out_features"],
        has_bias=fields.get("bias", True) is not False,
        activation=_ACTIVATIONS[name],
    )


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS_FILE
    if not os.path.lexists(path):
        return {}
    fields = read_json_object(path, max_bytes=_MAX_BYTES)
    prompts, default = fields.get("prompts") or {}, fields.get("default_prompt_name")
    similarity = fields.get("similarity_fn_name") or "cosine"
    problems = []
    if not isinstance(prompts, dict) or not all(
        text is None or isinstance(text, str) for text in prompts.values()
    ):
        problems.append("`prompts` must map names to texts")
    elif default is not None and default not in prompts:
        problems.append(f"`default_prompt_name` {default!r:.80} is not one of its prompts")
    if similarity not in SIMILARITIES:
        known = ", ".join(SIMILARITIES)
        problems.append(f"`similarity_fn_name` must be of {known}, but is {similarity!r:.80}")
    raise_all(f"`{path}` cannot be used", problems)
    return {
        "prompts": {name: text or "" for name, text in prompts.items()},
        "default_prompt": default,
        "similarity": similarity,
    }


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MAX_WIDTH


# Writing ---------------------------------------------------------------------------------------


def _pooling_fields(recipe: SentenceRecipe, width: int) -> dict[str, Any]:
    """Return the older spelling, which all versions read, unless only the newer can tell it."""
    fields: dict[str, Any] = {"word_embedding_dimension": width}
    in_order = [name for name in _POOLING_KEYS.values() if name in recipe.poolings]
    if tuple(in_order) == recipe.poolings:
        fields |= {key: name in recipe.poolings for key, name in _POOLING_KEYS.items()}
    else:
        theirs = {ours: name for name, ours in _POOLINGS.items()}
        fields["pooling_mode"] = [theirs[name] for name in recipe.poolings]
    return {**fields, "include_prompt": recipe.reads_prompt}


def _projection_fields(plan: ProjectionPlan) -> dict[str, Any]:
    theirs = {ours: name for name, ours in _ACTIVATIONS.items()}
    return {
        "in_features": plan.in_width,
        "out_features": plan.out_width,
        "bias": plan.has_bias,
        "activation_function": theirs[plan.activation],
    }
