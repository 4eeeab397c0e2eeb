"""Weights that break the format: a typed error that says why, soon, and without much memory."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from abrazo.checkpoints.folder import INDEX, WEIGHTS, convert_bin, open_weights, save_weights
from abrazo.checkpoints.safetensors import save_tensors
from abrazo.errors import CheckpointError

Entry = dict[str, object]


def packed(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(shape: object = (2,), offsets: object = (0, 8), dtype: object = "F32") -> Entry:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def zero_sized(count: int) -> bytes:
    one = '"t{}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    return packed(("{" + ",".join(one.format(k) for k in range(count)) + "}").encode())


MALFORMED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it has 0 bytes"),
    "7 bytes": (b"\0" * 7, "it has 7 bytes"),
    "header longer than the file": (b"\xff\0\0\0\0\0\0\0{}", "only 2 follow"),
    "header of 2^63": (b"\0\0\0\0\0\0\0\x80{}", "9,223,372,036,854,775,808 bytes"),
    "no header": (b"\0" * 8, "not `{`"),
    "header starts with a space": (packed(b" {}"), "not `{`"),
    "overlap": (packed({"a": entry(), "b": entry(offsets=[4, 12])}, bytes(12)), "overlaps"),
    "same place": (packed({"a": entry(), "b": entry()}, bytes(8)), "overlaps"),
    "hole": (packed({"a": entry(), "b": entry(offsets=[12, 20])}, bytes(20)), "hole"),
    "hole at the start": (packed({"a": entry(offsets=[4, 12])}, bytes(12)), "hole"),
    "trailing bytes": (packed({"a": entry()}, bytes(9)), "end at 8, but there are 9 bytes"),
    "data cut off": (packed({"a": entry()}, bytes(7)), "end at 8, but there are 7 bytes"),
    "shape overflow": (packed({"a": entry([2**40, 2**40])}, bytes(8)), "no memory can hold"),
    "overflow with a zero": (packed({"a": entry([2**62, 2**62, 0], [0, 0])}), "no memory"),
    "overflow to a small number": (packed({"a": entry([2**32, 2**32 + 1])}, bytes(8)), "memory"),
    "many dimensions": (packed({"a": entry([1] * 70, [0, 4])}, bytes(4)), "no list of sizes"),
    "shape against bytes": (packed({"a": entry([3])}, bytes(8)), "needs 12 bytes, but has 8"),
    "negative shape": (packed({"a": entry([-1, -2])}, bytes(8)), "no list of sizes"),
    "negative offset": (packed({"a": entry(offsets=[-8, 0])}, bytes(8)), "no start and end"),
    "offsets the wrong way": (packed({"a": entry(offsets=[8, 0])}, bytes(8)), "has -8"),
    "one offset": (packed({"a": entry(offsets=[8])}, bytes(8)), "no start and end"),
    "float in shape": (packed({"a": entry([2.0])}, bytes(8)), "no list of sizes"),
    "true as size": (packed({"a": entry([True, 2])}, bytes(8)), "no list of sizes"),
    "shape a string": (packed({"a": entry("2")}, bytes(8)), "no list of sizes"),
    "unknown dtype": (packed({"a": entry(dtype="F33")}, bytes(8)), "unknown dtype 'F33'"),
    "dtype a list": (packed({"a": entry(dtype=["F32"])}, bytes(8)), "unknown dtype"),
    "dtype in small letters": (packed({"a": entry(dtype="f32")}, bytes(8)), "unknown dtype"),
    "no offsets": (packed({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)), "other fields"),
    "one field more": (packed({"a": {**entry(), "x": 1}}, bytes(8)), "other fields"),
    "entry a number": (packed({"a": 3}, bytes(8)), "other fields"),
    "metadata a list": (packed({"__metadata__": []}), "not an object of strings"),
    "metadata of numbers": (packed({"__metadata__": {"a": 1}}), "not an object of strings"),
    "duplicate names": (
        packed(
            b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
            b'"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
            bytes(2),
        ),
        "'a' comes twice",
    ),
    "deep JSON": (packed(b'{"a":' + b"[" * 499_000 + b"]" * 499_000 + b"}"), "deep"),
    "deep unclosed JSON": (packed(b'{"a":' + b'{"a":' * 499_000), "deep"),
    "not UTF-8": (packed(b'{"\xff\xfe": 1}'), "utf-8"),
    "half a surrogate": (packed(b'{"\\ud800": 1}'), "surrogates"),
    "header a list": (packed(b"[]"), "not `{`"),
    "not JSON": (packed(b"{hello}"), "property name"),
    "NaN": (packed(b'{"a": NaN}'), "NaN"),
    "300,000 tensors of size 0": (zero_sized(300_000), "bytes, but at most"),
    "100,000 tensors of size 0": (zero_sized(100_000), "values, but at most"),
    "3 million unclosed objects": (packed(b'{"a":' * 3_000_000), "values"),
    "strings without commas": (packed(b"{" + b'""  ' * 3_900_000), "values"),
    "strings with spaces between": (packed(b"{" + b'""  ' * 900_000), "delimiter"),
    "many strings": (packed(b"{" + b",".join(b'"%d":""' % k for k in range(499_000)) + b"}"), "a"),
    "one long string": (packed(b'{"' + b'\\"' * 1_900_000), "Unterminated"),
    "a pickle": (b"\x80\x02c__builtin__\neval\n(U\x031+1tR.", "header should have"),
    "HTML": (b"<!DOCTYPE html><html>Not found</html>", "header should have"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_refused_and_says_why(case: str, tmp_path: Path) -> None:
    data, reason = MALFORMED[case]
    (tmp_path / WEIGHTS).write_bytes(data)
    with pytest.raises(CheckpointError, match=reason) as caught:
        open_weights(tmp_path)
    assert str(tmp_path / WEIGHTS) in str(caught.value)
    assert len(str(caught.value)) < 20_000


MEASURE = """
import sys, time
from pathlib import Path
from abrazo.checkpoints.folder import open_weights
from abrazo.errors import CheckpointError

