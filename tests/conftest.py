"""Being here, this file puts `tests/` on the path, so that tests import `helpers`."""

import os

import pytest

from abrazo import own_code

# Models of tests are so small that several threads only get into each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to no folder must not be asked for on a hub."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens there


@pytest.fixture(autouse=True)
def _own_files_of_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a test runs are not run again in the processes of other tests."""
    monkeypatch.setattr("abrazo.own_code._files", own_code._files.copy())
