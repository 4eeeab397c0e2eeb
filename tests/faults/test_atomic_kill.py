"""A run that dies at any call while it saves: a reader finds the old or the new, whole."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import atomic_faults as faults
import pytest

from abrazo.checkpoints.atomic import newest_whole, verify

SCRIPT = Path(faults.__file__)
SOURCE = SCRIPT.parents[2] / "src"
SYSCALLS = ("write", "fsync", "rename", "renameat2", "mkdir", "unlink", "unlinkat", "rmdir")
MOST = 100


def run(*command: str | Path) -> int:
    environment = {"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    return done.returncode


@cache
def strace_refusal() -> str:
    """Say why strace cannot be used here; empty if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    traced = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True)
    return "" if traced.returncode == 0 else f"strace is refused: {traced.stderr.decode()[:200]}"


def check(scenario: str, parent: Path, *, finished: bool) -> None:
    place = faults.destination(scenario, parent)
    if scenario == "file":
        assert place.read_text().split('"')[3] in (["new"] if finished else ["old", "new"])
    elif scenario == "new":
        assert place.exists() or not finished
        assert not place.exists() or faults.content(place) == faults.NEW
    elif scenario == "replace":
        assert not verify(place)  # at once, before anything was put right
    newest, skipped = newest_whole(parent)
    assert newest is not None
    assert not skipped
    is_new = finished and scenario != "file"
    assert faults.content(newest) in ((faults.NEW,) if is_new else (faults.OLD, faults.NEW))
    faults.save(scenario, parent)
    assert not [name for name in os.listdir(parent) if name.startswith(".")]


def kill_at_each(scenario: str, tmp_path: Path, *command: str | Path, call: str) -> int:
    """Die at the first, second, ... such call, until a run comes through; return the number."""
    for k in range(1, MOST):
        parent = tmp_path / f"{call}-{k}"
        parent.mkdir()
        faults.prepare(scenario, parent)
        arguments = [str(part).replace("{k}", str(k)) for part in command]
        code = run(*(part.replace("{parent}", str(parent)) for part in arguments))
        assert code in (0, 1, 9, -9, 137)
        check(scenario, parent, finished=code == 0)
        if code == 0:
            return k - 1
    raise AssertionError("the run never came through")


def strace(scenario: str, call: str, tmp_path: Path, harm: str = "signal=KILL") -> int:
    if reason := strace_refusal():
        pytest.skip(reason)
    inject = f"inject={call}:{harm}:when={{k}}"
    tracing = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
    return kill_at_each(
        scenario, tmp_path, *tracing, sys.executable, "-SB", SCRIPT, scenario, "{parent}", call=call
    )


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_run_that_ends_at_a_call_loses_nothing(call: str, tmp_path: Path) -> None:
    script = [sys.executable, "-SB", SCRIPT, "rename", "{parent}", call, "{k}"]
    assert kill_at_each("rename", tmp_path, *script, call=call) > 2


@pytest.mark.parametrize("call", ["write", "fsync", "renameat2"])
def test_a_killed_run_loses_nothing(call: str, tmp_path: Path) -> None:
    assert strace("replace", call, tmp_path) > 0


@pytest.mark.full
@pytest.mark.parametrize("call", faults.CALLS)
@pytest.mark.parametrize("scenario", faults.SCENARIOS)
def test_every_end_of_a_run_loses_nothing(scenario: str, call: str, tmp_path: Path) -> None:
    script = [sys.executable, "-SB", SCRIPT, scenario, "{parent}", call, "{k}"]
    points = kill_at_each(scenario, tmp_path, *script, call=call)
    print(f"{scenario} {call}: {points} points")


@pytest.mark.full
@pytest.mark.parametrize("call", SYSCALLS)
@pytest.mark.parametrize("scenario", faults.SCENARIOS)
def test_every_kill_loses_nothing(scenario: str, call: str, tmp_path: Path) -> None:
    print(f"{scenario} {call}: {strace(scenario, call, tmp_path)} points")


@pytest.mark.full
@pytest.mark.parametrize(("call", "code"), [("write", "ENOSPC"), ("fsync", "EIO")])
@pytest.mark.parametrize("scenario", faults.SCENARIOS)
def test_every_error_loses_nothing(scenario: str, call: str, code: str, tmp_path: Path) -> None:
    points = strace(scenario, call, tmp_path, harm=f"error={code}")
    print(f"{scenario} {call} {code}: {points} points")
