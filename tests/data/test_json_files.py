import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abrazo.data.dataset import Dataset
from abrazo.data.loading import load_dataset
from abrazo.errors import DataError

ROWS = [{"text": "fine", "label": 1}, {"text": "dull", "label": 0}]


@pytest.fixture
def read(tmp_path):
    """Write a file and read it."""

    def read(content, name="train.json", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_dataset(path, **options)

    return read


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ndjson"])
@pytest.mark.parametrize("separator", ["\n", "\r\n", "\n\n"])
def test_object_lines(read, name, separator):
    data = read(separator.join(json.dumps(row) for row in ROWS), name)
    assert data.to_list() == ROWS
    assert data.origin(1).endswith(f"{name}, row 2")


@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_of_objects(read, indent):
    assert read(json.dumps(ROWS, indent=indent)).to_list() == ROWS


def test_one_object_with_the_list_under_a_key(read):
    document = {"version": "1.1", "data": ROWS, "empty": []}
    assert read(json.dumps(document, indent=1)).to_list() == ROWS
    assert read(json.dumps(document)).to_list() == ROWS


def test_the_key_can_be_given(read):
    document = json.dumps({"train": ROWS, "test": ROWS[:1]})
    assert read(document, field="test").to_list() == ROWS[:1]
    with pytest.raises(DataError, match=r"several keys hold lists: `train`, `test`\. Say which"):
        read(document)
    with pytest.raises(DataError, match=r"but is `tset`\. Did you mean `test`"):
        read(document, field="tset")


def test_one_object_without_a_list_is_a_row(read):
    assert read('{"text": "fine",\n "tags": ["a"]}').to_list() == [{"text": "fine", "tags": ["a"]}]


def test_a_single_line_with_a_list_inside_is_a_row_when_the_suffix_says_lines(read):
    row = {"text": "Ann", "entities": [{"label": "person", "start": 0}]}
    assert read(json.dumps(row), "a.jsonl").to_list() == [row]


def test_nested_values_and_missing_keys(read):
    rows = [
        {"text": "a", "entities": []},
        {"text": "b", "entities": [{"label": "x", "start": 0}], "score": 0.5},
        {"text": None, "entities": [], "score": 1},
    ]
    data = read("\n".join(map(json.dumps, rows)), "a.jsonl")
    assert data[1] == rows[1]
    assert data[0] == {"text": "a", "entities": [], "score": None}
    assert data[2] == {"text": None, "entities": [], "score": 1.0}


def test_gzip_and_byte_order_mark(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + json.dumps(ROWS[0]).encode()))
    assert load_dataset(path).to_list() == ROWS[:1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "", "a.json: the file is empty."),
        ("a.json", "[]", "a.json: the file holds no rows."),
        ("a.json", "5", "must hold a list of objects, or object lines, but holds 5."),
        ("a.json", '["text"]', "a.json, row 1: a row must be an object (a dict) of column names"),
        ("a.json", '[{"a": 1}, null]', "a.json, row 2: a row must be an object"),
        (
            "a.json",
            '[{"a": 1},\n {"a": }]',
            "a.json, line 2, column 8: this is not JSON:",
        ),
        ("a.jsonl", '{"a": 1}\n\n{"a": 2', "a.jsonl, line 3, column 8: this is not JSON"),
        (
            "a.jsonl",
            '{"a": 1}\n{"a": "x"}',
            'row 2: column `a` holds the text "x", while rows',
        ),
        ("a.jsonl", '{"a": 1, "a": 2}', "a.jsonl, line 1: the key `a` occurs twice in an object."),
        ("a.jsonl", '{"a": 1}\n[1]', "a.jsonl, row 2: a row must be an object"),
        ("a.jsonl", '{"a": ' + "9" * 5000 + "}", "a.jsonl, line 1: Exceeds the limit"),
        ("a.jsonl", '{"a": 99999999999999999999}', "row 1: column `a` holds the whole number 9999"),
        ("a.jsonl", '{"a": "\\ud800"}', "a.jsonl, row 1: column `a` holds the text"),
        (
            "a.jsonl",
            b'{"a": "\xff"}',
            "a.jsonl, line 1: byte 0xFF at offset 7 is not valid",
        ),
    ],
)
def test_bad_files_say_where(read, name, content, message):
    with pytest.raises(DataError) as caught:
        read(content, name)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"]":', "}]"), ("[", "")]
)
@pytest.mark.parametrize("depth", [65, 3000, 100_000])
def test_deep_nesting_is_an_error_and_no_crash(read, name, opening, closing, depth):
    content = '{"text": "x", "deep": ' + opening * depth + "1" + closing * depth + "}"
    with pytest.raises(DataError, match="nest deeper than 64 levels"):
        read(content, name)


def test_many_brackets_that_do_not_nest_are_fine(read):
    rows = [{"text": '[{"' * 200 + "\\", "tags": [["a"]] * 100}] * 3
    assert read(json.dumps(rows)).to_list() == rows
    assert read("\n".join(map(json.dumps, rows)), "a.jsonl").to_list() == rows


VALUES = st.fixed_dictionaries(
    {
        "text": st.none() | st.text(st.characters(codec="utf-8"), max_size=8),
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "x": st.floats(allow_nan=False, allow_infinity=False),
        "yes": st.booleans(),
        "tags": st.lists(st.text(st.characters(codec="utf-8"), max_size=3), max_size=3),
        "spans": st.lists(st.fixed_dictionaries({"start": st.integers(0, 9)}), max_size=2),
    }
)


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
@given(rows=st.lists(VALUES, min_size=1, max_size=5))
def test_rows_survive_a_round_trip(tmp_path_factory, suffix, rows):
    data = Dataset.from_list(rows)
    path = tmp_path_factory.mktemp("rows") / f"data.{suffix}"
    if suffix == "parquet":
        data.to_parquet(path)
    else:
        data.to_json(path)
    assert load_dataset(path).to_list() == rows
