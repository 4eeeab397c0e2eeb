"""A process that writes answers and is killed: the same command goes on, to the same bytes."""

import subprocess
import sys
from pathlib import Path

from helpers.files import write_lines
from helpers.tiny import tiny_rows
from helpers.writers import tiny_llama

PROGRAM = Path(__file__).parent / "answering_run.py"


def answer(folder: Path, place: str, output: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, str(PROGRAM), place, "generate", "model", "rows.jsonl"),
            *("-o", output, "--do-sample", "--seed", "3", "--max-new-tokens", "5"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_killed_twice_is_as_never_killed(tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path / "model")
    write_lines(tmp_path / "rows.jsonl", [{"text": row["text"]} for row in tiny_rows(18)])
    assert answer(tmp_path, "0", "whole.csv").returncode == 0
    for place, kept in (("1.2", 4), ("3.4", 12)):
        assert answer(tmp_path, place, "answers.csv").returncode == -9
        assert not (tmp_path / "answers.csv").exists()
        lines = (tmp_path / "answers.csv.progress").read_text().splitlines()
        assert sum(line.startswith("[") for line in lines) > kept  # some of a part that is lost
    last = answer(tmp_path, "0", "answers.csv")
    assert (last.returncode, "12 of 18 rows have an answer" in last.stderr) == (0, True)
    assert (tmp_path / "answers.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not (tmp_path / "answers.csv.progress").exists()
