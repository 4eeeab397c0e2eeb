"""The examples of entities, similarity, polarity and several labels run, on a tiny model."""

import runpy
from pathlib import Path

import pytest

from helpers.tiny import tiny_folder

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("models") / "tiny", ""))


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("find_entities", ("F1 ", "[CLS]/")),
        ("similar_texts", ("Spearman ", "  ")),
        ("polarity", ("accuracy ", "+")),
    ],
)
def test_learns_and_answers(
    name: str,
    says: tuple[str, str],
    language: str,
    model: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    main(model, str(tmp_path / "run"), "0.2", language)
    lines = capsys.readouterr().out.splitlines()
    first, last = says
    assert lines[0].startswith(first)
    assert lines[-1].startswith((last, "-") if last == "+" else last)


def test_several_labels(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "several_labels.py"))["main"](model, str(tmp_path / "run"), "0.2")
    lines = capsys.readouterr().out.splitlines()
    assert "'eval_micro_f1'" in lines[0]
    assert len(lines) == 4
    assert lines[-1].endswith("]")
