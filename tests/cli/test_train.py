import dataclasses

import pytest

from abrazo import AutoModelForSequenceClassification, DataError, TrainingArguments
from abrazo.tasks.auto import TASKS
from helpers.files import write_lines
from helpers.tiny import tiny_rows


@pytest.fixture
def files(tmp_path) -> tuple[str, str]:
    """Return a training file and an evaluation file."""
    train = write_lines(tmp_path / "train.jsonl", tiny_rows(16))
    dev = write_lines(tmp_path / "dev.jsonl", tiny_rows(8))
    return str(train), str(dev)


SHORT = ("--epochs", 1, "--output", "results", "--disable-tqdm", "--device", "cpu")


def test_a_run_from_files_to_a_model_that_serves(run, model, files, tmp_path):
    train, dev = files
    words = ("--model", model, "--train", train, "--eval", dev, "--learning-rate", "1e-3")
    code, out, _ = run("train", "text-classification", *words, *SHORT)
    assert code == 0
    assert "eval accuracy" in out
    assert "results/best" in out
    assert (tmp_path / "results" / "report.html").exists()
    code, out, _ = run("predict", "results", dev, "--device", "cpu")
    assert code == 0
    assert out.count("predicted_label") == 8


def test_options_of_the_task_are_read(run, model, tmp_path):
    rows = [{"remark": row["text"], "stars": row["label"]} for row in tiny_rows(8)]
    train = write_lines(tmp_path / "other.jsonl", rows)
    columns = ("--text-column", "remark", "--label-column", "stars", "--labels", "good", "bad")
    words = ("--model", model, "--train", train, "--eval", train, *columns)
    assert run("train", "intent", *words, *SHORT)[0] == 0
    trained = AutoModelForSequenceClassification.from_pretrained(tmp_path / "results")
    assert trained.config.labels == ["good", "bad"]
    assert trained.task_settings["settings"]["text_column"] == "remark"


def test_several_files_are_one_data_set(run, model, files):
    train, dev = files
    words = ("--model", model, "--train", train, dev, "--eval", dev)
    code, _, err = run("train", "intent", *words, *SHORT, "--max-steps", 1, "--batch-size", 24)
    assert (code, "held out" in err) == (0, False)


def test_early_stopping_is_an_option(run, model, files):
    train, dev = files
    words = ("--model", model, "--train", train, "--eval", dev, "--early-stopping-patience", 0)
    code, _, err = run("train", "intent", *words, *SHORT)
    assert (code, "`--early-stopping-patience` must be at least 1" in err) == (2, True)


def test_a_setting_that_is_wrong_is_told_by_its_option(run, model, files):
    words = ("--model", model, "--train", files[0], "--learning-rate", -1)
    assert run("train", "intent", *words) == (
        2,
        "",
        "Error: `--learning-rate` must be above 0, but is -1.0.\n",
    )


def test_what_stands_in_the_way_of_a_run_names_options(run, model, files, tmp_path):
    train, dev = files
    words = ("--model", model, "--train", train, "--eval", dev, *SHORT)
    assert run("train", "intent", *words)[0] == 0
    code, _, err = run("train", "intent", *words, "--seed", 3)
    assert code == 2
    assert "`--overwrite-output-dir`" in err


def test_the_errors_class_is_kept(model, files, monkeypatch):
    from abrazo.cli.main import main

    with pytest.raises(DataError, match="`nowhere`"):
        main(
            [
                *("train", "intent", "--model", model, "--train", files[0]),
                *("--text-column", "nowhere", "--debug"),
            ]
        )


@pytest.mark.parametrize("task", TASKS)
def test_every_task_can_be_trained_with_every_setting_of_a_run(task, run):
    code, out, err = run("train", task, "--help")
    assert (code, err) == (0, "")
    for field in dataclasses.fields(TrainingArguments):
        assert f"--{field.name.replace('_', '-')}" in out


def test_a_task_with_a_loss_of_its_own_offers_that(run):
    out = run("train", "sentence-similarity", "--help")[1]
    assert out.count("--loss ") == 1
    assert "in_batch_negatives" in out
    assert "label_smoothing" not in out
