import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abrazo.data.dataset import Dataset
from abrazo.data.loading import load_dataset
from abrazo.errors import ConfigError, DataError


@pytest.fixture
def read(tmp_path):
    """Write a file and read it."""

    def read(content, name="train.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_dataset(path, **options)

    return read


def test_a_plain_file(read):
    data = read("text,label\nfine,1\ndull,0\n")
    assert data.to_list() == [{"text": "fine", "label": 1}, {"text": "dull", "label": 0}]
    assert data.origin(1).endswith("train.csv, row 2")


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "0", "-3"], [1, 0, -3]),
        (["1", "", "2"], [1, None, 2]),
        (["999999999999999999", "1"], [999999999999999999, 1]),
        (["0.5", "1", "-2e3", "-0", "1E+5"], [0.5, 1.0, -2000.0, 0.0, 100000.0]),
        (["0.5", ""], [0.5, None]),
    ],
)
def test_columns_of_numbers_become_numbers(read, cells, values):
    assert read("text,n\n" + "".join(f"x,{cell}\n" for cell in cells))["n"] == values


@pytest.mark.parametrize(
    "cells",
    [
        ["007", "1"],
        ["+3", "1"],
        ["-0", "x"],
        ["1000000000000000000", "1"],
        ["12345678901234567890123", "1"],
        ["1_000", "1"],
        ["0x10", "1"],
        ["1.", "2"],
        [".5", "2"],
        ["1e999", "2"],
        [" 1", "2"],
        ["nan", "1.5"],
        ["inf", "1.5"],
        ["NA", "null", "None", "N/A", "", "NULL", "#N/A"],
        ["true", "false"],
        ["2020-01-01"],
        ["１２"],
        ["", ""],
        ["1", "2\n3"],
    ],
)
def test_all_else_stays_text_unchanged(read, cells):
    rows = "".join(f'x,"{cell}"\n' for cell in cells)
    data = read(f"text,n\n{rows}")
    assert data["n"] == cells
    assert data.features["n"] == "string"


def test_a_late_text_cell_makes_the_column_text(read):
    data = read("n,m\n" + "1,2\n" * 5000 + "x,3\n")
    assert data.features == {"n": "string", "m": "int64"}
    assert data[-1] == {"n": "x", "m": 3}


def test_types_can_be_left_alone(read):
    assert read("n\n1\n", infer_types=False)["n"] == ["1"]


def test_splits_and_files_agree_on_types(tmp_path):
    for name, cell in (("a", "1"), ("b", "2"), ("test", "x")):
        (tmp_path / f"{name}.csv").write_text(f"label\n{cell}\n")
    splits = load_dataset(
        "csv",
        data_files={
            "train": [tmp_path / "a.csv", tmp_path / "b.csv"],
            "test": tmp_path / "test.csv",
        },
    )
    assert splits["train"]["label"] == ["1", "2"]
    assert splits["test"]["label"] == ["x"]
    assert splits["train"].origin(1) == f"{tmp_path}/b.csv, row 1"