def memory(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

for folder in sorted(Path(sys.argv[1]).iterdir()):
    size = sum(file.stat().st_size for file in folder.iterdir())
    Path("/proc/self/clear_refs").write_text("5")
    before, start = memory("VmRSS"), time.process_time()
    try:
        open_weights(folder)
        raise SystemExit(f"{folder.name} was accepted")
    except CheckpointError:
        print(time.process_time() - start, memory("VmHWM") - before, size, folder.name, sep="\\t")
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="measures Linux's way")
def test_refusing_takes_neither_time_nor_memory(tmp_path: Path) -> None:
    for case, (data, _) in MALFORMED.items():
        folder = tmp_path / case.replace("/", "-")
        folder.mkdir()
        (folder / WEIGHTS).write_bytes(data)
    huge = tmp_path / "header of 200 MB"
    huge.mkdir()
    with (huge / WEIGHTS).open("wb") as file:
        file.write((200_000_000).to_bytes(8, "little") + b"{")
        file.truncate(200_000_100)
    fullest = tmp_path / "an index as large as may be"
    fullest.mkdir()
    names = ",".join(f'"{k:08}":"m.safetensors"' for k in range(500_000))
    (fullest / INDEX).write_text('{"weight_map":{' + names + "}}")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(lines) == len(MALFORMED) + 2
    for seconds, extra, size, case in lines:
        assert float(seconds) < 2, (case, seconds)
        assert int(extra) < 2 * int(size) + 256_000_000, (case, extra)


