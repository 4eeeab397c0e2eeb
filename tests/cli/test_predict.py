import dataclasses
import json
from types import SimpleNamespace

import pytest

from abrazo import load_dataset, pipeline
from abrazo.cli.loading import Columns
from abrazo.tasks.auto import TASKS
from helpers.files import write_lines
from helpers.tiny import tiny_folder, tiny_rows

FORMATS = ["csv", "tsv", "json", "jsonl", "parquet", "arrow"]


def lines_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_rows_keep_their_columns_and_order_and_get_the_pipelines_answers(run, model, rows_file):
    code, out, _ = run("predict", model, rows_file)
    rows = lines_of(out)
    assert code == 0
    assert [{"text": row["text"], "label": row["label"]} for row in rows] == tiny_rows(10)
    answers = pipeline("text-classification", model)([row["text"] for row in tiny_rows(10)])
    assert [row["predicted_label"] for row in rows] == [answer["label"] for answer in answers]
    assert [row["predicted_score"] for row in rows] == pytest.approx(
        [answer["score"] for answer in answers], abs=1e-3
    )


@pytest.mark.parametrize("suffix", FORMATS)
def test_files_of_every_format_come_in_and_go_out(suffix, run, model, rows_file, tmp_path):
    given, answered = tmp_path / f"given.{suffix}", tmp_path / f"answered.{suffix}"
    assert run("predict", model, rows_file, "-o", given)[0] == 0
    renamed = load_dataset(given).rename_column("predicted_label", "first_label")
    write_lines(tmp_path / "again.jsonl", renamed.remove_columns("predicted_score").to_list())
    code, out, err = run("predict", model, tmp_path / "again.jsonl", "--output", answered)
    assert (code, out) == (0, "")
    assert "10 rows answered" in err
    rows = load_dataset(answered)
    assert rows.column_names == [
        *("text", "label", "first_label", "predicted_label", "predicted_score")
    ]
    assert rows["predicted_label"].to_list() == rows["first_label"].to_list()


def test_a_text_file_gets_one_answer_a_line(run, model, tmp_path):
    (tmp_path / "texts.txt").write_text("a fine film\n\nbad\n")
    assert run("predict", model, "texts.txt", "-o", "answers.txt")[0] == 0
    assert len((tmp_path / "answers.txt").read_text().splitlines()) == 3


@pytest.mark.parametrize(("top_k", "count"), [(2, 2), (0, 3)])
def test_several_candidates_are_a_list(top_k, count, run, tmp_path, rows_file):
    folder = tiny_folder(tmp_path / "three", labels=["bad", "fair", "good"])
    _, out, _ = run("predict", folder, rows_file, "--top-k", top_k)
    for row in lines_of(out):
        scores = [candidate["score"] for candidate in row["predicted"]]
        assert len(scores) == count
        assert scores == sorted(scores, reverse=True)


def test_another_text_column_can_be_named(run, model, tmp_path):
    file = write_lines(tmp_path / "r.jsonl", [{"remark": "a fine film"}])
    assert run("predict", model, file, "--text-column", "remark")[0] == 0
    code, _, err = run("predict", model, file)
    assert (code, err) == (
        2,
        f"Error: {file}, row 1: there is no column `text`, only `remark`.\n",
    )


def test_the_standard_input_holds_json_lines(run, model, stdin):
    stdin(b'{"text": "a fine film", "id": 7}\n\n{"text": "bad"}')
    code, out, _ = run("predict", model, "-")
    assert code == 0
    assert [row.get("id") for row in lines_of(out)] == [7, None]


@pytest.mark.parametrize(("output_format", "mark"), [("csv", ","), ("tsv", "\t")])
def test_texts_come_in_and_a_table_goes_out_as_a_stream(output_format, mark, run, model, stdin):
    stdin("a fine film\r\nbad, 很坏".encode())
    words = ("--input-format", "text", "--output-format", output_format)
    code, out, _ = run("predict", model, "-", *words)
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == mark.join(["text", "predicted_label", "predicted_score"])
    assert lines[1].startswith(f"a fine film{mark}")
    assert "很坏" in lines[2]


def test_a_table_in_the_standard_input_is_read_whole(run, model, stdin):
    stdin(b"text,id\na fine film,1\nbad,2\n")
    code, out, _ = run("predict", model, "-", "--input-format", "csv")
    assert code == 0
    assert [row["id"] for row in lines_of(out)] == [1, 2]


def test_rows_are_answered_before_the_stream_ends(run, model, capsys, monkeypatch):
    pieces = iter([b'{"text": "a fine', b' film"}\n', b'{"text": "bad"}\n{"text": "dull"}\n', b""])
    shown = []

    class Slow:
        def read1(self, size: int) -> bytes:
            shown.append(capsys.readouterr().out)  # what was answered until more is asked for
            return next(pieces)

    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=Slow()))
    code, rest, _ = run("predict", model, "-")
    assert (code, rest) == (0, "")
    assert [len(lines_of(answers)) for answers in shown] == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"text": "fine"}\n{"text": ', "standard input, line 2, column"),
        (b'{"text": "fine"}\n\n[1]\n', "standard input, line 3: each line must be a JSON object"),
        (b"a fine film\n", "standard input, line 1, column 1: this is not JSON"),
        (b'{"text": "fine"}\n{"txt": "fine"}', "standard input, line 2: there is no column `text`"),
        (b'{"text": "\xff"}\n', "standard input, line 1: 'utf-8' codec"),
        (b'{"text": 3}\n', "standard input, line 1: `text` must be a text"),
        (b"[" * 100_000, "standard input, line 1: lists and objects nest deeper"),
    ],
)
def test_what_is_wrong_in_the_stream_is_named_by_its_line(data, message, run, model, stdin):
    stdin(data)
    code, _, err = run("predict", model, "-")
    assert code == 2
    assert err.startswith(f"Error: {message}")


def test_a_line_without_end_is_refused(run, model, stdin, monkeypatch):
    monkeypatch.setattr("abrazo.cli.streams._LONGEST_LINE", 1000)
    stdin(b'{"text": "' + b"a" * 2000)
    code, _, err = run("predict", model, "-")
    assert (code, "longer than 1,000 bytes" in err) == (2, True)


def test_a_column_that_is_there_already_is_not_overwritten(run, model, tmp_path):
    file = write_lines(tmp_path / "r.jsonl", [{"text": "fine", "predicted_label": "x"}])
    code, out, err = run("predict", model, file)
    assert (code, out) == (2, "")
    assert "r.jsonl, row 1: the input has `predicted_label` already" in err


def test_an_answer_file_is_whole_or_absent(run, model, tmp_path):
    write_lines(tmp_path / "r.jsonl", [{"text": "fine", "a": 1}, {"text": None, "a": 2}])
    code, _, err = run("predict", model, "r.jsonl", "-o", "answers.jsonl")
    assert (code, "row 2" in err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["r.jsonl"]


def test_a_bare_model_cannot_answer(run, tmp_path, rows_file):
    folder = tiny_folder(tmp_path / "bare", "")
    code, _, err = run("predict", folder, rows_file)
    assert code == 2
    assert "head" in err or "task" in err


def test_columns_of_every_task_can_be_named():
    there = {field.name for field in dataclasses.fields(Columns)}
    for task in TASKS.values():
        columns = {f.name for f in dataclasses.fields(task.settings_type)}
        assert {name for name in columns if name.endswith("_column")} <= there
