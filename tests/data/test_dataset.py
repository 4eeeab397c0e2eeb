import copy
import pickle

import numpy as np
import pandas
import polars
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abrazo.data.dataset import Dataset, DatasetDict, concatenate_datasets
from abrazo.errors import ConfigError, DataError

ROWS = [{"text": f"text {number}", "label": number % 3} for number in range(10)]


@pytest.fixture
def data() -> Dataset:
    return Dataset.from_list(ROWS)


@pytest.fixture
def in_batches() -> Dataset:
    """The same rows, in record batches of 3."""
    table = Dataset.from_list(ROWS).to_arrow()
    return Dataset(pa.Table.from_batches(table.to_batches(max_chunksize=3)))


@pytest.mark.parametrize("key", [0, 3, -1, -10, np.int64(4)])
def test_a_number_gives_a_row(data, key):
    assert data[key] == ROWS[key]


@pytest.mark.parametrize("key", [10, -11])
def test_a_number_out_of_range_is_an_index_error(data, key):
    with pytest.raises(IndexError, match=rf"Row {key} does not exist; the dataset has 10 rows"):
        data[key]


@pytest.mark.parametrize(
    "key",
    [slice(2, 5), slice(None, None, -2), slice(8, 99), [1, 2], np.array([7, 0]), range(3), []],
)
def test_a_slice_or_indices_give_columns(data, key):
    wanted = ROWS[key] if isinstance(key, slice) else [ROWS[number] for number in key]
    assert data[key] == {name: [row[name] for row in wanted] for name in ("text", "label")}


def test_a_column_is_a_sequence(data):
    column = data["text"]
    assert len(column) == 10
    assert column[1] == "text 1"
    assert column[-2:] == ["text 8", "text 9"]
    assert column[[3, 0]] == ["text 3", "text 0"]
    assert list(column) == column.to_list() == [row["text"] for row in ROWS]
    assert column == [row["text"] for row in ROWS]
    assert column != ["text 0"]
    assert data["label"].to_numpy().sum() == sum(row["label"] for row in ROWS)
    assert "text 0" in repr(column)


def test_a_column_follows_the_selection(data):
    assert data.select([4, 2])["label"] == [1, 2]


def test_an_unknown_column_is_named_with_the_nearest(data):
    with pytest.raises(DataError, match=r"no column `txt`\. Did you mean `text`"):
        data["txt"]


def test_rows_in_batches_come_in_the_order_asked_for(in_batches):
    order = [9, 0, 5, 5, 2, 8]
    assert in_batches.rows(order) == [ROWS[number] for number in order]
    assert list(in_batches) == ROWS


def test_rows_are_copies(data):
    data[0]["text"] = "changed"
    assert data[0] == ROWS[0]


def test_what_it_is(data):
    assert (len(data), data.num_rows, data.shape) == (10, 10, (10, 2))
    assert data.column_names == ["text", "label"]
    assert data.features == {"text": "string", "label": "int64"}


def test_features_of_nested_columns_are_readable():
    data = Dataset.from_list([{"entities": [{"label": "a", "start": 1}], "scores": [0.5]}])
    assert data.features == {
        "entities": "list[{label: string, start: int64}]",
        "scores": "list[float64]",
    }


def test_repr_shows_columns_types_and_a_row(data):
    lines = repr(data).splitlines()
    assert lines[0] == "Dataset of 10 rows"
    assert lines[1].split() == ["text", "string", "'text", "0'"]
    assert lines[2].split() == ["label", "int64", "0"]


def test_repr_is_short_for_long_texts():
    assert len(repr(Dataset.from_dict({"text": ["long " * 1000]}))) < 100


def test_an_empty_dataset_is_allowed(data):
    none = data.filter(lambda row: False)
    assert len(none) == 0
    assert none[:] == {"text": [], "label": []}
    assert list(none.map(lambda row: {"n": 1})) == []
    assert repr(none).startswith("Dataset of 0 rows")
    assert Dataset.from_list([]).column_names == []


def test_selections_share_the_table(data):
    for chosen in (data.select([1]), data.shuffle(1), data.sort("label"), data.take(2)):
        assert chosen._table is data._table


def test_take_and_skip(data):
    assert data.take(3).to_list() == ROWS[:3]
    assert data.skip(8).to_list() == ROWS[8:]
    assert len(data.take(99)) == 10
    assert len(data.skip(99)) == 0


