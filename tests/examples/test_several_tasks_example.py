"""The example of several tasks runs, on a tiny model."""

import runpy
from pathlib import Path

import pytest

from abrazo import load_model
from helpers.tiny import tiny_folder

EXAMPLE = Path(__file__).parents[2] / "examples" / "several_tasks.py"


def test_several_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, run = tiny_folder(tmp_path / "model", ""), tmp_path / "run"
    runpy.run_path(str(EXAMPLE))["main"](str(model), str(run), "0.2")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("eval_intent_accuracy ")
    assert lines[1].startswith("eval_names_f1 ")
    assert "'label'" in lines[3]
    assert load_model(f"{run}-intent").head_name == "sequence_classification"
