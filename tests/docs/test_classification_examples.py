"""The examples of intents and of labels without training run from end to end, offline."""

import csv
import runpy
from pathlib import Path

import pytest

from helpers.tiny import tiny_folder, tiny_rows

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *words: str) -> None:
    runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](*words)


def test_intents_with_rejection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with Path("train.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "intent"])
        writer.writerows([row["text"], row["label"]] for row in tiny_rows(40))
    model = tiny_folder(tmp_path / "model", labels=["bad", "good"])
    run("intents_with_rejection", "train.csv", str(model), "intents", "1")
    out = capsys.readouterr().out
    assert "of the answers are right" in out
    assert "'score'" in out


def test_zero_shot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("zero_shot", str(tiny_folder(tmp_path, "")))
    assert "payment" in capsys.readouterr().out