def test_shuffle_depends_on_the_seed_alone(data):
    assert data.shuffle(1).to_list() == data.shuffle(1).to_list()
    assert data.shuffle(1).to_list() != data.shuffle(2).to_list()
    assert sorted(data.shuffle(1)["text"]) == sorted(data["text"])


def test_sort_is_stable_with_nulls_last():
    data = Dataset.from_dict({"key": [2, None, 1, 2], "at": [0, 1, 2, 3]})
    assert data.sort("key")["at"] == [2, 0, 3, 1]
    assert data.sort("key", reverse=True)["at"] == [0, 3, 2, 1]
    assert data.sort(["key", "at"], reverse=True)["at"] == [3, 0, 2, 1]


def test_a_column_of_lists_cannot_be_sorted_or_counted():
    data = Dataset.from_dict({"tags": [["a"], ["b"]]})
    with pytest.raises(DataError, match=r"cannot be sorted by `tags` \(list\[string\]\)"):
        data.sort("tags")
    with pytest.raises(DataError, match=r"`tags` holds list\[string\]"):
        data.unique("tags")


def test_unique_keeps_the_first_order(data):
    assert data.select([5, 0, 2, 1]).unique("label") == [2, 0, 1]


def test_filter_by_row_and_number(data):
    assert data.filter(lambda row: row["label"] == 1).to_list() == ROWS[1::3]
    assert data.filter(lambda row, at: at > 7, with_indices=True).to_list() == ROWS[8:]


def test_columns_are_selected_removed_renamed_and_added(data):
    assert data.select_columns("label").column_names == ["label"]
    assert data.select_columns(["label", "text"]).column_names == ["label", "text"]
    assert data.remove_columns("label").column_names == ["text"]
    assert data.rename_column("text", "sentence").column_names == ["sentence", "label"]
    assert data.rename_columns({"text": "label", "label": "text"}).column_names == ["label", "text"]
    assert data.take(2).add_column("n", [5, 6])[1] == {**ROWS[1], "n": 6}


def test_mistakes_with_columns(data):
    with pytest.raises(DataError, match=r"no column `lable`\. Did you mean `label`"):
        data.remove_columns("lable")
    with pytest.raises(DataError, match="different names"):
        data.rename_column("text", "label")
    with pytest.raises(DataError, match="has a column `label` already"):
        data.add_column("label", list(range(10)))
    with pytest.raises(DataError, match=r"for each row \(10\), but has 2"):
        data.add_column("n", [1, 2])


def test_map_adds_and_replaces_columns(data):
    mapped = data.map(lambda row: {"label": str(row["label"]), "n": len(row["text"])})
    assert mapped[4] == {"text": "text 4", "label": "1", "n": 6}
    assert data.map(lambda row, at: {"at": at}, with_indices=True)["at"] == list(range(10))
    assert data.map(lambda row: {"n": 1}, remove_columns=["text", "label"])[0] == {"n": 1}


def test_map_in_batches(data):
    def lengths(columns):
        return {"n": [len(text) for text in columns["text"]]}

    assert data.map(lengths, batched=True, batch_size=3)["n"] == [6] * 10
    numbered = data.map(
        lambda columns, numbers: {"at": numbers}, batched=True, batch_size=4, with_indices=True
    )
    assert numbered["at"] == list(range(10))


def test_map_in_batches_may_change_the_number_of_rows(data):
    twice = data.map(
        lambda columns: {"word": [word for text in columns["text"] for word in text.split()]},
        batched=True,
        batch_size=4,
        remove_columns=data.column_names,
    )
    assert twice["word"].to_list()[:4] == ["text", "0", "text", "1"]
    assert len(twice) == 20
    assert twice.origin(0) == "what `map` made of row 1 to row 4, row 1"
    assert twice.origin(19) == "what `map` made of row 9 to row 10, row 4"


def test_map_takes_arrays_and_tensors():
    torch = pytest.importorskip("torch")
    data = Dataset.from_dict({"n": [1, 2]}).map(
        lambda row: {"grid": np.full((2, 2), row["n"]), "ids": torch.tensor([row["n"]])}
    )
    assert data[1] == {"n": 2, "grid": [[2, 2], [2, 2]], "ids": [2]}