def test_a_file_of_many_tensors_is_read(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).write_bytes(zero_sized(45_000))
    assert len(open_weights(tmp_path).names()) == 45_000


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        os.mkdir,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("../outside.safetensors"),
        lambda path: path.symlink_to(path),
    ],
    ids=["fifo", "folder", "device", "link that leads out", "endless link"],
)
@pytest.mark.parametrize("name", [WEIGHTS, INDEX, "model-00001-of-00002.safetensors"])
def test_what_is_no_regular_file_in_the_folder_is_refused(
    name: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    save_tensors({"a": torch.zeros(2)}, tmp_path / "outside.safetensors")
    folder = tmp_path / "model"
    save_weights({"a": torch.zeros(2), "b": torch.ones(2)}, folder, max_shard_size=8)
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    with pytest.raises(CheckpointError, match=name):
        open_weights(folder)


def sharded(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Save a model in two files and change its index."""
    save_weights({"a": torch.zeros(2), "b": torch.ones(2)}, folder, max_shard_size=8)
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(change(index)))


FIRST, SECOND = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))


def mapped(**names: object) -> Callable[[dict[str, object]], object]:
    return lambda index: {**index, "weight_map": {"a": FIRST, "b": SECOND, **names}}


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (lambda index: [], ["list instead of an object"]),
        (lambda index: {}, ["`weight_map`"]),
        (lambda index: {"weight_map": []}, ["`weight_map`"]),
        (lambda index: {"weight_map": {}}, ["`weight_map`"]),
        (mapped(a="../x.safetensors", b="/x.safetensors"), ["`a`", "`..`", "`b`", "absolute"]),
        (mapped(a=f"sub/{FIRST}", b=f"./{SECOND}"), ["`a`", "folder itself", "`b`", "`.`"]),
        (mapped(a=f"C:{FIRST}", b=f"x\\{SECOND}"), ["`a`", "drive", "`b`", "backslash"]),
        (mapped(a=f"\0{FIRST}", b=3), ["`a`", "NUL", "`b`", "not a string"]),
        (mapped(a="", b=None), ["`a`", "empty", "`b`", "not a string"]),
        (mapped(a="pytorch_model.bin"), ["`a`", "not a safetensors file"]),
        (mapped(c="c.safetensors", d="d.safetensors"), ["c.safetensors", "d.safetensors"]),
        (mapped(c=FIRST, d=SECOND), [f"`c` should be in `{FIRST}`", "`d` should be"]),
        (lambda index: {"weight_map": {"a": FIRST, "b": FIRST}}, ["`b` should be in"]),
        (mapped(a=SECOND, b=FIRST), [f"`a` is in `{FIRST}`, but", f"`b` is in `{SECOND}`, but"]),
        (lambda index: {"weight_map": {"c": FIRST, "b": SECOND}}, ["`a` is in", "`c` should"]),
    ],
)
def test_an_index_that_does_not_fit_is_refused_with_all_problems(
    change: Callable[[dict[str, object]], object], reasons: list[str], tmp_path: Path
) -> None:
    sharded(tmp_path, change)
    with pytest.raises(CheckpointError) as caught:
        open_weights(tmp_path)
    missing = [reason for reason in [INDEX, *reasons] if reason not in str(caught.value)]
    assert not missing, str(caught.value)


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("harmed",)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": Harmful()}, "more than plain tensors"),
        ([torch.zeros(1)], "holds a list"),
        ({"a": torch.zeros(1), "step": 3, 4: torch.zeros(1)}, "'step' is a int(.|\n)*4 is a Ten"),
    ],
)
def test_a_pickle_that_is_more_than_tensors_is_not_converted(
    content: object, said: str, is_zip: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "x.bin", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(CheckpointError, match=said):
        convert_bin(tmp_path / "x.bin", tmp_path / "new")
    assert os.listdir(tmp_path) == ["x.bin"]


def test_a_damaged_pickle_is_not_converted(tmp_path: Path) -> None:
    torch.save({"a": torch.rand(1000)}, tmp_path / "good.bin")
    data = (tmp_path / "good.bin").read_bytes()
    for cut in (0, 1, 100, 2000, len(data) - 1):
        (tmp_path / "x.bin").write_bytes(data[:cut])
        with pytest.raises(CheckpointError, match=r"x\.bin"):
            convert_bin(tmp_path / "x.bin", tmp_path / "new")


def test_a_compressed_archive_is_not_unpacked(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "good.bin")
    with (
        zipfile.ZipFile(tmp_path / "good.bin") as good,
        zipfile.ZipFile(tmp_path / "bomb.bin", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for member in good.namelist():
            bomb.writestr(member, good.read(member))
    with pytest.raises(CheckpointError, match="cannot be converted") as caught:
        convert_bin(tmp_path / "bomb.bin", tmp_path / "new")
    assert "compressed" in str(caught.value.__cause__)
