"""The examples of masked words run from end to end, offline, on tiny models."""

import runpy
from pathlib import Path

import pytest
import torch

from helpers.tiny import tiny_folder

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    texts = ["The film was good. It was lovely and great.", "We live in Paris. Tom works at it."]
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(texts * 4), encoding="utf-8")
    torch.set_num_threads(1)
    return path


def run(name: str, *words: str) -> None:
    runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](*words)


def test_fill_mask(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("fill_mask", str(tiny_folder(corpus.parent / "model", "masked_lm")))
    assert "mask 2:" in capsys.readouterr().out


def test_continue_on_own_text(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny_folder(corpus.parent / "model", "masked_lm", max_position_embeddings=128)
    run("continue_on_own_text", str(corpus), str(folder))
    assert "eval_perplexity" in capsys.readouterr().out


def test_pretrain(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("pretrain", str(corpus), "out", "tiny", "120")
    out = capsys.readouterr().out
    assert "eval_next_sentence_accuracy" in out
    assert "follows" in out or "random" in out
