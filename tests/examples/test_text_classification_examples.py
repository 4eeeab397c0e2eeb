"""The examples of text classification run, on a tiny model."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from abrazo import load_model
from helpers.tiny import tiny_folder

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("models") / "tiny", num_labels=3))


@pytest.fixture
def example(capsys, tmp_path) -> Callable[..., list[str]]:
    """Return a function that runs an example and returns what it printed."""

    def run(name: str, *words: object) -> list[str]:
        runpy.run_path(str(EXAMPLES / name))["main"](*map(str, words))
        return capsys.readouterr().out.splitlines()

    return run


def test_classify_text_then_predict(example, model, tmp_path):
    run = tmp_path / "sentiment"
    lines = example("classify_text.py", model, run, "0.5")
    assert "  hidden_size = 32" in lines
    assert any("'eval_accuracy'" in line for line in lines)
    assert lines[-1].count("'label'") == 2
    assert load_model(run).config.labels == ["negative", "neutral", "positive"]

    lines = example("predict.py", run)
    assert "(1, 3)" in lines
    assert 1_000 <= int(lines[-1]) <= 3_000


def test_train_with_validation(example, model, tmp_path):
    lines = example("train_with_validation.py", model, tmp_path / "run", 5)
    assert lines[0].startswith("stopped after step ")
    assert lines[-1] == "equal to the last bit: True"


def test_own_dataset(example, model, tmp_path):
    lines = example("own_dataset.py", model, tmp_path / "run")
    assert [line.split()[0] for line in lines] == ["texts", "tokens"]


def test_own_loss(example, model, tmp_path):
    lines = example("own_loss.py", model, tmp_path / "run")
    losses = [float(line.split()[-2]) for line in lines]
    assert ["weighted" in lines[0], "smooth" in lines[1], "Margin" in lines[2]] == [True] * 3
    assert len(set(losses)) == 3


def test_raw_texts(example, model, tmp_path):
    lines = example("raw_texts.py", model, tmp_path / "run")
    assert [line.split()[0] for line in lines] == ["logits", "answers", "most", "loss"]
    assert lines[0].startswith("logits (8, 3)")
