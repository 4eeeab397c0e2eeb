"""A disk that is full or failing at any call: a typed error, and what was there is untouched."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import atomic_faults as faults
import pytest

from abrazo.checkpoints.atomic import atomic_file, atomic_folder, newest_whole
from abrazo.errors import CheckpointError


def fail_with(code: int) -> None:
    raise OSError(code, os.strerror(code))


def temporaries(parent: Path) -> list[str]:
    return [name for name in os.listdir(parent) if name.startswith(".")]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("write", errno.ENOSPC),
        ("mkdir", errno.ENOSPC),
        ("fsync", errno.EIO),
        ("rename", errno.EIO),
        pytest.param("write", errno.EIO, marks=pytest.mark.full),
        pytest.param("mkdir", errno.EIO, marks=pytest.mark.full),
        pytest.param("fsync", errno.ENOSPC, marks=pytest.mark.full),
        pytest.param("rename", errno.ENOSPC, marks=pytest.mark.full),
    ],
)
@pytest.mark.parametrize("scenario", faults.SCENARIOS)
def test_an_error_at_any_call_leaves_what_was_there(
    scenario: str, call: str, code: int, tmp_path: Path
) -> None:
    for k in range(1, 100):
        parent = tmp_path / str(k)
        parent.mkdir()
        faults.prepare(scenario, parent)
        with faults.failing(call, k, lambda: fail_with(code)) as count:
            error = error_of_saving(scenario, parent)
        if count[0] < k:
            assert not error
            break
        if error:
            assert str(faults.destination(scenario, parent)) in error
            assert os.strerror(code) in error
            assert "bytes are free" in error
            check_after_error(scenario, call, k, parent)
        else:  # making a folder that is there already may fail
            assert call == "mkdir"
            assert faults.content(faults.destination(scenario, parent)) == faults.NEW
    assert k > 1 or (scenario, call) == ("file", "mkdir"), "no such call was seen"


def error_of_saving(scenario: str, parent: Path) -> str:
    try:
        faults.save(scenario, parent)
    except CheckpointError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("code", [errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_whatever_the_system_says_is_passed_on(code: int, tmp_path: Path) -> None:
    with faults.failing("write", 1, lambda: fail_with(code)):
        assert os.strerror(code) in error_of_saving("new", tmp_path)
    assert os.listdir(tmp_path) == []


def check_after_error(scenario: str, call: str, k: int, parent: Path) -> None:
    place = faults.destination(scenario, parent)
    if scenario == "file":
        # The last sync of a file comes after its rename, which cannot be taken back.
        values = {"old"} if call != "fsync" or k == 1 else {"new"}
        assert place.read_text().split('"')[3] in values
    elif scenario == "new":
        assert not place.exists()
    else:  # the third of three renames only tidies up
        tidying = (scenario, call, k) == ("rename", "rename", 3)
        assert faults.content(place) == (faults.NEW if tidying else faults.OLD)
    assert faults.content(parent / "checkpoint-1")
    faults.save(scenario, parent)
    assert temporaries(parent) == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ZeroDivisionError, CheckpointError])
def test_an_error_in_the_block_is_raised_as_it_is(
    kind: type[BaseException], tmp_path: Path
) -> None:
    def save_half() -> None:
        with atomic_folder(tmp_path / "checkpoint-1") as folder:
            (folder / "model").write_bytes(b"half")
            raise kind("mine")

    def save_half_a_file() -> None:
        with atomic_file(tmp_path / "a.json") as file:
            file.write_bytes(b"half")
            raise kind("mine")

    faults.prepare("replace", tmp_path)
    for save in (save_half, save_half_a_file):
        with pytest.raises(kind, match="mine"):
            save()
    assert faults.content(tmp_path / "checkpoint-1") == faults.OLD
    assert os.listdir(tmp_path) == ["checkpoint-1"]


def test_a_disk_known_to_be_too_small_is_refused_before_writing(tmp_path: Path) -> None:
    needs = shutil.disk_usage(tmp_path).free + 10**12
    with (
        pytest.raises(CheckpointError, match=f"at least {needs:,} are needed"),
        atomic_folder(tmp_path / "checkpoint-1", needs=needs),
    ):
        pytest.fail("the block should not run")
    assert os.listdir(tmp_path) == []


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    def save(step: int) -> None:
        with atomic_folder(tmp_path / f"checkpoint-{step}") as folder:
            (folder / "model").write_bytes(bytes(70_000))

    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        for step in (1, 2, 3):
            save(step)
        with pytest.raises(CheckpointError, match=r"checkpoint-4.*No space left.*bytes are free"):
            save(4)
        assert newest_whole(tmp_path) == (tmp_path / "checkpoint-3", [])
        assert sorted(os.listdir(tmp_path)) == ["checkpoint-1", "checkpoint-2", "checkpoint-3"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)