@pytest.mark.parametrize("batched", [False, True])
def test_map_keeps_the_types_of_columns_it_leaves_alone(batched):
    kinds = {"text": pa.string(), "spans": pa.list_(pa.int32()), "n": pa.int32()}
    table = pa.table({name: pa.array([None, None], kind) for name, kind in kinds.items()})
    mapped = (
        Dataset.from_arrow(table).select([1]).map(lambda rows: {"n": rows["n"]}, batched=batched)
    )
    assert mapped.to_arrow().schema.field("text").type == pa.string()
    assert mapped.features == {"text": "string", "spans": "list[int32]", "n": "null"}


def test_map_may_change_a_column_in_some_rows_only(data):
    mapped = data.map(lambda row: {"label": 9} if row["label"] == 0 else {})
    assert mapped["label"].to_list()[:4] == [9, 1, 2, 9]


@pytest.mark.parametrize("indices", [[True, False], [0.5], np.zeros((1, 2), dtype=int), ["a"]])
def test_indices_must_be_whole_numbers(data, indices):
    with pytest.raises(DataError, match="chosen by a list of whole numbers"):
        data.select(indices)


def test_a_negative_number_of_rows_is_refused(data):
    for change in (data.take, data.skip):
        with pytest.raises(ConfigError, match="at least 0, but is -1"):
            change(-1)


def test_map_says_what_a_function_did_wrong(data):
    with pytest.raises(DataError, match="row 1: the function given to `map` must return a dict"):
        data.map(lambda row: 5)
    with pytest.raises(DataError, match="must return a dict of lists"):
        data.map(lambda columns: None, batched=True)
    with pytest.raises(DataError, match=r"`text` 10, `label` 10, `n` 1. Name the old columns"):
        data.map(lambda columns: {"n": [1]}, batched=True)
    with pytest.raises(DataError, match="`n` must be a list, but is the whole number 1"):
        data.map(lambda columns: {"n": 1}, batched=True)
    with pytest.raises(ConfigError, match="`batch_size` must be at least 1"):
        data.map(lambda columns: {}, batched=True, batch_size=0)
    with pytest.raises(DataError, match=r"row 6: column `n` holds the text .x., while .* number 1"):
        data.map(lambda row, at: {"n": 1 if at < 5 else "x"}, with_indices=True)


