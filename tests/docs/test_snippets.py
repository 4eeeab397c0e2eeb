"""The Python of README and guides runs, top to bottom, as a reader would type it."""

import re
from pathlib import Path

import pytest

from abrazo.hub.resolve import find_installed

ROOT = Path(__file__).parents[2]


def snippets(document: str) -> str:
    """Return all Python blocks of a document as one program."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))


needs_minilm = pytest.mark.skipif(
    find_installed("minilm") is None, reason="the MiniLM package is not installed"
)


@needs_minilm
def test_the_examples_of_contributing_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(snippets("CONTRIBUTING.md"), "CONTRIBUTING.md", "exec"), {})
    assert 0 <= float(capsys.readouterr().out.split()[-1]) <= 1


@needs_minilm
def test_the_examples_of_the_readme_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = snippets("README.md")
    # the same calls on fewer steps and with the data the text speaks of
    code = code.replace("num_train_epochs=3", "max_steps=2")
    code = code.replace('output_dir="my-intents",', 'output_dir="my-intents", max_steps=2,')
    names: dict[str, object] = {}
    setup = (
        "import abrazo as az\n"
        'labels = ("negative", "neutral", "positive")\n'
        'train = [{"text": f"a {word} film", "label": word} for word in labels]\n'
        "dev = train\n"
    )
    exec(compile(setup + code, "README.md", "exec"), names)
    assert Path("my-model/model.safetensors").exists()
    assert names["classify"]("Where is my parcel?")["label"]
