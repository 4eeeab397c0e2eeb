import datetime
import io
import json
import math
import os
import sys
import threading

import numpy as np
import pytest

from abrazo.data.dataset import Dataset
from abrazo.data.loading import load_dataset, read_table
from abrazo.data.writing import write_table
from abrazo.errors import ConfigError, DataError

ROWS = [{"text": "fine, 好", "label": 1}, {"text": 'a "b"\nc', "label": 0}]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.jsonl", "a.parquet", "a.arrow"])
@pytest.mark.parametrize("make", [list, iter, Dataset.from_list])
def test_what_is_written_is_read_back(tmp_path, name, make):
    write_table(make(ROWS), tmp_path / name)
    assert load_dataset(tmp_path / name).to_list() == ROWS
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_only_the_selected_rows_are_written(tmp_path):
    data = Dataset.from_list(ROWS).select([1])
    data.to_parquet(tmp_path / "a.parquet")
    data.to_json(tmp_path / "a.json")
    assert load_dataset(tmp_path / "a.parquet").to_list() == ROWS[1:]
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == ROWS[1:]


def test_text_files_hold_one_column(tmp_path):
    path = tmp_path / "a.txt"
    write_table([{"text": "one", "n": 1}, {"text": None, "n": 2}], path)
    assert path.read_text() == "one\n\n"
    write_table([{"answer": "one"}], path)
    assert path.read_text() == "one\n"
    with pytest.raises(DataError, match=r"one column of text, .* the columns are `a`, `b`"):
        write_table([{"a": "x", "b": "y"}], path)
    with pytest.raises(DataError, match="Row 2 cannot be written as a line of text, as it holds a"):
        write_table(ROWS, path)
    assert path.read_text() == "one\n"


def test_json_rows_keep_their_own_keys_and_convert_values(tmp_path):
    rows = [{"a": np.float32(0.5)}, {"b": [np.arange(2)]}, {"c": datetime.date(2020, 1, 2)}]
    write_table(rows, tmp_path / "a.jsonl")
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"a": 0.5},
        {"b": [[0, 1]]},
        {"c": "2020-01-02"},
    ]


@pytest.mark.parametrize("rows", [[], Dataset.from_list([])])
def test_no_rows_give_an_empty_file_or_list(tmp_path, rows):
    write_table(rows, tmp_path / "a.jsonl")
    write_table(rows, tmp_path / "a.json")
    assert (tmp_path / "a.jsonl").read_text() == ""
    assert json.loads((tmp_path / "a.json").read_text()) == []


@pytest.mark.parametrize("value", [math.nan, object(), b"\xff", "\ud800"])
def test_what_json_cannot_hold_is_named_and_leaves_the_old_file(tmp_path, value):
    path = tmp_path / "a.jsonl"
    path.write_text("old")
    with pytest.raises(DataError, match="Row 2 cannot be written as JSON"):
        write_table([{"a": 1}, {"a": value}], path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.jsonl"]


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(DataError, match=r"cannot be written: .*No such file"):
        write_table(ROWS, tmp_path / "nowhere" / "a.csv")
    with pytest.raises(DataError, match=r"leave out `\.gz`"):
        write_table(ROWS, tmp_path / "a.csv.gz")
    with pytest.raises(DataError, match="cannot be written"):
        write_table(ROWS, tmp_path, format="csv")
    with pytest.raises(ConfigError, match="`format` must be one of"):
        write_table(ROWS, tmp_path / "a.csv", format="cvs")
    with pytest.raises(DataError, match="does not show the file's format"):
        write_table(ROWS, tmp_path / "answers")


def test_the_standard_output(monkeypatch):
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output))
    write_table(ROWS[:1], "-")
    write_table(ROWS[:1], "-", format="csv")
    assert output.getvalue().decode() == (
        '{"text": "fine, 好", "label": 1}\n"text","label"\n"fine, 好",1\n'
    )


def test_a_pipe_is_written_into_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text(encoding="utf-8")))
    reader.start()
    write_table(ROWS[:1], pipe)
    reader.join(timeout=5)
    assert json.loads(read[0]) == ROWS[0]
    assert pipe.is_fifo()


def test_a_written_file_can_take_any_name_with_a_format(tmp_path):
    write_table(ROWS, tmp_path / "answers", format="jsonl")
    assert read_table(tmp_path / "answers", format="jsonl").to_list() == ROWS
