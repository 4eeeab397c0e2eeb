"""The safetensors file format, read strictly and mapped into memory, written deterministically.

A file is: 8 bytes with the length N of the header (little-endian), N bytes of JSON that name each
tensor's dtype, shape and place, then the tensors' bytes without gaps
(https://huggingface.co/docs/safetensors, "Format"). Every rule of the format is checked before
a tensor is touched, because a reader that trusts the header can be made to read or allocate
anything. The `safetensors` library checks less (it lets names come twice, and a header of 100 MB).
"""

import json
import math
import mmap
import os
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import torch
from torch import Tensor

from abrazo.checkpoints.atomic import atomic_file
from abrazo.checkpoints.files import open_regular, raise_all
from abrazo.checkpoints.jsonfile import parse_json_object
from abrazo.errors import CheckpointError

MAX_HEADER_BYTES = 16_000_000
"""The longest header that is read; its values, some ten a tensor, are limited by `MAX_VALUES`."""

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E8M0": torch.float8_e8m0fnu,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "C64": torch.complex64,
    "F64": torch.float64,
    "I64": torch.int64,
    "U64": torch.uint64,
}
"""The format's names of dtypes; the order, from the last on, is the one tensors are stored in."""

_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_RANKS = {dtype: rank for rank, dtype in enumerate(DTYPES.values())}
_METADATA = "__metadata__"
_MAX_BYTES = 2**63 - 1
_MAX_RANK = 64


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What the header says of one tensor."""

    dtype: torch.dtype
    """Type of its elements."""
    shape: tuple[int, ...]
    """Its shape."""
    start: int
    """First byte, counted from the start of the data."""
    end: int
    """Byte after the last one."""

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Header:
    """A checked header."""

    tensors: dict[str, TensorInfo]
    """All tensors by name, in the order of the header."""
    metadata: dict[str, str]
    """What the writer noted, such as `{"format": "pt"}`."""
    data_start: int
    """Where the data starts in the file, in bytes."""
    size: int
    """Bytes of the whole file."""


class TensorFile:
    """A safetensors file mapped into memory; a tensor is read from disk when it is used.

    The tensors share the mapping and keep it alive. Writing to one changes memory only, never the
    file. The file may be renamed or deleted meanwhile, but not overwritten in place.
    """

    def __init__(self, path: Path, header: Header, descriptor: int) -> None:
        self.path = path
        self.header = header
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)
        # A private mapping may be written to, which torch asks for, and leaves the file alone.
        mapping = mmap.mmap(descriptor, header.size, access=mmap.ACCESS_COPY)
        self._data = torch.frombuffer(mapping, dtype=torch.uint8)  # (bytes of the file,)

    @property
    def names(self) -> list[str]:
        """The names of all tensors."""
        return list(self.header.tensors)

    def info(self, name: str) -> TensorInfo:
        """Return what the header says of a tensor."""
        return self.header.tensors[name]

    def tensor(self, name: str) -> Tensor:
        """Return a tensor without copying it, if the file has it at an address fit for its dtype.

        Raises:
            CheckpointError: A boolean tensor holds something else than 0 and 1.
        """
        info = self.info(name)
        if info.nbytes == 0:
            return torch.empty(info.shape, dtype=info.dtype)
        start = self.header.data_start + info.start
        raw = self._data[start : start + info.nbytes]  # (bytes,)
        if info.dtype is torch.bool and bool((raw > 1).any()):
            raise CheckpointError(f"`{self.path}`: `{name}` is boolean, but not only 0 and 1.")
        if start % info.dtype.itemsize:
            raw = raw.clone()
        return raw.view(info.dtype).view(info.shape)

    def copy_to(self, name: str, destination: Tensor) -> None:
        """Copy a tensor into another of the same shape, in that one's dtype and on its device.

        Where nothing needs converting, the file is read right into the destination's memory. That
        takes one thread and no page faults, so that it is quick on a busy machine too.

        Raises:
            CheckpointError: As for `tensor`; or the file has become shorter since it was opened.
            ValueError: The shapes differ.
        """
        info = self.info(name)
        if destination.shape != info.shape:
            raise ValueError(f"`{name}` is {info.shape}, its place {tuple(destination.shape)}.")
        is_plain = destination.device.type == "cpu" and destination.is_contiguous()
        if not is_plain or destination.dtype != info.dtype or info.dtype is torch.bool:
            with torch.no_grad():
                destination.copy_(self.tensor(name))
            return
        place = self.header.data_start + info.start
        target = _raw_bytes(destination)
        while len(target):
            count = os.preadv(self._descriptor, [target], place)
            if count == 0:
                raise CheckpointError(f"`{self.path}` has become shorter while it was read.")
            target, place = target[count:], place + count


def read_header(path: str | Path) -> Header:
    """Read and check the header of a safetensors file.

    Raises:
        CheckpointError: The file breaks a rule of the format; all broken ones are listed.
    """
    with open_regular(path) as file:
        return _read_header(file, Path(path))


def open_tensors(path: str | Path) -> TensorFile:
    """Check a safetensors file and map it into memory.

    Raises:
        CheckpointError: The file breaks a rule of the format; all broken ones are listed.
    """
    with open_regular(path) as file:
        header = _read_header(file, Path(path))
        return TensorFile(Path(path), header, os.dup(file.fileno()))


def save_tensors(
    tensors: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file that is whole or as it was before.

    The bytes depend on names, values and metadata only and are those the `safetensors` library
    writes. One tensor at a time is brought to the CPU and made contiguous.

    Args:
        tensors: The tensors by name, on any device. Views of one storage are fine as long as no
            two are the same memory: which of two tied names to keep, only the model knows.
        path: The file.
        metadata: Notes for the header; `{"format": "pt"}` by default.

    Raises:
        CheckpointError: A tensor cannot be stored (all are listed), or the file not be written.
    """
    require_savable(tensors)
    notes = {"format": "pt"} if metadata is None else dict(sorted(metadata.items()))
    names = sorted(tensors, key=lambda name: (-_RANKS[tensors[name].dtype], name))
    header = _encode_header(tensors, names, notes)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for name in names:
            file.write(_raw_bytes(_plain(tensors[name])))


