import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from abrazo.checkpoints.atomic import MANIFEST, atomic_folder
from abrazo.checkpoints.folder import INDEX, WEIGHTS, convert_bin, open_weights, save_weights
from abrazo.errors import CheckpointError


def some_tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"embeddings": (50, 4), "block.0.weight": (4, 4), "block.0.bias": (4,), "head": (2, 4)}
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


def assert_holds(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    weights = open_weights(folder)
    assert sorted(weights.names()) == sorted(tensors)
    assert weights.nbytes == sum(tensor.nbytes for tensor in tensors.values())
    for name, tensor in tensors.items():
        assert weights.shape(name) == tuple(tensor.shape)
        assert weights.info(name).dtype == tensor.dtype
        assert torch.equal(weights.tensor(name), tensor)


@pytest.mark.parametrize(("size", "files"), [(10**9, 1), (800, 2), (100, 3), (1, 4)])
def test_weights_come_back_from_any_number_of_files(size: int, files: int, tmp_path: Path) -> None:
    save_weights(some_tensors(), tmp_path, max_shard_size=size)
    assert len(list(tmp_path.glob("*.safetensors"))) == files
    assert (tmp_path / INDEX).exists() == (files > 1)
    assert_holds(tmp_path, some_tensors())


def test_shards_are_named_and_listed_as_the_ecosystem_does(tmp_path: Path) -> None:
    save_weights(some_tensors(), tmp_path, max_shard_size=800)
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    assert sorted(os.listdir(tmp_path)) == [*names, INDEX]
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"] == {"total_size": 912}
    assert index["weight_map"] == {
        "block.0.bias": names[1],
        "block.0.weight": names[1],
        "embeddings": names[0],
        "head": names[1],
    }
    loaded = {name: tensor for file in names for name, tensor in load_file(tmp_path / file).items()}
    assert all(torch.equal(loaded[name], tensor) for name, tensor in some_tensors().items())


def test_saving_again_leaves_no_file_of_the_first_time(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    for size, files in ((1, 4), (10**9, 1), (800, 2), (100, 3)):
        tensors = {name: tensor + size for name, tensor in some_tensors().items()}
        save_weights(tensors, tmp_path, max_shard_size=size)
        assert_holds(tmp_path, tensors)
        assert len(list(tmp_path.glob("*.safetensors"))) == files
        assert (tmp_path / INDEX).exists() == (files > 1)


def test_weights_may_be_saved_over_the_files_they_are_mapped_from(tmp_path: Path) -> None:
    save_weights(some_tensors(), tmp_path)
    weights = open_weights(tmp_path)
    save_weights({name: weights.tensor(name) for name in weights.names()}, tmp_path)
    assert_holds(tmp_path, some_tensors())


def test_tied_tensors_are_named_before_anything_is_written(tmp_path: Path) -> None:
    tensors = some_tensors()
    tensors["tied"] = tensors["embeddings"]
    with pytest.raises(CheckpointError, match="`tied` and `embeddings` are one tensor"):
        save_weights(tensors, tmp_path / "model", max_shard_size=100)
    assert not (tmp_path / "model").exists()


def test_sealed_weights_are_checked_before_they_are_used(tmp_path: Path) -> None:
    for size in (10**9, 800):
        with atomic_folder(tmp_path / "model") as folder:
            save_weights(some_tensors(), folder, max_shard_size=size)
            (folder / "config.json").write_text("{}")
        assert_holds(tmp_path / "model", some_tensors())
        file = sorted((tmp_path / "model").glob("*.safetensors"))[-1]
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
        with pytest.raises(CheckpointError, match=f"`{file.name}` has another content"):
            open_weights(tmp_path / "model")
    save_weights(some_tensors(), tmp_path / "model")  # the manifest no longer holds
    assert not (tmp_path / "model" / MANIFEST).exists()
    assert_holds(tmp_path / "model", some_tensors())


def test_missing_weights_say_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"neither `{WEIGHTS}` nor `{INDEX}`"):
        open_weights(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"never loaded.*abrazo convert.*`convert_bin`"):
        open_weights(tmp_path)
    with pytest.raises(CheckpointError, match="not a folder"):
        open_weights(tmp_path / "absent")


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_pickled_model_is_converted_on_request(is_zip: bool, tmp_path: Path) -> None:
    tensors = some_tensors()
    tensors["tied"] = tensors["embeddings"]
    tensors["parameter"] = torch.nn.Parameter(torch.rand(2).bfloat16())
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    torch.save(tensors, old / "pytorch_model.bin", _use_new_zipfile_serialization=is_zip)
    (old / "config.json").write_text('{"a": 1}')
    (old / "training_args.bin").write_bytes(b"x")
    for source in (old, old / "pytorch_model.bin"):
        convert_bin(source, new)
        assert_holds(new, tensors)
        assert sorted(os.listdir(new)) == ["config.json", WEIGHTS]
    convert_bin(old, old)
    assert_holds(old, tensors)


def test_a_pickled_model_in_pieces_is_converted(tmp_path: Path) -> None:
    tensors = some_tensors()
    weight_map = {name: f"part-{number}.bin" for number, name in enumerate(tensors)}
    for name, file in weight_map.items():
        torch.save({name: tensors[name]}, tmp_path / file)
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    convert_bin(tmp_path, tmp_path / "new")
    assert_holds(tmp_path / "new", tensors)
    index.write_text(json.dumps({"weight_map": {"a": "../part-0.bin", "b": "/x.bin"}}))
    with pytest.raises(CheckpointError, match=r"part-0(.|\n)*x.bin"):
        convert_bin(tmp_path, tmp_path / "other")
    with pytest.raises(CheckpointError, match="nothing to convert"):
        convert_bin(tmp_path / "new", tmp_path / "other")