def test_an_error_inside_a_function_tells_the_row(data):
    def divide(row):
        return {"n": 1 // row["label"]}

    for run in (lambda: data.skip(3).map(divide), lambda: data.skip(3).filter(divide)):
        with pytest.raises(ZeroDivisionError) as caught:
            run()
        assert caught.value.__notes__ == ["This happened at row 4."]


@pytest.mark.parametrize(("size", "expected"), [(0.25, 3), (0.1, 1), (4, 4), (0.95, 10 - 0)])
def test_split_sizes_round_the_test_side_up(data, size, expected):
    if expected == 10:
        with pytest.raises(DataError, match="10 test rows of 10"):
            data.train_test_split(size)
        return
    splits = data.train_test_split(size, seed=3)
    assert splits.num_rows == {"train": 10 - expected, "test": expected}
    together = splits["train"].to_list() + splits["test"].to_list()
    assert sorted(together, key=str) == sorted(ROWS, key=str)


def test_a_split_in_order_tests_on_the_last_rows(data):
    assert data.train_test_split(0.2, shuffle=False)["test"].to_list() == ROWS[8:]


@pytest.mark.parametrize("size", [0.0, 1.0, 1.5, -0.1, "0.2", True])
def test_an_impossible_test_size_is_refused(data, size):
    with pytest.raises(ConfigError, match="`test_size` must be a share between 0 and 1"):
        data.train_test_split(size)


def test_a_stratified_split_keeps_the_shares():
    labels = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    data = Dataset.from_dict({"label": labels})
    test = data.train_test_split(0.2, seed=1, stratify_by_column="label")["test"]
    counts = {label: test["label"].to_list().count(label) for label in "abc"}
    assert counts == {"a": 12, "b": 6, "c": 2}
    assert test["label"] != sorted(test["label"])  # still in random order


@pytest.mark.parametrize("seed", range(3))
def test_a_stratified_split_has_the_size_asked_for(seed):
    data = Dataset.from_dict({"label": ["a"] * 5 + ["b"] * 4 + ["c"] * 4})
    splits = data.train_test_split(0.3, seed, stratify_by_column="label")
    assert splits.num_rows == {"train": 9, "test": 4}
    assert splits["test"]["label"].to_list().count("a") == 2


def test_a_stratified_split_with_a_lone_value_is_refused():
    data = Dataset.from_dict({"label": ["a"] * 9 + ["b"]})
    with pytest.raises(DataError, match="the rarest has 1 rows"):
        data.train_test_split(0.2, stratify_by_column="label")


def test_concatenation_brings_types_together(data):
    ints, floats = Dataset.from_dict({"n": [1, 2]}), Dataset.from_dict({"n": [0.5]})
    joined = concatenate_datasets([ints.select([1]), floats])
    assert joined.to_dict() == {"n": [2.0, 0.5]}
    empty_lists = Dataset.from_dict({"tags": [[]]})
    assert concatenate_datasets([empty_lists, Dataset.from_dict({"tags": [["a"]]})])[1] == {
        "tags": ["a"]
    }


def test_concatenation_lists_all_differences(data):
    other = Dataset.from_dict({"text": [1], "lable": [1]})
    with pytest.raises(DataError) as caught:
        concatenate_datasets([data, other])
    assert str(caught.value).splitlines() == [
        "Datasets must have the same columns to be put together:",
        "  `label` is only in dataset 1.",
        "  `lable` is only in dataset 2.",
        "  `text` is string in dataset 1, but int64 in dataset 2.",
    ]


def test_concatenation_needs_datasets():
    with pytest.raises(DataError, match="no datasets"):
        concatenate_datasets([])


def test_splits_are_reached_by_name(data):
    splits = DatasetDict(train=data, test=data.take(1))
    with pytest.raises(DataError, match=r"no split `tset`. Did you mean `test`\? Splits: `train`"):
        splits["tset"]
    assert splits.map(lambda row: {"n": 1})["test"][0] == {**ROWS[0], "n": 1}
    assert splits.filter(lambda row: row["label"] == 0).num_rows == {"train": 4, "test": 1}
    assert splits.shuffle(3)["train"].to_list() == data.shuffle(3).to_list()
    assert splits.column_names["test"] == ["text", "label"]
    assert repr(splits).startswith("train: Dataset of 10 rows")


def test_pandas_there_and_back(data):
    frame = data.select([3, 1]).to_pandas()
    assert frame["text"].tolist() == ["text 3", "text 1"]
    assert Dataset.from_pandas(frame).to_list() == [ROWS[3], ROWS[1]]


def test_pandas_missing_values_become_null_and_categories_become_text():
    frame = pandas.DataFrame(
        {
            "text": ["a", float("nan"), None],
            "n": [1.5, float("nan"), 2],
            "kind": pandas.Categorical(["x", "y", "x"]),
        },
        index=[7, 8, 9],
    )
    data = Dataset.from_pandas(frame)
    assert data.to_dict() == {
        "text": ["a", None, None],
        "n": [1.5, None, 2.0],
        "kind": ["x", "y", "x"],
    }
    assert data.features["kind"] == "string"


def test_pandas_mistakes_name_the_row():
    mixed = pandas.DataFrame({"label": ["a", None, 3]}, dtype=object)
    with pytest.raises(DataError, match="row 3 of the DataFrame: column `label` holds the whole"):
        Dataset.from_pandas(mixed)
    with pytest.raises(DataError, match="must be named by text, but one is named 0"):
        Dataset.from_pandas(pandas.DataFrame([[1]]))
    with pytest.raises(DataError, match="`a` occurs twice"):
        Dataset.from_pandas(pandas.DataFrame([[1, 2]], columns=["a", "a"]))


def test_polars_there_and_back(data):
    frame = data.select([3, 1]).to_polars()
    assert isinstance(frame, polars.DataFrame)
    back = Dataset.from_polars(frame)
    assert back.to_list() == [ROWS[3], ROWS[1]]
    assert back.features == data.features
    assert back.sort("text")["text"] == ["text 1", "text 3"]


def test_arrow_dictionaries_views_and_metadata_become_plain():
    table = pa.table(
        {
            "kind": pa.array(["x", "y"]).dictionary_encode(),
            "text": pa.array(["a", "b"], type=pa.string_view()),
        }
    ).replace_schema_metadata({"pandas": "{}"})
    data = Dataset.from_arrow(table)
    assert data.features == {"kind": "string", "text": "string"}
    assert data.to_list() == [{"kind": "x", "text": "a"}, {"kind": "y", "text": "b"}]
    assert data.to_arrow().schema.metadata is None


def test_generators_and_lists_with_missing_keys():
    data = Dataset.from_generator(lambda: ({"a": at} if at else {"b": "x"} for at in range(2)))
    assert data.to_list() == [{"b": "x", "a": None}, {"b": None, "a": 1}]


@pytest.mark.parametrize("first", [3, 9_999, 25_000])
def test_mixed_types_name_row_and_value_at_any_depth_of_the_data(first):
    rows = [{"label": 1}] * first + [{"label": "positve"}] + [{"label": 2}] * 10
    with pytest.raises(DataError, match=rf"row {first + 1}: column `label` holds the text \"pos"):
        Dataset.from_list(rows)


def test_a_type_that_changes_late_for_good_names_the_first_row():
    rows = [{"label": 1}] * 10_000 + [{"label": None}] * 5 + [{"label": "x"}] * 7
    with pytest.raises(DataError, match=r"row 10006: column `label` holds the text .* `int64`"):
        Dataset.from_list(rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"a": 1}, "text"], r"row 2: a row must be an object .* the text \"text\""),
        ([{1: "a"}], "column names must be text, but one is the whole number 1"),
        ([{"a": 2**70}], "row 1: column `a` holds the whole number 1180591620717411303424"),
        ([{"a": "fine"}, {"a": "\ud800"}], "row 2: column `a` holds the text"),
        ([{"a": [1]}, {"a": ["x"]}], r"row 2: column `a` holds the list \['x'\], while"),
        ([{"a": object()}], "row 1: column `a` holds the object"),
        ([{}], "row 1: the row is an empty object"),
    ],
)
def test_rows_that_no_table_can_hold(rows, message):
    with pytest.raises(DataError, match=message):
        Dataset.from_list(rows)


