import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abrazo.data.dataset import Dataset
from abrazo.data.loading import load_dataset
from abrazo.data.readers.arrow import read_arrow, read_parquet
from abrazo.errors import DataError

ROWS = [
    {"text": f"text {at}" if at % 5 else None, "n": at, "spans": [{"start": at}] * (at % 3)}
    for at in range(100)
]
KINDS = ["parquet", "file", "stream"]


def _write(kind, path, table=None):
    table = Dataset.from_list(ROWS).to_arrow() if table is None else table
    if kind == "parquet":
        pq.write_table(table, path)
        return
    make = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with make(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=30)


@pytest.fixture
def path(tmp_path, request):
    """A good file of the test's kind."""
    kind = request.node.callspec.params["kind"]
    path = tmp_path / ("train.parquet" if kind == "parquet" else "train.arrow")
    _write(kind, path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_file(kind, path):
    data = load_dataset(path)
    assert data.to_list() == ROWS
    assert data.shuffle(1).rows([0]) == [ROWS[data.shuffle(1)[0]["n"]]]
    assert data.origin(99) == f"{path}, row 100"


@pytest.mark.parametrize("kind", KINDS)
def test_dictionary_columns_become_plain(kind, path):
    _write(kind, path, pa.table({"kind": pa.array(["x", "y", "x"]).dictionary_encode()}))
    assert load_dataset(path).features == {"kind": "string"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_table_is_refused(kind, path):
    _write(kind, path, pa.table({"text": pa.array([], pa.string())}))
    with pytest.raises(DataError, match="the file holds no rows"):
        load_dataset(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [0, 1, 4, 7, 8, 12, 100, 0.5, -1, -8])
def test_a_file_that_is_cut_off(kind, path, length):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * length) if isinstance(length, float) else length])
    if kind == "stream" and length in (-1, -8):
        return  # the mark at the end of a stream may be missing
    with pytest.raises(DataError, match=r"train\.(parquet|arrow): ") as caught:
        load_dataset(path)
    if not length:
        assert str(caught.value) == f"{path}: the file is empty."
    elif kind == "parquet":
        assert "not a Parquet file, or it is cut off" in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_flipped_bytes_are_an_error_or_other_rows_but_never_a_crash(kind, path, seed):
    data, choice = path.read_bytes(), random.Random(seed)
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(choice.choice([1, 2, 8])):
            damaged[choice.randrange(len(data))] = choice.randrange(256)
        path.write_bytes(damaged)
        try:
            found = load_dataset(path)
            found.shuffle(1).to_list()
        except DataError:
            continue


@pytest.mark.parametrize("kind", ["parquet"])
@pytest.mark.parametrize("claim", [0, 5, 2**31 - 1, 2**32 - 1])
def test_a_footer_that_claims_a_wrong_length(kind, path, claim):
    data = bytearray(path.read_bytes())
    data[-8:-4] = claim.to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"train\.parquet: the Parquet file is damaged"):
        load_dataset(path)


@pytest.mark.parametrize("kind", ["file", "stream"])
@pytest.mark.parametrize("offsets", [[0, 3, 10**6], [0, 5, 3], [-4, 1, 3]])
def test_wrong_offsets_are_found_before_any_use(kind, path, offsets):
    _write(kind, path, pa.table({"text": ["abc", "de"]}))
    good = np.array([0, 3, 5], dtype="<i4").tobytes()
    assert path.read_bytes().count(good) == 1
    path.write_bytes(path.read_bytes().replace(good, np.array(offsets, dtype="<i4").tobytes()))
    with pytest.raises(DataError, match=r"train\.arrow: the Arrow file is damaged"):
        load_dataset(path)


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_text_that_is_not_utf8_is_refused(kind, path):
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.array([0, 2], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfe")]
    )
    _write(kind, path, pa.table({"text": bad}))
    with pytest.raises(DataError, match="damaged"):
        load_dataset(path)


def test_deep_types_are_refused(tmp_path):
    value: object = 1
    for _ in range(70):
        value = [value]
    table = pa.table({"deep": pa.array([value])})
    with pytest.raises(DataError, match="column `deep` nests deeper than 64 levels"):
        Dataset.from_arrow(table)
    pq.write_table(table, tmp_path / "deep.parquet")
    with pytest.raises(DataError, match="deep"):
        load_dataset(tmp_path / "deep.parquet")


@pytest.mark.parametrize("kind", KINDS)
def test_columns_and_keys_that_occur_twice_are_refused(kind, path):
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    _write(kind, path, twice)
    with pytest.raises(DataError, match="`a` occurs twice"):
        load_dataset(path)
    inner = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["b", "b"])
    _write(kind, path, pa.table({"a": inner}))
    with pytest.raises(DataError, match=r"column `a`: every name .* but `b` occurs twice"):
        load_dataset(path)


def test_a_parquet_file_that_grows_beyond_its_budget(tmp_path):
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"text": ["x" * 100] * 100_000}), path)
    assert path.stat().st_size < 20_000
    with pytest.raises(DataError, match="decompresses to more than 1,000,000 bytes"):
        read_parquet(path, max_decompressed_bytes=1_000_000)
    assert len(read_parquet(path)) == 100_000


def test_a_parquet_file_that_says_it_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"text": ["x" * 5_000_000, "y" * 5_000_000]}), path)
    monkeypatch.setattr("abrazo.data.readers.arrow._collected", None)
    with pytest.raises(DataError, match="decompresses to more than 1,000,000 bytes"):
        read_parquet(path, max_decompressed_bytes=1_000_000)


def test_an_arrow_file_that_grows_beyond_its_budget(tmp_path):
    path = tmp_path / "bomb.arrow"
    table = pa.table({"text": ["x" * 100] * 100_000})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=1000)
    with pytest.raises(DataError, match="decompresses to more than 1,000,000 bytes"):
        read_arrow(path, max_decompressed_bytes=1_000_000)


def test_a_value_that_python_has_not_names_its_row():
    column = pa.array([0, 2**62], pa.int64()).cast(pa.timestamp("s"))
    with pytest.raises(DataError, match="row 2: Python has no such value"):
        Dataset.from_arrow(pa.table({"when": column}))[1]


@pytest.mark.parametrize("name", ["train.csv", "train.json", "train.txt"])
def test_a_parquet_file_under_a_wrong_name(tmp_path, name):
    _write("parquet", tmp_path / name)
    with pytest.raises(DataError, match=r"this is a Parquet file, not text\. Read"):
        load_dataset(tmp_path / name)
