import io
import sys
from pathlib import Path

import pytest

from abrazo.cli.main import main
from helpers.files import write_lines
from helpers.tiny import tiny_folder, tiny_rows


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("ABRAZO_DEBUG", raising=False)


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    """Return the folder of a tiny classifier."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return str(tiny_folder(folder, labels=["bad", "good"]))


@pytest.fixture
def rows_file(tmp_path) -> Path:
    """Return a file of JSON lines with `text` and `label`."""
    return write_lines(tmp_path / "rows.jsonl", tiny_rows(10))


@pytest.fixture
def run(capsys):
    """Return a function that runs a command line: exit code, standard output, standard error."""

    def run_words(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_words


@pytest.fixture
def stdin(monkeypatch):
    """Return a function that puts bytes into the standard input."""

    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))

    return give
