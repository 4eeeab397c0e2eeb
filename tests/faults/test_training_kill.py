"""Runs that are killed, interrupted, or find the disk full, and then go on."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from abrazo.checkpoints.atomic import is_whole
from abrazo.checkpoints.jsonfile import read_json_object
from abrazo.checkpoints.safetensors import open_tensors
from helpers.training import without_timings

PROGRAM = Path(__file__).parent / "training_run.py"
LAST = "checkpoint-30"


def start(folder: Path, milliseconds: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder), str(milliseconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def wait_for_step(run: subprocess.Popen[str], step: int) -> None:
    assert run.stdout is not None
    for line in run.stdout:
        if int(line) >= step:
            return
    raise AssertionError(run.stderr.read() if run.stderr else "")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    finish(folder)
    return folder


def assert_same_result(folder: Path, whole: Path) -> None:
    for name in (f"{LAST}/model", f"{LAST}/optimizer", f"{LAST}/rng", "best/model"):
        ours = open_tensors(folder / f"{name}.safetensors")
        theirs = open_tensors(whole / f"{name}.safetensors")
        different = [n for n in theirs.names if not torch.equal(ours.tensor(n), theirs.tensor(n))]
        assert different == []
    ours, theirs = (
        read_json_object(place / LAST / "trainer_state.json")["state"] for place in (folder, whole)
    )
    assert without_timings(ours["log_history"]) == without_timings(theirs["log_history"])
    assert ours["best_metric"] == theirs["best_metric"]
    assert ours["loss_sum"] == theirs["loss_sum"]
    assert not list(folder.glob(".*partial"))


def kill_and_go_on(folder: Path, whole: Path, *, seed: int, times: int) -> None:
    rng = random.Random(seed)
    for _ in range(times):
        run = start(folder, milliseconds=5)
        wait_for_step(run, rng.randint(2, 12))
        time.sleep(rng.random() * 0.1)
        run.kill()
        run.communicate()
    finish(folder)
    assert_same_result(folder, whole)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, whole: Path) -> None:
    kill_and_go_on(tmp_path, whole, seed=1, times=1)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(2, 40))
def test_runs_killed_anywhere_go_on_as_if_nothing_had_happened(
    tmp_path: Path, whole: Path, seed: int
) -> None:
    kill_and_go_on(tmp_path, whole, seed=seed, times=3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_a_signal_ends_the_run_with_a_checkpoint(
    tmp_path: Path, whole: Path, number: signal.Signals
) -> None:
    run = start(tmp_path, milliseconds=30)
    wait_for_step(run, 6)
    run.send_signal(number)
    out, errors = run.communicate(timeout=30)
    assert run.returncode == (143 if number == signal.SIGTERM else -signal.SIGINT)
    step = max([6, *map(int, out.split())])
    folder = tmp_path / f"checkpoint-{step}"
    assert is_whole(folder)
    assert f"Stopped by {number.name} after step {step}" in errors
    finish(tmp_path)
    assert_same_result(tmp_path, whole)


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    run = start(tmp_path, milliseconds=20_000)
    wait_for_step(run, 1)
    run.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert run.poll() is None
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=10)
    assert run.returncode != 0
    assert not list(tmp_path.glob("checkpoint-*"))