def test_quotes_line_breaks_and_delimiters_in_cells(read):
    data = read('text,label\r\n"a, ""b""\nc",1\r\n5" disk,2\r\n')
    assert data["text"] == ['a, "b"\nc', '5" disk']
    assert data["label"] == [1, 2]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_line_ends_and_blank_lines(read, newline, end):
    content = ("\ntext,label\n\nfine,1\n\ndull,0" + end).replace("\n", newline)
    assert read(content).to_dict() == {"text": ["fine", "dull"], "label": [1, 0]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_are_understood(read, encoding):
    data = read("文本,标签\n你好,1\n".encode(encoding))
    assert data.to_list() == [{"文本": "你好", "标签": 1}]


@pytest.mark.parametrize("encoding", ["gb18030", "big5", "utf-16-le"])
def test_an_encoding_can_be_given(read, encoding):
    assert read("text\n你好\n".encode(encoding), encoding=encoding)["text"] == ["你好"]


def test_tabs_and_gzip(tmp_path):
    import gzip

    path = tmp_path / "train.tsv.gz"
    path.write_bytes(gzip.compress(b"text\tlabel\na,b\t1\n"))
    assert load_dataset(path).to_list() == [{"text": "a,b", "label": 1}]


@pytest.mark.parametrize(("mark", "name"), [(";", "a.csv"), ("\t", "a.csv"), (",", "a.tsv")])
def test_another_delimiter_is_noticed_and_told(read, caplog, mark, name):
    with caplog.at_level(logging.WARNING, logger="abrazo"):
        data = read(f"text{mark}label\nfine{mark}1\n", name)
    assert data.to_list() == [{"text": "fine", "label": 1}]
    assert f"delimited by {mark!r}" in caplog.text


def test_a_delimiter_can_be_given(read, caplog):
    assert read("a|b\n1|2\n", delimiter="|").to_list() == [{"a": 1, "b": 2}]
    assert not caplog.text
    with pytest.raises(ConfigError, match="`delimiter` must be one character"):
        read("a\n1\n", delimiter="||")


def test_an_unnamed_column_gets_a_name(read):
    assert read(",text\n0,fine\n").column_names == ["Unnamed: 0", "text"]


def test_a_cell_of_ten_megabytes(read):
    long = "词" * 3_500_000
    data = read(f'text,label\nshort,1\n"{long}",2\nshort,3\n')
    assert data[1] == {"text": long, "label": 2}


def test_a_row_longer_than_many_blocks(read, monkeypatch):
    monkeypatch.setattr("abrazo.data.readers.delimited._BLOCK", 100)
    assert read("text,n\nx,1\n" + "y" * 1000 + ",2\n")[1] == {"text": "y" * 1000, "n": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "train.csv: the file is empty."),
        (" \n\n", "train.csv: the file is empty."),
        ("text,label\n", "train.csv: there is a header (`text`, `label`), but no rows below it."),
        ("text,text,n\na,b,1\n", "train.csv: every name must be there once, but `text` occurs twi"),
        (
            "text,label\nfine,1\ngood, but long,0\n",
            "train.csv, row 2: a row must have as many cells as the header (2), but has 3: "
            "'good, but long,0'. A text that holds ',', a quote or a line break must stand in",
        ),
        ("text,label\nfine\n", "train.csv, row 1: a row must have as many cells as the header (2)"),
        (
            'text,label\nfine,1\nx,"open\ny,2\nz,3\n',
            "train.csv, row 2: a quote is opened and never closed",
        ),
        ('text,label\nfine,1\n"open,1\ny,2\n', "train.csv, row 2: a row must have as many cells"),
        ("," * 20_000 + "\n1\n", "train.csv: 20,001 columns are too many for a table."),
        (b"PK\x03\x04...", "train.csv: this is an Excel or zip file, not text. Save it as CSV"),
        (b"a\0b\0\n\0c\0\n\0", 'so this is not UTF-8 text. If it is text, pass `encoding="utf-16-'),
        (
            b"text,label\nfine,1\n\xc4\xe3\xba\xc3\xca\xc0\xbd\xe7,0\n",
            "train.csv, line 3: byte 0xC4 at offset 18 is not valid in utf-8. It reads as gb18030: "
            'pass `encoding="gb18030"`.',
        ),
        (b"text\ncaf\xe9 au lait\n", 'It reads as latin-1: pass `encoding="latin-1"`.'),
        (b"text\nl'\xe9tude de l'\xe9tat\n", "It reads as latin-1: pass"),
        (b"\xef\xbb\xbftext\n\xff\n", "line 2: byte 0xFF at offset 8 is not valid in utf-8"),
        ("text\n词\n".encode("utf-16")[:-1], "the byte"),
    ],
)
def test_bad_files_say_where_and_what_to_do(read, content, message):
    with pytest.raises(DataError) as caught:
        read(content)
    wanted = message if message != "the byte" else "is not valid in utf-16"
    assert wanted in str(caught.value)


def test_a_ragged_row_is_named_far_into_a_large_file(read):
    content = "text,label\n" + '"some text, quoted",1\n' * 100_000 + "ragged\n" + "x,2\n" * 100_000
    with pytest.raises(DataError, match=r"train.csv, row 100001: .* but has 1: 'ragged'"):
        read(content)


def test_a_wrong_encoding_given_is_told(read):
    with pytest.raises(DataError, match=r"byte 0xE4 at .* not valid in ascii. It reads as utf-8"):
        read("text\n你\n", encoding="ascii")
    for encoding in ("utf-9", "rot13", "base64"):
        with pytest.raises(ConfigError, match=f'names no text encoding: "{encoding}"'):
            read("text\nx\n", encoding=encoding)


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS, st.integers(-(10**17), 10**17)), min_size=1, max_size=6))
def test_texts_and_whole_numbers_survive_a_round_trip(tmp_path_factory, rows):
    data = Dataset.from_list([{"a": a, "b": f"x{b}", "n": n} for a, b, n in rows])
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    data.to_csv(path)
    assert Dataset.from_csv(path, infer_types=False).select_columns(["a", "b"]).to_list() == (
        data.select_columns(["a", "b"]).to_list()
    )
    assert Dataset.from_csv(path).select_columns(["b", "n"]).to_list() == (
        data.select_columns(["b", "n"]).to_list()
    )


def test_what_csv_cannot_hold_becomes_empty_or_json(tmp_path):
    data = Dataset.from_list(
        [{"text": None, "n": None, "tags": ["ä"]}, {"text": "x", "n": 2, "tags": None}]
    )
    data.to_csv(tmp_path / "data.csv")
    back = Dataset.from_csv(tmp_path / "data.csv")
    assert back.to_dict() == {"text": ["", "x"], "n": [None, 2], "tags": ['["ä"]', ""]}
    assert json.loads(back[0]["tags"]) == ["ä"]


def test_rows_of_one_empty_cell_are_not_lost(tmp_path):
    data = Dataset.from_dict({"n": [1, None, 3]})
    data.to_csv(tmp_path / "data.csv")
    assert Dataset.from_csv(tmp_path / "data.csv").to_list() == data.to_list()
