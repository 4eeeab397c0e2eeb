"""What runs leave behind: logs, TensorBoard files and the report."""

import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from abrazo.errors import ConfigError, MissingExtraError
from abrazo.training.callbacks.early_stopping import EarlyStoppingCallback
from abrazo.training.callbacks.tensorboard import TensorBoardCallback
from abrazo.training.evaluating import Watch
from abrazo.training.fit import fit
from helpers.tiny import tiny_rows
from helpers.training import small_trainer
from helpers.writers import tiny_bart


def test_the_log_has_a_line_for_each_entry(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, logging_first_step=True)
    trainer.train()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == trainer.state.log_history
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 4, 6, 8, 10, 12, 14, 15]
    assert [line["step"] for line in lines if "eval_loss" in line] == [5, 10, 15]
    assert {"loss", "grad_norm", "learning_rate", "rows_per_second", "tokens_per_second"} <= set(
        lines[0]
    )
    assert lines[-1]["train_loss"] == pytest.approx(trainer.state.loss_sum / 15)


def test_the_report_shows_figures_settings_and_wrong_rows(tmp_path: Path) -> None:
    rows = tiny_rows(16)
    rows[3]["label"] = "bad" if rows[3]["label"] == "good" else "good"
    trainer = small_trainer(
        tmp_path, options={"eval_dataset": rows}, reports=True, num_train_epochs=1, run_name="mine"
    )
    trainer.train()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for part in ("mine", "text-classification", "learning_rate", "fp32", "<svg", "row "):
        assert part in page


def test_the_report_of_a_model_that_writes_shows_some_of_its_texts(tmp_path: Path) -> None:
    words = ["good film", "bad food", "the old road", "a new year", "two good days", "bad"]
    rows = [{"source": text, "note": "aside", "target": f"{text} {text}"} for text in words]
    fit(
        "translation",
        rows,
        model=tiny_bart(),
        eval_data=rows,
        output_dir=tmp_path,
        num_train_epochs=1,
        precision="fp32",
        disable_tqdm=True,
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    spread, _, unlike = page.partition("Least like what was wished for")
    assert sorted(re.findall(r"<td class=.text.>(.*?)</td>", unlike)[0::3]) == sorted(words)
    shown = re.findall(r"<td class=.text.>(.*?)</td>", spread)
    assert shown[0::3] == words[:5]
    assert shown[1::3] == [f"{text} {text}" for text in words[:5]]
    assert len(shown) == 15


def test_without_a_terminal_progress_is_a_line_for_each_entry(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "abrazo"):
        small_trainer(tmp_path, disable_tqdm=False, num_train_epochs=1).train()
    assert "step 2 of 5, epoch 0.40: loss" in caplog.text


def test_on_a_terminal_progress_is_a_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    small_trainer(tmp_path, disable_tqdm=False, num_train_epochs=1).train()
    shown = capsys.readouterr().err
    assert "5/5" in shown
    assert shown.count("step 5 of 5, epoch 1.00: eval_loss ") == 1
    assert "eval_accuracy" in shown


def test_tensorboard_gets_every_figure_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    small_trainer(tmp_path, report_to="tensorboard").train()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert {"train/loss", "train/learning_rate", "eval/accuracy", "eval/loss"} <= set(tags)
    assert [event.step for event in events.Scalars("eval/loss")] == [5, 10, 15]


def test_a_missing_tensorboard_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install abrazo\[tensorboard\]"):
        TensorBoardCallback()


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((0,), "must be at least 1"),
        ((1.5,), "must be a whole number"),
        ((1, -1.0), "must be at least 0"),
    ],
)
def test_wrong_limits_of_early_stopping_are_refused(arguments: tuple[Any, ...], rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        EarlyStoppingCallback(*arguments)


@pytest.mark.parametrize(
    ("direction", "new", "old", "by", "expected"),
    [
        ("max", 0.9, 0.8, 0.0, True),
        ("max", 0.8, 0.8, 0.0, False),
        ("max", 0.85, 0.8, 0.1, False),
        ("min", 0.7, 0.8, 0.0, True),
        ("min", 0.7, 0.8, 0.2, False),
        ("min", float("nan"), 0.8, 0.0, False),
        ("min", 0.8, float("nan"), 0.0, True),
        ("max", 0.1, None, 0.0, True),
    ],
)
def test_better_is_what_the_direction_says(
    direction: Any, new: float, old: float | None, by: float, expected: bool
) -> None:
    assert Watch("figure", direction).is_better(new, old, by=by) is expected