def test_columns_of_different_lengths_are_listed():
    with pytest.raises(DataError, match="`a` 2, `b` 1"):
        Dataset.from_dict({"a": [1, 2], "b": [1]})


def test_it_survives_pickling_for_worker_processes(data):
    for copied in (pickle.loads(pickle.dumps(data.select([3]))), copy.deepcopy(data.select([3]))):
        assert copied.to_list() == [ROWS[3]]
        assert copied.origin(0) == "row 4"


STEP = st.one_of(
    st.tuples(st.just("select"), st.lists(st.integers(0, 10_000), max_size=12)),
    st.tuples(st.just("shuffle"), st.integers(0, 5)),
    st.tuples(st.just("filter"), st.integers(1, 3)),
    st.tuples(st.just("take"), st.integers(0, 12)),
    st.tuples(st.just("skip"), st.integers(0, 6)),
    st.tuples(st.just("reverse"), st.none()),
    st.tuples(st.just("double"), st.none()),
    st.tuples(st.just("map"), st.none()),
    st.tuples(st.just("rename"), st.none()),
)


def _apply(data, rows, step):
    """Do one step to a dataset and to a plain list of rows."""
    kind, value = step
    if kind == "select":
        chosen = [number % len(rows) for number in value] if rows else []
        return data.select(chosen), [rows[number] for number in chosen]
    if kind == "shuffle":
        shuffled = data.shuffle(value)
        assert sorted(shuffled["at"]) == sorted(row["at"] for row in rows)
        by_number = {row["at"]: row for row in rows}
        return shuffled, [by_number[number] for number in shuffled["at"]]
    if kind == "filter":
        return data.filter(lambda row: row["at"] % value == 0), [
            row for row in rows if row["at"] % value == 0
        ]
    if kind == "take":
        return data.take(value), rows[:value]
    if kind == "skip":
        return data.skip(value), rows[value:]
    if kind == "reverse":
        return data.sort("at", reverse=True), sorted(rows, key=lambda row: -row["at"])
    if kind == "double":
        return concatenate_datasets([data, data.skip(1)]), rows + rows[1:]
    if kind == "map":
        return data.map(lambda row: {"text": row["text"] + "!"}), [
            {**row, "text": row["text"] + "!"} for row in rows
        ]
    return data.rename_columns({"text": "t"}).rename_column("t", "text"), rows


@given(st.lists(STEP, max_size=6))
def test_any_steps_equal_those_on_a_list_and_keep_the_origin(steps):
    rows = [{"at": at, "text": f"t{at}"} for at in range(8)]
    table = Dataset.from_list(rows).to_arrow()
    data = Dataset(pa.Table.from_batches(table.to_batches(max_chunksize=3)))
    for step in steps:
        data, rows = _apply(data, rows, step)
    assert data.to_list() == rows
    assert list(data) == rows
    assert [data.origin(number) for number in range(len(data))] == [
        f"row {row['at'] + 1}" for row in rows
    ]
