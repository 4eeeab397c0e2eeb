"""Folders go from `transformers` to us and back without a bit changed."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from abrazo.models.base import PretrainedModel
from abrazo.models.bert import MODELS
from helpers.oracle import HF_BERT, hf_bert, hf_parameters
from helpers.tiny import padded, random_batch, tiny_bert, tiny_folder

HEADS = list(HF_BERT)
SHARDED = {"whole": 10**9, "sharded": 20_000}


def assert_equal_weights(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(found[name], weight), name


def load_theirs(head: str, folder: Path) -> dict[str, Tensor]:
    """Load into `transformers`, which must find all it wants and nothing else."""
    model, told = HF_BERT[head].from_pretrained(folder, output_loading_info=True)
    orphan = {"cls.predictions.bias"}  # of an untied model, where nothing uses it
    assert not set(told["missing_keys"]) - orphan
    assert not told["unexpected_keys"]
    assert not told["mismatched_keys"]
    return hf_parameters(model)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("size", SHARDED.values(), ids=SHARDED)
def test_theirs_comes_back_bit_for_bit(head: str, size: int, tmp_path: Path) -> None:
    theirs = hf_bert(head)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size=size)
    ours = MODELS[head].from_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours", max_shard_size=size)
    assert (tmp_path / "ours" / "model.safetensors").exists() == (size == 10**9)
    assert_equal_weights(load_theirs(head, tmp_path / "ours"), hf_parameters(theirs))


@pytest.mark.parametrize("head", ["", "masked_lm", "pretraining", "sequence_classification"])
@pytest.mark.parametrize("size", SHARDED.values(), ids=SHARDED)
def test_ours_comes_back_bit_for_bit(head: str, size: int, tmp_path: Path) -> None:
    ours = tiny_bert(head)
    ours.save_pretrained(tmp_path / "ours", max_shard_size=size)
    theirs = HF_BERT[head].from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size=size)
    back = MODELS[head].from_pretrained(tmp_path / "theirs")
    assert_equal_weights(dict(back.named_parameters()), dict(ours.named_parameters()))
    assert back.config.to_hf().items() >= ours.config.to_hf().items()


@pytest.mark.parametrize("head", ["masked_lm", "pretraining"])
def test_untied_decoder_goes_both_ways(head: str, tmp_path: Path) -> None:
    theirs = hf_bert(head, tie_word_embeddings=False)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = MODELS[head].from_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    found, expected = load_theirs(head, tmp_path / "ours"), hf_parameters(theirs)
    for weights in (found, expected):
        del weights["cls.predictions.bias"]
    assert_equal_weights(found, expected)


def test_saved_config_names_the_class_of_transformers_and_keeps_unknown_fields(
    tmp_path: Path,
) -> None:
    theirs = hf_bert("sequence_classification", num_labels=3)
    theirs.config.custom_field = {"a": [1, 2]}
    theirs.save_pretrained(tmp_path / "theirs")
    ours = MODELS["sequence_classification"].from_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    fields = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert fields["architectures"] == ["BertForSequenceClassification"]
    assert fields["custom_field"] == {"a": [1, 2]}
    assert fields["dtype"] == "float32"
    assert fields["label2id"] == {f"LABEL_{i}": i for i in range(3)}


# Files as they lie about -----------------------------------------------------------------


def old_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): weight
        for name, weight in weights.items()
    }


def without_prefix(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("bert."): weight for name, weight in weights.items()}


def with_prefix(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    own = ("cls.", "classifier.", "bert.")
    return {
        name if name.startswith(own) else f"bert.{name}": weight for name, weight in weights.items()
    }


def with_buffers(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights | {
        "bert.embeddings.position_ids": torch.arange(64)[None],
        "cls.predictions.decoder.weight": weights["bert.embeddings.word_embeddings.weight"].clone(),
    }


def with_other_heads(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights | {
        "cls.seq_relationship.weight": torch.zeros(2, 32),
        "qa_outputs.weight": torch.zeros(2, 32),
    }


CHANGES = [old_names, without_prefix, with_prefix, with_buffers, with_other_heads]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("head", ["masked_lm", "sequence_classification"])
def test_files_of_other_spellings_load(
    head: str, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], tmp_path: Path
) -> None:
    ours = tiny_bert(head)
    tiny_folder(tmp_path, head)
    file = tmp_path / "model.safetensors"
    save_file(change(load_file(file)), file)
    assert_equal_weights(
        dict(MODELS[head].from_pretrained(tmp_path).named_parameters()),
        dict(ours.named_parameters()),
    )


def test_bare_files_without_prefix_load_into_any_head_and_tell_what_is_new(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bare = tiny_bert()
    bare.save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING, "abrazo"):
        model = MODELS["sequence_classification"].from_pretrained(tmp_path, num_labels=3)
    assert "`head` is not in" in caplog.text
    assert "pooler" not in caplog.text
    batch = random_batch([4, 6])
    assert torch.equal(model.backbone(batch)[1], bare.backbone(batch)[1])
    weights = dict(model.head.named_parameters())
    assert all(torch.isfinite(weight).all() for weight in weights.values())
    assert 0 < weights["classifier.weight"].std() < 0.1
    assert not weights["classifier.bias"].any()


def test_pooler_that_files_lack_is_new_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny_bert("masked_lm").save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING, "abrazo"):
        model = MODELS["sequence_classification"].from_pretrained(tmp_path)
    assert "`backbone.pooler` is not in" in caplog.text
    assert "`head` is not in" in caplog.text
    assert all(torch.isfinite(weight).all() for weight in model.parameters())


def test_bare_model_has_a_pooler_only_where_its_files_do(tmp_path: Path) -> None:
    tiny_bert("masked_lm").save_pretrained(tmp_path)
    model = MODELS[""].from_pretrained(tmp_path)
    assert model.pooler is None
    assert model(**padded(random_batch([3]))).pooler_output is None


def test_head_for_other_labels_starts_new(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tiny_folder(tmp_path, labels=["bad", "good"])

    def load(**options: object) -> PretrainedModel:
        caplog.clear()
        return MODELS["sequence_classification"].from_pretrained(tmp_path, **options)

    kept = load().head.classifier.weight
    assert torch.equal(load(labels=["bad", "good"]).head.classifier.weight, kept)
    assert not caplog.text
    for options in ({"labels": ["good", "bad"]}, {"num_labels": 3}):
        model = load(**options)
        assert not torch.equal(model.head.classifier.weight[:2], kept)
        assert "`head`" in caplog.text
