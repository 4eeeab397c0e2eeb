"""The weights of a model folder: one safetensors file, or several with an index.

The names are those of the Hugging Face ecosystem: `model.safetensors`, or
`model-00001-of-00002.safetensors` and so on with `model.safetensors.index.json`, whose
`weight_map` says which tensor is in which file.
"""

import os
import re
import zipfile
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path

import torch
from torch import Tensor

from abrazo.checkpoints.atomic import MANIFEST, atomic_file, require_intact
from abrazo.checkpoints.files import name_problem, open_regular, raise_all
from abrazo.checkpoints.jsonfile import read_json_object, write_json
from abrazo.checkpoints.safetensors import (
    TensorFile,
    TensorInfo,
    open_tensors,
    require_savable,
    save_tensors,
)
from abrazo.errors import CheckpointError

WEIGHTS = "model.safetensors"
"""The file of a model in one piece."""
INDEX = "model.safetensors.index.json"
"""The index of a model in several pieces."""
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
"""The names of weights that are pickled, which only `convert_bin` reads."""

_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_COMPANIONS = (
    "README.md",
    "added_tokens.json",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)


class WeightFiles:
    """All tensors of a model folder by name, mapped into memory from one file or several."""

    def __init__(self, path: Path, owners: Mapping[str, TensorFile]) -> None:
        self.path = path
        self._owners = dict(owners)

    def names(self) -> list[str]:
        """Return the names of all tensors."""
        return list(self._owners)

    def info(self, name: str) -> TensorInfo:
        """Return dtype, shape and size of a tensor without reading it."""
        return self._owners[name].info(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor without reading it."""
        return self.info(name).shape

    def dtype(self, name: str) -> torch.dtype:
        """Return the type of a tensor's elements without reading it."""
        return self.info(name).dtype

    def tensor(self, name: str) -> Tensor:
        """Return a tensor, mapped from the file (see `TensorFile`)."""
        return self._owners[name].tensor(name)

    def copy_to(self, name: str, destination: Tensor) -> None:
        """Copy a tensor into another of the same shape (see `TensorFile`)."""
        self._owners[name].copy_to(name, destination)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(self.info(name).nbytes for name in self._owners)


def open_weights(folder: str | Path) -> WeightFiles:
    """Open the weights of a model folder; one with a manifest is checked against it first.

    Where there are both, the single file is taken rather than the index.

    Raises:
        CheckpointError: There are no weights, or they are damaged, not as their manifest says, or
            not as their index says; all problems of the index are listed.
    """
    place = Path(folder)
    if os.path.lexists(place / WEIGHTS):
        require_intact(place, names=[WEIGHTS])
        file = open_tensors(place / WEIGHTS)
        return WeightFiles(place, dict.fromkeys(file.names, file))
    if os.path.lexists(place / INDEX):
        return WeightFiles(place, _open_shards(place))
    raise CheckpointError(_no_weights(place))


def save_weights(
    tensors: Mapping[str, Tensor], folder: str | Path, *, max_shard_size: int = 5_000_000_000
) -> None:
    """Write a model's tensors into a folder, in one file or, above `max_shard_size`, in several.

    Each file is whole or as it was before; weights under the other names of this module that the
    folder held are removed afterwards. To write a whole folder in one step, save into an
    `atomic_folder`.

    Args:
        tensors: The tensors by name, as for `save_tensors`.
        folder: The folder, which is made if need be.
        max_shard_size: The most bytes of tensors in a file, unless one tensor alone has more.

    Raises:
        CheckpointError: A tensor cannot be stored (all are listed), or a file not be written.
    """
    require_savable(tensors)
    place = Path(folder)
    (place / MANIFEST).unlink(missing_ok=True)
    shards = _split(tensors, max_shard_size)
    if len(shards) == 1:
        save_tensors(shards[0], place / WEIGHTS)
        _remove_others(place, {WEIGHTS})
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_tensors(shard, place / name)
        weight_map.update(dict.fromkeys(shard, name))
    total = sum(tensor.nbytes for tensor in tensors.values())
    write_json(
        place / INDEX,
        {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))},
    )
    _remove_others(place, {INDEX, *weight_map.values()})


def convert_bin(source: str | Path, destination: str | Path) -> None:
    """Convert pickled weights (`pytorch_model.bin`) to safetensors, on request only.

    This is the only place in abrazo that unpickles. PyTorch's restricted unpickler
    (`weights_only=True`) is used, which is a hurdle and not a wall: convert only files whose source
    you trust. Tied tensors are stored under each of their names, because which one a model looks
    for is the model's affair.

    Args:
        source: A `.bin` file, or a model folder that holds one or several with an index.
        destination: The folder for the weights. The configuration and the tokenizer's files are
            copied there too if it is another one.

    Raises:
        CheckpointError: The file is damaged, or holds anything but named tensors.
    """
    origin, target = Path(source), Path(destination)
    tensors: dict[str, Tensor] = {}
    for path in _pickles(origin):
        tensors.update(_unpickle(path))
    save_weights(_untied(tensors), target)
    home = origin if origin.is_dir() else origin.parent
    for name in _COMPANIONS:
        if os.path.lexists(home / name) and not os.path.lexists(target / name):
            with open_regular(home / name) as file, atomic_file(target / name) as temporary:
                temporary.write_bytes(file.read())


