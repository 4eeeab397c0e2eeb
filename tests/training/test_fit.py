"""A whole run in one line."""

import logging
from pathlib import Path

import pytest

from abrazo.data.dataset import Dataset, DatasetDict
from abrazo.errors import ConfigError, DataError
from abrazo.training import held_out as held_out_rows
from abrazo.training.fit import fit
from abrazo.training.trainer import Trainer
from helpers.tiny import tiny_folder, tiny_rows

QUICK = {"num_train_epochs": 1, "per_device_train_batch_size": 8, "disable_tqdm": True}


@pytest.fixture(autouse=True)
def _without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its plots take longer than the run."""
    monkeypatch.setattr(
        "abrazo.training.callbacks.html_report.HtmlReportCallback.on_train_end",
        lambda self, trainer: None,
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "model", "")


def test_one_line_trains_evaluates_and_saves(
    tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Dataset.from_list(tiny_rows(40)).to_csv(tmp_path / "train.csv")
    with caplog.at_level(logging.WARNING, "abrazo"):
        result = fit(
            "text-classification",
            tmp_path / "train.csv",
            model=model,
            output_dir=tmp_path / "run",
            max_length=20,
            **QUICK,
        )
    assert "4 of 40 rows, drawn at random, are held out for evaluation" in caplog.text
    assert result.path == tmp_path / "run" / "best"
    assert 0 <= result.metrics["eval_accuracy"] <= 1
    loaded = Trainer.from_pretrained(result.path)
    assert tuple(loaded.model.config.labels) == ("bad", "good")
    assert loaded.task.settings.max_length == 20


def test_the_same_line_again_goes_on_or_is_finished(
    tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def run() -> dict[str, float]:
        return fit(
            "text-classification",
            tiny_rows(40),
            model=model,
            output_dir=tmp_path / "run",
            eval_data=tiny_rows(8),
            **QUICK,
        ).metrics

    first = run()
    with caplog.at_level(logging.WARNING, "abrazo"):
        assert run() == first
    assert "is finished" in caplog.text


def test_few_rows_are_all_trained_on(
    tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "abrazo"):
        result = fit(
            "text-classification", tiny_rows(12), model=model, output_dir=tmp_path / "run", **QUICK
        )
    assert "only 12 rows, so none are held out" in caplog.text
    assert "eval_loss" not in result.metrics


def test_mistakes_are_told_with_the_nearest_name(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ConfigError, match=r"no option `max_lenght`\. Did you mean `max_length`"):
        fit("text-classification", tiny_rows(8), model=model, max_lenght=3)
    with pytest.raises(ConfigError, match=r"Did you mean `text-classification`"):
        fit("text-clasification", tiny_rows(8), model=model)
    with pytest.raises(DataError, match="No column for the text"):
        fit("text-classification", [{"a": "x", "label": "b"}] * 9, model=model)


def test_selected_rows_keep_their_origin() -> None:
    from abrazo.data.rows import RowSource, as_rows

    source = as_rows(tiny_rows(30))
    train, held_out = held_out_rows.hold_out(source, seed=3)
    assert held_out is not None
    assert isinstance(held_out, RowSource)
    names = {part.origin(i) for part in (train, held_out) for i in range(len(part))}
    assert len(names) == 30 == len(train) + len(held_out)
    assert held_out.rows([0])[0] == source.rows([int(held_out.origin(0).split()[1]) - 1])[0]


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["train", "test"], 3), (["train", "validation", "test"], 2), (["train"], 1)],
)
def test_of_splits_to_evaluate_on_the_held_out_one_is_taken(
    names: list[str], expected: int
) -> None:
    sizes = {"train": 1, "validation": 2, "test": 3}
    splits = DatasetDict({name: Dataset.from_list(tiny_rows(sizes[name])) for name in names})
    assert len(held_out_rows.rows_to_evaluate(splits)) == expected


def test_splits_of_unknown_names_are_not_evaluated_on() -> None:
    splits = DatasetDict({"monday": Dataset.from_list(tiny_rows(3))})
    with pytest.raises(DataError, match=r"splits `monday`, but none of .* `data\['monday'\]`"):
        held_out_rows.rows_to_evaluate(splits)
    assert len(held_out_rows.rows_to_evaluate(splits["monday"])) == 3


def test_evaluation_on_data_in_splits_is_not_of_its_training_rows(
    tmp_path: Path, model: Path
) -> None:
    rows = Dataset.from_list(tiny_rows(20))
    splits = DatasetDict({"train": rows.take(8), "validation": rows.take(4)})
    result = fit(
        "text-classification",
        rows,
        model=model,
        eval_data=splits,
        output_dir=str(tmp_path / "run"),
        **QUICK,
    )
    assert result.trainer.eval_source is not None
    assert len(result.trainer.eval_source) == 4
