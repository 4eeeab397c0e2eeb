import numpy as np
import pandas
import polars
import pyarrow as pa
import pytest

from abrazo.data.dataset import Dataset, DatasetDict
from abrazo.data.rows import RowSource, as_rows
from abrazo.errors import DataError

ROWS = [{"text": "fine", "label": 1}, {"text": "dull", "label": 0}, {"text": "odd", "label": 1}]


class Indexed:
    """Like a torch dataset: only a length and items."""

    def __init__(self, rows):
        self._rows = rows

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, number):
        assert isinstance(number, int)
        return self._rows[number]


def _hub_dataset():
    return pytest.importorskip("datasets").Dataset.from_list(ROWS)


def _torch_dataset():
    data = pytest.importorskip("torch").utils.data

    class Mine(data.Dataset):
        def __len__(self):
            return len(ROWS)

        def __getitem__(self, number):
            return ROWS[number]

    return Mine()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Dataset.from_list(ROWS),
        lambda: ROWS,
        lambda: tuple(ROWS),
        lambda: {"text": [row["text"] for row in ROWS], "label": np.array([1, 0, 1])},
        lambda: pandas.DataFrame(ROWS),
        lambda: polars.DataFrame(ROWS),
        lambda: pa.Table.from_pylist(ROWS),
        lambda: Indexed(ROWS),
        _hub_dataset,
        _torch_dataset,
    ],
    ids=["own", "list", "tuple", "columns", "pandas", "polars", "arrow", "indexed", "hub", "torch"],
)
def test_all_kinds_of_data_are_rows(make):
    source = as_rows(make())
    assert isinstance(source, RowSource)
    assert len(source) == 3
    assert source.column_names == ["text", "label"]
    assert source.rows(np.array([2, 0])) == [ROWS[2], ROWS[0]]
    assert source.rows([]) == []
    assert source.origin(2) == "row 3"


def test_rows_keep_tensors_as_they_are():
    torch = pytest.importorskip("torch")
    ids = torch.tensor([[1, 2]])
    assert as_rows([{"input_ids": ids}]).rows([0])[0]["input_ids"] is ids


def test_a_hub_dataset_with_a_format_gives_its_tensors():
    pytest.importorskip("torch")
    rows = as_rows(_hub_dataset().with_format("torch")).rows([0, 2])
    assert [row["label"].item() for row in rows] == [1, 1]
    assert rows[1]["text"] == "odd"


def test_many_rows_of_a_hub_dataset_are_read_at_once(monkeypatch):
    data = _hub_dataset()
    keys = []
    read = type(data).__getitem__

    def noted(self, key):
        keys.append(key)
        return read(self, key)

    monkeypatch.setattr(type(data), "__getitem__", noted)
    assert as_rows(data).rows([2, 0]) == [ROWS[2], ROWS[0]]
    assert keys == [[2, 0]]


def test_a_list_is_not_copied_and_mappings_become_dicts():
    from collections import UserDict

    source = as_rows([UserDict(ROWS[0])])
    assert source.rows([0]) == [ROWS[0]]
    assert type(source.rows([0])[0]) is dict


def test_column_names_of_a_list_are_those_of_all_rows():
    assert as_rows([{"a": 1}, {"b": 2}]).column_names == ["a", "b"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "The data has no rows: a `list` of length 0"),
        (Dataset.from_list([]), "no rows: a `Dataset`"),
        ("train.csv", "Read files by `load_dataset`"),
        (None, "must have `__len__` and `__getitem__`, but a `NoneType` has not both"),
        ((row for row in ROWS), "a `generator` has not both. Put its rows into a list"),
        (DatasetDict(train=Dataset.from_list(ROWS)), r"several splits \(`train`\); choose one"),
        ({"text": "fine", "label": 1}, "must be rows, but is a dict"),
        ({"text": "fine"}, "must be rows, but is a dict"),
    ],
)
def test_what_is_no_data_is_refused_with_a_remedy(data, message):
    with pytest.raises(DataError, match=message):
        as_rows(data)


def test_a_torch_dataset_that_only_iterates_is_refused():
    data = pytest.importorskip("torch").utils.data

    class Stream(data.IterableDataset):
        def __iter__(self):
            return iter(ROWS)

    with pytest.raises(DataError, match="a `Stream` has not both"):
        as_rows(Stream())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["fine", "dull"], r'row 2: a row must be a dict .* the text "dull". For texts, write'),
        ([ROWS[0], ("dull", 0)], r"row 2: a row must be a dict .* but is the tuple \('dull', 0\)"),
    ],
)
def test_rows_that_are_no_dicts_are_named(rows, message):
    for source in (as_rows(rows), as_rows(Indexed(rows))):
        with pytest.raises(DataError, match=message):
            source.rows([1])
