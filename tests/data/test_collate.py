import numpy as np
import pytest
import torch
import transformers

from abrazo.data.collate import (
    CountingCollator,
    DataCollatorForLanguageModeling,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
)
from abrazo.errors import ConfigError, DataError
from helpers.tiny import tiny_tokenizer

TEXTS = ["the film was great", "a plot", "这部电影很好看", "finely boring . . ."]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> transformers.PreTrainedTokenizerFast:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer().save_pretrained(folder)
    return transformers.PreTrainedTokenizerFast.from_pretrained(folder)


def rows(**columns) -> list[dict]:
    tokenizer = tiny_tokenizer()
    made = [dict(tokenizer(text)) for text in TEXTS]
    for name, values in columns.items():
        for row, value in zip(made, values, strict=True):
            row[name] = value(row) if callable(value) else value
    return made


def assert_equal(ours, oracle):
    assert set(ours) == set(oracle)
    for name, tensor in oracle.items():
        assert ours[name].dtype == tensor.dtype, name
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("label", [{"label": [0, 1, 1, 0]}, {"label": [0.5, 1.0, 2.0, 3.5]}, {}])
@pytest.mark.parametrize("multiple", [None, 8])
def test_padding_equals_that_of_transformers(theirs, label, multiple):
    ours = DataCollatorWithPadding(tiny_tokenizer(), pad_to_multiple_of=multiple)
    oracle = transformers.DataCollatorWithPadding(theirs, pad_to_multiple_of=multiple)
    assert_equal(ours(rows(**label)), oracle(rows(**label)))


def test_labels_of_tokens_are_padded_as_by_transformers(theirs):
    made = rows(labels=[lambda row: list(range(len(row["input_ids"])))] * 4)
    oracle = transformers.DataCollatorForTokenClassification(theirs)
    assert_equal(DataCollatorForTokenClassification(tiny_tokenizer())(made), oracle(made))


def test_targets_of_their_own_length_are_padded_as_by_transformers(theirs):
    made = rows(labels=[[5, 6, 7, 8, 9, 10, 11, 12, 13], [5], [6, 7], [8]])
    oracle = transformers.DataCollatorForSeq2Seq(theirs, pad_to_multiple_of=4)
    ours = DataCollatorForSeq2Seq(tiny_tokenizer(), pad_to_multiple_of=4)
    assert_equal(ours(made), oracle(made))


def test_masked_rows_have_the_shapes_of_transformers(theirs):
    ours = DataCollatorForLanguageModeling(tiny_tokenizer(), mlm_probability=0.5, seed=1)(rows())
    oracle = transformers.DataCollatorForLanguageModeling(theirs, mlm_probability=0.5)(rows())
    assert {n: (v.shape, v.dtype) for n, v in ours.items()} == {
        n: (v.shape, v.dtype) for n, v in oracle.items()
    }
    special = torch.tensor(tiny_tokenizer().all_special_ids)
    chosen = ours["labels"] != -100
    assert chosen.any()
    assert not torch.isin(ours["labels"][chosen], special).any()
    original = DataCollatorWithPadding(tiny_tokenizer())(rows())["input_ids"]
    torch.testing.assert_close(torch.where(chosen, ours["labels"], ours["input_ids"]), original)


def test_next_words_are_learned_as_with_transformers(theirs):
    ours = DataCollatorForLanguageModeling(tiny_tokenizer(), mlm=False)(rows())
    oracle = transformers.DataCollatorForLanguageModeling(theirs, mlm=False)(rows())
    assert_equal(ours, oracle)


def test_masks_depend_on_seed_epoch_and_row_alone():
    collate = DataCollatorForLanguageModeling(tiny_tokenizer(), mlm_probability=0.5)
    assert isinstance(collate, CountingCollator)
    made = rows()
    whole = collate.collate_rows(made, [0, 1, 2, 3], seed=7, epoch=1)["labels"]
    collate(made)
    parts = [collate.collate_rows([made[i]], [i], seed=7, epoch=1)["labels"][0] for i in range(4)]
    for row, part in zip(whole, parts, strict=True):
        torch.testing.assert_close(row[: len(part)], part)
    for seed, epoch in ((8, 1), (7, 2)):
        other = collate.collate_rows(made, [0, 1, 2, 3], seed=seed, epoch=epoch)["labels"]
        assert not torch.equal(whole, other)


def test_a_seed_makes_calls_by_hand_reproducible():
    first, second = (DataCollatorForLanguageModeling(tiny_tokenizer(), seed=3) for _ in "ab")
    for _ in range(3):
        torch.testing.assert_close(first(rows())["labels"], second(rows())["labels"])


def test_tensors_with_a_leading_dimension_and_bare_ids_are_rows_too():
    ids = tiny_tokenizer()("a film")["input_ids"]
    collate = DataCollatorForLanguageModeling(tiny_tokenizer())
    assert collate([torch.tensor(ids)])["input_ids"].shape == (1, 4)
    assert collate([{"input_ids": torch.tensor([ids])}])["input_ids"].shape == (1, 4)
    assert DataCollatorWithPadding(tiny_tokenizer())([{"input_ids": np.array([ids])}])[
        "input_ids"
    ].shape == (1, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: DataCollatorWithPadding(t)([]), "no rows"),
        (lambda t: DataCollatorWithPadding(t)(rows(text=TEXTS)), "`text` cannot become a tensor"),
        (
            lambda t: DataCollatorForTokenClassification(t)(rows(labels=[[1]] * 4)),
            "Row 0 has 6 tokens, but 1 labels",
        ),
        (lambda t: DataCollatorForLanguageModeling(t)([{"text": "a"}]), "must have `input_ids`"),
        (lambda t: DataCollatorForLanguageModeling(t)([{"input_ids": ["a"]}]), "whole numbers"),
    ],
)
def test_rows_that_do_not_fit_are_named(call, message):
    with pytest.raises(DataError, match=message):
        call(tiny_tokenizer())


def test_other_tensors_are_refused():
    with pytest.raises(ConfigError, match="must be 'pt'"):
        DataCollatorWithPadding(tiny_tokenizer(), return_tensors="tf")
