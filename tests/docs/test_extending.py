"""The page on own parts runs from top to bottom: its files, its Python and its commands."""

import re
import shlex
import sys
from pathlib import Path

from abrazo.cli.main import main
from helpers.tiny import tiny_folder

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def test_the_page_on_own_parts_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    tiny_folder(tmp_path / "minilm")  # a small model under the name that the page has
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.M)
    names: dict[str, object] = {}
    for kind, text in blocks:
        if named := re.match(r"# (\w+\.py)\n", text):
            Path(named[1]).write_text(text, encoding="utf-8")
        elif kind == "python":
            exec(compile(text, str(PAGE), "exec"), names)
        else:
            for line in text.splitlines():
                assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
    assert 1 <= names["rate"]("a superb play")["stars"] <= 5
    assert Path("answers.jsonl").read_text(encoding="utf-8").count("predicted_stars") == 30
    assert Path("more.jsonl").read_text(encoding="utf-8").count("predicted_label") == 30
    for module in ("stars", "mixer"):
        del sys.modules[module]
