"""Folders of sentence-transformers: read, written, and refused where they are hostile."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from abrazo.errors import CheckpointError
from abrazo.heads.similarity import ProjectionPlan
from abrazo.models.auto import AutoModel, load_model
from abrazo.models.base import PretrainedModel
from abrazo.models.bert import BertModel
from abrazo.models.sentence import SentenceModel
from abrazo.models.sentence_files import SentenceRecipe, read_recipe, write_recipe
from helpers.tiny import tiny_bert, tiny_tokenizer

TEXTS = ["the film is good", "a very dull story .", "这部电影很好"]
PLAN = ProjectionPlan(in_width=32, out_width=7, activation="tanh")


def sentence_model(**fields: Any) -> SentenceModel:
    bare = tiny_bert()
    bare.tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    return SentenceModel(bare, SentenceRecipe(**fields))


def folder_of(path: Path, **fields: Any) -> Path:
    sentence_model(**fields).save_pretrained(path)
    return path


def vectors(model: PretrainedModel) -> torch.Tensor:
    return torch.from_numpy(model.encode(TEXTS, precision="fp32"))


def change(path: Path, **fields: Any) -> None:
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, **fields}))


def change_steps(folder: Path, number: int, **fields: Any) -> None:
    path = folder / "modules.json"
    steps = json.loads(path.read_text())
    steps[number] |= fields
    path.write_text(json.dumps(steps))


RECIPES: list[dict[str, Any]] = [
    {},
    {"poolings": ("cls",), "normalize": False},
    {"poolings": ("cls", "max"), "max_length": 5},
    {"poolings": ("last", "mean"), "normalize": False},
    {"projections": (PLAN,)},
    {"prompts": {"query": "who is "}, "default_prompt": "query", "similarity": "dot"},
]


@pytest.mark.parametrize("fields", RECIPES, ids=str)
def test_what_is_saved_loads_with_equal_vectors(fields, tmp_path):
    model = sentence_model(**fields)
    model.save_pretrained(tmp_path)
    loaded = SentenceModel.from_pretrained(tmp_path)
    assert torch.equal(vectors(loaded), vectors(model))
    read = loaded.recipe
    assert (read.poolings, read.projections) == (model.recipe.poolings, model.recipe.projections)
    assert (read.normalize, read.similarity) == (model.recipe.normalize, model.recipe.similarity)
    assert loaded.width == model.width == vectors(model).shape[1]


@pytest.mark.parametrize("fields", RECIPES, ids=str)
def test_a_bare_backbone_encodes_as_its_folder_says_also_when_saved_again(fields, tmp_path):
    folder = folder_of(tmp_path / "first", **fields)
    bare = BertModel.from_pretrained(folder)
    expected = vectors(SentenceModel.from_pretrained(folder))
    assert torch.equal(vectors(bare), expected)
    bare.save_pretrained(tmp_path / "second")
    assert torch.equal(vectors(BertModel.from_pretrained(tmp_path / "second")), expected)


def test_the_folder_is_that_of_the_bare_backbone_and_loads_as_what_it_is(tmp_path):
    folder_of(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["BertModel"]
    assert isinstance(load_model(tmp_path), SentenceModel)
    assert isinstance(AutoModel.from_pretrained(tmp_path), BertModel)


def test_a_folder_without_the_files_gets_the_mean_at_length_one(tmp_path):
    bare = tiny_bert()
    bare.tokenizer = tiny_tokenizer()
    bare.save_pretrained(tmp_path)
    assert read_recipe(tmp_path) == SentenceRecipe()
    assert not (tmp_path / "modules.json").exists()


def test_weights_are_shared_and_not_copied():
    bare = tiny_bert()
    model = SentenceModel(bare)
    again = SentenceModel(model, SentenceRecipe(normalize=False))
    assert again.backbone is model.backbone is bare.backbone
    assert SentenceModel.of(model) is model
    assert bare.head is None


def test_projections_are_shared_between_views_and_reloaded_in_place(tmp_path):
    model = sentence_model(projections=(PLAN,))
    model.save_pretrained(tmp_path)
    expected = vectors(model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    view = SentenceModel(model)
    assert not bool(vectors(view).abs().sum())
    model.load_weights(tmp_path)
    assert torch.equal(vectors(view), expected)


def test_half_precision_of_a_projection_is_kept_on_disk(tmp_path):
    model = sentence_model(projections=(PLAN,)).bfloat16()
    model.save_pretrained(tmp_path)
    loaded = SentenceModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert torch.isfinite(vectors(loaded)).all()


@pytest.mark.parametrize(
    ("number", "fields", "message"),
    [
        (1, {"path": "../elsewhere"}, r"'../elsewhere' of step 1 has an empty part"),
        (1, {"path": "/etc"}, "of step 1 is absolute"),
        (1, {"path": "1_Pooling/../../x"}, "has an empty part"),
        (1, {"path": 3}, "must be a text"),
        (1, {"path": None}, "must be a text"),
        (1, {"type": "os.system"}, "step 1 is a 'os.system', but only these are known"),
        (1, {"type": "sentence_transformers.models.LSTM"}, "only these are known: Transformer"),
        (1, {"type": ["x"]}, "only these are known"),
        (1, {"type": "sentence_transformers.models.Normalize"}, "in this order"),
        (0, {"path": "1_Pooling"}, "must be in the folder itself"),
    ],
)
def test_steps_that_lead_elsewhere_are_refused(number, fields, message, tmp_path):
    folder_of(tmp_path)
    change_steps(tmp_path, number, **fields)
    with pytest.raises(CheckpointError, match=message):
        read_recipe(tmp_path)


def test_a_step_that_is_a_link_out_of_the_folder_is_refused(tmp_path):
    folder = folder_of(tmp_path / "model")
    outside = folder_of(tmp_path / "other")
    os.rename(folder / "1_Pooling", folder / "moved")
    (folder / "1_Pooling").symlink_to(outside / "1_Pooling")
    with pytest.raises(CheckpointError, match="is a link that leads out"):
        read_recipe(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b"[", b'[], "more": [1]', b"[" * 5_000, b"[]", b"null", b"[{}" * 20],
)
def test_a_damaged_list_of_steps_is_one_typed_error(content, tmp_path):
    folder_of(tmp_path)
    (tmp_path / "modules.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"modules\.json"):
        read_recipe(tmp_path)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("sentence_bert_config.json", {"max_seq_length": -1}, "max_seq_length"),
        ("sentence_bert_config.json", {"max_seq_length": True}, "max_seq_length"),
        ("sentence_bert_config.json", {"do_lower_case": "yes"}, "do_lower_case"),
        ("1_Pooling/config.json", {"pooling_mode": "median"}, "pooling_mode"),
        ("1_Pooling/config.json", {"pooling_mode": []}, "pooling_mode"),
        ("2_Dense/config.json", {"out_features": 0}, "out_features"),
        ("2_Dense/config.json", {"activation_function": "os.system"}, "'os.system' is none of"),
        ("2_Dense/config.json", {"module_input_name": "token_embeddings"}, "module_input_name"),
        ("config_sentence_transformers.json", {"prompts": ["x"]}, "prompts"),
        ("config_sentence_transformers.json", {"default_prompt_name": "x"}, "default_prompt_name"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "l7"}, "similarity_fn_name"),
    ],
)
def test_wrong_fields_are_named_with_their_file(name, fields, message, tmp_path):
    folder_of(tmp_path, projections=(PLAN,))
    change(tmp_path / name, **fields)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_recipe(tmp_path)
    assert name.rpartition("/")[2] in str(caught.value)


def test_missing_files_of_a_step_are_named(tmp_path):
    folder_of(tmp_path, projections=(PLAN,))
    (tmp_path / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="2_Dense"):
        SentenceModel.from_pretrained(tmp_path)


def test_a_projection_of_another_width_is_refused(tmp_path):
    folder_of(tmp_path, projections=(PLAN,))
    change(tmp_path / "2_Dense" / "config.json", out_features=9)
    with pytest.raises(CheckpointError, match="wrong shape"):
        SentenceModel.from_pretrained(tmp_path)


def test_files_that_are_not_understood_leave_the_backbone_usable(tmp_path, caplog):
    folder_of(tmp_path / "model")
    change_steps(tmp_path / "model", 1, type="sentence_transformers.models.CNN")
    bare = BertModel.from_pretrained(tmp_path / "model")
    bare.save_pretrained(tmp_path / "saved")
    assert "is not saved" in caplog.text
    with pytest.raises(CheckpointError, match="CNN"):
        bare.encode("the film")


def test_the_older_and_the_newer_spelling_of_poolings_are_read(tmp_path):
    recipe = SentenceRecipe(poolings=("max", "mean"))
    write_recipe(tmp_path, recipe, 32)
    fields = json.loads((tmp_path / "1_Pooling" / "config.json").read_text())
    assert fields["pooling_mode_max_tokens"] is True
    assert read_recipe(tmp_path).poolings == ("max", "mean")
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode": "lasttoken"}')
    assert read_recipe(tmp_path).poolings == ("last",)
