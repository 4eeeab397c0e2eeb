"""Configurations: strict towards users, tolerant towards files."""

from typing import Any

import pytest

from abrazo.errors import ConfigError
from abrazo.models.auto import AutoConfig, AutoModel, load_model, model_class
from abrazo.models.bert import BertConfig, BertForSequenceClassification, BertModel
from abrazo.models.roberta import RobertaConfig
from helpers.tiny import tiny_bert, tiny_config, tiny_folder


def test_misspelt_field_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no field `hiden_size`\. Did you mean `hidden_size`"):
        BertConfig(hiden_size=3)


def test_defaults_are_those_of_the_best_known_checkpoint() -> None:
    config = BertConfig()
    assert (config.hidden_size, config.num_hidden_layers, config.vocab_size) == (768, 12, 30522)
    assert config.labels == ["LABEL_0", "LABEL_1"]


def test_number_of_labels_is_short_for_unnamed_ones() -> None:
    config = BertConfig(num_labels=3)
    assert config.num_labels == 3
    assert not config.has_named_labels
    assert config.with_labels(["a", "b"]).has_named_labels
    for wrong in (0, -1, "3", 10**9):
        with pytest.raises(ConfigError, match="`num_labels` must be a number from 1"):
            BertConfig(num_labels=wrong)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -0.1])
def test_numbers_that_are_none_are_refused(wrong: float) -> None:
    with pytest.raises(ConfigError, match="`layer_norm_eps` must be a number from 0"):
        BertConfig(layer_norm_eps=wrong)


def test_config_goes_to_a_file_and_comes_back() -> None:
    config = tiny_config(num_labels=3, problem_type="multi_label_classification")
    fields = {**config.to_hf(), "unknown": {"a": [1]}}
    again = BertConfig.from_hf(fields)
    assert again.extra == {"unknown": {"a": [1]}}
    assert again.to_hf() == fields
    assert again.replace(extra={}) == config


def test_config_cannot_be_changed_but_copied() -> None:
    config = tiny_config()
    with pytest.raises(AttributeError):
        config.hidden_size = 3  # type: ignore[misc]
    assert config.replace(hidden_size=64).hidden_size == 64
    assert "hidden_size = 32" in str(config)


def test_labels_keep_the_order_of_their_numbers() -> None:
    fields = {"id2label": {"1": "b", "0": "a", "2": "c"}}
    assert BertConfig.from_hf(fields).labels == ["a", "b", "c"]


def test_model_of_another_familys_config_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes a BertConfig, but was given a RobertaConfig"):
        BertModel(RobertaConfig())


def test_auto_classes_pick_family_and_head(tmp_path: Any) -> None:
    folder = tiny_folder(tmp_path)
    assert type(load_model(folder)) is BertForSequenceClassification
    assert type(AutoModel.from_pretrained(folder)) is BertModel
    assert type(AutoConfig.from_pretrained(folder)) is BertConfig
    assert AutoConfig.from_pretrained(folder).hidden_size == 32


def test_unknown_family_or_head_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match="'gpt9' are not known, only these: bert, "):
        model_class("gpt9", "")
    with pytest.raises(ConfigError, match="no head 'x', only these: sequence_classification"):
        model_class("bert", "x")


def test_overrides_change_the_config_and_unknown_ones_are_refused(tmp_path: Any) -> None:
    folder = tiny_folder(tmp_path)
    kind = BertForSequenceClassification
    assert kind.from_pretrained(folder, hidden_dropout_prob=0.3).config.hidden_dropout_prob == 0.3
    with pytest.raises(ConfigError, match="no field `nun_labels`"):
        kind.from_pretrained(folder, nun_labels=3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels": ["a", "a"]}, "`labels` must not name a label twice"),
        ({"labels": "ab"}, "`labels` must be a list of texts, .* but is 'ab'"),
        ({"labels": []}, "`labels` must be a list of texts"),
        ({"labels": [0, 1]}, "`labels` must be a list of texts"),
        ({"labels": ["a", "b"], "num_labels": 3}, "`num_labels` is 3, but `labels` names 2"),
    ],
    ids=str,
)
def test_wrong_names_of_classes_are_refused(
    tmp_path: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        BertForSequenceClassification.from_pretrained(tiny_folder(tmp_path), **options)


def test_names_of_classes_and_their_number_may_both_be_given(tmp_path: Any) -> None:
    model = load_model(tiny_folder(tmp_path), labels=("a", "b", "c"), num_labels=3)
    assert model.config.labels == ["a", "b", "c"]


def test_names_can_be_given_to_classes_once_the_number_fits() -> None:
    model = tiny_bert("sequence_classification")
    model.set_labels(["bad", "good"])
    assert model.config.labels == ["bad", "good"]
    with pytest.raises(ConfigError, match=r"has 2 classes, but 3 labels are given\. Load it with"):
        model.set_labels(["a", "b", "c"])


def test_save_over_a_model_of_a_task_forgets_that_task(tmp_path: Any) -> None:
    model = tiny_bert("sequence_classification")
    model.task_settings = {"task": "text-classification", "settings": {}}
    model.save_pretrained(tmp_path)
    assert load_model(tmp_path).task_settings == model.task_settings
    assert load_model(tmp_path, num_labels=5).task_settings == {}
    tiny_bert("masked_lm").save_pretrained(tmp_path)
    assert not (tmp_path / "abrazo.json").exists()
    assert load_model(tmp_path).task_settings == {}


def test_tied_weights_stay_tied_after_loading(tmp_path: Any) -> None:
    tiny_bert("masked_lm").save_pretrained(tmp_path)
    model = load_model(tmp_path)
    assert model.head.decoder.weight is model.embeddings.tokens.weight  # type: ignore[union-attr]
