"""Several heads on one backbone: one folder, and parts that are models like any other."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from abrazo.checkpoints.jsonfile import read_json_object, write_json
from abrazo.checkpoints.safetensors import open_tensors
from abrazo.cli.main import main
from abrazo.errors import CheckpointError, ConfigError
from abrazo.inference.pipeline import pipeline
from abrazo.models.adapters import add_lora
from abrazo.models.auto import AutoModel, load_model
from abrazo.models.bert import BertForSequenceClassification, BertForTokenClassification
from abrazo.models.multi_task import MultiTaskModel
from abrazo.models.sentence import SentenceModel
from abrazo.tasks.auto import task_type_of
from helpers.families import FAMILIES, models_of, new_model
from helpers.several import TAGS, two_task_model
from helpers.tiny import random_batch, tiny_bert
from helpers.training import assert_same_weights, small_model

TEXT = "the film is very good"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    two_task_model().save_pretrained(tmp_path / "several")
    return tmp_path / "several"


def change_tasks(folder: Path, **changes: Any) -> None:
    fields = read_json_object(folder / "abrazo.json")
    fields["tasks"]["intent"].update(changes)
    write_json(folder / "abrazo.json", fields)


def test_a_folder_holds_the_backbone_once_and_loads_back_bit_equal(tmp_path: Path) -> None:
    model = two_task_model()
    model.part("intent").task_settings = {"task": "text-classification", "settings": {}}
    model.save_pretrained(tmp_path)
    loaded = MultiTaskModel.from_pretrained(tmp_path)
    assert_same_weights(loaded, model)
    assert not loaded.training
    assert loaded.names == ("intent", "slots")
    assert loaded.part("slots").config.labels == TAGS
    assert loaded.part("intent").task_settings == model.part("intent").task_settings
    assert loaded.tokenizer(TEXT).input_ids == model.tokenizer(TEXT).input_ids
    names = open_tensors(tmp_path / "model.safetensors").names
    plain = {name.removeprefix("bert.") for name in names if not name.startswith("heads.")}
    bare = tiny_bert()
    assert plain == set(bare.key_map().to_hf(dict(bare.named_parameters())))
    assert {name for name in names if name.startswith("heads.")} == {
        f"heads.{task}.classifier.{kind}"
        for task in ("intent", "slots")
        for kind in ("weight", "bias")
    }
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["MultiTaskModel"]


HEADS = ("sequence_classification", "token_classification", "masked_lm")


@pytest.mark.parametrize(
    "family", [family for family in FAMILIES if set(HEADS) <= set(models_of(family))]
)
def test_heads_of_every_family_stand_side_by_side(family: str, tmp_path: Path) -> None:
    models = {head.replace("_", "-"): new_model(family, head) for head in HEADS}
    model = MultiTaskModel(models).eval()
    model.save_pretrained(tmp_path)
    loaded = MultiTaskModel.from_pretrained(tmp_path)
    assert_same_weights(loaded, model)
    batch = random_batch([3, 5, 5], vocab_size=50, segments=1)
    answers = loaded.answer_packed(batch)
    for name in models:
        alone = model.part(name).answer_packed(batch)["logits"]
        torch.testing.assert_close(answers[f"{name}.logits"], alone, rtol=0, atol=0)
    first = next(iter(models))
    before = models[first].answer_packed(batch)["logits"]
    torch.testing.assert_close(answers[f"{first}.logits"], before, rtol=0, atol=0)


def test_a_part_is_a_model_like_any_other_on_the_same_weights(tmp_path: Path) -> None:
    model = two_task_model()
    part = model.part("slots")
    assert type(part) is BertForTokenClassification
    assert part is model.part("slots")
    assert part.blocks is model.blocks
    assert part.pooler is None
    part.save_pretrained(tmp_path)
    loaded = BertForTokenClassification.from_pretrained(tmp_path)
    assert_same_weights(loaded, part)
    ids = torch.tensor([[2, 15, 16, 17, 3]])
    theirs = transformers.BertForTokenClassification.from_pretrained(tmp_path).eval()
    expected = model.eval().part("slots")(ids).logits
    torch.testing.assert_close(theirs(ids).logits, expected, rtol=1e-4, atol=1e-5)


def test_transformers_and_bare_models_load_the_backbone(folder: Path) -> None:
    ids = torch.tensor([[2, 15, 16, 17, 3]])
    model = MultiTaskModel.from_pretrained(folder)
    expected, pooled = model.backbone(random_batch([5]))
    for bare in (AutoModel.from_pretrained(folder), SentenceModel.from_pretrained(folder)):
        torch.testing.assert_close(bare.backbone(random_batch([5]))[0], expected)
    theirs = transformers.AutoModel.from_pretrained(folder).eval()(ids)
    mine = AutoModel.from_pretrained(folder)(ids)
    torch.testing.assert_close(theirs.last_hidden_state, mine.last_hidden_state)
    torch.testing.assert_close(theirs.pooler_output, mine.pooler_output)
    assert pooled is not None


def test_training_and_serving_modes_reach_the_parts_and_back() -> None:
    model = two_task_model().train()
    part = model.part("intent")
    assert part.training
    model.eval()
    assert not part.training
    assert not any(module.training for module in part.modules())
    classify = pipeline("text-classification", model, precision="fp32")
    assert classify(TEXT) == classify(TEXT)
    assert not any(module.training for module in model.modules())


def test_parts_follow_the_model_through_dtypes_copies_and_tokenizers() -> None:
    model = two_task_model()
    model.to(torch.float64)
    assert model.part("slots").dtype == torch.float64
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.embeddings.tokens.weight.zero_()
    assert not other.part("intent").embeddings.tokens.weight.any()
    assert model.part("intent").embeddings.tokens.weight.any()
    tokenizer = copy.copy(model.tokenizer)
    model.tokenizer = tokenizer
    assert model.part("intent").tokenizer is tokenizer


def test_adapters_train_under_all_heads(tmp_path: Path) -> None:
    model = two_task_model(dropout=0.0)
    before = model.eval().part("slots")(torch.tensor([[2, 15, 3]])).logits
    add_lora(model, rank=2)
    assert model.part("slots").backbone.blocks[0].attention.query_key_value.rank == 2
    assert all(weight.requires_grad for weight in model.head.parameters())
    torch.testing.assert_close(model.part("slots")(torch.tensor([[2, 15, 3]])).logits, before)
    model.save_pretrained(tmp_path)
    loaded = MultiTaskModel.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded.part("slots")(torch.tensor([[2, 15, 3]])).logits, before)


def test_a_folder_is_loaded_whole_or_by_the_part_that_a_task_needs(folder: Path) -> None:
    assert isinstance(load_model(folder), MultiTaskModel)
    assert type(load_model(folder, part="slots")) is BertForTokenClassification
    part = load_model(folder, "sequence_classification")
    assert type(part) is BertForSequenceClassification
    assert part.config.labels == ["bad", "good"]
    answer = pipeline("text-classification", folder)(TEXT)
    assert answer == pipeline("intent", folder, part="intent")(TEXT)
    assert pipeline("ner", folder)(TEXT) == pipeline("ner", load_model(folder))(TEXT)


def test_commands_ask_one_of_the_tasks(folder: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": TEXT}) + "\n", encoding="utf-8")
    words = ["predict", str(folder), str(tmp_path / "rows.jsonl")]
    assert main([*words, "--part", "intent"]) == 0
    assert json.loads(capsys.readouterr().out)["predicted_label"] in ("bad", "good")
    assert main(words) != 0
    assert "several tasks that could be meant: intent, slots" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_new_head_starts_on_the_backbone(folder: Path, caplog: Any) -> None:
    options = {"labels": ["a", "b", "c"]}
    model = load_model(folder, "sequence_classification", **options)
    assert model.config.labels == ["a", "b", "c"]
    assert "starts new" in caplog.text
    whole = MultiTaskModel.from_pretrained(folder)
    assert torch.equal(model.embeddings.tokens.weight, whole.embeddings.tokens.weight)


def test_one_of_several_alike_must_be_named(tmp_path: Path) -> None:
    parts = {name: small_model(seed=seed) for seed, name in enumerate(("mood", "topic"))}
    model = MultiTaskModel({**parts, "slots": small_model("token_classification")})
    model.save_pretrained(tmp_path)
    message = r"several tasks that could be meant: mood, topic\. Choose one: `part='mood'`"
    with pytest.raises(ConfigError, match=message):
        pipeline("text-classification", tmp_path)
    with pytest.raises(ConfigError, match=message):
        pipeline("text-classification", model)
    with pytest.raises(ConfigError, match=r"must be one of `mood`.*Did you mean `topic`"):
        pipeline("text-classification", tmp_path, part="topik")
    with pytest.raises(ConfigError, match=r"The task `slots` is none with the head"):
        pipeline("text-classification", tmp_path, part="slots")
    with pytest.raises(ConfigError, match="has no task with the head 'question_answering'"):
        pipeline("question-answering", tmp_path)
    with pytest.raises(ConfigError, match=r"several tasks \(mood, topic, slots\)"):
        task_type_of(model)
    assert pipeline("text-classification", tmp_path, part="topic")(TEXT)["label"]


def test_a_part_of_a_model_of_one_task_is_refused(tmp_path: Path) -> None:
    small_model().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"`part` is 'intent', but .* holds a model of one task"):
        pipeline("text-classification", tmp_path, part="intent")
    with pytest.raises(CheckpointError, match="holds no model of several tasks"):
        MultiTaskModel.from_pretrained(tmp_path)


def test_models_that_cannot_stand_on_one_backbone_are_named() -> None:
    one = small_model()
    with pytest.raises(ConfigError, match="takes a dict of models by task"):
        MultiTaskModel({})
    with pytest.raises(ConfigError, match=r"`b` must be a model with a head.*is a BertModel"):
        MultiTaskModel({"a": one, "b": tiny_bert()})
    with pytest.raises(ConfigError, match=r"`b` must be like `a`.*differ: num_hidden_layers"):
        MultiTaskModel({"a": one, "b": small_model(num_hidden_layers=1)})
    with pytest.raises(ConfigError, match=r"`b` must be like `a`.*model_type"):
        MultiTaskModel({"a": one, "b": new_model("distilbert", "token_classification")})
    with pytest.raises(ConfigError, match="must have a head of its own"):
        MultiTaskModel({"a": one, "b": one})
    with pytest.raises(ConfigError, match=r"`a`: bert models have no head 'similarity'"):
        MultiTaskModel({"a": SentenceModel(tiny_bert())})
    with pytest.raises(ConfigError, match="must be letters, digits"):
        MultiTaskModel({"a.b": one})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"head": "os.system"}, ConfigError, "have no head 'os.system'"),
        ({"head": None}, CheckpointError, "must say the head of `intent`"),
        ({"labels": "bad"}, CheckpointError, "`labels` must be a list of texts"),
        ({"labels": ["a", "b", "c"]}, CheckpointError, "wrong shape"),
        ({"problem_type": "guessing"}, CheckpointError, "`problem_type` must be one of"),
        ({"labels": []}, CheckpointError, "wrong shape"),
    ],
)
def test_a_damaged_list_of_tasks_is_refused(
    folder: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    change_tasks(folder, **changes)
    with pytest.raises(error, match=message):
        load_model(folder)


def test_a_folder_without_its_list_of_tasks_is_refused(folder: Path) -> None:
    write_json(folder / "abrazo.json", {"task": "multi-task", "tasks": []})
    with pytest.raises(CheckpointError, match="must list the model's `tasks`"):
        load_model(folder)
    (folder / "abrazo.json").unlink()
    with pytest.raises(CheckpointError, match="holds no model of several tasks"):
        load_model(folder)
