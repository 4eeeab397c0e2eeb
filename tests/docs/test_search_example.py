"""The example of a search runs from end to end, offline."""

import runpy
from pathlib import Path

import pytest

from helpers.tiny import tiny_folder

pytest.importorskip("optuna")

EXAMPLE = Path(__file__).parents[2] / "examples" / "search.py"


def test_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_folder(tmp_path / "model", "")
    runpy.run_path(str(EXAMPLE))["main"](str(model), str(tmp_path / "out"), "1")
    out = capsys.readouterr().out
    assert "BestRun(number=0" in out
    assert "eval_accuracy" in out
    assert (tmp_path / "out" / "search.html").exists()
