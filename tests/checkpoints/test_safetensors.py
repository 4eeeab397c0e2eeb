import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save

from abrazo.checkpoints.safetensors import (
    DTYPES,
    TensorInfo,
    open_tensors,
    read_header,
    save_tensors,
)
from abrazo.errors import CheckpointError


def of_dtype(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    values = torch.arange(1, 1 + torch.Size(shape).numel()).reshape(shape) % 2 + 1
    return values.to(dtype)


def same_bytes(first: torch.Tensor, second: torch.Tensor) -> bool:
    return (
        first.dtype == second.dtype
        and first.shape == second.shape
        and torch.equal(
            first.contiguous().reshape(-1).view(torch.uint8),
            second.contiguous().reshape(-1).view(torch.uint8),
        )
    )


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=list(DTYPES))
def test_every_dtype_comes_back_with_the_same_bytes(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {"a": of_dtype(dtype, 3, 5), "scalar": of_dtype(dtype), "empty": of_dtype(dtype, 0)}
    save_tensors(tensors, tmp_path / "x.safetensors")
    file = open_tensors(tmp_path / "x.safetensors")
    assert sorted(file.names) == sorted(tensors)
    assert all(same_bytes(file.tensor(name), tensors[name]) for name in tensors)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=list(DTYPES))
