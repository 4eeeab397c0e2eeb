"""The guide and the example of writing texts run, on a tiny decoder."""

import re
import runpy
from pathlib import Path

import pytest

from abrazo.models.llama import LlamaConfig, LlamaForCausalLM
from helpers.tiny import VOCAB, scramble, tiny_tokenizer

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "generation.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder with a small decoder and its tokenizer."""
    config = LlamaConfig(
        vocab_size=len(VOCAB),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    scramble(model)
    model.tokenizer = tiny_tokenizer()
    made = tmp_path_factory.mktemp("models") / "my-model"
    model.save_pretrained(made)
    return made


def test_the_guide_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder.parent)
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.S | re.M)
    names: dict[str, object] = {}
    exec(compile("\n".join(blocks), str(GUIDE), "exec"), names)
    printed = capsys.readouterr().out
    assert "`temperature=0.8` needs `do_sample=True`" in printed
    assert printed.count("length") == 2
    assert names["best"].shape[0] == 2
    assert (folder.parent / "my-model-with-beams" / "generation_config.json").exists()


def test_the_example_runs(folder, capsys):
    main = runpy.run_path(str(ROOT / "examples" / "generate_text.py"))["main"]
    main(str(folder), "the film was")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:5]] == [
        *("greedy", "beams", "drawn", "drawn twice", "drawn twice"),
    ]
    assert lines[5].startswith("the film was")
