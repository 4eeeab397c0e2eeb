"""The examples of models that write run, on little."""

import re
import runpy
from pathlib import Path

import pytest

from helpers.tiny import tiny_folder

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_translate_from_scratch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(EXAMPLES / "translate_from_scratch.py"))
    example["SIZES"]["d_model"] = example["SIDE"]["ffn_dim"] = 32
    example["main"](output=str(tmp_path / "run"), epochs="0.1")
    assert capsys.readouterr().out.count(" -> ") == 5
    assert (tmp_path / "run" / "report.html").exists()


def test_a_summariser_from_scratch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(EXAMPLES / "summarize_from_scratch.py"))
    example["SIZES"]["d_model"] = example["SIDE"]["ffn_dim"] = 32
    example["LENGTHS"]["generation"]["max_new_tokens"] = 8
    example["main"](out=str(tmp_path / "run"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ROUGE-L of first sentences: 0.")
    assert lines[1].startswith("ROUGE-L of the model: 0.")
    example["main"](out=str(tmp_path / "more"), epochs="0.5", start=str(tmp_path / "run" / "best"))
    assert (tmp_path / "more" / "best").is_dir()


def test_gpt_from_scratch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(EXAMPLES / "gpt_from_scratch.py"))["main"]
    main(output=str(tmp_path / "run"))
    out = capsys.readouterr().out
    found = re.match(r"(\d+) characters, (\d+) pieces: (\d+\.\d+) nats per character\n", out)
    assert found is not None
    assert 1 < float(found[3]) < 5
    assert out.count("---\nThe ") == 3


def test_summarize(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny_folder(tmp_path / "model", "")
    runpy.run_path(str(EXAMPLES / "summarize.py"))["main"](
        str(folder), "0.1", str(tmp_path / "run")
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ROUGE-L ")
    assert lines[-1].endswith("words for a long text")


def test_write_with_bert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny_folder(tmp_path / "model", "masked_lm")
    runpy.run_path(str(EXAMPLES / "write_with_bert.py"))["main"](
        str(folder), str(tmp_path / "run"), "0.1"
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("BertForMaskedLM: i ")
    assert lines[-2].startswith("perplexity ")
    assert lines[-1].startswith("BertLMHeadModel: i ")
