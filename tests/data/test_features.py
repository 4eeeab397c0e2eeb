import pyarrow as pa
import pytest

from abrazo.data.dataset import Dataset
from abrazo.data.features import require_columns, require_text, type_name
from abrazo.data.loading import load_dataset
from abrazo.data.rows import as_rows
from abrazo.errors import DataError


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (pa.string(), "string"),
        (pa.large_string(), "string"),
        (pa.float64(), "float64"),
        (pa.bool_(), "bool"),
        (pa.list_(pa.large_string()), "list[string]"),
        (pa.list_(pa.int8(), 2), "list[int8]"),
        (pa.struct([("a", pa.list_(pa.int64()))]), "{a: list[int64]}"),
    ],
)
def test_type_names_are_short(kind, name):
    assert type_name(kind) == name


def test_missing_columns_are_all_listed_with_the_nearest(tmp_path):
    (tmp_path / "train.csv").write_text("sentence,label\nfine,1\n")
    data = load_dataset(tmp_path / "train.csv")
    require_columns(data, ["sentence", "label"])
    with pytest.raises(DataError) as caught:
        require_columns(data, ["lable", "label", "text"])
    assert str(caught.value).splitlines() == [
        "The data has no column `lable`. Did you mean `label`?",
        "The data has no column `text`.",
        f"Columns of {tmp_path}/train.csv: `sentence`, `label`.",
    ]


def test_a_file_without_header_shows_its_first_row_shortened(tmp_path):
    (tmp_path / "train.csv").write_text(f"{'a long text ' * 50},1\nx,0\n")
    with pytest.raises(DataError) as caught:
        require_columns(load_dataset(tmp_path / "train.csv"), ["text"])
    assert "`a long text a long text" in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("wrap", [Dataset.from_list, as_rows])
def test_texts_that_are_missing_are_named_by_row(wrap):
    rows = [{"text": "fine"}, {"text": None}, {"text": "dull"}] + [{"text": None}] * 9
    with pytest.raises(DataError) as caught:
        require_text(wrap(rows), ["text"], batch_size=2)
    lines = str(caught.value).splitlines()
    assert lines[0] == "row 2: `text` must be text, but is missing (null)."
    assert lines[5:] == [
        "... and 5 more.",
        "Fill these cells, or drop their rows with `dataset.filter(...)`.",
    ]


def test_texts_that_are_no_texts_are_named():
    with pytest.raises(DataError, match=r"row 1: `text` must be text, but is the number nan"):
        require_text(as_rows([{"text": float("nan")}]), ["text"])
    with pytest.raises(DataError, match="row 1: `text` must be text, but is the whole number 5"):
        require_text(Dataset.from_dict({"text": [5]}), ["text"])
    with pytest.raises(DataError, match="no column `text`"):
        require_text(Dataset.from_dict({"txt": [5]}), ["text"])
    require_text(Dataset.from_dict({"text": ["", "fine"]}), ["text"])