def test_tensors_are_copied_into_parameters(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {"a": of_dtype(dtype, 3, 5), "scalar": of_dtype(dtype), "empty": of_dtype(dtype, 0)}
    save_tensors(tensors, tmp_path / "x.safetensors")
    file = open_tensors(tmp_path / "x.safetensors")
    for name, tensor in tensors.items():
        place = torch.zeros_like(tensor, dtype=torch.float32).to(dtype)
        file.copy_to(name, place)
        assert same_bytes(place, tensor)


def test_copying_converts_and_fits_parts_and_strided_places(tmp_path: Path) -> None:
    tensors = {"a": torch.rand(2, 3)}
    save_tensors(tensors, tmp_path / "x.safetensors")
    file = open_tensors(tmp_path / "x.safetensors")
    parameter = torch.nn.Parameter(torch.zeros(4, 3))
    file.copy_to("a", parameter.chunk(2)[1])
    assert torch.equal(parameter[2:], tensors["a"])
    assert parameter[:2].eq(0).all()
    strided, half = torch.zeros(3, 2).t(), torch.zeros(2, 3, dtype=torch.float16)
    file.copy_to("a", strided)
    file.copy_to("a", half)
    assert torch.equal(strided, tensors["a"])
    assert torch.equal(half, tensors["a"].half())
    with pytest.raises(ValueError, match=r"`a` is \(2, 3\), its place \(4, 2, 3\)"):
        file.copy_to("a", torch.zeros(4, 2, 3))


def test_a_file_that_is_cut_off_while_it_is_open_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors({"a": torch.rand(100)}, path)
    file = open_tensors(path)
    os.truncate(path, 200)
    with pytest.raises(CheckpointError, match="shorter"):
        file.copy_to("a", torch.zeros(100))


def test_the_bytes_are_those_of_the_safetensors_library(tmp_path: Path) -> None:
    tensors = {f"{name}.é\t": of_dtype(dtype, 3) for name, dtype in DTYPES.items()}
    tensors |= {"b": torch.rand(2, 3), "a": torch.rand(5), "scalar": torch.tensor(2.0)}
    save_tensors(tensors, tmp_path / "x.safetensors")
    assert (tmp_path / "x.safetensors").read_bytes() == save(tensors, {"format": "pt"})


@given(names=st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=6, unique=True))
@settings(max_examples=40, deadline=None)
def test_any_name_comes_back(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "names.safetensors"
    tensors = {name: torch.full((number,), number) for number, name in enumerate(names)}
    save_tensors(tensors, path)
    assert load_file(path).keys() == tensors.keys()
    assert sorted(open_tensors(path).names) == sorted(names)


def test_order_of_the_mapping_does_not_change_the_bytes(tmp_path: Path) -> None:
    tensors = {"a": torch.rand(3), "b": torch.rand(2).half(), "c": torch.rand(2)}
    save_tensors(tensors, tmp_path / "first.safetensors")
    save_tensors(dict(reversed(tensors.items())), tmp_path / "second.safetensors")
    first, second = ((tmp_path / f"{n}.safetensors").read_bytes() for n in ("first", "second"))
    assert first == second


def test_metadata_and_places_are_read(tmp_path: Path) -> None:
    save_tensors({"a": torch.zeros(2, 3)}, tmp_path / "x.safetensors", {"note": "hi", "by": "me"})
    header = read_header(tmp_path / "x.safetensors")
    assert header.metadata == {"by": "me", "note": "hi"}
    assert header.tensors == {"a": TensorInfo(torch.float32, (2, 3), 0, 24)}
    assert header.size - header.data_start == header.tensors["a"].nbytes
    with safe_open(tmp_path / "x.safetensors", "pt") as library:
        assert library.metadata() == header.metadata


def test_views_of_one_storage_and_strided_tensors_are_stored_as_they_look(tmp_path: Path) -> None:
    qkv = torch.rand(9, 4)
    query, key, value = qkv.chunk(3)
    tensors = {"q": query, "k": key, "v": value, "t": torch.rand(3, 5).t(), "e": torch.ones(1, 4)}
    tensors["e"] = tensors["e"].expand(3, 4)
    save_tensors(tensors, tmp_path / "x.safetensors")
    loaded = load_file(tmp_path / "x.safetensors")
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_what_cannot_be_stored_is_listed_whole_and_nothing_is_written(tmp_path: Path) -> None:
    shared = torch.rand(3)
    tensors = {
        "first": shared,
        "tied": shared,
        "absent": torch.empty(2, device="meta"),
        "sparse": torch.eye(3).to_sparse(),
        "__metadata__": torch.rand(1),
        "double": torch.zeros(1, dtype=torch.complex128),
    }
    with pytest.raises(CheckpointError) as caught:
        save_tensors(tensors, tmp_path / "x.safetensors")
    assert all(f"`{name}`" in str(caught.value) for name in tensors)
    assert os.listdir(tmp_path) == []


def test_reading_shares_the_file_and_writing_to_a_tensor_leaves_it_alone(tmp_path: Path) -> None:
    save_tensors({"a": torch.zeros(4)}, tmp_path / "x.safetensors")
    before = (tmp_path / "x.safetensors").read_bytes()
    file = open_tensors(tmp_path / "x.safetensors")
    file.tensor("a").add_(1)
    assert file.tensor("a").tolist() == [1] * 4  # one memory, so no copy was made
    assert (tmp_path / "x.safetensors").read_bytes() == before


def test_tensors_live_on_after_the_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors({"a": torch.full((3,), 7.0)}, path)
    old = open_tensors(path).tensor("a")
    save_tensors({"a": old + 1}, path)
    assert old.tolist() == [7] * 3
    assert open_tensors(path).tensor("a").tolist() == [8] * 3


def test_unaligned_data_is_read_too(tmp_path: Path) -> None:
    header = {
        "flag": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]},
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [1, 9]},
    }
    data = b"\1" + torch.tensor([1.5, -2.0]).numpy().tobytes()
    text = json.dumps(header).encode()
    (tmp_path / "x").write_bytes(len(text).to_bytes(8, "little") + text + data)
    assert open_tensors(tmp_path / "x").tensor("a").tolist() == [1.5, -2.0]


def test_a_boolean_that_is_neither_true_nor_false_is_refused(tmp_path: Path) -> None:
    save_tensors({"a": torch.tensor([True, False])}, tmp_path / "x")
    data = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(data[:-1] + b"\2")
    with pytest.raises(CheckpointError, match="boolean"):
        open_tensors(tmp_path / "x").tensor("a")
