"""Memory is kept while a run goes on, and returned after it."""

import resource
from typing import Any

import pytest
import torch

from abrazo.layers import heap
from abrazo.layers.heap import freed_memory_kept


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in heap._SETTINGS:
        monkeypatch.delenv(name, raising=False)


def faults_of_a_step() -> int:
    """Pages that come anew for tensors that are all given up again."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        tensors = [torch.zeros(700_000) for _ in range(16)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(heap._glibc() is None, reason="the C library is not glibc")
def test_the_next_step_takes_the_memory_of_the_last() -> None:
    with freed_memory_kept():
        faults_of_a_step()
        assert faults_of_a_step() < 3 * 16 * 700  # each tensor has 684 pages


class Library:
    """A C library that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def mallopt(self, parameter: int, value: int) -> None:
        self.told.append((parameter, value))

    def malloc_trim(self, left: int) -> None:
        self.told.append("trimmed")


def test_memory_is_returned_when_a_run_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(heap, "_glibc", lambda: library)

    def run() -> None:
        with freed_memory_kept():
            assert dict(library.told) == {
                heap._MMAP_THRESHOLD: heap._OWN_MAPPING,
                heap._TRIM_THRESHOLD: heap._KEPT,
            }
            raise ValueError("broken off")

    with pytest.raises(ValueError, match="broken off"):
        run()
    assert library.told[-2:] == [(heap._TRIM_THRESHOLD, heap._KEPT_AFTERWARDS), "trimmed"]


def test_memory_is_returned_when_the_last_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(heap, "_glibc", lambda: library)
    with freed_memory_kept():
        told = list(library.told)
        with freed_memory_kept():
            pass
        assert library.told == told
    assert library.told[-1] == "trimmed"


@pytest.mark.parametrize("name", heap._SETTINGS)
def test_what_the_environment_settles_is_left(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    library = Library()
    monkeypatch.setattr(heap, "_glibc", lambda: library)
    monkeypatch.setenv(name, "1")
    with freed_memory_kept():
        assert library.told == []


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_glibc", lambda: None)
    with freed_memory_kept():
        assert faults_of_a_step() >= 0
