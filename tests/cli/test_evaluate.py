import json

import pytest

from abrazo import Trainer, TrainingArguments, load_model
from abrazo.data.rows import as_rows
from abrazo.tasks.auto import learn_task
from helpers.files import write_lines
from helpers.tiny import tiny_folder, tiny_rows
from helpers.training import small_model


def test_the_figures_are_those_of_the_trainer(run, model, rows_file, tmp_path):
    code, out, _ = run("evaluate", model, rows_file, "--json", "--precision", "fp32")
    figures = json.loads(out)
    args = TrainingArguments(output_dir=str(tmp_path / "unused"), device="cpu", precision="fp32")
    expected = Trainer(load_model(model), args).evaluate(tiny_rows(10))
    assert code == 0
    assert figures["num_rows"] == 10
    for name in ("loss", "accuracy", "macro_f1"):
        assert figures[name] == pytest.approx(expected[f"eval_{name}"], abs=1e-5)


def test_figures_and_classes_are_printed(run, model, rows_file):
    code, out, err = run("evaluate", model, rows_file)
    assert code == 0
    assert all(word in out for word in ("accuracy", "macro f1", "bad", "good", "macro average"))
    assert "The report is `evaluation/report.html`." in err


def test_a_report_and_the_figures_are_written(run, model, rows_file, tmp_path):
    _, out, _ = run("evaluate", model, rows_file, "--report", "deep/er/test.html", "--json")
    page = (tmp_path / "deep" / "er" / "test.html").read_text(encoding="utf-8")
    assert "rows.jsonl, row" in page  # the rows that are surely wrong
    assert "这部电影" in page
    assert (tmp_path / "deep" / "er" / "metrics.json").read_text() == out


def test_answers_that_can_never_be_given_are_told(run, tmp_path):
    answers = [{"text": "lives in paris", "start": 4}]
    row = {"context": "tom lives in paris", "question": "where?", "answers": answers}
    model = small_model("question_answering")
    task = learn_task("question-answering", as_rows([row]), {"max_answer_length": 2})
    task.prepare_model(model)
    model.save_pretrained(tmp_path / "model")
    file = write_lines(tmp_path / "r.jsonl", [row] * 3)
    code, _, err = run("evaluate", tmp_path / "model", file)
    assert code == 0
    assert err.count("3 of 3 answers") == 1
    assert "Raise it to 3." in err


def test_labels_that_look_like_markup_are_shown_as_they_are(run, tmp_path):
    labels = ["[red]", "[/bold]"]
    folder = tiny_folder(tmp_path / "model", labels=labels)
    file = write_lines(tmp_path / "r.jsonl", tiny_rows(8, labels=labels))
    code, out, _ = run("evaluate", folder, file)
    assert code == 0
    assert all(label in out for label in labels)


def test_figures_without_meaning_are_null_in_json(run, model, tmp_path):
    file = write_lines(tmp_path / "one.jsonl", [{"text": "fine", "label": "good"}] * 3)
    _, out, _ = run("evaluate", model, file, "--json")
    assert json.loads(out)["auc"] is None
    assert "NaN" not in out


def test_another_label_column_can_be_named(run, model, tmp_path):
    rows = [{"text": row["text"], "mood": row["label"]} for row in tiny_rows(8)]
    file = write_lines(tmp_path / "r.jsonl", rows)
    assert run("evaluate", model, file, "--label-column", "mood")[0] == 0
    code, _, err = run("evaluate", model, file)
    assert (code, "there is no column `label`" in err) == (2, True)


def test_a_label_that_the_model_does_not_know_is_an_error(run, model, tmp_path):
    file = write_lines(tmp_path / "r.jsonl", [{"text": "fine", "label": "godo"}])
    code, _, err = run("evaluate", model, file)
    assert code == 2
    assert 'r.jsonl, row 1: label "godo"' in err
    assert "Did you mean `good`?" in err


def test_a_report_that_cannot_be_written_is_an_error(run, model, rows_file, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = run("evaluate", model, rows_file, "--report", "file/report.html")
    assert (code, "cannot be written" in err) == (2, True)
