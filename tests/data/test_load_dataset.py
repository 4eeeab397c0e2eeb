import gzip
import io
import os
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from abrazo.data.dataset import Dataset, DatasetDict, concatenate_datasets
from abrazo.data.loading import load_dataset, read_table
from abrazo.data.readers.formats import ReadOptions
from abrazo.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path):
    for name in ("train.csv", "news_b.csv", "news_a.csv"):
        (tmp_path / name).write_text(f"text,label\nfrom {name},1\n")
    (tmp_path / "notes.txt").write_text("one\n\ntwo\r\nthree\u2028still three")
    return tmp_path


def test_the_suffix_shows_the_format(folder):
    assert load_dataset(folder / "train.csv")["text"] == ["from train.csv"]
    assert load_dataset(str(folder / "notes.txt"))["text"][0] == "one"


def test_lines_of_text_keep_blank_ones(folder):
    data = load_dataset("text", data_files=folder / "notes.txt")
    assert data["text"] == ["one", "", "two", "three\u2028still three"]
    assert data.origin(2) == f"{folder}/notes.txt, row 3"


def test_a_list_of_files_and_a_pattern(folder):
    both = load_dataset("csv", data_files=[folder / "train.csv", folder / "news_a.csv"])
    assert both["text"] == ["from train.csv", "from news_a.csv"]
    found = load_dataset(f"{folder}/news_*.csv")
    assert found["text"] == ["from news_a.csv", "from news_b.csv"]
    assert found.origin(1) == f"{folder}/news_b.csv, row 1"


def test_splits(folder):
    files = {"train": str(folder / "news_*.csv"), "test": folder / "train.csv"}
    splits = load_dataset("csv", data_files=files)
    assert isinstance(splits, DatasetDict)
    assert splits.num_rows == {"train": 2, "test": 1}
    assert load_dataset("csv", data_files=files, split="test")["text"] == ["from train.csv"]
    with pytest.raises(DataError, match=r"no split `tets`\. Did you mean `test`"):
        load_dataset("csv", data_files=files, split="tets")


def test_one_dataset_is_the_split_train(folder):
    assert isinstance(load_dataset(folder / "train.csv", split="train"), Dataset)
    with pytest.raises(DataError, match="no split `test`; it is one dataset, called `train`"):
        load_dataset(folder / "train.csv", split="test")


def test_the_origin_is_right_after_everything(folder):
    data = load_dataset(f"{folder}/*.csv").add_column("at", [0, 1, 2])
    names = ["news_a.csv", "news_b.csv", "train.csv"]
    for chosen in (
        data.shuffle(5),
        data.filter(lambda row: row["at"] != 1),
        data.map(lambda row: {"n": 1}).select([2, 0]),
        data.train_test_split(1, seed=1)["train"].sort("at", reverse=True),
    ):
        for number, row in enumerate(chosen):
            assert chosen.origin(number) == f"{folder}/{names[row['at']]}, row 1"


def test_the_origin_is_right_when_changed_selections_are_put_together(folder):
    def changed(name, rows):
        (folder / name).write_text("n\n1\n2\n3\n")
        return load_dataset(folder / name).select(rows).map(lambda row: {"m": row["n"]})

    both = concatenate_datasets([changed("a.csv", [2, 0]), changed("b.csv", [1])]).select([2, 0])
    assert both["n"] == [2, 3]
    assert [both.origin(row) for row in range(2)] == [
        f"{folder}/b.csv, row 2",
        f"{folder}/a.csv, row 3",
    ]


def test_files_with_different_columns_are_named(folder):
    (folder / "other.csv").write_text("text,lable\nx,1\n")
    with pytest.raises(DataError) as caught:
        load_dataset("csv", data_files=[folder / "train.csv", folder / "other.csv"])
    assert f"`label` is only in {folder}/train.csv." in str(caught.value)
    assert f"`lable` is only in {folder}/other.csv." in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trian.csv",), r"The file `.*trian.csv` does not exist. Did you mean `.*train.csv`\?"),
        (("train.json",), r"does not exist. Did you mean `.*train.csv`"),
        (("nowhere/train.csv",), "does not exist. Neither does its folder `.*nowhere`"),
        (("train.csv/a.csv",), "does not exist"),
        (("zebra.csv",), "zebra.csv` does not exist.$"),
        ((".",), "does not show the file's format"),
        (("*.parquet",), r"No file matches the pattern `.*\*.parquet`"),
        (("train.xlsx",), "does not show the file's format. Known suffixes are .csv"),
        (("a\0.csv",), "cannot be read"),
    ],
)
def test_files_that_cannot_be_found(folder, arguments, message):
    with pytest.raises(DataError, match=message):
        load_dataset(f"{folder}/{arguments[0]}")


