"""The examples of models that write run, on little."""

import runpy
from pathlib import Path

import pytest

from helpers.tiny import tiny_folder

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_translate_from_scratch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(EXAMPLES / "translate_from_scratch.py"))["main"]
    main(output=str(tmp_path / "run"), epochs="0.1")
    assert capsys.readouterr().out.count(" -> ") == 5
    assert (tmp_path / "run" / "report.html").exists()


def test_summarize(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny_folder(tmp_path / "model", "")
    runpy.run_path(str(EXAMPLES / "summarize.py"))["main"](
        str(folder), "0.1", str(tmp_path / "run")
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ROUGE-L ")
    assert lines[-1].endswith("words for a long text")
