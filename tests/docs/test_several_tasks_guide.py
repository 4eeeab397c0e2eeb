"""The guide to several tasks runs: its plan, its commands and its Python, on a tiny model."""

import re
import shlex
from pathlib import Path

import pytest

from abrazo import Dataset, load_model
from abrazo.cli.main import main
from abrazo.tasks.auto import TASKS
from abrazo.tasks.multi_task import unfit_as_part
from helpers.files import write_lines
from helpers.several import two_task_rows
from helpers.tiny import tiny_folder

GUIDE = (Path(__file__).parents[2] / "docs" / "several_tasks.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the blocks of the guide in a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    return [block for name, block in found if name == language]


@pytest.fixture(autouse=True)
def _as_a_reader_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the files that the guide speaks of, and its plan."""
    monkeypatch.chdir(tmp_path)
    rows = two_task_rows(40, 24)
    intents = [{"message": row["text"], "intent": row["label"]} for row in rows["intent"]]
    for name, some in (("intents", intents), ("intents-dev", intents[:8]), ("messages", intents)):
        Dataset.from_list(some).to_csv(tmp_path / f"{name}.csv")
    for name, some in (("1", rows["slots"][:8]), ("2", rows["slots"][8:]), ("dev", rows["slots"])):
        write_lines(tmp_path / f"names-{name}.jsonl", some)
    tiny_folder(tmp_path / "tiny", "")
    (plan,) = blocks("json")
    Path("plan.json").write_text(plan, encoding="utf-8")


def test_its_commands_run(capsys: pytest.CaptureFixture[str]) -> None:
    (commands,) = blocks("")
    for line in commands.replace("minilm", "tiny --max-steps 2 --disable-tqdm").splitlines():
        assert main(shlex.split(line, comments=True)[1:]) == 0, capsys.readouterr().err
    assert "names f1" in capsys.readouterr().out
    assert Path("answers.jsonl").read_text(encoding="utf-8").count("predicted_label") == 40


def test_its_python_runs() -> None:
    (code,) = blocks("python")
    code = code.replace('model="minilm",', 'model="tiny", max_steps=2, disable_tqdm=True,')
    names: dict[str, object] = {}
    exec(compile(code, "docs/several_tasks.md", "exec"), names)
    assert load_model("intent-alone").head_name == "sequence_classification"


def test_it_names_the_tasks_that_can_be_parts() -> None:
    paragraph = GUIDE[GUIDE.index("These can be parts") : GUIDE.index("Tasks that write")]
    fit = {name for name, kind in TASKS.items() if unfit_as_part(kind) is None}
    assert set(re.findall(r"`([a-z-]+)`", paragraph)) == fit