def test_a_folder_lists_its_files(folder):
    with pytest.raises(DataError, match=r"is a folder. Give a file, .* it holds `news_a.csv`, `ne"):
        load_dataset("csv", data_files=folder)
    with pytest.raises(DataError, match=r"is a folder. Give a file, .* it holds `news_a.csv`, `ne"):
        load_dataset("parquet", data_files=folder)


def test_a_file_without_permission(folder, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"train.csv` may not be read: permission is denied"):
        load_dataset(folder / "train.csv")


@pytest.mark.parametrize("name", ["pipe.csv", "pipe.parquet", "pipe.arrow"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="is a pipe or device"):
        load_dataset(tmp_path / name)


def test_wrong_calls_say_what_is_right():
    with pytest.raises(ConfigError, match=r'Give the files, as in `load_dataset\("csv", data'):
        load_dataset("csv")
    with pytest.raises(ConfigError, match=r"but is `cvs`\. Did you mean `csv`"):
        load_dataset("cvs", data_files="train.csv")
    with pytest.raises(DataError, match=r"no data `imdb`: it must be a file"):
        load_dataset("imdb")
    with pytest.raises(DataError, match=r"Did you mean `abrazo/starter`"):
        load_dataset("abrazo/startr")
    with pytest.raises(DataError, match="no files to read"):
        load_dataset("csv", data_files=[])


def test_a_decompression_bomb_is_stopped_early(tmp_path):
    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(b"text\n")
        for _ in range(64):
            stream.write(b"0" * 2**20)
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises(DataError, match="decompresses to more than 5,000,000 bytes, which is what"):
        load_dataset(path, max_decompressed_bytes=5_000_000)
    assert time.monotonic() - started < 2
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()


def test_gzip_of_several_streams_and_damaged_gzip(tmp_path):
    path = tmp_path / "a.txt.gz"
    good = gzip.compress(b"one\n" * 1000) + gzip.compress(b"two\n")
    path.write_bytes(good + b"\0" * 10)
    assert len(load_dataset(path)) == 1001
    path.write_bytes(good[:-5])
    with pytest.raises(DataError, match="ends too soon"):
        load_dataset(path)
    path.write_bytes(b"not gzip")
    with pytest.raises(DataError, match=r"a\.txt\.gz: the gzip file is damaged"):
        load_dataset(path)
    (tmp_path / "b.csv").write_bytes(good)
    with pytest.raises(DataError, match=r"compressed by gzip, not text\. Give its name the suffix"):
        load_dataset(tmp_path / "b.csv")


def _stdin(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_the_standard_input(monkeypatch):
    _stdin(monkeypatch, b'{"text": "fine"}\n')
    data = read_table("-")
    assert data.to_list() == [{"text": "fine"}]
    assert data.origin(0) == "standard input, row 1"
    _stdin(monkeypatch, b"text;n\nfine;1\n")
    options = ReadOptions(delimiter=";")
    assert read_table("-", format="csv", options=options).to_list() == [{"text": "fine", "n": 1}]
    _stdin(monkeypatch, b"")
    with pytest.raises(DataError, match="standard input: the file is empty"):
        read_table("-")
    with pytest.raises(DataError, match="cannot be read from the standard input"):
        read_table("-", format="parquet")


def test_an_unknown_format_is_refused(folder):
    with pytest.raises(ConfigError, match="`format` must be one of `csv`, `tsv`"):
        read_table(folder / "train.csv", format="excel")
    assert read_table(folder / "train.csv")["text"] == ["from train.csv"]