def require_savable(tensors: Mapping[str, Tensor]) -> None:
    """Check that tensors can be stored in safetensors files.

    Raises:
        CheckpointError: Some cannot; all are listed, each with the remedy.
    """
    problems = []
    owners: dict[tuple[torch.device, int, int], str] = {}
    for name, tensor in tensors.items():
        if problem := _savable_problem(name, tensor):
            problems.append(f"`{name}` {problem}")
        elif tensor.numel():
            memory = (tensor.device, tensor.data_ptr(), tensor.nbytes)
            owner = owners.setdefault(memory, name)
            if owner != name:
                problems.append(
                    f"`{name}` and `{owner}` are one tensor; leave one out, or `.clone()` it"
                )
    raise_all("These tensors cannot be saved", problems)


def _savable_problem(name: str, tensor: Tensor) -> str:
    if name == _METADATA:
        return "is a name that the format keeps for itself"
    if type(tensor) not in (Tensor, torch.nn.Parameter):
        return f"is a {type(tensor).__name__}, not a plain tensor"
    if tensor.is_meta:
        return "is on the meta device and has no values"
    if tensor.layout is not torch.strided:
        return f"is {tensor.layout}; make it dense with `.to_dense()`"
    if tensor.dtype not in _NAMES:
        return f"is {tensor.dtype}, which the format does not have"
    return ""


def _encode_header(
    tensors: Mapping[str, Tensor], names: Iterable[str], metadata: Mapping[str, str]
) -> bytes:
    header: dict[str, object] = {_METADATA: metadata} if metadata else {}
    start = 0
    for name in names:
        tensor = tensors[name]
        end = start + tensor.nbytes
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    return text + b" " * (-len(text) % 8)  # so that the data is aligned


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()


def _raw_bytes(tensor: Tensor) -> memoryview:
    """Return the memory of a contiguous tensor on the CPU."""
    return tensor.detach().reshape(-1).view(torch.uint8).numpy().data


def _read_header(file: BufferedReader, path: Path) -> Header:
    where = f"`{path}` is not a safetensors file as it should be"
    size = file.seek(0, 2)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8:
        raise CheckpointError(f"{where}: it has {size} bytes, not even the 8 of the header's size.")
    if length > size - 8:
        raise CheckpointError(
            f"{where}: its header should have {length:,} bytes, but only {size - 8:,} follow."
            " Was it copied or downloaded in part only?"
        )
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(
            f"{where}: its header has {length:,} bytes, but at most {MAX_HEADER_BYTES:,} are read."
        )
    data = file.read(length)
    try:
        if not data.startswith(b"{"):
            raise ValueError("the first byte is not `{`")
        content = parse_json_object(data, max_depth=3)
    except ValueError as error:
        raise CheckpointError(f"{where}: of its header, {error}.") from error
    metadata = content.pop(_METADATA, {})
    problems = _metadata_problems(metadata)
    tensors = {}
    for name, entry in content.items():
        try:
            tensors[name] = _parse_entry(entry)
        except ValueError as error:
            problems.append(f"{name!r} {error}")
    problems += [] if problems else _layout_problems(tensors, size - 8 - length)
    raise_all(where, problems)
    return Header(tensors=tensors, metadata=metadata, data_start=8 + length, size=size)


def _metadata_problems(metadata: object) -> list[str]:
    if isinstance(metadata, dict) and all(isinstance(note, str) for note in metadata.values()):
        return []
    return [f"{_METADATA!r} is not an object of strings"]


def _parse_entry(entry: object) -> TensorInfo:
    """Read one tensor's entry; a `ValueError` says what is wrong with it."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError("has other fields than `dtype`, `shape` and `data_offsets`")
    dtype = DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise ValueError(f"is of the unknown dtype {str(entry['dtype'])[:40]!r}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _is_counts(shape) or len(shape) > _MAX_RANK:
        raise ValueError(f"has the shape {str(shape)[:80]}, which is no list of sizes")
    if not _is_counts(offsets) or len(offsets) != 2:
        raise ValueError(f"has the offsets {str(offsets)[:80]}, which are no start and end")
    start, end = offsets
    if math.prod(max(size, 1) for size in shape) * dtype.itemsize > _MAX_BYTES:
        raise ValueError(f"has the shape {str(shape)[:80]}, which no memory can hold")
    needed = math.prod(shape) * dtype.itemsize
    if needed != end - start:
        raise ValueError(f"of shape {str(shape)[:80]} needs {needed} bytes, but has {end - start}")
    return TensorInfo(dtype=dtype, shape=tuple(shape), start=start, end=end)


def _is_counts(value: object) -> bool:
    return isinstance(value, list) and all(
        type(number) is int and 0 <= number <= _MAX_BYTES for number in value
    )


def _layout_problems(tensors: Mapping[str, TensorInfo], size: int) -> list[str]:
    """Check that the tensors lie end to end and fill the data."""
    problems = []
    reached = 0
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if info.start != reached:
            kind = "overlaps what is before it" if info.start < reached else "leaves a hole"
            problems.append(f"{name!r} {kind}: it starts at {info.start}, not at {reached}")
        reached = max(reached, info.end)
    if reached != size:
        problems.append(f"its tensors end at {reached}, but there are {size} bytes of data")
    return problems