def _no_weights(folder: Path) -> str:
    if not folder.is_dir():
        return f"`{folder}` is not a folder, so there is no model in it."
    said = f"`{folder}` has no weights: neither `{WEIGHTS}` nor `{INDEX}` is there."
    pickled = [name for name in PICKLES if os.path.lexists(folder / name)]
    if pickled:
        said += (
            f" `{pickled[0]}` is, but a pickle file can run code and is never loaded."
            f" If you trust its source, run `abrazo convert {folder}` once"
            " (in Python: `convert_bin`)."
        )
    return said


def _open_shards(folder: Path) -> dict[str, TensorFile]:
    weight_map = _read_weight_map(folder / INDEX)
    shards = sorted(set(weight_map.values()))
    require_intact(folder, names=[INDEX, *shards])
    problems = []
    files: dict[str, TensorFile] = {}
    for name in shards:
        try:
            files[name] = open_tensors(folder / name)
        except CheckpointError as error:
            problems.append(str(error))
    for tensor, name in weight_map.items():
        if name in files and tensor not in files[name].header.tensors:
            problems.append(f"`{tensor}` should be in `{name}`, but is not.")
    for name, file in files.items():
        problems += [
            f"`{tensor}` is in `{name}`, but the index does not say so."
            for tensor in file.names
            if weight_map.get(tensor) != name
        ]
    raise_all(f"`{folder / INDEX}` does not fit the files it names", problems)
    return {tensor: files[name] for tensor, name in weight_map.items()}


def _read_weight_map(path: Path) -> dict[str, str]:
    weight_map = read_json_object(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"`{path}` must have a `weight_map` of tensors to file names.")
    problems = []
    for tensor, name in weight_map.items():
        problem = name_problem(name) if isinstance(name, str) else "is not a string"
        if not problem and not str(name).endswith(".safetensors"):
            problem = "is not a safetensors file"
        if problem:
            problems.append(f"`{tensor}` is mapped to {str(name)[:80]!r}, which {problem}.")
    raise_all(f"`{path}` names files that it may not", problems)
    return weight_map


def _split(tensors: Mapping[str, Tensor], most: int) -> list[dict[str, Tensor]]:
    """Divide tensors, in their order, into groups of at most `most` bytes or one tensor."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > most:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    return shards


def _remove_others(folder: Path, written: set[str]) -> None:
    """Remove weights of an earlier save: the index before the shards it names."""
    old = [name for name in sorted(os.listdir(folder)) if _SHARD.fullmatch(name)]
    for name in [WEIGHTS, INDEX, *old]:
        if name not in written:
            (folder / name).unlink(missing_ok=True)


def _pickles(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    single, index = (source / name for name in PICKLES)
    if os.path.lexists(single):
        return [single]
    if not os.path.lexists(index):
        raise CheckpointError(f"`{source}` has nothing to convert: no {' or '.join(PICKLES)}.")
    weight_map = read_json_object(index).get("weight_map")
    names = sorted(map(str, weight_map.values())) if isinstance(weight_map, dict) else [""]
    problems = [f"{name!r} {problem}." for name in names if (problem := name_problem(name))]
    raise_all(f"`{index}` names files that it may not", problems)
    return [source / name for name in dict.fromkeys(names)]


def _unpickle(path: Path) -> dict[str, Tensor]:
    with open_regular(path) as file:
        try:
            _require_unpacked(file)
            content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # what a damaged pickle raises is anybody's guess
            raise CheckpointError(
                f"`{path}` cannot be converted: it is damaged, or holds more than plain tensors."
            ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"`{path}` holds a {type(content).__name__}, not named tensors.")
    problems = [
        f"{name!r} is a {type(value).__name__}"
        for name, value in content.items()
        if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    raise_all(f"`{path}` holds more than named tensors", problems)
    return dict(content)


def _require_unpacked(file: BufferedReader) -> None:
    """Refuse an archive that unpacks to much more than it is; PyTorch writes them uncompressed."""
    if zipfile.is_zipfile(file):
        size = file.seek(0, 2)
        with zipfile.ZipFile(file) as archive:
            if sum(member.file_size for member in archive.infolist()) > 2 * size:
                raise ValueError("the archive is compressed")
    file.seek(0)


def _untied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give each name memory of its own."""
    seen: set[tuple[int, int]] = set()
    result = {}
    for name, tensor in tensors.items():
        memory = (tensor.data_ptr(), tensor.nbytes)
        result[name] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return result
