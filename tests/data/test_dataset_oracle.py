"""Where `datasets` has a method of the same name, ours means the same."""

import pytest

from abrazo.data.dataset import Dataset

oracle = pytest.importorskip("datasets")

COLUMNS = {"text": [f"t{at}" for at in range(11)], "label": [at % 3 for at in range(11)]}


@pytest.fixture(scope="module")
def theirs():
    oracle.disable_progress_bars()
    return oracle.Dataset.from_dict(COLUMNS)


@pytest.fixture(scope="module")
def ours():
    return Dataset.from_dict(COLUMNS)


@pytest.mark.parametrize(
    "key", [0, -1, slice(2, 5), slice(-3, None), slice(0, 9, 4), [1, 2], [5, 5, 0], range(2)]
)
def test_indexing(ours, theirs, key):
    assert ours[key] == theirs[key]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.select([4, 2, 2]),
        lambda data: data.select(range(3, 7)),
        lambda data: data.take(4),
        lambda data: data.skip(4),
        lambda data: data.filter(lambda row: row["label"] > 0),
        lambda data: data.filter(lambda row, at: at % 2 == 0, with_indices=True),
        lambda data: data.map(lambda row: {"n": len(row["text"])}),
        lambda data: data.map(lambda row: {"n": 1}, remove_columns=["text"]),
        lambda data: data.map(lambda rows: {"label": rows["label"][::-1]}, batched=True),
        lambda data: data.map(
            lambda rows: {"n": rows["label"] * 2},
            batched=True,
            batch_size=4,
            remove_columns=["text", "label"],
        ),
        lambda data: data.remove_columns("text"),
        lambda data: data.rename_column("text", "sentence"),
        lambda data: data.select_columns(["label"]),
        lambda data: data.add_column("n", list(range(11))),
    ],
)
def test_methods(ours, theirs, change):
    mine, other = change(ours), change(theirs)
    assert mine.column_names == other.column_names
    assert mine.to_list() == other.to_list()
    assert (mine.shape, mine.num_rows, len(mine)) == (other.shape, other.num_rows, len(other))


@pytest.mark.parametrize("size", [0.1, 0.25, 0.5, 0.9, 1, 3, 10])
def test_split_sizes(ours, theirs, size):
    mine = ours.train_test_split(test_size=size, seed=1)
    other = theirs.train_test_split(test_size=size, seed=1)
    assert mine.num_rows == other.num_rows


def test_split_in_order(ours, theirs):
    mine = ours.train_test_split(test_size=0.3, shuffle=False)
    other = theirs.train_test_split(test_size=0.3, shuffle=False)
    assert mine["test"].to_list() == other["test"].to_list()


@pytest.mark.parametrize("size", [0.0, 1.0, 11])
def test_split_refusals(ours, theirs, size):
    for data in (ours, theirs):
        with pytest.raises(ValueError, match="test_size"):
            data.train_test_split(test_size=size)


def test_unique_and_columns(ours, theirs):
    assert ours.unique("label") == theirs.unique("label")
    assert list(ours["text"]) == list(theirs["text"])
