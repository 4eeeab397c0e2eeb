"""The guide and the example of writing texts run, on a tiny decoder."""

import io
import re
import runpy
import shlex
from pathlib import Path

import pytest

from abrazo.cli.main import build_app, main
from abrazo.models.llama import LlamaConfig, LlamaForCausalLM
from helpers.tiny import VOCAB, scramble, tiny_folder, tiny_tokenizer
from helpers.writers import tiny_bart

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "generation.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder with a small decoder and its tokenizer; a small BERT is beside it."""
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
    model.tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }} : {{ m.content }} . {% endfor %}"
        "{% if add_generation_prompt %}assistant : {% endif %}"
    )
    made = tmp_path_factory.mktemp("models") / "my-model"
    model.save_pretrained(made)
    tiny_bart().save_pretrained(made.parent / "my-translator")
    tiny_folder(made.parent / "my-bert", "masked_lm")
    return made


def commands(document: str) -> list[str]:
    """Return the lines of a document that run commands of abrazo."""
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    plain = [block for language, block in blocks if not language]
    return [line for block in plain for line in block.splitlines() if "abrazo " in line]


def test_the_commands_of_the_guide_run(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("my-model", "my-translator"):
        Path(name).symlink_to(folder.parent / name)
    for name in ("prompts.txt", "texts.txt"):
        Path(name).write_text("the film\nthe plot\n")
    Path("questions.jsonl").write_text('{"question": "who lives in paris ?"}\n')
    Path("texts.csv").write_text("source,id\na good film,1\n")
    Path("pairs.csv").write_text("source,target\na good film,my film\n")
    for line in commands("docs/generation.md"):
        before, _, words = line.rpartition("abrazo ")
        if before:  # cat FILE |
            data = Path(before.split()[1]).read_bytes()
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert main(shlex.split(words)) == 0, (line, capsys.readouterr().err)
    assert len(Path("written.txt").read_text().splitlines()) == 2
    assert "predicted_generated_text" in Path("answers.jsonl").read_text()
    assert "predicted_translation_text" in Path("translated.csv").read_text()
    assert '<td class="text">my film</td>' in Path("evaluation/report.html").read_text()
    assert not list(tmp_path.glob("*.progress"))


@pytest.mark.parametrize("document", ["README.md", "docs/generation.md", "docs/extending.md"])
def test_commands_that_are_shown_are_there(document):
    for line in commands(document):
        words = shlex.split(line[line.index("abrazo ") :], comments=True)[1:]
        if "FILE" in words or any(".py:" in word for word in words):
            continue  # a form, or a class of the reader's own
        build_app(words[0]).parse_args(
            [word for word in words if word != "-"] + ["x"] * words.count("-"),
            exit_on_error=False,
            print_error=False,
        )


def test_the_guide_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder.parent)
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.S | re.M)
    names: dict[str, object] = {}
    exec(compile("\n".join(blocks), str(GUIDE), "exec"), names)
    printed = capsys.readouterr().out
    assert "`temperature=0.8` needs `do_sample=True`" in printed
    assert printed.count("length") == 2
    assert names["best"].shape[0] == 2
    assert names["ids"].shape == (1, 20)
    assert (folder.parent / "my-model-with-beams" / "generation_config.json").exists()


def test_the_example_runs(folder, capsys):
    main = runpy.run_path(str(ROOT / "examples" / "generate_text.py"))["main"]
    main(str(folder), "the film was")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:5]] == [
        *("greedy", "beams", "drawn", "drawn twice", "drawn twice"),
    ]
    assert lines[5].startswith("the film was")
