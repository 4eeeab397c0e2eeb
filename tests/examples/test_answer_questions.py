"""The example that answers questions runs."""

import runpy
from pathlib import Path

from helpers.tiny import tiny_folder

EXAMPLE = Path(__file__).parents[2] / "examples" / "answer_questions.py"


def test_the_example_trains_and_answers(tmp_path, capsys):
    model = tiny_folder(tmp_path / "model", "question_answering")
    main = runpy.run_path(str(EXAMPLE))["main"]
    main(str(model), str(tmp_path / "run"), "1")
    lines = capsys.readouterr().out.splitlines()
    assert sum("'score'" in line and "'start'" in line for line in lines) == 4
    assert any("eval_f1" in line for line in lines)
